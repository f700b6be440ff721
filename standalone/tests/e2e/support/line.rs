//! A bad network: the way to the server breaks in the middle of an upload.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use reqwest::Url;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// How much is passed on at a time.
const PIECE: usize = 64 << 10;

/// Passes connections on to a server. Once a number of bytes went up, all of them are reset; after that
/// nothing happens any more.
pub(crate) struct Line {
    /// As clients have to call the server.
    pub(crate) url: String,
    state: Arc<State>,
}

struct State {
    server: SocketAddr,
    /// Bytes that clients sent.
    sent: AtomicU64,
    break_at: u64,
    /// True since the break.
    broken: watch::Sender<bool>,
}

impl Line {
    /// To the server of that URL; breaks when clients have sent `break_at` bytes.
    pub(crate) async fn to(server: &str, break_at: usize) -> Self {
        let server = Url::parse(server).unwrap();
        let server = server.socket_addrs(|| None).unwrap()[0];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            server,
            sent: AtomicU64::new(0),
            break_at: break_at as u64,
            broken: watch::Sender::new(false),
        });
        tokio::spawn(accept(listener, state.clone()));
        Self { url, state }
    }

    /// Demands that it broke, and that what came before was not sent again: at most `again` bytes more
    /// than the content's.
    #[track_caller]
    pub(crate) fn assert_resumed(&self, content: usize, again: usize) {
        assert!(*self.state.broken.borrow(), "the line never broke");
        let sent = self.state.sent.load(Relaxed);
        let most = (content + again) as u64;
        assert!(
            sent <= most,
            "{sent} bytes were sent of {content}, {most} at most"
        );
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        tokio::spawn(pass(client, state.clone()));
    }
}

async fn pass(client: TcpStream, state: Arc<State>) {
    let mut broken = state.broken.subscribe();
    let Ok(server) = TcpStream::connect(state.server).await else {
        return;
    };
    // Dropped, they are reset.
    client.set_zero_linger().unwrap();
    server.set_zero_linger().unwrap();
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut piece = vec![0; PIECE];
        loop {
            let read = from_client.read(&mut piece).await.unwrap_or(0);
            if read == 0 || to_server.write_all(&piece[..read]).await.is_err() {
                return;
            }
            let sent = state.sent.fetch_add(read as u64, Relaxed) + read as u64;
            let breaks = sent >= state.break_at;
            let breaks_now = |broken: &mut bool| breaks && !std::mem::replace(broken, breaks);
            if state.broken.send_if_modified(breaks_now) {
                // Everybody else's connection ends with this one.
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        _ = copy(&mut from_server, &mut to_client) => {}
        _ = broken.changed() => {}
    }
}
