//! Cuts a source into parts of equal size, in memory.

use std::{fs::File, os::unix::fs::FileExt as _, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};

use super::unavailable;
use crate::blob::{ByteStream, Error, Source};

/// Parts in order, all but the last `part_bytes` long; one at a time is in memory here.
pub(super) type Parts = BoxStream<'static, Result<Bytes, Error>>;

/// The parts of a source. They end with an error when the source does not have the length that it
/// announces.
pub(super) async fn of(source: Source, part_bytes: u64) -> Result<Parts, Error> {
    Ok(match source {
        Source::Bytes(bytes) => of_bytes(bytes, part_bytes),
        Source::Stream { len, stream } => of_stream(stream, len, part_bytes),
        Source::File { path, len } => {
            let file = tokio::fs::File::open(path).await.map_err(Error::Source)?;
            let file = file.into_std().await;
            let found = file.metadata().map_err(Error::Source)?.len();
            if found != len {
                return Err(Error::Length {
                    expected: len,
                    found,
                });
            }
            of_file(Arc::new(file), len, part_bytes)
        }
    })
}

fn of_bytes(bytes: Bytes, part_bytes: u64) -> Parts {
    let part = to_usize(part_bytes);
    stream::unfold(bytes, move |mut rest| async move {
        let part = rest.split_to(part.min(rest.len()));
        (!part.is_empty()).then_some((Ok(part), rest))
    })
    .boxed()
}

fn of_file(file: Arc<File>, len: u64, part_bytes: u64) -> Parts {
    stream::try_unfold(0, move |offset| {
        let file = file.clone();
        async move {
            let part = part_bytes.min(len - offset);
            if part == 0 {
                return Ok(None);
            }
            let read = tokio::task::spawn_blocking(move || {
                let mut buffer = vec![0; to_usize(part)];
                file.read_exact_at(&mut buffer, offset)
                    .map(|()| Bytes::from(buffer))
            });
            let bytes = read.await.map_err(unavailable)?.map_err(Error::Source)?;
            Ok(Some((bytes, offset + part)))
        }
    })
    .boxed()
}

/// What is left of a stream that is cut into parts.
struct Cutter {
    stream: ByteStream,
    /// Received, but beyond the end of the part.
    surplus: Bytes,
    /// Bytes not yet handed out as parts.
    rest: u64,
    len: u64,
}

fn of_stream(stream: ByteStream, len: u64, part_bytes: u64) -> Parts {
    // Its end is looked for after the last part, and once more when the parts end.
    let stream = stream.fuse().boxed();
    let cutter = Cutter {
        stream,
        surplus: Bytes::new(),
        rest: len,
        len,
    };
    stream::try_unfold(cutter, move |mut cutter| async move {
        let part = cutter.next_part(part_bytes).await?;
        Ok(part.map(|part| (part, cutter)))
    })
    .boxed()
}

impl Cutter {
    async fn next_part(&mut self, part_bytes: u64) -> Result<Option<Bytes>, Error> {
        let want = to_usize(part_bytes.min(self.rest));
        if want == 0 {
            return self.expect_end().await.map(|()| None);
        }
        let mut part = BytesMut::with_capacity(want);
        while part.len() < want {
            if self.surplus.is_empty() {
                let received = self.stream.try_next().await.map_err(Error::Source)?;
                self.surplus = received.ok_or_else(|| Error::Length {
                    expected: self.len,
                    found: self.len - self.rest + part.len() as u64,
                })?;
            }
            let fits = self.surplus.len().min(want - part.len());
            part.extend_from_slice(&self.surplus.split_to(fits));
        }
        self.rest -= want as u64;
        if self.rest == 0 {
            // A stream that is too long must fail before its last part is sent.
            self.expect_end().await?;
        }
        Ok(Some(part.freeze()))
    }

    async fn expect_end(&mut self) -> Result<(), Error> {
        while self.surplus.is_empty() {
            match self.stream.try_next().await.map_err(Error::Source)? {
                Some(more) => self.surplus = more,
                None => return Ok(()),
            }
        }
        let found = self.len + self.surplus.len() as u64;
        Err(Error::Length {
            expected: self.len,
            found,
        })
    }
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).expect("invariant: a part fits the address space")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn pieces(sizes: &[usize]) -> ByteStream {
        let pieces: Vec<io::Result<Bytes>> = sizes
            .iter()
            .map(|size| Ok(Bytes::from(vec![7; *size])))
            .collect();
        stream::iter(pieces).boxed()
    }

    async fn cut(sizes: &[usize], len: u64) -> Result<Vec<usize>, Error> {
        let source = Source::Stream {
            len,
            stream: pieces(sizes),
        };
        let parts: Vec<Bytes> = of(source, 10).await?.try_collect().await?;
        Ok(parts.iter().map(Bytes::len).collect())
    }

    #[tokio::test]
    async fn streams_are_cut_into_equal_parts() {
        assert_eq!(cut(&[3, 4, 0, 20], 27).await.unwrap(), [10, 10, 7]);
        assert_eq!(cut(&[20], 20).await.unwrap(), [10, 10]);
        assert_eq!(cut(&[], 0).await.unwrap(), [0_usize; 0]);
        assert_eq!(cut(&[0, 0], 0).await.unwrap(), [0_usize; 0]);
    }

    #[tokio::test]
    async fn wrong_lengths_are_refused() {
        for (sizes, len) in [
            (&[10, 9][..], 20),
            (&[21], 20),
            (&[20, 1], 20),
            (&[1], 0),
            (&[], 1),
        ] {
            let refused = cut(sizes, len).await;
            assert!(
                matches!(refused, Err(Error::Length { .. })),
                "{sizes:?} {len} {refused:?}"
            );
        }
    }
}
