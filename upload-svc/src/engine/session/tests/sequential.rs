//! Bytes in order, mixed with chunks, restarts and damage.

use super::*;
use crate::engine::{
    checksum::{Algorithm, Check, Checksum},
    session::{Limit, append::Turn},
};

/// Longest content: several groups, the last of them short.
const SIZES: std::ops::Range<u64> = 1..4_500_000;

#[derive(Clone, Debug)]
enum Step {
    /// Sends so many bytes; some requests have a checksum.
    Append {
        len: u64,
        check: bool,
    },
    /// The connection breaks after so many bytes.
    Break {
        len: u64,
    },
    /// The bytes have another checksum than was told.
    Corrupt {
        len: u64,
    },
    /// Other bytes than before are sent for a chunk.
    Contradict {
        index: u64,
    },
    Chunk {
        index: u64,
    },
    Restart,
    /// The length is told, and the process dies before or after it has noted it.
    TellLength {
        dies: bool,
    },
    /// A byte changes, or the file is cut off, while the process is away.
    Damage {
        at: u64,
        side: bool,
        cut: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![1_u64..4_096, 1_u64..3_000_000, Just(GROUP_BYTES)];
    prop_oneof![
        8 => (len.clone(), any::<bool>()).prop_map(|(len, check)| Step::Append { len, check }),
        2 => len.clone().prop_map(|len| Step::Break { len }),
        1 => len.prop_map(|len| Step::Corrupt { len }),
        1 => (0_u64..5).prop_map(|index| Step::Contradict { index }),
        3 => (0_u64..5).prop_map(|index| Step::Chunk { index }),
        2 => Just(Step::Restart),
        1 => any::<bool>().prop_map(|dies| Step::TellLength { dies }),
        1 => (any::<u64>(), any::<bool>(), any::<bool>())
            .prop_map(|(at, side, cut)| Step::Damage { at, side, cut }),
    ]
}

/// The upload, what it must become, and what was promised so far.
struct Upload {
    place: Place,
    session: Arc<Session>,
    whole: Vec<u8>,
    promised: u64,
}

impl Upload {
    fn new(size: u64, is_told: bool) -> Self {
        let mut place = Place::new(size);
        place.facts.size = is_told.then_some(size);
        Self {
            session: place.session(),
            place,
            whole: content(size),
            promised: 0,
        }
    }

    fn size(&self) -> u64 {
        self.whole.len() as u64
    }

    fn limit(&self) -> Limit {
        Limit {
            end: self.size(),
            exact: self.session.facts().size.is_some(),
        }
    }

    /// The next `len` bytes, as many as there are, and where they belong.
    async fn next(&self, len: u64) -> (u64, Vec<u8>) {
        let at = self.session.offset().await.unwrap();
        let end = self.size().min(at + len);
        (at, self.whole[to_index(at)..to_index(end)].to_vec())
    }

    async fn append(&mut self, len: u64, check: bool) {
        let (at, bytes) = self.next(len).await;
        let (limit, known) = (self.limit(), Some(bytes.len() as u64));
        let check = check.then(|| checksum(&bytes));
        let appended = self.session.append(at, known, limit, check, body(&bytes));
        let offset = appended.await.unwrap();
        assert!(offset >= at + bytes.len() as u64);
        self.promised = self.promised.max(offset);
    }

    async fn break_off(&mut self, len: u64) {
        let (at, bytes) = self.next(len).await;
        let broken = stream::once(async { Err(BodyError("reset".into())) });
        let broken = Box::pin(body(&bytes).chain(broken));
        let limit = self.limit();
        let appended = self.session.append(at, None, limit, None, broken).await;
        assert!(matches!(appended, Err(Error::Body(_))), "{appended:?}");
        self.promised = self.promised.max(at + bytes.len() as u64);
    }

    async fn corrupt(&mut self, len: u64) {
        let (at, mut bytes) = self.next(len).await;
        let check = checksum(&bytes);
        // All zeros, which no chunk ahead contradicts by chance only where it is zero as well.
        bytes.fill(0);
        let limit = self.limit();
        let appended = self
            .session
            .append(at, None, limit, Some(check), body(&bytes));
        match appended.await {
            Err(Error::ChecksumMismatch | Error::ChunkConflict) => {}
            // Nothing was left to send.
            Ok(offset) => assert_eq!(offset, at),
            other => panic!("{other:?}"),
        }
        assert_eq!(self.session.offset().await.unwrap(), at, "nothing counts");
    }

    async fn chunk(&mut self, index: u64, contradict: bool) {
        if self.session.facts().size.is_none() || index >= self.session.facts().chunk_count() {
            return;
        }
        let right = chunk(&self.whole, index).to_vec();
        if !contradict {
            put(&self.session, index, &right).await.unwrap();
            return;
        }
        // Kept bytes are not overwritten, whatever becomes of the request; where nothing is kept,
        // wrong bytes would be as good as any, so this one fails by its digest.
        let wrong: Vec<u8> = right.iter().map(|byte| !byte).collect();
        let put = self
            .session
            .put_chunk(index, None, Some([0; 32]), body(&wrong));
        put.await.unwrap_err();
    }

    fn restart(&mut self) {
        self.session = Place::reload(&self.place);
    }

    async fn tell(&mut self, dies: bool) {
        if self.session.facts().size.is_some() {
            return;
        }
        let turn: Turn = self.session.take_turn().await.unwrap();
        self.session.check_length(self.size()).await.unwrap();
        // The row is written first.
        self.place.facts.size = Some(self.size());
        if dies {
            drop(turn);
            self.restart();
        } else {
            self.session.settle_length(self.size(), turn).await.unwrap();
        }
    }

    fn damage(&mut self, at: u64, side: bool, cut: bool) {
        let (layout, id) = (self.place.layout(), self.place.facts.id);
        let path = if side {
            layout.side(id)
        } else {
            layout.data(id)
        };
        let Ok(file) = OpenOptions::new().read(true).write(true).open(path) else {
            return;
        };
        let len = file.metadata().unwrap().len();
        if len == 0 {
            return;
        }
        if cut {
            file.set_len(at % len).unwrap();
        } else {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at % len).unwrap();
            file.write_all_at(&[byte[0] ^ 0x40], at % len).unwrap();
        }
        self.restart();
        // Whatever is left is true; more was not promised after damage.
        self.promised = 0;
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Append { len, check } => self.append(len, check).await,
            Step::Break { len } => self.break_off(len).await,
            Step::Corrupt { len } => self.corrupt(len).await,
            Step::Contradict { index } => self.chunk(index, true).await,
            Step::Chunk { index } => self.chunk(index, false).await,
            Step::Restart => self.restart(),
            Step::TellLength { dies } => self.tell(dies).await,
            Step::Damage { at, side, cut } => self.damage(at, side, cut),
        }
        let offset = self.session.offset().await.unwrap();
        assert!(offset >= self.promised, "{offset} < {}", self.promised);
        self.promised = offset;
    }

    async fn finish(&mut self) {
        self.tell(false).await;
        while self.session.offset().await.unwrap() < self.size() {
            self.append(u64::MAX / 2, false).await;
        }
        self.restart();
        let values = self.session.complete_values().unwrap();
        let outboard = Outboard::from_values(self.size(), values);
        assert_eq!(*outboard.root(), root_of(&self.whole));
        let data = std::fs::read(self.place.layout().data(self.place.facts.id)).unwrap();
        assert!(data == self.whole);
    }
}

fn checksum(bytes: &[u8]) -> Check {
    let value = blake3::hash(bytes).as_bytes().to_vec();
    let checksum = Checksum::new(Algorithm::Blake3, value).unwrap();
    Box::new(move || Ok(checksum))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever happens: the bytes and the root are right in the end, and the offset never falls
    /// behind what was acknowledged unless a file was damaged.
    #[test]
    fn any_order_of_events_makes_the_content(
        size in SIZES,
        is_told in any::<bool>(),
        steps in prop::collection::vec(step(), 0..14),
    ) {
        runtime().block_on(async {
            let mut upload = Upload::new(size, is_told);
            for step in steps {
                upload.take(step).await;
            }
            upload.finish().await;
        });
    }
}

/// Damage before the beginning of a group costs the damaged group alone, wherever the bytes end that
/// mend it.
#[tokio::test]
async fn a_beginning_that_is_kept_ahead_stays() {
    let group = 1 << 20;
    for len in [group, group + 1, 1_884_124, 1_884_125] {
        let mut upload = Upload::new(2_052_082, false);
        upload.break_off(1_884_124).await;
        upload.damage(0, false, false);
        assert_eq!(upload.session.offset().await.unwrap(), 0);
        upload.append(len, false).await;
        let kept = upload.session.offset().await.unwrap();
        assert_eq!(kept, len.max(1_884_124));
        upload.finish().await;
    }
}

/// The group of a file that has only one is the root, which nobody knows before the length.
#[tokio::test]
async fn lengths_at_the_edge_of_a_group() {
    for size in [
        1,
        GROUP_BYTES - 1,
        GROUP_BYTES,
        GROUP_BYTES + 1,
        2 * GROUP_BYTES,
    ] {
        for dies in [false, true] {
            let mut upload = Upload::new(size, false);
            upload.append(size, false).await;
            upload.tell(dies).await;
            assert!(upload.session.is_whole());
            upload.finish().await;
        }
    }
}

#[tokio::test]
async fn a_wrong_offset_or_too_many_bytes_write_nothing() {
    let mut upload = Upload::new(100, true);
    upload.append(10, false).await;
    for at in [0, 9, 11, 100, u64::MAX] {
        let refused = upload
            .session
            .append(at, Some(1), upload.limit(), None, body(b"x"));
        let refused = refused.await;
        let right = matches!(
            refused,
            Err(Error::OffsetMismatch { expected: 10, provided }) if provided == at
        );
        assert!(right, "{refused:?}");
    }
    let long = vec![7; 91];
    let refused = upload
        .session
        .append(10, Some(91), upload.limit(), None, body(&long));
    let refused = refused.await;
    assert!(
        matches!(
            refused,
            Err(Error::Length {
                expected: 90,
                found: None
            })
        ),
        "{refused:?}"
    );
    assert_eq!(upload.session.offset().await.unwrap(), 10);
    upload.finish().await;
}

#[tokio::test]
async fn a_newer_request_and_a_question_stop_the_writer_which_keeps_what_came() {
    let mut upload = Upload::new(100, true);
    let begin = |upload: &Upload, at: u64| {
        let (session, limit) = (upload.session.clone(), upload.limit());
        let bytes = upload.whole[to_index(at)..to_index(at) + 10].to_vec();
        let stuck = body(&bytes).chain(stream::pending());
        tokio::spawn(async move { session.append(at, None, limit, None, Box::pin(stuck)).await })
    };
    let first = begin(&upload, 0);
    while upload.session.map().sequential.is_none() {
        tokio::task::yield_now().await;
    }
    let offset = upload.session.offset().await.unwrap();
    assert!(matches!(first.await.unwrap(), Err(Error::Preempted)));
    assert!(offset == 0 || offset == 10, "{offset}");
    let second = begin(&upload, offset);
    while upload.session.map().sequential.is_none() {
        tokio::task::yield_now().await;
    }
    // Its offset is wrong, but whoever sends it has given the other up.
    let third = upload
        .session
        .append(99, None, upload.limit(), None, body(b"x"));
    assert!(matches!(third.await, Err(Error::OffsetMismatch { .. })));
    assert!(matches!(second.await.unwrap(), Err(Error::Preempted)));
    upload.finish().await;
}

#[tokio::test]
async fn a_length_is_told_once_and_holds_what_came() {
    let mut upload = Upload::new(100, false);
    upload.append(50, false).await;
    let short = upload.session.check_length(49).await;
    assert!(
        matches!(
            short,
            Err(Error::LengthConflict {
                known: 50,
                told: 49
            })
        ),
        "{short:?}"
    );
    let early = put(&upload.session, 0, &upload.whole).await;
    assert!(matches!(early, Err(Error::LengthUnknown)), "{early:?}");
    assert!(matches!(
        upload.session.complete_values(),
        Err(Error::LengthUnknown)
    ));
    upload.tell(false).await;
    put(&upload.session, 0, &upload.whole).await.unwrap();
    upload.finish().await;
}

/// Parts of any length, at any place, come out whole.
#[tokio::test]
async fn bytes_of_other_files_are_taken_over() {
    let mut upload = Upload::new(3 * GROUP_BYTES + 77, true);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &upload.whole).unwrap();
    let from = Arc::new(std::fs::File::open(file.path()).unwrap());
    upload.append(13, false).await;
    upload.chunk(1, false).await;
    for end in [14, GROUP_BYTES + 5, 3 * GROUP_BYTES + 77] {
        let at = upload.session.offset().await.unwrap();
        let range = at..end.max(at);
        upload
            .session
            .copy_from(at, from.clone(), range)
            .await
            .unwrap();
    }
    assert!(upload.session.is_whole());
    upload.finish().await;
}
