//! What every access to staged copies must do, sentence by sentence of the port's documentation.

use std::{fs::OpenOptions, os::unix::fs::FileExt as _, sync::Arc};

use async_trait::async_trait;
use cloudstore_content::{
    Outboard, Root,
    tree::{TreeHasher, group_count},
};
use futures::TryStreamExt as _;
use uuid::Uuid;

use super::{Content, Error, HEADER_MAGIC, Layout, Staged, StagedBlobs, VALUES_AT};

/// Lengths around the borders of groups.
const SIZES: [usize; 6] = [0, 1, 1 << 20, (1 << 20) + 1, 3 << 20, (3 << 20) + 4_321];
/// A blob of several groups, the last of them short.
const LARGE: usize = SIZES[5];

/// A staging node and a way to reach it.
#[async_trait]
pub trait Site: Send + Sync {
    /// What is tested.
    fn staged(&self) -> Arc<dyn StagedBlobs>;
    /// The name of the node.
    fn node(&self) -> &str;
    /// The node's directory.
    fn layout(&self) -> &Layout;
    /// Makes content a finished blob whose staged copy is on the node. Most sites just [`write()`]
    /// it.
    async fn stage(&self, content: &[u8]) -> Uuid {
        let id = Uuid::now_v7();
        write(self.layout(), id, content);
        id
    }
}

/// Content that differs from offset to offset and from seed to seed.
#[must_use]
pub fn content(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = vec![0; len.next_multiple_of(8)];
    for word in bytes.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The outboard of content.
#[must_use]
pub fn outboard(content: &[u8]) -> Outboard {
    let mut hasher = TreeHasher::new();
    hasher.update(content);
    hasher.finish()
}

/// Leaves the files of a finished copy.
///
/// # Panics
/// When they cannot be written.
pub fn write(layout: &Layout, id: Uuid, content: &[u8]) {
    let outboard = outboard(content);
    std::fs::write(layout.data(id), content).expect("the data is written");
    if group_count(outboard.size()) > 1 {
        let mut side = vec![0; usize::try_from(VALUES_AT).expect("a short header")];
        side[..8].copy_from_slice(HEADER_MAGIC);
        side[8..16].copy_from_slice(&outboard.size().to_le_bytes());
        side.extend(outboard.encode());
        std::fs::write(layout.side(id), side).expect("the values are written");
    }
}

/// Runs the whole suite.
///
/// # Panics
/// When a promise is broken.
pub async fn contract(site: &dyn Site) {
    every_size_in_full_and_in_ranges(site).await;
    what_is_not_there(site).await;
    wrong_lengths_and_roots(site).await;
    damaged_files(site).await;
    removal(site).await;
    a_copy_that_goes_away(site).await;
}

async fn open(site: &dyn Site, id: Uuid, size: usize, root: &Root) -> Result<Staged, Error> {
    let staged = site.staged();
    staged.open(site.node(), id, size as u64, root).await
}

async fn read(content: &Content, from: usize, to: usize) -> std::io::Result<Vec<u8>> {
    let stream = content.read(from as u64..to as u64).await;
    let stream = stream.map_err(std::io::Error::other)?;
    let pieces: Vec<_> = stream.try_collect().await?;
    Ok(pieces.concat())
}

async fn every_size_in_full_and_in_ranges(site: &dyn Site) {
    for (seed, size) in (1..).zip(SIZES) {
        let bytes = content(size, seed);
        let expected = outboard(&bytes);
        let id = site.stage(&bytes).await;
        let copy = open(site, id, size, expected.root()).await;
        let copy = copy.unwrap_or_else(|error| panic!("{size} bytes: {error}"));
        assert_eq!(copy.outboard.root(), expected.root());
        assert_eq!(copy.outboard.values(), expected.values());
        let ranges = [
            (0, size),
            (0, size.min(1)),
            (size.saturating_sub(1), size),
            (size / 3, size / 2 + 1),
        ];
        for (from, to) in ranges
            .into_iter()
            .filter(|(from, to)| from < to && *to <= size)
        {
            let found = read(&copy.content, from, to).await;
            let found = found.unwrap_or_else(|error| panic!("{from}..{to} of {size}: {error}"));
            assert!(found == bytes[from..to], "{from}..{to} of {size}");
        }
    }
}

async fn what_is_not_there(site: &dyn Site) {
    let blob = outboard(&content(LARGE, 10));
    for size in [1, LARGE] {
        let missing = open(site, Uuid::now_v7(), size, blob.root()).await;
        assert!(
            matches!(missing, Err(Error::NotFound)),
            "{size}: {missing:?}"
        );
    }
    let id = site.stage(&content(LARGE, 11)).await;
    std::fs::remove_file(site.layout().side(id)).expect("it was staged");
    let found = open(site, id, LARGE, blob.root()).await;
    assert!(
        matches!(found, Err(Error::NotFound)),
        "no values: {found:?}"
    );
}

async fn wrong_lengths_and_roots(site: &dyn Site) {
    for size in [1 << 20, LARGE] {
        let bytes = content(size, 20);
        let root = *outboard(&bytes).root();
        let id = site.stage(&bytes).await;
        for wrong in [size - 1, size + 1, size + (1 << 20)] {
            let found = open(site, id, wrong, &root).await;
            assert!(matches!(found, Err(Error::Damaged)), "{wrong}: {found:?}");
        }
    }
    let bytes = content(LARGE, 21);
    let id = site.stage(&bytes).await;
    let found = open(site, id, LARGE, &[7; 32]).await;
    assert!(
        matches!(found, Err(Error::Damaged)),
        "another root: {found:?}"
    );
}

async fn damaged_files(site: &dyn Site) {
    let change = |path, at, len: Option<u64>| {
        let file = OpenOptions::new().write(true).open(path);
        let file = file.expect("it was staged");
        file.write_all_at(b"damage", at)
            .expect("the file can be written");
        if let Some(len) = len {
            file.set_len(len).expect("the file can be cut");
        }
    };
    for (seed, what) in (30..).zip(["a value", "the values' end", "the data's end"]) {
        let bytes = content(LARGE, seed);
        let root = *outboard(&bytes).root();
        let id = site.stage(&bytes).await;
        let (data, side) = (site.layout().data(id), site.layout().side(id));
        match what {
            "a value" => change(side, VALUES_AT + 40, None),
            "the values' end" => change(side, 64, Some(VALUES_AT + 50)),
            _ => change(data, 0, Some(LARGE as u64 - 1)),
        }
        let found = open(site, id, LARGE, &root).await;
        assert!(matches!(found, Err(Error::Damaged)), "{what}: {found:?}");
    }
}

async fn removal(site: &dyn Site) {
    let (staged, layout) = (site.staged(), site.layout());
    let bytes = [content(LARGE, 40), content(5, 41), content(LARGE, 42)];
    let mut ids = Vec::new();
    for bytes in &bytes {
        ids.push(site.stage(bytes).await);
    }
    let removed = [ids[0], Uuid::now_v7(), ids[1]];
    for _ in 0..2 {
        let outcome = staged.remove(site.node(), &removed).await;
        outcome.expect("also what is gone can be removed");
    }
    for (id, bytes) in ids.iter().zip(&bytes).take(2) {
        assert!(!layout.data(*id).exists() && !layout.side(*id).exists());
        let found = open(site, *id, bytes.len(), outboard(bytes).root()).await;
        assert!(matches!(found, Err(Error::NotFound)), "{found:?}");
    }
    let kept = open(site, ids[2], LARGE, outboard(&bytes[2]).root()).await;
    kept.expect("the others stay");
    let many: Vec<Uuid> = (0..1_001).map(|_| Uuid::now_v7()).chain([ids[2]]).collect();
    let outcome = staged.remove(site.node(), &many).await;
    outcome.expect("any number can be removed");
    assert!(!layout.data(ids[2]).exists());
    staged
        .remove(site.node(), &[])
        .await
        .expect("nothing to do");
}

/// Whatever a reader still gets of a copy that is removed or cut meanwhile, it is never short.
async fn a_copy_that_goes_away(site: &dyn Site) {
    for seed in [50, 51] {
        let bytes = content(LARGE, seed);
        let id = site.stage(&bytes).await;
        let copy = open(site, id, LARGE, outboard(&bytes).root()).await;
        let copy = copy.expect("it was staged");
        if seed == 50 {
            let removed = site.staged().remove(site.node(), &[id]).await;
            removed.expect("it can be removed");
        } else {
            let file = OpenOptions::new().write(true).open(site.layout().data(id));
            let cut = file.and_then(|file| file.set_len(LARGE as u64 / 2));
            cut.expect("the file can be cut");
        }
        if let Ok(found) = read(&copy.content, 0, LARGE).await {
            assert!(found == bytes);
        }
    }
}
