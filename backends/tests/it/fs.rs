//! The blob store in a directory.

use std::{fs::File, os::unix::fs::MetadataExt as _, path::Path, sync::Arc};

use bytes::Bytes;
use cloudstore_backends::{
    blob::{BlobStore as _, Key, Source, fs::FsBlobStore, testing},
    flush::Flusher,
};

fn entries(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

#[tokio::test]
async fn contract() {
    let dir = tempfile::tempdir().unwrap();
    let store = FsBlobStore::open(dir.path().join("a/b/blobs"), Flusher::new()).unwrap();
    testing::contract(Arc::new(store)).await;
    assert_eq!(
        entries(&dir.path().join("a/b/blobs/tmp")),
        ["lock"],
        "nothing is left over"
    );
}

#[tokio::test]
async fn files_of_the_same_file_system_are_linked_not_copied() {
    let dir = tempfile::tempdir().unwrap();
    let store = FsBlobStore::open(dir.path().join("blobs"), Flusher::new()).unwrap();
    let path = dir.path().join("staged");
    std::fs::write(&path, b"content").unwrap();
    let key = Key::blob(&[1; 32]);
    store
        .put(
            &key,
            Source::File {
                path: path.clone(),
                len: 7,
            },
        )
        .await
        .unwrap();
    let object = store.open_local(&key).await.unwrap().unwrap();
    assert_eq!(
        object.metadata().unwrap().ino(),
        File::open(&path).unwrap().metadata().unwrap().ino()
    );
}

#[tokio::test]
async fn files_of_another_file_system_are_copied() {
    let dir = tempfile::tempdir().unwrap();
    let other = other_file_system(dir.path());
    let store = FsBlobStore::open(dir.path().join("blobs"), Flusher::new()).unwrap();
    let path = other.path().join("staged");
    std::fs::write(&path, b"content").unwrap();
    let key = Key::blob(&[2; 32]);
    for _ in 0..2 {
        store
            .put(
                &key,
                Source::File {
                    path: path.clone(),
                    len: 7,
                },
            )
            .await
            .unwrap();
    }
    std::fs::remove_file(&path).unwrap();
    let mut object = store.open_local(&key).await.unwrap().unwrap();
    assert_eq!(std::io::read_to_string(&mut object).unwrap(), "content");
    assert_eq!(entries(&dir.path().join("blobs/tmp")), ["lock"]);
}

/// A directory on another file system than `dir`; Linux has one in memory.
fn other_file_system(dir: &Path) -> tempfile::TempDir {
    let here = std::fs::metadata(dir).unwrap().dev();
    let candidates = ["/dev/shm", env!("CARGO_TARGET_TMPDIR")];
    let other = candidates.into_iter().find(|candidate| {
        std::fs::metadata(candidate).is_ok_and(|elsewhere| elsewhere.dev() != here)
    });
    tempfile::tempdir_in(other.expect("a second file system")).unwrap()
}

#[tokio::test]
async fn a_put_replaces_a_damaged_object() {
    let dir = tempfile::tempdir().unwrap();
    let store = FsBlobStore::open(dir.path().join("blobs"), Flusher::new()).unwrap();
    let key = Key::blob(&[3; 32]);
    let path = dir.path().join("staged");
    std::fs::write(&path, b"content").unwrap();
    for source in [
        Source::File {
            path: path.clone(),
            len: 7,
        },
        Source::Bytes(Bytes::from_static(b"content")),
    ] {
        store
            .put(&key, Source::Bytes(Bytes::from_static(b"rotten")))
            .await
            .unwrap();
        store.put(&key, source).await.unwrap();
        let mut object = store.open_local(&key).await.unwrap().unwrap();
        assert_eq!(std::io::read_to_string(&mut object).unwrap(), "content");
    }
}

#[tokio::test]
async fn leftovers_go_at_the_next_start_but_not_while_the_store_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let leftover = dir.path().join("tmp/leftover");
    let first = FsBlobStore::open(dir.path(), Flusher::new()).unwrap();
    std::fs::write(&leftover, b"unfinished").unwrap();
    let second = FsBlobStore::open(dir.path(), Flusher::new()).unwrap();
    assert!(leftover.exists());
    drop((first, second));
    FsBlobStore::open(dir.path(), Flusher::new()).unwrap();
    assert!(!leftover.exists());
}
