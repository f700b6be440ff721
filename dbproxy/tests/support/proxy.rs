//! Something between the store and a server that fails when it is told to.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

const COMMIT: &[u8] = b"COMMIT;";

/// What happens to the next commit that comes by, unless it passes.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Next {
    /// The connection ends before the server gets it.
    IsLost = 1,
    /// The connection ends after the server carried it out, before the client knows.
    IsNotConfirmed = 2,
}

/// A proxy on a port of its own.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    /// A [`Next`], or 0.
    next: Arc<AtomicU8>,
    up: watch::Sender<bool>,
    stalled: watch::Sender<bool>,
    pub(crate) commits: Arc<AtomicUsize>,
}

impl Proxy {
    #[expect(clippy::unwrap_used, reason = "a test that cannot start has failed")]
    pub(crate) async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let next = Arc::new(AtomicU8::new(0));
        let (up, _) = watch::channel(true);
        let (stalled, stall) = watch::channel(false);
        let commits = Arc::new(AtomicUsize::new(0));
        let (rule, state, count) = (next.clone(), up.subscribe(), commits.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !*state.borrow() {
                    continue;
                }
                let (server, rule, count) = (server.clone(), rule.clone(), count.clone());
                let (mut state, stall) = (state.clone(), stall.clone());
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(server).await else {
                        return;
                    };
                    tokio::select! {
                        () = pipe(client, server, &rule, &count, stall) => {}
                        _ = state.wait_for(|up| !up) => {}
                    }
                });
            }
        });
        Self {
            address,
            next,
            up,
            stalled,
            commits,
        }
    }

    /// Says what happens to the next commit; those after it pass.
    pub(crate) fn next_commit(&self, next: Next) {
        self.next.store(next as u8, Ordering::SeqCst);
    }

    /// Keeps every connection and lets nothing through, or lets it through again.
    pub(crate) fn set_stalled(&self, stalled: bool) {
        self.stalled.send_replace(stalled);
    }

    /// Ends every connection and takes none, or takes them again.
    pub(crate) fn set_up(&self, up: bool) {
        self.up.send_replace(up);
    }
}

async fn pipe(
    mut client: TcpStream,
    mut server: TcpStream,
    rule: &AtomicU8,
    count: &AtomicUsize,
    mut stalled: watch::Receiver<bool>,
) {
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(1..) = read else { return };
                let bytes = &up[..read.unwrap_or_default()];
                let _ = stalled.wait_for(|stalled| !stalled).await;
                if bytes.windows(COMMIT.len()).any(|at| at == COMMIT) {
                    count.fetch_add(1, Ordering::SeqCst);
                    match rule.swap(0, Ordering::SeqCst) {
                        1 => return,
                        2 => {
                            let _ = server.write_all(bytes).await;
                            // Answered: it has been carried out.
                            let _ = server.read(&mut down).await;
                            return;
                        }
                        _ => {}
                    }
                }
                if server.write_all(bytes).await.is_err() { return }
            }
            read = server.read(&mut down) => {
                let Ok(length @ 1..) = read else { return };
                let _ = stalled.wait_for(|stalled| !stalled).await;
                if client.write_all(&down[..length]).await.is_err() { return }
            }
        }
    }
}
