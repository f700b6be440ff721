//! A session against real files, without a database.

use std::{fs::OpenOptions, os::unix::fs::FileExt as _};

use bytes::Bytes;
use cloudstore_content::{Outboard, tree::TreeHasher};
use futures::{Stream, StreamExt as _, stream};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::engine::body::BodyError;

mod sequential;

const CHUNK: u64 = GROUP_BYTES;

fn content(size: u64) -> Vec<u8> {
    (0..size)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0])
        .collect()
}

fn root_of(content: &[u8]) -> Root {
    let mut hasher = TreeHasher::new();
    hasher.update(content);
    *hasher.finish().root()
}

struct Place {
    dir: TempDir,
    facts: Facts,
}

impl Place {
    fn new(size: u64) -> Self {
        let facts = Facts {
            id: Uuid::now_v7(),
            account: Uuid::now_v7(),
            path: "/x".into(),
            size: Some(size),
            chunk_size: CHUNK,
            expires_at_ms: i64::MAX,
            declared: Declared::default(),
            part: false,
            note: String::new(),
            reserved: size,
        };
        Self {
            dir: tempfile::tempdir().unwrap(),
            facts,
        }
    }

    fn layout(&self) -> Layout {
        Layout::new(self.dir.path())
    }

    fn session(&self) -> Arc<Session> {
        Arc::new(Session::new(self.facts.clone(), self.layout()))
    }

    /// As after a restart.
    fn reload(&self) -> Arc<Session> {
        Arc::new(Session::load(self.facts.clone(), self.layout()).unwrap())
    }
}

fn body(bytes: &[u8]) -> impl Stream<Item = Result<Bytes, BodyError>> + Unpin + use<> {
    let frames: Vec<_> = bytes
        .chunks(100_000)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    stream::iter(frames)
}

fn chunk(content: &[u8], index: u64) -> &[u8] {
    let chunk = usize::try_from(CHUNK).unwrap();
    let start = usize::try_from(index).unwrap() * chunk;
    &content[start..content.len().min(start + chunk)]
}

async fn put(session: &Arc<Session>, index: u64, bytes: &[u8]) -> Result<()> {
    session
        .put_chunk(index, Some(bytes.len() as u64), None, body(bytes))
        .await
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    /// Any order, all at once, with a restart at any point: the bytes and the root are right.
    #[test]
    fn chunks_in_any_order_make_the_content(
        size in 1_u64..5_500_000,
        order in Just((0_u64..6).collect::<Vec<_>>()).prop_shuffle(),
        restart_after in 0_usize..6,
    ) {
        let whole = content(size);
        let place = Place::new(size);
        let order: Vec<u64> = order.into_iter().filter(|index| *index < place.facts.chunk_count()).collect();
        let session = runtime().block_on(async {
            let (before, after) = order.split_at(restart_after.min(order.len()));
            let session = place.session();
            futures::future::join_all(before.iter().map(|index| put(&session, *index, chunk(&whole, *index))))
                .await.into_iter().collect::<Result<Vec<_>>>().unwrap();
            drop(session);
            let session = place.reload();
            let kept: u64 = before.iter().map(|index| chunk(&whole, *index).len() as u64).sum();
            assert_eq!(session.received(), kept, "acknowledged chunks survive");
            futures::future::join_all(after.iter().map(|index| put(&session, *index, chunk(&whole, *index))))
                .await.into_iter().collect::<Result<Vec<_>>>().unwrap();
            session
        });
        let outboard = Outboard::from_values(size, session.complete_values().unwrap());
        prop_assert_eq!(*outboard.root(), root_of(&whole));
        prop_assert!(std::fs::read(place.layout().data(place.facts.id)).unwrap() == whole);
    }

    /// Whatever is damaged while nobody looks: a chunk that is still reported as kept is right.
    #[test]
    fn damage_is_forgotten_never_trusted(
        damage_at in 0_u64..3_500_000,
        sidecar in any::<bool>(),
        cut in any::<bool>(),
    ) {
        let size = 3_500_000;
        let whole = content(size);
        let place = Place::new(size);
        runtime().block_on(async {
            let session = place.session();
            for index in 0..4 {
                put(&session, index, chunk(&whole, index)).await.unwrap();
            }
        });
        let path = if sidecar { place.layout().side(place.facts.id) } else { place.layout().data(place.facts.id) };
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let at = damage_at % file.metadata().unwrap().len();
        if cut {
            file.set_len(at).unwrap();
        } else {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
        }
        let session = place.reload();
        let missing: Vec<u64> = session.missing().into_iter().flat_map(|[a, b]| a..=b).collect();
        runtime().block_on(async {
            for index in missing {
                put(&session, index, chunk(&whole, index)).await.unwrap();
            }
        });
        let outboard = Outboard::from_values(size, session.complete_values().unwrap());
        prop_assert_eq!(*outboard.root(), root_of(&whole));
        prop_assert!(std::fs::read(place.layout().data(place.facts.id)).unwrap() == whole);
    }
}

#[tokio::test]
async fn a_repeated_chunk_must_be_the_same_and_the_first_one_stays() {
    let whole = content(2 * CHUNK);
    let place = Place::new(2 * CHUNK);
    let session = place.session();
    put(&session, 0, chunk(&whole, 0)).await.unwrap();
    put(&session, 0, chunk(&whole, 0)).await.unwrap();
    let other = chunk(&whole, 1);
    assert!(matches!(
        put(&session, 0, other).await,
        Err(Error::ChunkConflict)
    ));
    put(&session, 1, other).await.unwrap();
    assert!(std::fs::read(place.layout().data(place.facts.id)).unwrap() == whole);
}

#[tokio::test]
async fn wrong_chunks_are_refused_and_nothing_of_them_counts() {
    let whole = content(CHUNK + 10);
    let place = Place::new(CHUNK + 10);
    let session = place.session();
    let first = chunk(&whole, 0);
    assert!(matches!(
        put(&session, 2, first).await,
        Err(Error::ChunkRange { index: 2, count: 2 })
    ));
    assert!(matches!(
        put(&session, 1, first).await,
        Err(Error::Length {
            expected: 10,
            found: Some(CHUNK)
        })
    ));
    let long = session.put_chunk(1, None, None, body(first)).await;
    assert!(matches!(
        long,
        Err(Error::Length {
            expected: 10,
            found: None
        })
    ));
    let short = session.put_chunk(1, None, None, body(&first[..9])).await;
    assert!(matches!(
        short,
        Err(Error::Length {
            expected: 10,
            found: Some(9)
        })
    ));
    let wrong_digest = session.put_chunk(0, None, Some([7; 32]), body(first)).await;
    assert!(matches!(wrong_digest, Err(Error::DigestMismatch(_))));
    let broken = stream::iter([
        Ok(Bytes::copy_from_slice(&first[..5])),
        Err(BodyError("reset".into())),
    ]);
    assert!(matches!(
        session.put_chunk(0, None, None, broken).await,
        Err(Error::Body(_))
    ));
    assert_eq!(session.missing(), [[0, 1]]);
    assert!(matches!(
        session.complete_values(),
        Err(Error::Incomplete(_))
    ));
}

#[tokio::test]
async fn an_abandoned_request_frees_its_place() {
    let whole = content(CHUNK);
    let place = Place::new(CHUNK);
    let session = place.session();
    tokio::select! {
        stuck = session.put_chunk(0, None, None, stream::pending()) => panic!("it cannot end: {stuck:?}"),
        () = claimed(&session) => {}
    }
    put(&session, 0, &whole).await.unwrap();
}

/// Resolves when somebody writes a chunk.
async fn claimed(session: &Arc<Session>) {
    while session.map().writers.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_stalled_writer_gives_way() {
    let whole = content(CHUNK);
    let place = Place::new(CHUNK);
    let session = place.session();
    let stalled = {
        let session = session.clone();
        tokio::spawn(async move { session.put_chunk(0, None, None, stream::pending()).await })
    };
    claimed(&session).await;
    put(&session, 0, &whole).await.unwrap();
    assert!(matches!(stalled.await.unwrap(), Err(Error::Preempted)));
}

#[tokio::test]
async fn two_clients_with_one_chunk_do_not_interleave() {
    let (a, b) = (
        vec![1; usize::try_from(CHUNK).unwrap()],
        vec![2; usize::try_from(CHUNK).unwrap()],
    );
    let place = Place::new(CHUNK);
    let session = place.session();
    let (first, second) = tokio::join!(put(&session, 0, &a), put(&session, 0, &b));
    let winner = match (first, second) {
        (Ok(()), Err(Error::ChunkConflict)) => a,
        (Err(Error::ChunkConflict), Ok(())) => b,
        other => panic!("one must win and the other must be told: {other:?}"),
    };
    assert!(std::fs::read(place.layout().data(place.facts.id)).unwrap() == winner);
}

#[tokio::test]
async fn a_closed_session_takes_nothing() {
    let whole = content(CHUNK);
    let place = Place::new(CHUNK);
    let session = place.session();
    assert!(session.close());
    assert!(matches!(put(&session, 0, &whole).await, Err(Error::Gone)));
    assert!(!session.close());
}
