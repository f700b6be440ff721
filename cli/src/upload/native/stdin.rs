//! `upload -`: stdin, whose length nobody knows, in one request with chunked transfer encoding.

use std::{
    io::{self, Read as _},
    sync::Arc,
};

use bytes::Bytes;
use cloudstore_content::{Outboard, tree::TreeHasher};
use cloudstore_proto::http::OnConflict;
use tokio::{runtime::Handle, sync::mpsc, task::spawn_blocking};

use crate::{
    client::{
        Client, Content,
        body::{Activity, FRAME, FRAMES_AHEAD, Feed},
        throttle::Throttle,
    },
    error::{Error, Exit, Result},
    progress::{Done, Outcome, Progress},
};

/// Sends stdin until its end. It cannot be read twice, so a broken connection ends the command.
pub(super) async fn send(
    client: &Client,
    remote: &str,
    on_conflict: OnConflict,
    progress: &Arc<Progress>,
    throttle: Option<Arc<Throttle>>,
) -> Result<()> {
    let (frames, receiver) = mpsc::channel(FRAMES_AHEAD);
    let runtime = Handle::current();
    let reading = spawn_blocking(move || read(&frames, throttle.as_deref(), &runtime));
    let counter = progress.clone();
    let body = reqwest::Body::wrap(Feed {
        frames: receiver,
        left: None,
        activity: Activity::default(),
        on_bytes: Arc::new(move |bytes| counter.moved(bytes)),
    });
    let what = || format!("cannot upload stdin to {remote}");
    let sent = client
        .put_content(remote, Content::Stream(body), on_conflict, None)
        .await;
    let file = match sent {
        Ok(file) => file,
        Err(error) => {
            return Err(error
                .during(what())
                .advise("stdin cannot be read twice: run the whole pipeline again"));
        }
    };
    let read = reading.await.map_err(io::Error::from).flatten();
    let content = read.map_err(|error| Error::io(&error).during(what()))?;
    if (file.size, &file.blake3) != (content.size(), &hex::encode(content.root())) {
        let why = "the server has other content than was sent";
        return Err(Error::new(Exit::Checksum, why).during(what()));
    }
    progress.done(&Done {
        local: "-",
        remote: &file.path,
        size: file.size,
        blake3: &file.blake3,
        url: None,
        outcome: Outcome::Uploaded,
    })
}

/// Blocks until the end of stdin or of the request.
fn read(
    frames: &mpsc::Sender<io::Result<Bytes>>,
    throttle: Option<&Throttle>,
    runtime: &Handle,
) -> io::Result<Outboard> {
    let mut stdin = io::stdin().lock();
    let mut hasher = TreeHasher::new();
    loop {
        let mut frame = vec![0; FRAME];
        let len = match stdin.read(&mut frame) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let copy = io::Error::new(error.kind(), error.to_string());
                // The request must not end as if this were the end of the content.
                let _ = frames.blocking_send(Err(copy));
                return Err(error);
            }
        };
        frame.truncate(len);
        hasher.update(&frame);
        if let Some(throttle) = throttle {
            runtime.block_on(throttle.take(len));
        }
        if frames.blocking_send(Ok(frame.into())).is_err() {
            return Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "the request has ended",
            ));
        }
    }
}
