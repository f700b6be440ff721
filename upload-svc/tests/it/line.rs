//! The line to dbproxy, on which the answer to a call can be lost.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use futures::{Stream, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split},
    sync::Notify,
};

/// Bytes on their way in one direction.
const BUFFER: usize = 1 << 20;

/// Carries connections as they are, but for the one call that is to lose its answer.
#[derive(Default)]
pub(crate) struct Line {
    marker: Mutex<Option<Vec<u8>>>,
    breaks: Notify,
}

impl Line {
    /// The next call that has this text in its message gets through and its answer does not.
    pub(crate) fn lose_the_answer_to(&self, text: &str) {
        *self.marker.lock().unwrap() = Some(text.as_bytes().to_vec());
    }

    /// Ends the connection with that call: whoever made it knows then that there is no answer.
    pub(crate) fn end(&self) {
        self.breaks.notify_one();
    }

    /// The other end of incoming connections.
    pub(crate) fn carry(
        self: Arc<Self>,
        incoming: impl Stream<Item = io::Result<DuplexStream>> + Send,
    ) -> impl Stream<Item = io::Result<DuplexStream>> + Send {
        incoming.map(move |client| {
            let client = client?;
            let (near, far) = duplex(BUFFER);
            tokio::spawn(self.clone().both_ways(client, near));
            Ok(far)
        })
    }

    async fn both_ways(self: Arc<Self>, client: DuplexStream, server: DuplexStream) {
        let ((mut asks, mut hears), (mut answers, mut listens)) = (split(client), split(server));
        let is_lost = AtomicBool::new(false);
        let there = async {
            let mut buffer = vec![0; BUFFER];
            while let Ok(read @ 1..) = asks.read(&mut buffer).await {
                let lost = self.takes(&buffer[..read]);
                is_lost.fetch_or(lost, SeqCst);
                listens.write_all(&buffer[..read]).await.unwrap();
                if lost {
                    self.breaks.notified().await;
                    return;
                }
            }
        };
        let back = async {
            let mut buffer = vec![0; BUFFER];
            while let Ok(read @ 1..) = answers.read(&mut buffer).await {
                if !is_lost.load(SeqCst) && hears.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = there => {}
            () = back => {}
        }
    }

    fn takes(&self, sent: &[u8]) -> bool {
        let mut marker = self.marker.lock().unwrap();
        let found = marker
            .as_ref()
            .is_some_and(|text| sent.windows(text.len()).any(|window| window == text));
        found.then(|| marker.take()).is_some()
    }
}
