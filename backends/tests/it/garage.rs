//! The blob store in S3, against a real Garage.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    error::ProvideErrorMetadata as _,
    primitives::ByteStream as SdkStream,
    types::ChecksumMode,
};
use bytes::Bytes;
use cloudstore_backends::blob::{
    BlobStore as _, Error, Key, Source,
    s3::{Checksums, MIN_PART_BYTES, S3BlobStore, S3Config},
    testing,
};
use cloudstore_service::testing::server;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use url::Url;
use uuid::Uuid;

use crate::relay::{Fault, Relay};

const PART: usize = 8 << 20;
const _: () = assert!(PART as u64 == MIN_PART_BYTES);
/// Only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A corner of the bucket that is this test's own.
struct Corner {
    config: S3Config,
    /// What the adapter does not show.
    client: Client,
}

impl Corner {
    fn new() -> Self {
        let config = S3Config {
            endpoint: Some(server("S3_ENDPOINT")),
            region: server("S3_REGION"),
            bucket: server("S3_BUCKET"),
            prefix: format!("test-{}/", Uuid::now_v7()),
            path_style: true,
            access_key: server("S3_ACCESS_KEY"),
            secret_key: server("S3_SECRET_KEY"),
            checksums: Checksums::WhenRequired,
            part_bytes: MIN_PART_BYTES,
        };
        let (key, secret) = (&config.access_key, &config.secret_key);
        let sdk = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .credentials_provider(Credentials::new(key, secret, None, None, "test"))
            .region(Region::new(config.region.clone()))
            .endpoint_url(server("S3_ENDPOINT"))
            .force_path_style(true);
        let client = Client::from_conf(sdk.build());
        Self { config, client }
    }

    fn store(&self) -> S3BlobStore {
        S3BlobStore::new(self.config.clone())
    }

    /// The store, at the end of another way.
    async fn through(&self, fault: Fault) -> (Relay, S3BlobStore) {
        let url = Url::parse(self.config.endpoint.as_deref().unwrap()).unwrap();
        let upstream: SocketAddr = url.socket_addrs(|| None).unwrap()[0];
        let relay = Relay::start(upstream, fault).await;
        let endpoint = Some(format!("http://{}", relay.addr));
        let store = S3BlobStore::new(S3Config {
            endpoint,
            ..self.config.clone()
        });
        (relay, store)
    }

    fn name(&self, key: &Key) -> String {
        format!("{}{}", self.config.prefix, key.as_str())
    }

    /// Ids of the unfinished uploads, oldest first, and how many parts each has.
    async fn unfinished(&self) -> Vec<(String, usize)> {
        let request = self.client.list_multipart_uploads();
        let request = request.bucket(&self.config.bucket);
        let listed = request.prefix(&self.config.prefix).send().await.unwrap();
        let mut uploads = listed.uploads.unwrap_or_default();
        uploads.sort_by_key(|upload| upload.initiated);
        let mut unfinished = Vec::new();
        for upload in uploads {
            let (name, id) = (upload.key.unwrap(), upload.upload_id.unwrap());
            let request = self.client.list_parts().bucket(&self.config.bucket);
            match request.key(name).upload_id(&id).send().await {
                Ok(listed) => unfinished.push((id, listed.parts().len())),
                // Garage lists what has just ended for a moment longer.
                Err(error) if error.code() == Some("NoSuchUpload") => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        unfinished
    }

    /// A put that is dropped as soon as it has left so many parts.
    async fn dropped_put(&self, key: &Key, content: &Bytes, parts: usize) {
        let most = content.slice(..parts * PART + 1);
        let stream = pieces(&most).chain(stream::pending()).boxed();
        let len = content.len() as u64;
        let store = self.store();
        let watch = async {
            let mut again = tokio::time::interval(Duration::from_millis(20));
            while self
                .unfinished()
                .await
                .last()
                .is_none_or(|(_, left)| *left < parts)
            {
                again.tick().await;
            }
        };
        tokio::select! {
            _ = store.put(key, Source::Stream { len, stream }) => panic!("it had no end"),
            seen = tokio::time::timeout(PATIENCE, watch) => seen.unwrap(),
        }
    }

    async fn assert_holds(&self, key: &Key, content: &Bytes) {
        let whole = 0..content.len() as u64;
        let stream = self.store().get(key, whole).await.unwrap();
        let read: Vec<Bytes> = stream.try_collect().await.unwrap();
        assert!(read.concat() == *content);
    }
}

fn pieces(content: &Bytes) -> futures::stream::BoxStream<'static, std::io::Result<Bytes>> {
    let rest = content.clone();
    stream::unfold(rest, |mut rest| async move {
        let piece = rest.split_to(rest.len().min(1 << 20));
        (!piece.is_empty()).then_some((Ok(piece), rest))
    })
    .boxed()
}

/// Parts that differ from each other, and the key; no other test has it.
fn content(len: usize) -> (Key, Bytes) {
    let bytes = (0..len).map(|at| (at / 1_000).to_le_bytes()[0] ^ (at / PART).to_le_bytes()[0]);
    let (a, b) = (Uuid::new_v4(), Uuid::new_v4());
    let mut blake3 = [0; 32];
    blake3[..16].copy_from_slice(a.as_bytes());
    blake3[16..].copy_from_slice(b.as_bytes());
    (Key::blob(&blake3), bytes.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn contract() {
    let corner = Corner::new();
    testing::contract(Arc::new(corner.store())).await;
    assert_eq!(corner.unfinished().await, [], "nothing is left over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_goes_on_where_another_one_stopped() {
    let corner = Corner::new();
    let (key, content) = content(5 * PART + 12_345);
    corner.dropped_put(&key, &content, 3).await;
    let (relay, store) = corner.through(Fault::None).await;
    store
        .put(&key, Source::Bytes(content.clone()))
        .await
        .unwrap();
    corner.assert_holds(&key, &content).await;
    let whole_part = PART as u64;
    assert!(relay.sent() > 2 * whole_part, "two parts were missing");
    assert!(relay.sent() < 3 * whole_part, "the others were there");
    assert_eq!(corner.unfinished().await, []);
    store.delete(&key).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_sent_again_or_aborted() {
    let corner = Corner::new();
    let (key, content) = content(3 * PART + 12_345);
    let name = corner.name(&key);
    let bucket = &corner.config.bucket;
    let create = async || {
        let request = corner.client.create_multipart_upload();
        let created = request.bucket(bucket).key(&name).send().await.unwrap();
        created.upload_id.unwrap()
    };
    let send = async |id: &str, number, bytes: Bytes| {
        let request = corner.client.upload_part().bucket(bucket).key(&name);
        let request = request.upload_id(id).part_number(number);
        request.body(SdkStream::from(bytes)).send().await.unwrap();
    };
    // Older, and as good: only one can be used.
    let older = create().await;
    send(&older, 1, content.slice(..PART)).await;
    // One good part, and one with other bytes.
    let newer = create().await;
    send(&newer, 1, content.slice(..PART)).await;
    send(&newer, 2, Bytes::from(vec![7; PART])).await;
    // The newest is cut in another way.
    let newest = create().await;
    send(&newest, 1, content.slice(..PART - 1)).await;

    let (relay, store) = corner.through(Fault::None).await;
    let len = content.len() as u64;
    let stream = pieces(&content);
    store
        .put(&key, Source::Stream { len, stream })
        .await
        .unwrap();
    corner.assert_holds(&key, &content).await;
    assert!(relay.sent() > 2 * PART as u64 && relay.sent() < 3 * PART as u64);
    assert_eq!(corner.unfinished().await, [], "{older} {newer} {newest}");
    store.delete(&key).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_is_left_and_what_is_wrong_is_aborted() {
    let corner = Corner::new();
    let (key, content) = content(2 * PART);
    for (kind, left) in [
        (std::io::ErrorKind::ConnectionReset, 1),
        (std::io::ErrorKind::InvalidData, 0),
    ] {
        let broken = stream::once(async move { Err(kind.into()) });
        let stream = pieces(&content.slice(..PART + 1)).chain(broken).boxed();
        let len = content.len() as u64;
        let store = corner.store();
        let failed = store.put(&key, Source::Stream { len, stream }).await;
        assert!(matches!(failed, Err(Error::Source(_))), "{failed:?}");
        let uploads = corner.unfinished().await;
        assert_eq!(uploads.len(), left, "{kind:?} {uploads:?}");
        store.abort_unfinished(Duration::ZERO).await.unwrap();
        assert_eq!(corner.unfinished().await, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_uploads_are_counted_and_neighbours_are_left_alone() {
    let (corner, other) = (Corner::new(), Corner::new());
    let (key, content) = content(2 * PART);
    for corner in [&corner, &other] {
        corner.dropped_put(&key, &content, 1).await;
    }
    let store = corner.store();
    let day = Duration::from_secs(24 * 3_600);
    assert_eq!(store.abort_unfinished(day).await.unwrap(), 0);
    assert_eq!(store.abort_unfinished(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(corner.unfinished().await, []);
    assert_eq!(other.unfinished().await.len(), 1);
    other
        .store()
        .abort_unfinished(Duration::ZERO)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_compares_checksums() {
    let corner = Corner::new();
    let (key, content) = content(2 * PART + 1);
    // One byte of the first part arrives changed: that part is refused, and sent again.
    let (relay, store) = corner.through(Fault::DamageAt(1 << 20)).await;
    store
        .put(&key, Source::Bytes(content.clone()))
        .await
        .unwrap();
    corner.assert_holds(&key, &content).await;
    assert!(relay.sent() > 3 * PART as u64, "a part was sent twice");
    let request = corner.client.head_object().bucket(&corner.config.bucket);
    let request = request.key(corner.name(&key));
    let request = request.checksum_mode(ChecksumMode::Enabled);
    let head = request.send().await.unwrap();
    let checksum = head.checksum_crc32_c.unwrap();
    assert!(checksum.ends_with("-3"), "{checksum}");
    store.delete(&key).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_promises_nothing_gets_no_checksums() {
    let corner = Corner::new();
    let (key, content) = content(2 * PART + 1);
    let (_relay, store) = corner.through(Fault::NoPromise).await;
    store
        .put(&key, Source::Bytes(content.clone()))
        .await
        .unwrap();
    corner.assert_holds(&key, &content).await;
    assert_eq!(corner.unfinished().await, []);
    let request = corner.client.head_object().bucket(&corner.config.bucket);
    let request = request.key(corner.name(&key));
    let request = request.checksum_mode(ChecksumMode::Enabled);
    assert_eq!(request.send().await.unwrap().checksum_crc32_c, None);
    store.delete(&key).await.unwrap();
}

#[tokio::test]
async fn a_missing_bucket_is_not_a_missing_object() {
    let corner = Corner::new();
    let (key, _) = content(1);
    assert_eq!(corner.store().stat(&key).await.unwrap(), None);
    let elsewhere = S3BlobStore::new(S3Config {
        bucket: format!("elsewhere-{}", Uuid::now_v7()),
        ..corner.config
    });
    for answer in [
        elsewhere.stat(&key).await.map(drop),
        elsewhere.get(&key, 0..1).await.map(drop),
        elsewhere.list("", None, 1).await.map(drop),
        elsewhere.check().await,
    ] {
        assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
    }
}
