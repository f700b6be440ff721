//! What every blob store must do, sentence by sentence of the port's documentation.

use std::{
    fs::File,
    io,
    ops::Range,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use cloudstore_content::tree::TreeHasher;
use futures::{StreamExt as _, TryStreamExt as _, future, stream};

use super::{BlobStore, ByteStream, Error, KEYS, Key, Source, Stat};

/// More than one part, of whatever size parts are, and no multiple of anything.
const LARGE: usize = (20 << 20) + 12_345;

/// By how much a store's clock, or its way to write times, may differ from ours.
const CLOCKS_DIFFER: Duration = Duration::from_secs(2);

/// Runs the whole suite against a store that nobody else uses, and that is empty.
///
/// # Panics
/// When the store breaks a promise.
pub async fn contract(store: Arc<dyn BlobStore>) {
    let store = &*store;
    store
        .check()
        .await
        .expect("a usable store passes its check");
    Box::pin(missing_objects(store)).await;
    Box::pin(every_source_of_every_size(store)).await;
    Box::pin(wrong_lengths_leave_nothing(store)).await;
    Box::pin(failing_streams_leave_nothing(store)).await;
    Box::pin(dropped_puts_leave_nothing_partial(store)).await;
    Box::pin(ranges(store)).await;
    Box::pin(concurrent_puts_of_one_key(store)).await;
    Box::pin(objects_beside_each_other(store)).await;
    Box::pin(open_files_survive_a_delete(store)).await;
    Box::pin(a_started_get_never_ends_early(store)).await;
    Box::pin(presigning(store)).await;
    Box::pin(puts_after_unfinished_ones(store)).await;
    Box::pin(listing(store)).await;
    Box::pin(unfinished_puts_are_aborted(store)).await;
}

/// Content that differs from offset to offset and from seed to seed.
fn content(len: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = vec![0; len.next_multiple_of(8)];
    for word in bytes.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

fn key_of(content: &[u8]) -> Key {
    let mut hasher = TreeHasher::new();
    hasher.update(content);
    Key::blob(hasher.finish().root())
}

/// A stream that must not be polled beyond its end, as many must not.
fn stream_of(content: &Bytes, piece: usize) -> ByteStream {
    let rest = content.clone();
    stream::unfold(rest, move |mut rest| async move {
        let next = rest.split_to(piece.min(rest.len()));
        (!next.is_empty()).then_some((Ok(next), rest))
    })
    .boxed()
}

async fn put_bytes(store: &dyn BlobStore, key: &Key, content: &Bytes) {
    let stat = store
        .put(key, Source::Bytes(content.clone()))
        .await
        .expect("bytes are stored");
    assert_eq!(stat.len, content.len() as u64);
}

async fn read(store: &dyn BlobStore, key: &Key, range: Range<u64>) -> Vec<u8> {
    let stream = store.get(key, range).await.expect("the range is there");
    collect(stream).await.expect("the stream ends well")
}

async fn collect(stream: ByteStream) -> io::Result<Vec<u8>> {
    let append = |mut all: Vec<u8>, bytes: Bytes| {
        all.extend_from_slice(&bytes);
        future::ok(all)
    };
    stream.try_fold(Vec::new(), append).await
}

async fn assert_holds(store: &dyn BlobStore, key: &Key, content: &Bytes) {
    let len = content.len() as u64;
    assert_eq!(
        store.stat(key).await.expect("stat works"),
        Some(Stat { len })
    );
    if len > 0 {
        assert!(
            read(store, key, 0..len).await == *content,
            "the content came back changed"
        );
    }
}

async fn assert_missing(store: &dyn BlobStore, key: &Key) {
    assert_eq!(
        store
            .stat(key)
            .await
            .expect("stat of a missing object works"),
        None
    );
    assert!(matches!(store.get(key, 0..1).await, Err(Error::NotFound)));
    match store.open_local(key).await {
        Ok(None) | Err(Error::NotFound) => {}
        other => panic!("a missing object was opened: {other:?}"),
    }
}

async fn missing_objects(store: &dyn BlobStore) {
    let key = key_of(b"never stored");
    assert_missing(store, &key).await;
    store
        .delete(&key)
        .await
        .expect("deleting what is not there is fine");
    store.delete(&key).await.expect("twice, too");
}

async fn every_source_of_every_size(store: &dyn BlobStore) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (seed, len) in [0, 1, 4_096, (1 << 20) + 1, LARGE].into_iter().enumerate() {
        let content = content(len, seed as u64);
        let key = key_of(&content);
        let path = dir.path().join(len.to_string());
        std::fs::write(&path, &content).expect("the source file is written");
        let len = content.len() as u64;
        let sources = [
            Source::Bytes(content.clone()),
            Source::Stream {
                len,
                stream: stream_of(&content, 100_003),
            },
            Source::File {
                path: path.clone(),
                len,
            },
            // Again, after the same file: a put of what is there already.
            Source::File {
                path: path.clone(),
                len,
            },
        ];
        for source in sources {
            assert_eq!(store.put(&key, source).await.expect("stored"), Stat { len });
            assert_holds(store, &key, &content).await;
        }
        store.delete(&key).await.expect("deleted");
        assert_missing(store, &key).await;

        store
            .put(
                &key,
                Source::File {
                    path: path.clone(),
                    len,
                },
            )
            .await
            .expect("stored again");
        std::fs::remove_file(&path).expect("the source file may go once it is stored");
        assert_holds(store, &key, &content).await;
        let stream = stream_of(&content, 65_536);
        store
            .put(&key, Source::Stream { len, stream })
            .await
            .expect("stored over itself");
        assert_holds(store, &key, &content).await;
        store.delete(&key).await.expect("deleted");
    }
}

async fn wrong_lengths_leave_nothing(store: &dyn BlobStore) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for actual in [5_000, LARGE] {
        let content = content(actual, 100);
        let key = key_of(&content);
        let path = dir.path().join("source");
        std::fs::write(&path, &content).expect("the source file is written");
        for len in [actual as u64 - 1, actual as u64 + 1, 0] {
            let stream = Source::Stream {
                len,
                stream: stream_of(&content, 4_096),
            };
            let file = Source::File {
                path: path.clone(),
                len,
            };
            for source in [stream, file] {
                let refused = store.put(&key, source).await;
                assert!(matches!(refused, Err(Error::Length { .. })), "{refused:?}");
                assert_missing(store, &key).await;
            }
        }
    }
}

async fn failing_streams_leave_nothing(store: &dyn BlobStore) {
    for actual in [5_000, LARGE] {
        let content = content(actual, 101);
        let key = key_of(&content);
        let broken = stream::once(async { Err(io::ErrorKind::ConnectionReset.into()) });
        let stream = stream_of(&content, 65_536).chain(broken).boxed();
        let len = actual as u64 + 10;
        let refused = store.put(&key, Source::Stream { len, stream }).await;
        assert!(matches!(refused, Err(Error::Source(_))), "{refused:?}");
        assert_missing(store, &key).await;
    }
}

async fn dropped_puts_leave_nothing_partial(store: &dyn BlobStore) {
    let content = content(LARGE, 102);
    let key = key_of(&content);
    let len = content.len() as u64;
    // All but the end arrives, and then nothing for ever.
    let (started, reached_end) = tokio::sync::oneshot::channel();
    let silence = stream::once(async move {
        let _ = started.send(());
        future::pending().await
    });
    let most = stream_of(&content.slice(..LARGE - 1), 65_536);
    let stream = most.chain(silence).boxed();
    tokio::select! {
        _ = store.put(&key, Source::Stream { len, stream }) => panic!("the stream had no end"),
        reached = reached_end => reached.expect("the put reads the stream"),
    }
    assert_missing(store, &key).await;
    put_bytes(store, &key, &content).await;
    assert_holds(store, &key, &content).await;
    store.delete(&key).await.expect("deleted");
}

async fn ranges(store: &dyn BlobStore) {
    let content = content(3 << 20, 103);
    let key = key_of(&content);
    put_bytes(store, &key, &content).await;
    let len = content.len() as u64;
    let mib = 1 << 20;
    for range in [
        0..1,
        len - 1..len,
        0..len,
        mib - 1..mib + 1,
        mib..2 * mib,
        17..2 * mib + 5,
    ] {
        let expected =
            usize::try_from(range.start).expect("fits")..usize::try_from(range.end).expect("fits");
        assert!(
            read(store, &key, range.clone()).await == content[expected],
            "{range:?}"
        );
    }
    for range in [
        0..len + 1,
        len - 1..len + 1,
        len..len + 1,
        2 * len..3 * len,
        5..5,
        len..len,
    ] {
        let refused = store.get(&key, range.clone()).await;
        assert!(matches!(refused, Err(Error::Range)), "{range:?}");
    }
    store.delete(&key).await.expect("deleted");
}

async fn concurrent_puts_of_one_key(store: &dyn BlobStore) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let content = content((1 << 20) + 77, 104);
    let key = key_of(&content);
    let len = content.len() as u64;
    let puts = (0..12).map(|i| {
        let path = dir.path().join(i.to_string());
        std::fs::write(&path, &content).expect("the source file is written");
        let source = match i % 3 {
            0 => Source::Bytes(content.clone()),
            1 => Source::Stream {
                len,
                stream: stream_of(&content, 10_007),
            },
            _ => Source::File { path, len },
        };
        let key = &key;
        async move {
            store.put(key, source).await.expect("every put succeeds");
            assert_eq!(
                store.stat(key).await.expect("stat works"),
                Some(Stat { len })
            );
        }
    });
    future::join_all(puts).await;
    assert_holds(store, &key, &content).await;
    store.delete(&key).await.expect("deleted");
}

async fn objects_beside_each_other(store: &dyn BlobStore) {
    let content = content(2_000, 105);
    let root = {
        let mut hasher = TreeHasher::new();
        hasher.update(&content);
        *hasher.finish().root()
    };
    let (blob, outboard) = (Key::blob(&root), Key::outboard(&root));
    put_bytes(store, &blob, &content).await;
    put_bytes(store, &outboard, &content.slice(..64)).await;
    assert_holds(store, &outboard, &content.slice(..64)).await;
    store.delete(&outboard).await.expect("deleted");
    assert_missing(store, &outboard).await;
    assert_holds(store, &blob, &content).await;
    store.delete(&blob).await.expect("deleted");
}

async fn open_files_survive_a_delete(store: &dyn BlobStore) {
    let content = content(70_000, 106);
    let key = key_of(&content);
    put_bytes(store, &key, &content).await;
    let opened: Option<File> = store.open_local(&key).await.expect("the object is there");
    store.delete(&key).await.expect("deleted");
    if let Some(mut file) = opened {
        let mut read = Vec::new();
        io::Read::read_to_end(&mut file, &mut read).expect("still readable");
        assert!(read == content);
    }
    assert_missing(store, &key).await;
}

async fn a_started_get_never_ends_early(store: &dyn BlobStore) {
    let content = content(LARGE, 107);
    let key = key_of(&content);
    put_bytes(store, &key, &content).await;
    let mut stream = store
        .get(&key, 0..LARGE as u64)
        .await
        .expect("the range is there");
    let first = stream.next().await.expect("content").expect("readable");
    store.delete(&key).await.expect("deleted");
    // Reading on may fail, but an end without error means that everything was there.
    let first: io::Result<Bytes> = Ok(first);
    if let Ok(all) = collect(stream::iter([first]).chain(stream).boxed()).await {
        assert!(all == content, "a cut body looked complete");
    }
    assert_missing(store, &key).await;
}

async fn presigning(store: &dyn BlobStore) {
    let content = content(1_000, 108);
    let key = key_of(&content);
    put_bytes(store, &key, &content).await;
    let ttl = Duration::from_secs(60);
    if let Some(url) = store
        .presign_get(&key, ttl)
        .await
        .expect("presigning works")
    {
        assert!(matches!(url.scheme(), "http" | "https"));
        assert!(url.path().ends_with(key.as_str()), "{url}");
    }
    store.delete(&key).await.expect("deleted");
}

/// A put of a large object whose stream breaks near its end.
async fn unfinished_put(store: &dyn BlobStore, key: &Key, content: &Bytes, kind: io::ErrorKind) {
    let most = content.slice(..content.len() - 1_000);
    let broken = stream::once(async move { Err(kind.into()) });
    let stream = stream_of(&most, 65_536).chain(broken).boxed();
    let len = content.len() as u64;
    let failed = store.put(key, Source::Stream { len, stream }).await;
    assert!(matches!(failed, Err(Error::Source(_))), "{failed:?}");
    assert_missing(store, key).await;
}

async fn puts_after_unfinished_ones(store: &dyn BlobStore) {
    let content = content(LARGE, 109);
    let key = key_of(&content);
    for kind in [io::ErrorKind::ConnectionReset, io::ErrorKind::InvalidData] {
        // What was left is of some other content, which must not end up in the object.
        let other = Bytes::from(vec![7; LARGE]);
        unfinished_put(store, &key, &content, kind).await;
        unfinished_put(store, &key, &other, kind).await;
        let len = LARGE as u64;
        let stream = stream_of(&content, 65_536);
        let source = Source::Stream { len, stream };
        assert_eq!(store.put(&key, source).await.expect("stored"), Stat { len });
        assert_holds(store, &key, &content).await;
        store.delete(&key).await.expect("deleted");
    }
}

async fn listing(store: &dyn BlobStore) {
    let began = SystemTime::now() - CLOCKS_DIFFER;
    // Two neighbours with nothing between them, an outboard beside its blob, and others around.
    let roots = [[0x3c; 32], [0x3d; 32], [0xc3; 32]];
    let mut keys: Vec<_> = roots.iter().map(Key::blob).collect();
    keys.push(Key::outboard(&roots[1]));
    for key in &keys {
        put_bytes(store, key, &content(1_000, 110)).await;
    }
    keys.sort();
    let list = async |prefix: &str, after: Option<&Key>, limit: usize| {
        let listed = store.list(prefix, after, limit).await;
        let listed = listed.expect("listing works");
        for (key, listed) in &listed {
            assert_eq!(listed.len, 1_000, "{key:?}");
            assert!(listed.modified >= began, "{key:?} {listed:?}");
        }
        listed.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(list(KEYS, None, 1_000).await, keys);
    assert_eq!(list(KEYS, None, keys.len()).await, keys);
    assert_eq!(list(KEYS, Some(&keys[3]), 10).await, []);
    for (index, key) in keys.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| &keys[before]);
        assert_eq!(list(KEYS, before, 1).await, std::slice::from_ref(key));
    }
    assert_eq!(
        list(KEYS, Some(&Key::blob(&[0x3c; 32])), 2).await,
        keys[1..3]
    );
    // A key that is not there is a place between those that are.
    assert_eq!(
        list(KEYS, Some(&Key::blob(&[0x40; 32])), 9).await,
        keys[3..]
    );
    assert_eq!(list("blobs/3d/", None, 9).await, keys[1..3]);
    assert_eq!(list("blobs/3d/3d/3d", None, 9).await, keys[1..3]);
    assert_eq!(list("blobs/4", None, 9).await, []);
    for key in &keys {
        store.delete(key).await.expect("deleted");
    }
    assert_eq!(
        list(KEYS, None, 9).await,
        [],
        "what is deleted is not listed"
    );
}

async fn unfinished_puts_are_aborted(store: &dyn BlobStore) {
    let content = content(LARGE, 111);
    let key = key_of(&content);
    unfinished_put(store, &key, &content, io::ErrorKind::ConnectionReset).await;
    let abort = async |older_than| {
        let aborted = store.abort_unfinished(older_than).await;
        aborted.expect("aborting works")
    };
    assert_eq!(
        abort(Duration::from_secs(3_600)).await,
        0,
        "it is not that old"
    );
    abort(Duration::ZERO).await;
    assert_eq!(abort(Duration::ZERO).await, 0, "nothing is left over");
    put_bytes(store, &key, &content).await;
    abort(Duration::ZERO).await;
    assert_holds(store, &key, &content).await;
    store.delete(&key).await.expect("deleted");
}
