//! The blob store in S3, against a server in this process.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use cloudstore_backends::blob::{
    BlobStore as _, Error, Key, Source,
    s3::{Checksums, MIN_PART_BYTES, S3BlobStore, S3Config},
    testing,
};
use futures::{StreamExt as _, TryStreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::relay::{Fault, Relay};

const BUCKET: &str = "bucket";

/// An S3 server on a free port; it ends with the test's runtime.
struct Server {
    addr: SocketAddr,
    root: TempDir,
}

impl Server {
    async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join(BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single("key", "secret"));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    // A client that goes away is no failure of the server.
                    let _ = server.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { addr, root }
    }

    fn config(&self) -> S3Config {
        S3Config {
            endpoint: Some(format!("http://{}", self.addr)),
            region: "us-east-1".into(),
            bucket: BUCKET.into(),
            prefix: String::new(),
            path_style: true,
            access_key: "key".into(),
            secret_key: "secret".into(),
            checksums: Checksums::WhenRequired,
            part_bytes: MIN_PART_BYTES,
        }
    }

    /// Files of multipart uploads that are neither completed nor aborted.
    fn unfinished(&self) -> usize {
        let entries = std::fs::read_dir(self.root.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains(".part-")).count()
    }
}

#[tokio::test]
async fn contract() {
    let server = Server::start().await;
    testing::contract(Arc::new(S3BlobStore::new(server.config()))).await;
}

#[tokio::test]
async fn all_checksums_can_be_asked_for() {
    let server = Server::start().await;
    let checksums = Checksums::WhenSupported;
    let store = S3BlobStore::new(S3Config {
        checksums,
        ..server.config()
    });
    let content = Bytes::from(vec![9; 9 << 20]);
    for (id, len) in [(10, 0), (11, 1_000), (12, content.len())] {
        let content = content.slice(..len);
        let key = Key::blob(&[id; 32]);
        store
            .put(&key, Source::Bytes(content.clone()))
            .await
            .unwrap();
        if len > 0 {
            let stream = store.get(&key, 0..len as u64).await.unwrap();
            let read: Vec<Bytes> = stream.try_collect().await.unwrap();
            assert!(read.concat() == content);
        }
    }
}

#[tokio::test]
async fn a_failed_multipart_upload_is_aborted() {
    let server = Server::start().await;
    let store = S3BlobStore::new(server.config());
    let len = 3 * MIN_PART_BYTES;
    let piece = Bytes::from(vec![1; 1 << 20]);
    let pieces = std::iter::repeat_n(piece, 20).map(Ok);
    let stream = Box::pin(futures::stream::iter(pieces));
    let refused = store
        .put(&Key::blob(&[1; 32]), Source::Stream { len, stream })
        .await;
    assert!(matches!(refused, Err(Error::Length { .. })), "{refused:?}");
    assert_eq!(server.unfinished(), 0);
}

#[tokio::test]
async fn a_presigned_url_needs_no_key() {
    let server = Server::start().await;
    let store = S3BlobStore::new(server.config());
    let key = Key::blob(&[2; 32]);
    store
        .put(&key, Source::Bytes(Bytes::from_static(b"content")))
        .await
        .unwrap();
    let url = store
        .presign_get(&key, Duration::from_secs(60))
        .await
        .unwrap()
        .unwrap();
    let query = url.query().unwrap();
    let request = |target: String| async move {
        let mut socket = TcpStream::connect(server.addr).await.unwrap();
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            server.addr
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = request(format!("{}?{query}", url.path())).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("content"), "{answer}");
}

#[tokio::test]
async fn wrong_keys_and_missing_buckets_are_not_missing_objects() {
    let server = Server::start().await;
    let wrong_key = S3Config {
        secret_key: "wrong".into(),
        ..server.config()
    };
    let wrong_bucket = S3Config {
        bucket: "elsewhere".into(),
        ..server.config()
    };
    for config in [wrong_key, wrong_bucket] {
        let store = S3BlobStore::new(config);
        for refused in [
            store.check().await,
            store.stat(&Key::blob(&[3; 32])).await.map(drop),
        ] {
            assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
        }
    }
}

/// A way to the server whose first connection breaks after `bytes` in either direction.
async fn breaking_once(server: &Server, bytes: u64) -> S3Config {
    through(server, Fault::CutAfter(bytes)).await
}

async fn through(server: &Server, fault: Fault) -> S3Config {
    let relay = Relay::start(server.addr, fault).await;
    S3Config {
        endpoint: Some(format!("http://{}", relay.addr)),
        ..server.config()
    }
}

#[tokio::test]
async fn a_cut_body_is_an_error() {
    let server = Server::start().await;
    let len = 4 << 20;
    let key = Key::blob(&[4; 32]);
    let content = Bytes::from(vec![7; len]);
    S3BlobStore::new(server.config())
        .put(&key, Source::Bytes(content))
        .await
        .unwrap();

    let broken = S3BlobStore::new(breaking_once(&server, 1 << 20).await);
    let mut stream = broken.get(&key, 0..len as u64).await.unwrap();
    let mut received = 0;
    let end = loop {
        match stream.next().await {
            Some(Ok(bytes)) => received += bytes.len(),
            end => break end,
        }
    };
    assert!(received < len);
    assert!(matches!(end, Some(Err(_))), "{end:?}");
}

#[tokio::test]
async fn a_broken_connection_is_tried_again() {
    let server = Server::start().await;
    let content = Bytes::from(vec![7; 20 << 20]);
    for len in [1 << 20, content.len()] {
        let store = S3BlobStore::new(breaking_once(&server, 100_000).await);
        let key = Key::blob(&[5; 32]);
        let stat = store
            .put(&key, Source::Bytes(content.slice(..len)))
            .await
            .unwrap();
        assert_eq!(stat.len, len as u64);
    }
    assert_eq!(server.unfinished(), 0);
}

#[tokio::test]
async fn what_arrives_damaged_is_sent_again() {
    let server = Server::start().await;
    let len = 2 * MIN_PART_BYTES;
    let content = Bytes::from(vec![7; usize::try_from(len).unwrap()]);
    let store = S3BlobStore::new(through(&server, Fault::DamageAt(1 << 20)).await);
    let key = Key::blob(&[6; 32]);
    store
        .put(&key, Source::Bytes(content.clone()))
        .await
        .unwrap();
    let stream = store.get(&key, 0..len).await.unwrap();
    let read: Vec<Bytes> = stream.try_collect().await.unwrap();
    assert!(read.concat() == content);
}

/// A store that says 200 and then tells of an error, as S3 does when putting parts together fails
/// after it has begun to answer. Returns its address and whether the upload was aborted.
async fn failing_late() -> (SocketAddr, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let aborted = Arc::new(AtomicBool::new(false));
    let seen = aborted.clone();
    let answer = move |request: Request<Incoming>| {
        let seen = seen.clone();
        async move {
            let (parts, body) = request.into_parts();
            body.collect().await?;
            let query = parts.uri.query().unwrap_or_default();
            let (status, body) = match parts.method.as_str() {
                "POST" if query.contains("uploadId") => (
                    200,
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>InternalError</Code>\
                     <Message>try again</Message></Error>",
                ),
                // Nor does it know checksums.
                "POST" if parts.headers.contains_key("x-amz-checksum-algorithm") => (400, ""),
                "POST" => (
                    200,
                    "<InitiateMultipartUploadResult><UploadId>1</UploadId>\
                     </InitiateMultipartUploadResult>",
                ),
                "GET" => (
                    200,
                    "<ListMultipartUploadsResult></ListMultipartUploadsResult>",
                ),
                "HEAD" if parts.uri.path().len() > BUCKET.len() + 2 => (404, ""),
                "DELETE" => {
                    seen.store(true, Ordering::SeqCst);
                    (204, "")
                }
                _ => (200, ""),
            };
            let answer = Response::builder().status(status).header("ETag", "\"1\"");
            hyper::Result::Ok(answer.body(Full::new(Bytes::from(body))).unwrap())
        }
    };
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service_fn(answer.clone());
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    (addr, aborted)
}

#[tokio::test]
async fn an_error_inside_a_good_answer_is_an_error() {
    let server = Server::start().await;
    let (addr, aborted) = failing_late().await;
    let store = S3BlobStore::new(S3Config {
        endpoint: Some(format!("http://{addr}")),
        ..server.config()
    });
    let content = Bytes::from(vec![7; 9 << 20]);
    let failed = store
        .put(&Key::blob(&[7; 32]), Source::Bytes(content))
        .await;
    assert!(matches!(failed, Err(Error::Unavailable(_))), "{failed:?}");
    assert!(!aborted.load(Ordering::SeqCst), "it can be tried again");
}
