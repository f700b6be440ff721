//! `multipart/byteranges` (RFC 9110 section 14.6): heads between the pieces of several ranges.

use std::{future, ops::Range};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use uuid::Uuid;

use crate::reader::{Content, Error, Pieces};

/// The frame around the pieces.
pub(crate) struct Multipart {
    boundary: String,
    /// Each range after the text that introduces it.
    parts: Vec<(Bytes, Range<u64>)>,
    end: Bytes,
}

impl Multipart {
    /// For ranges of content of `size` bytes.
    pub(crate) fn new(ranges: Vec<Range<u64>>, media_type: &str, size: u64) -> Self {
        // Its random bits keep anybody from writing content that contains the boundary.
        let boundary = Uuid::now_v7().simple().to_string();
        let parts = ranges.into_iter().enumerate().map(|(index, range)| {
            let before = if index == 0 { "" } else { "\r\n" };
            let content_range = content_range(&range, size);
            let head = format!(
                "{before}--{boundary}\r\n\
                 Content-Type: {media_type}\r\n\
                 Content-Range: {content_range}\r\n\r\n"
            );
            (Bytes::from(head), range)
        });
        let parts = parts.collect();
        let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        Self {
            boundary,
            parts,
            end,
        }
    }

    /// Media type of the whole.
    pub(crate) fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// Bytes of the whole.
    pub(crate) fn len(&self) -> u64 {
        let part =
            |(head, range): &(Bytes, Range<u64>)| head.len() as u64 + range.end - range.start;
        self.parts.iter().map(part).sum::<u64>() + self.end.len() as u64
    }

    /// The whole. `first` is the first range, already being read.
    pub(crate) fn stream(
        self,
        content: Content,
        first: Pieces,
    ) -> impl Stream<Item = Result<Bytes, Error>> + Send {
        let mut first = Some(first);
        let parts = stream::iter(self.parts).map(move |(head, range)| {
            let (content, first) = (content.clone(), first.take());
            let pieces = async move {
                match first {
                    Some(first) => Ok(first),
                    None => content.read(range).await,
                }
            };
            let pieces = stream::once(pieces).try_flatten();
            stream::once(future::ready(Ok(head))).chain(pieces)
        });
        parts
            .flatten()
            .chain(stream::once(future::ready(Ok(self.end))))
    }
}

/// Value of `Content-Range` for a range of content of `size` bytes.
pub(crate) fn content_range(range: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end - 1)
}
