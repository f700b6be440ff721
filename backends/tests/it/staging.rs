//! Staged copies: this machine's directory, and nodes that answer wrongly or not at all.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use cloudstore_backends::{
    discovery::Instance,
    staging::{
        Content, Error, HttpStaging, Layout, LocalStaging, StagedBlobs, Tokens,
        testing::{Site, content, contract, outboard, write},
    },
};
use futures::TryStreamExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use uuid::Uuid;

const LARGE: usize = (3 << 20) + 4_321;

struct Local {
    staged: Arc<dyn StagedBlobs>,
    layout: Layout,
}

#[async_trait]
impl Site for Local {
    fn staged(&self) -> Arc<dyn StagedBlobs> {
        self.staged.clone()
    }

    fn node(&self) -> &'static str {
        "here"
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }
}

fn tokens() -> Tokens {
    Arc::new(|audience| format!("token-for-{audience}"))
}

fn peers(instances: &[(&str, SocketAddr)]) -> watch::Receiver<Vec<Instance>> {
    let instances = instances.iter().map(|(id, address)| Instance {
        id: (*id).to_owned(),
        address: *address,
        version: String::new(),
    });
    watch::channel(instances.collect()).1
}

/// Staged copies of node `there`, from node `here`.
fn from_here(instances: &[(&str, SocketAddr)]) -> HttpStaging {
    cloudstore_service::tls::install_provider();
    HttpStaging::new("here".to_owned(), None, peers(instances), tokens())
}

fn layout() -> (tempfile::TempDir, Layout) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path().join("staging"));
    layout.create().unwrap();
    (dir, layout)
}

#[tokio::test]
async fn the_local_directory() {
    let (_dir, layout) = layout();
    let staged = Arc::new(LocalStaging::new(layout.clone()));
    contract(&Local { staged, layout }).await;
}

#[tokio::test]
async fn the_own_node_is_read_from_its_disk() {
    cloudstore_service::tls::install_provider();
    let (_dir, layout) = layout();
    let local = LocalStaging::new(layout.clone());
    let staged = HttpStaging::new("here".to_owned(), Some(local), peers(&[]), tokens());
    let staged = Arc::new(staged);
    contract(&Local { staged, layout }).await;
}

#[tokio::test]
async fn nodes_that_are_not_there() {
    let (_dir, layout) = layout();
    let bytes = content(5, 1);
    let id = Uuid::now_v7();
    write(&layout, id, &bytes);
    let root = *outboard(&bytes).root();
    // A port that was free a moment ago.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let staged = from_here(&[("closed", address)]);
    for node in ["closed", "unknown", "here"] {
        let found = staged.open(node, id, 5, &root).await;
        assert!(matches!(found, Err(Error::Unavailable(_))), "{node}");
        let removed = staged.remove(node, &[id]).await;
        assert!(matches!(removed, Err(Error::Unavailable(_))), "{node}");
    }
    assert!(layout.data(id).exists());
}

/// A node that answers every request with what the function makes of its head.
async fn node(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, answer.clone()));
        }
    });
    address
}

async fn serve(mut stream: TcpStream, answer: Arc<impl Fn(&str) -> Vec<u8>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            return;
        };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.contains("authorization: Bearer token-for-upload-svc\r\n"));
    let _ = stream.write_all(&answer(&head)).await;
    let _ = stream.shutdown().await;
    // Until the client has gone: closing earlier could take the answer away from it.
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

/// An honest answer of a node to a request for a copy.
fn honest(head: &str, bytes: &[u8]) -> (String, Vec<u8>) {
    if head.contains("/outboard ") {
        let values = outboard(bytes).encode();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
            values.len()
        );
        return (head, values);
    }
    if head.starts_with("HEAD") {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", bytes.len());
        return (head, Vec::new());
    }
    let asked = head.split("range: bytes=").nth(1).unwrap();
    let (first, last) = asked.split_once("\r\n").unwrap().0.split_once('-').unwrap();
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    let part = bytes[first..=last].to_vec();
    let (len, size) = (part.len(), bytes.len());
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\ncontent-length: {len}\r\ncontent-range: bytes {first}-{last}/{size}\r\n\r\n",
    );
    (head, part)
}

async fn read(content: &Content, from: u64, to: u64) -> Result<Vec<u8>, std::io::Error> {
    let stream = content.read(from..to).await;
    let stream = stream.map_err(std::io::Error::other)?;
    let pieces: Vec<_> = stream.try_collect().await?;
    Ok(pieces.concat())
}

#[tokio::test]
async fn answers_that_are_cut_off_are_errors() {
    let bytes = content(LARGE, 2);
    let root = *outboard(&bytes).root();
    for cut in [0, 1, 1 << 20, LARGE - 1, LARGE] {
        let whole = bytes.clone();
        let address = node(move |head| {
            let (answer, mut body) = honest(head, &whole);
            if head.contains("range: ") {
                body.truncate(cut);
            }
            [answer.into_bytes(), body].concat()
        });
        let staged = from_here(&[("there", address.await)]);
        let copy = staged.open("there", Uuid::now_v7(), LARGE as u64, &root);
        let copy = copy.await.unwrap();
        let found = read(&copy.content, 0, LARGE as u64).await;
        assert_eq!(found.is_ok(), cut == LARGE, "cut at {cut}: {found:?}");
    }
}

#[tokio::test]
async fn chunked_answers_that_end_early_or_late_are_errors() {
    let bytes = content(10, 3);
    let root = *outboard(&bytes).root();
    for sent in [4, 10, 15] {
        let whole = bytes.clone();
        let address = node(move |head| {
            let (answer, _) = honest(head, &whole);
            if !head.contains("range: ") {
                return answer.into_bytes();
            }
            let answer = answer.replace("content-length: 10", "transfer-encoding: chunked");
            let body = format!("{sent:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(sent));
            [answer, body].concat().into_bytes()
        });
        let staged = from_here(&[("there", address.await)]);
        let copy = staged.open("there", Uuid::now_v7(), 10, &root).await;
        let found = read(&copy.unwrap().content, 0, 10).await;
        assert_eq!(found.is_ok(), sent == 10, "{sent}");
    }
}

#[tokio::test]
async fn other_answers_than_asked_for_are_errors() {
    type Lie = (&'static str, fn(String) -> String);
    let bytes = content(LARGE, 4);
    let root = *outboard(&bytes).root();
    let lies: [Lie; 4] = [
        ("the whole", |head| head.replace("206", "200")),
        ("another range", |head| head.replace("bytes 5-", "bytes 6-")),
        ("another size", |head| head.replace("/315", "/415")),
        ("no range", |head| head.replace("content-range", "x")),
    ];
    for (lie, change) in lies {
        let whole = bytes.clone();
        let address = node(move |head| {
            let (answer, body) = honest(head, &whole);
            let answer = if head.contains("range: ") {
                change(answer)
            } else {
                answer
            };
            [answer.into_bytes(), body].concat()
        });
        let staged = from_here(&[("there", address.await)]);
        let copy = staged.open("there", Uuid::now_v7(), LARGE as u64, &root);
        let found = copy.await.unwrap().content.read(5..500).await;
        assert!(matches!(found, Err(Error::Unavailable(_))), "{lie}");
    }
}

#[tokio::test]
async fn statuses_have_their_meaning() {
    let root = *outboard(&content(LARGE, 5)).root();
    for (status, not_found) in [
        ("404 Not Found", true),
        ("401 Unauthorized", false),
        ("302 Found", false),
        ("503 Service Unavailable", false),
    ] {
        let location = "location: http://127.0.0.1:1/\r\n";
        let head = format!("HTTP/1.1 {status}\r\n{location}content-length: 0\r\n\r\n");
        let address = node(move |_| head.clone().into_bytes()).await;
        let staged = from_here(&[("there", address)]);
        let found = staged.open("there", Uuid::now_v7(), LARGE as u64, &root);
        match found.await {
            Err(Error::NotFound) => assert!(not_found, "{status}"),
            Err(Error::Unavailable(_)) => assert!(!not_found, "{status}"),
            other => panic!("{status}: {other:?}"),
        }
        let removed = staged.remove("there", &[Uuid::now_v7()]).await;
        assert!(removed.is_err(), "{status}");
    }
}

#[tokio::test]
async fn a_node_that_moves_is_found_again() {
    let bytes = content(10, 6);
    let root = *outboard(&bytes).root();
    let whole = bytes.clone();
    let answer = move |head: &str| {
        let (answer, body) = honest(head, &whole);
        [answer.into_bytes(), body].concat()
    };
    let (first, second) = (node(answer.clone()).await, node(answer).await);
    cloudstore_service::tls::install_provider();
    let instance = |address| Instance {
        id: "there".to_owned(),
        address,
        version: String::new(),
    };
    let (sender, receiver) = watch::channel(vec![instance(first)]);
    let staged = HttpStaging::new("here".to_owned(), None, receiver, tokens());
    let copy = staged.open("there", Uuid::now_v7(), 10, &root).await;
    let copy = copy.unwrap();
    sender.send_replace(Vec::new());
    let gone = copy.content.read(0..10).await;
    assert!(matches!(gone, Err(Error::Unavailable(_))));
    sender.send_replace(vec![instance(second)]);
    let found = tokio::time::timeout(Duration::from_secs(30), read(&copy.content, 0, 10)).await;
    assert!(found.unwrap().unwrap() == bytes);
}
