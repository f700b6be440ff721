//! One client: random work on its own folder, each piece repeated until its outcome is known.

use std::{collections::BTreeMap, sync::Arc, sync::atomic::Ordering, time::Duration};

use cloudstore_content::proof::Prover;
use cloudstore_proto::http::{
    Challenge, Completed, Created, File, Listing, Proof, Upload, UploadState, Uploads,
};
use futures::{StreamExt as _, stream};
use reqwest::Method;
use tokio::time::sleep;

use crate::{
    Options, Shared,
    client::{Answer, Broken, Call, Client, attempt},
    log::{Content, Key, OpenUpload},
    random::Random,
};

const MIB: u64 = 1 << 20;
/// Chunks that are sent side by side.
const PARALLEL: usize = 3;
/// Pause after a request without any answer, if pauses are made.
const MOMENT: Duration = Duration::from_millis(200);

/// A client and what it knows of its files.
pub struct Loader {
    client: Client,
    shared: Arc<Shared>,
    folder: String,
    random: Random,
    options: Options,
    files: BTreeMap<String, Content>,
    made: u64,
}

impl Loader {
    pub(crate) fn new(
        client: Client,
        shared: Arc<Shared>,
        number: usize,
        random: Random,
        options: Options,
    ) -> Self {
        let folder = format!("/client-{number}");
        Self {
            client,
            shared,
            folder,
            random,
            options,
            files: BTreeMap::new(),
            made: 0,
        }
    }

    /// Works until the end of the run, and leaves an unfinished upload behind.
    pub async fn run(mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let full = self.files.len() >= self.options.files;
            match self.random.range(0..20) {
                0..=5 | 11..=14 | 16..=19 if full => self.delete().await,
                0..=5 => self.put_new().await,
                6..=7 => self.replace().await,
                8..=10 => self.delete().await,
                11..=14 => self.chunked().await,
                15 => self.cancelled().await,
                _ => self.known_content().await,
            }
            sleep(self.options.pace).await;
        }
        let content = self.content(9 * MIB, 20 * MIB);
        let path = self.new_path();
        if let Some(upload) = self.begin(&path, &content).await {
            self.send_chunk(&upload, 0, &content).await;
        }
    }

    fn key(&self, path: &str) -> Key {
        (self.client.account, path.to_owned())
    }

    fn new_path(&mut self) -> String {
        self.made += 1;
        format!("{}/{}/{}", self.folder, self.made % 7, self.made)
    }

    fn content(&mut self, from: u64, to: u64) -> Content {
        let size = self.random.range(from..to);
        Content::new(self.random.next(), size)
    }

    /// Mostly small files, some larger than a group, some large enough to be reserved first.
    fn some_content(&mut self) -> Content {
        match self.random.range(0..10) {
            0..=5 => self.content(0, 50_000),
            6..=7 => self.content(MIB - 2, 3 * MIB),
            _ => self.content(8 * MIB + 1, 11 * MIB),
        }
    }

    fn any_file(&mut self) -> Option<String> {
        let paths: Vec<_> = self.files.keys().cloned().collect();
        self.random.pick(&paths).cloned()
    }

    /// One try. No answer: it is not known what happened.
    async fn once(&self, request: Call) -> Option<Answer> {
        let pass = self.shared.gate.read().await;
        let answer = attempt(request).await;
        drop(pass);
        match answer {
            Ok(answer) => Some(answer),
            Err(broken) => {
                self.pause(&broken).await;
                None
            }
        }
    }

    /// A request broke. Nothing of it is under way any more.
    async fn pause(&self, broken: &Broken) {
        self.shared.log.note(broken);
        let pause = broken.retry_after.unwrap_or(MOMENT);
        sleep(pause.min(self.options.longest_pause)).await;
    }

    /// As many tries as it takes. True: an earlier one may have had its effect.
    async fn until_answered(&self, request: impl Fn() -> Call) -> (Answer, bool) {
        let mut repeated = false;
        loop {
            if let Some(answer) = self.once(request()).await {
                return (answer, repeated);
            }
            repeated = true;
        }
    }

    /// The file is as acknowledged; this very client must see that at once.
    async fn acknowledged(&mut self, path: &str, content: Option<Content>) {
        self.shared.log.settle(&self.key(path), content);
        match content {
            Some(content) => self.files.insert(path.to_owned(), content),
            None => self.files.remove(path),
        };
        if !self.random.once_in(3) {
            return;
        }
        let Some(answer) = self
            .once(self.client.get(&format!("/api/v1/files{path}")))
            .await
        else {
            return;
        };
        match content {
            Some(content) => {
                assert_eq!(answer.status, 200, "{path}: {}", answer.text());
                let listing: Listing = answer.json();
                let cloudstore_proto::http::Entry::File(file) = listing.entry else {
                    panic!("{path} is a folder")
                };
                assert_eq!(
                    (file.size, file.blake3),
                    (content.size, content.hex()),
                    "{path}"
                );
            }
            None => assert_eq!(answer.status, 404, "{path}: {}", answer.text()),
        }
    }

    fn assert_file(&self, file: &File, content: &Content) {
        assert_eq!(
            (file.size, &file.blake3),
            (content.size, &content.hex()),
            "{file:?}"
        );
    }

    async fn put_new(&mut self) {
        let (path, content) = (self.new_path(), self.some_content());
        self.put(&path, content).await;
    }

    async fn replace(&mut self) {
        let content = self.some_content();
        if let Some(path) = self.any_file() {
            self.put(&path, content).await;
        }
    }

    async fn put(&mut self, path: &str, content: Content) {
        let key = self.key(path);
        self.shared.log.ask(&key, Some(content));
        let (answer, repeated) = self
            .until_answered(|| self.client.put(path, &content))
            .await;
        match answer.status {
            200 | 201 => {
                self.assert_file(&answer.json(), &content);
                let large = content.size > 8 * MIB;
                self.shared
                    .log
                    .count(if large { "large puts" } else { "puts" });
                self.acknowledged(path, Some(content)).await;
            }
            413 => {
                self.refused(path, repeated).await;
                self.delete().await;
            }
            _ => panic!("PUT {path}: {}", answer.text()),
        }
    }

    /// The last try was refused. An earlier one without an answer may have succeeded.
    async fn refused(&mut self, path: &str, repeated: bool) {
        self.shared.log.count("over quota");
        let key = self.key(path);
        let slot = self.shared.log.slot(&key);
        let mut now = slot.settled;
        if repeated {
            let get = || self.client.get(&format!("/api/v1/content{path}"));
            let (answer, _) = self.until_answered(get).await;
            let found = (answer.status == 200).then(|| *blake3::hash(&answer.body).as_bytes());
            assert!(
                slot.allows(found),
                "{path}: neither what it was nor what was asked for"
            );
            if slot.settled.map(|content| content.blake3) != found {
                now = slot.pending.unwrap_or_default();
            }
        }
        self.shared.log.settle(&key, now);
        match now {
            Some(content) => self.files.insert(path.to_owned(), content),
            None => self.files.remove(path),
        };
    }

    async fn delete(&mut self) {
        let Some(path) = self.any_file() else { return };
        self.shared.log.ask(&self.key(&path), None);
        let permanent = self.random.range(0..2) == 0;
        let delete = || self.client.delete(&path, permanent);
        let (answer, repeated) = self.until_answered(delete).await;
        let gone = answer.status == 204 || (repeated && answer.status == 404);
        assert!(gone, "DELETE {path}: {}", answer.text());
        if !permanent {
            let (emptied, _) = self.until_answered(|| self.client.empty_trash()).await;
            assert_eq!(emptied.status, 204, "DELETE trash: {}", emptied.text());
        }
        self.shared.log.count("deleted");
        self.acknowledged(&path, None).await;
    }

    async fn chunked(&mut self) {
        let content = self.content(1, 20 * MIB);
        let path = self.new_path();
        if let Some(upload) = self.begin(&path, &content).await {
            self.finish(&upload, &path, &content).await;
        }
    }

    async fn cancelled(&mut self) {
        let content = self.content(9 * MIB, 20 * MIB);
        let path = self.new_path();
        let Some(upload) = self.begin(&path, &content).await else {
            return;
        };
        self.send_chunk(&upload, 1, &content).await;
        self.cancel(&upload.id).await;
    }

    async fn cancel(&self, id: &str) {
        self.shared.log.ending(id);
        let cancel = || self.client.upload(Method::DELETE, id, "");
        let (answer, _) = self.until_answered(cancel).await;
        assert_eq!(answer.status, 204, "cancelling {id}: {}", answer.text());
        self.shared.log.count("cancelled");
        self.shared.log.end(id);
    }

    /// An upload for bytes that must be sent; `None`: there is no room for them.
    async fn begin(&mut self, path: &str, content: &Content) -> Option<Upload> {
        match self.create(path, content, false).await? {
            Created::Uploading { upload } => Some(upload),
            other => panic!("creating {path}: {other:?}"),
        }
    }

    async fn create(&mut self, path: &str, content: &Content, declare: bool) -> Option<Created> {
        loop {
            // Instant: the file may exist as soon as this is sent.
            if declare {
                self.shared.log.ask(&self.key(path), Some(*content));
            }
            let create = self.client.create(path, content, declare);
            let pass = self.shared.gate.read().await;
            let answer = match attempt(create).await {
                Ok(answer) => answer,
                Err(broken) => {
                    drop(pass);
                    self.pause(&broken).await;
                    self.cancel_unknown(path).await;
                    continue;
                }
            };
            if answer.status == 413 {
                drop(pass);
                if declare {
                    self.refused(path, true).await;
                }
                self.delete().await;
                return None;
            }
            assert_eq!(answer.status, 201, "creating {path}: {}", answer.text());
            let created: Created = answer.json();
            if let Created::Uploading { upload } | Created::Challenge { upload, .. } = &created {
                self.shared.log.begin(
                    &upload.id,
                    OpenUpload {
                        account: self.client.account,
                        path: path.to_owned(),
                        content: *content,
                        chunks: Default::default(),
                        ending: false,
                    },
                );
            }
            return Some(created);
        }
    }

    /// A creation without an answer may have made an upload, whose id nobody knows.
    async fn cancel_unknown(&self, path: &str) {
        let (answer, _) = self
            .until_answered(|| self.client.get("/api/v1/uploads"))
            .await;
        let uploads: Uploads = answer.json();
        for upload in uploads.uploads.iter().filter(|upload| upload.path == path) {
            self.cancel(&upload.id).await;
        }
    }

    async fn send_chunk(&self, upload: &Upload, index: u64, content: &Content) {
        let bytes = content.bytes();
        let size = usize::try_from(upload.chunk_size).unwrap();
        let start = usize::try_from(index).unwrap() * size;
        let chunk = bytes::Bytes::copy_from_slice(&bytes[start..bytes.len().min(start + size)]);
        drop(bytes);
        let call = format!("/chunks/{index}");
        loop {
            let put = self
                .client
                .upload(Method::PUT, &upload.id, &call)
                .body(chunk.clone());
            let pass = self.shared.gate.read().await;
            match attempt(put).await {
                // A proof or completion before this, whose answer was lost, took effect late. The
                // completion that follows tells whether the file is right.
                Ok(answer) if answer.status == 410 => return,
                Ok(answer) => {
                    assert_eq!(answer.status, 204, "chunk {index}: {}", answer.text());
                    // Before the gate opens: the next check counts on it.
                    self.shared.log.chunk(&upload.id, index);
                    return;
                }
                Err(broken) => {
                    drop(pass);
                    self.pause(&broken).await;
                }
            }
        }
    }

    /// Sends what the server says is missing, in any order, and completes.
    async fn finish(&mut self, upload: &Upload, path: &str, content: &Content) {
        let status = || self.client.upload(Method::GET, &upload.id, "");
        let (answer, _) = self.until_answered(status).await;
        assert_eq!(answer.status, 200, "status of {path}: {}", answer.text());
        if let UploadState::Uploading { upload } = answer.json() {
            let missing = upload
                .missing
                .iter()
                .flat_map(|[first, last]| *first..=*last);
            let mut missing: Vec<_> = missing.collect();
            self.random.shuffle(&mut missing);
            let pauses: Vec<_> = missing.iter().map(|_| self.random.fraction()).collect();
            let chunks = missing.into_iter().zip(pauses).map(async |(index, pause)| {
                sleep(self.options.chunks_within.mul_f64(pause)).await;
                self.send_chunk(&upload, index, content).await;
            });
            stream::iter(chunks)
                .buffer_unordered(PARALLEL)
                .collect::<Vec<()>>()
                .await;
        }
        self.shared.log.ask(&self.key(path), Some(*content));
        self.shared.log.ending(&upload.id);
        let complete = || self.client.upload(Method::POST, &upload.id, "/complete");
        let (answer, _) = self.until_answered(complete).await;
        assert_eq!(answer.status, 201, "completing {path}: {}", answer.text());
        self.shared.log.count("completed");
        self.made_from(&upload.id, path, &answer.json::<Completed>().file, content)
            .await;
    }

    /// An upload became a file.
    async fn made_from(&mut self, id: &str, path: &str, file: &File, content: &Content) {
        self.assert_file(file, content);
        self.shared.log.end(id);
        self.acknowledged(path, Some(*content)).await;
    }

    /// Content that some account has: instant, proven, or sent after all.
    async fn known_content(&mut self) {
        let Some(content) = self.shared.log.any_content(&mut self.random) else {
            return;
        };
        let path = self.new_path();
        match self.create(&path, &content, true).await {
            None => {}
            Some(Created::Instant { file }) => {
                self.assert_file(&file, &content);
                self.shared.log.count("instant");
                self.acknowledged(&path, Some(content)).await;
            }
            Some(Created::Uploading { upload }) => self.finish(&upload, &path, &content).await,
            Some(Created::Challenge { challenge, upload }) => {
                self.prove(&challenge, &upload, &path, &content).await;
            }
            Some(other) => panic!("creating {path}: {other:?}"),
        }
    }

    async fn prove(
        &mut self,
        challenge: &Challenge,
        upload: &Upload,
        path: &str,
        content: &Content,
    ) {
        let proof = Proof {
            proof: answer_to(challenge, content),
        };
        self.shared.log.ending(&upload.id);
        let prove = || {
            self.client
                .upload(Method::POST, &upload.id, "/proof")
                .json(&proof)
        };
        let (answer, _) = self.until_answered(prove).await;
        match answer.status {
            201 => {
                self.shared.log.count("proven");
                self.made_from(&upload.id, path, &answer.json::<Completed>().file, content)
                    .await;
            }
            // The content or, with a restart, the challenge is gone.
            403 => self.finish(upload, path, content).await,
            _ => panic!("proving {path}: {}", answer.text()),
        }
    }
}

fn answer_to(challenge: &Challenge, content: &Content) -> String {
    let bytes = content.bytes();
    let mut nonce = [0; 32];
    hex::decode_to_slice(&challenge.nonce, &mut nonce).unwrap();
    let mut prover = Prover::new(&nonce);
    for [offset, len] in &challenge.windows {
        let start = usize::try_from(*offset).unwrap();
        prover.update(&bytes[start..start + usize::try_from(*len).unwrap()]);
    }
    hex::encode(prover.finish())
}
