//! A way to a server that can be cut and joined again.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What happens to connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// They break, and new ones break at once.
    Cut,
    /// They stay, but nothing gets through.
    Stalled,
}

/// Passes on what clients send and get, while the way is open.
pub(crate) struct Switch {
    pub(crate) address: SocketAddr,
    way: watch::Sender<Way>,
}

impl Switch {
    /// On a free port; it ends with the test's runtime.
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (way, state) = watch::channel(Way::Open);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *state.borrow() != Way::Cut {
                    tokio::spawn(pass(client, server, state.clone()));
                }
            }
        });
        Self { address, way }
    }

    /// Breaks every connection, and those to come.
    pub(crate) fn cut(&self) {
        self.way.send_replace(Way::Cut);
    }

    /// Nothing gets through any more, and nobody is told.
    pub(crate) fn stall(&self) {
        self.way.send_replace(Way::Stalled);
    }

    /// New connections are passed on again.
    pub(crate) fn join(&self) {
        self.way.send_replace(Way::Open);
    }
}

async fn pass(mut client: TcpStream, server: SocketAddr, mut way: watch::Receiver<Way>) {
    let Ok(mut server) = TcpStream::connect(server).await else {
        return;
    };
    loop {
        let now = *way.borrow_and_update();
        let changed = match now {
            Way::Cut => return,
            Way::Stalled => way.changed().await,
            // What is in its buffers is lost when the way changes, but then the way is not opened
            // again for this connection.
            Way::Open => tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => return,
                changed = way.changed() => changed,
            },
        };
        let joined = now == Way::Stalled && *way.borrow() == Way::Open;
        if changed.is_err() || joined {
            return;
        }
    }
}
