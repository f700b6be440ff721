//! The line to dbproxy, on which a call or the answer to it can be lost.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use futures::{Stream, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split},
    sync::Notify,
};

/// Bytes on their way in one direction.
const BUFFER: usize = 1 << 20;

/// Carries connections as they are, but for what is to be lost.
#[derive(Default)]
pub(crate) struct Line {
    marker: Mutex<Option<Vec<u8>>>,
    breaks: Notify,
    cuts: Mutex<Vec<u8>>,
    cuts_left: AtomicUsize,
}

impl Line {
    /// The next call that has this text in its message gets through and its answer does not.
    pub(crate) fn lose_the_answer_to(&self, text: &str) {
        *self.marker.lock().unwrap() = Some(text.as_bytes().to_vec());
    }

    /// So many times the connection ends before a call that has these bytes in its message.
    pub(crate) fn cut_before(&self, bytes: Vec<u8>, times: usize) {
        *self.cuts.lock().unwrap() = bytes;
        self.cuts_left.store(times, SeqCst);
    }

    /// How many of these times are still to come.
    pub(crate) fn cuts_left(&self) -> usize {
        self.cuts_left.load(SeqCst)
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
                if self.cuts(&buffer[..read]) {
                    return;
                }
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
        let found = marker.as_ref().is_some_and(|text| has(sent, text));
        found.then(|| marker.take()).is_some()
    }

    fn cuts(&self, sent: &[u8]) -> bool {
        let left = self.cuts_left.load(SeqCst);
        let found = left > 0 && has(sent, &self.cuts.lock().unwrap());
        if found {
            self.cuts_left.store(left - 1, SeqCst);
        }
        found
    }
}

fn has(sent: &[u8], part: &[u8]) -> bool {
    sent.windows(part.len()).any(|window| window == part)
}
