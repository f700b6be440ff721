//! A way to a server on which things happen.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// What happens to the first connection. Those after it are good, but for the last kind.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    None,
    /// It breaks after so many bytes in either direction.
    CutAfter(u64),
    /// The byte at this offset, of those that the client sends, arrives changed.
    DamageAt(u64),
    /// Answers on every connection lose the promise to compare checksums.
    NoPromise,
}

/// Header of that promise, and what it becomes.
const PROMISE: &[u8] = b"x-amz-checksum-algorithm";
const NOTHING: &[u8] = b"x-somebody-was-here-once";

/// Passes on what clients send and get.
pub(crate) struct Relay {
    pub(crate) addr: SocketAddr,
    from_clients: Arc<AtomicU64>,
}

impl Relay {
    /// On a free port; it ends with the test's runtime.
    pub(crate) async fn start(upstream: SocketAddr, mut fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let from_clients = Arc::new(AtomicU64::new(0));
        let counter = from_clients.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(upstream).await.unwrap();
                let this = fault;
                if !matches!(fault, Fault::NoPromise) {
                    fault = Fault::None;
                }
                tokio::spawn(pass(client, server, this, counter.clone()));
            }
        });
        Self { addr, from_clients }
    }

    /// Bytes that clients have sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.from_clients.load(Ordering::SeqCst)
    }
}

async fn pass(client: TcpStream, server: TcpStream, fault: Fault, sent: Arc<AtomicU64>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let back = match fault {
        Fault::CutAfter(_) | Fault::NoPromise => fault,
        _ => Fault::None,
    };
    let answered = AtomicU64::new(0);
    // Either direction's end ends both, by dropping the sockets.
    tokio::select! {
        () = copy(from_client, to_server, fault, &sent) => {}
        () = copy(from_server, to_client, back, &answered) => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, fault: Fault, count: &AtomicU64) {
    let mut buffer = vec![0; 64 << 10];
    let mut at = 0;
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        let end = at + len as u64;
        match fault {
            Fault::CutAfter(bytes) if end >= bytes => return,
            Fault::DamageAt(offset) if (at..end).contains(&offset) => {
                buffer[usize::try_from(offset - at).unwrap()] ^= 1;
            }
            Fault::NoPromise => {
                let mut windows = buffer[..len].windows(PROMISE.len());
                // Requests name it too, but no relay changes what is signed.
                if let Some(found) = windows.position(|window| window == PROMISE)
                    && buffer.starts_with(b"HTTP/1.1 ")
                {
                    buffer[found..found + NOTHING.len()].copy_from_slice(NOTHING);
                }
            }
            _ => {}
        }
        count.fetch_add(len as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..len]).await.is_err() {
            return;
        }
        at = end;
    }
}
