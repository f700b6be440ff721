//! Reading from staged copies, a local store and a remote one.

use std::{ops::Range, sync::atomic::Ordering};

use cloudstore_backends::blob::{BlobStore as _, Key};
use cloudstore_content::{Damaged, GROUP_BYTES};
use cloudstore_download::{
    Config,
    reader::{Blob, Error, Reader},
};
use futures::{StreamExt as _, TryStreamExt as _};
use proptest::prelude::*;
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::store::{Disk, content};

/// Who reads does not matter here.
const ANYBODY: Uuid = Uuid::nil();

/// Everything of a range, keeping every piece until the end.
async fn read(reader: &Reader, blob: &Blob, range: Range<u64>) -> Result<Vec<u8>, Error> {
    let pieces: Vec<_> = reader
        .open(ANYBODY, blob)
        .await?
        .read(range)
        .await?
        .try_collect()
        .await?;
    Ok(pieces.concat())
}

fn slice(content: &[u8], range: &Range<u64>) -> Vec<u8> {
    let at = |at: u64| usize::try_from(at).unwrap().min(content.len());
    content[at(range.start)..at(range.end)].to_vec()
}

/// Sizes around the borders of groups, and any others.
fn sizes() -> impl Strategy<Value = usize> {
    let group = usize::try_from(GROUP_BYTES).unwrap();
    let borders = prop::sample::select(vec![
        0,
        1,
        1_023,
        65_535,
        65_536,
        group - 1,
        group,
        group + 1,
        2 * group,
        3 * group + 1,
    ]);
    prop_oneof![borders, 0..4 * group]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn ranges_equal_slices(
        size in sizes(),
        seed in any::<u64>(),
        ranges in prop::collection::vec((0_u64..=1_000, 0_u64..=1_000), 1..5),
    ) {
        Runtime::new().unwrap().block_on(async {
            let disk = Disk::new();
            let content = content(size, seed);
            let (stored, staged) = (disk.store(&content).await, disk.stage(&content));
            let (local, (remote, _)) = (disk.reader(), disk.remote_reader());
            let at = |thousandths: u64| size as u64 * thousandths / 1_000;
            let ranges = ranges.into_iter().map(|(a, b)| at(a.min(b))..at(a.max(b)));
            for range in ranges.chain(std::iter::once(0..size as u64)) {
                let expected = slice(&content, &range);
                for (reader, blob) in [(&local, &stored), (&local, &staged), (&remote, &stored)] {
                    let found = read(reader, blob, range.clone()).await.unwrap();
                    assert!(found == expected, "{range:?} of {size}");
                }
            }
        });
    }
}

#[tokio::test]
async fn nothing_of_a_damaged_group_is_handed_out() {
    let disk = Disk::new();
    let content = content(4 << 20, 1);
    let blob = disk.store(&content).await;
    disk.damage(&blob.root, 2 * GROUP_BYTES + 77);
    let (remote, _) = disk.remote_reader();
    for reader in [disk.reader(), remote] {
        let opened = reader.open(ANYBODY, &blob).await.unwrap();
        let mut pieces = opened.read(0..blob.size).await.unwrap();
        let mut received = Vec::new();
        let error = loop {
            match pieces.next().await.expect("damage is never a clean end") {
                Ok(piece) => received.extend_from_slice(&piece),
                Err(error) => break error,
            }
        };
        assert!(
            matches!(error, Error::Damaged(Damaged::Group(2))),
            "{error}"
        );
        assert!(
            received == content[..2 << 20],
            "what came before the damage is right"
        );
        // Groups that are not damaged can be read, those that are fail before anything is sent.
        let last = read(&reader, &blob, 3 * GROUP_BYTES..blob.size)
            .await
            .unwrap();
        assert!(last == content[3 << 20..]);
        let within = opened.read(2 * GROUP_BYTES..2 * GROUP_BYTES + 1).await;
        assert!(matches!(within.err(), Some(Error::Damaged(_))));
    }
}

#[tokio::test]
async fn a_truncated_object_is_damaged() {
    let disk = Disk::new();
    let blob = disk.store(&content(3 << 20, 1)).await;
    let file = std::fs::File::options()
        .write(true)
        .open(disk.object(&Key::blob(&blob.root)));
    file.unwrap().set_len((2 << 20) + 5).unwrap();
    let (remote, _) = disk.remote_reader();
    for reader in [disk.reader(), remote] {
        let outcome = read(&reader, &blob, 0..blob.size).await;
        assert!(matches!(outcome, Err(Error::Damaged(Damaged::Group(2)))));
    }
}

#[tokio::test]
async fn a_wrong_outboard_is_damaged() {
    let disk = Disk::new();
    let blob = disk.store(&content(3 << 20, 1)).await;
    let path = disk.object(&Key::outboard(&blob.root));
    let mut values = std::fs::read(&path).unwrap();
    values[40] ^= 1;
    std::fs::write(&path, values).unwrap();
    let outcome = disk.reader().open(ANYBODY, &blob).await;
    assert!(matches!(
        outcome.err(),
        Some(Error::Damaged(Damaged::Outboard))
    ));
}

#[tokio::test]
async fn a_blob_that_moves_is_found() {
    let disk = Disk::new();
    let content = content(3 << 20, 1);
    let staged = disk.stage(&content);
    let (_, id) = staged.staged.clone().unwrap();
    let reader = disk.reader();
    // Looked up while staged, opened, then moved: the open copy stays readable.
    let before = reader.open(ANYBODY, &staged).await.unwrap();
    disk.store(&content).await;
    disk.layout.remove(id).unwrap();
    let pieces = before.read(0..staged.size).await.unwrap();
    assert!(pieces.try_collect::<Vec<_>>().await.unwrap().concat() == content);
    // Looked up while staged, opened after it was moved.
    assert!(read(&reader, &staged, 0..staged.size).await.unwrap() == content);
    // No copy left.
    disk.blobs.delete(&Key::blob(&staged.root)).await.unwrap();
    assert!(matches!(
        reader.open(ANYBODY, &staged).await.err(),
        Some(Error::Gone)
    ));
}

#[tokio::test]
async fn a_damaged_staged_copy_is_passed_over() {
    let disk = Disk::new();
    let content = content(3 << 20, 1);
    let staged = disk.stage(&content);
    let (_, id) = staged.staged.clone().unwrap();
    std::fs::write(disk.layout.data(id), b"short").unwrap();
    let reader = disk.reader();
    assert!(matches!(
        reader.open(ANYBODY, &staged).await.err(),
        Some(Error::Damaged(_))
    ));
    disk.store(&content).await;
    assert!(read(&reader, &staged, 0..staged.size).await.unwrap() == content);
}

#[tokio::test]
async fn two_groups_in_memory_at_most() {
    let disk = Disk::new();
    let blob = disk.store(&content(8 << 20, 1)).await;
    let (reader, pulled) = disk.remote_reader();
    let mut pieces = reader
        .open(ANYBODY, &blob)
        .await
        .unwrap()
        .read(0..blob.size)
        .await
        .unwrap();
    let mut received = 0;
    while let Some(piece) = pieces.next().await {
        received += piece.unwrap().len() as u64;
        let ahead = pulled.load(Ordering::SeqCst) - received;
        assert!(ahead <= GROUP_BYTES, "{ahead} bytes read ahead");
    }
    assert_eq!(received, blob.size);
}

#[tokio::test]
async fn streams_are_bounded_and_their_places_come_back() {
    let disk = Disk::new();
    let blob = disk.store(&content(3 << 20, 1)).await;
    let config = Config {
        max_streams: 1,
        max_streams_per_account: 1,
        ..Config::default()
    };
    let reader = Reader::new(&config, disk.blobs.clone(), disk.staged());
    let mut pieces = reader
        .open(ANYBODY, &blob)
        .await
        .unwrap()
        .read(0..blob.size)
        .await
        .unwrap();
    assert!(matches!(
        reader.open(ANYBODY, &blob).await.err(),
        Some(Error::Overloaded)
    ));
    let last = pieces
        .by_ref()
        .map(Result::unwrap)
        .collect::<Vec<_>>()
        .await;
    assert!(
        reader.open(ANYBODY, &blob).await.is_err(),
        "bytes that are still to be sent hold their place"
    );
    drop((pieces, last));
    // The reading task ends by itself right after its last group.
    while reader.open(ANYBODY, &blob).await.is_err() {
        tokio::task::yield_now().await;
    }
}
