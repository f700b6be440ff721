//! Holds the server to what the clients wrote down.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use cloudstore_proto::http::{Completed, Entry, FileState, Listing, UploadState, Uploads};
use reqwest::Method;

use crate::{
    client::{Client, send},
    log::{Key, Log, OpenUpload, Slot, Snapshot},
    random::Random,
    server::Server,
};

/// Paths that are read after every restart, beside those that changed.
const SAMPLE: usize = 6;
/// How long what happens by itself may take in the end: a lease of the killed process has to run
/// out first.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked for.
const POLL: Duration = Duration::from_millis(100);
/// Content above this has an outboard beside it.
const GROUP: u64 = 1 << 20;

/// One client for each account.
pub(crate) struct Checker {
    accounts: Vec<Client>,
}

impl Checker {
    pub(crate) fn new(accounts: Vec<Client>) -> Self {
        Self { accounts }
    }

    /// While no request is under way: what was acknowledged is there.
    pub(crate) async fn after_restart(&mut self, log: &Log, random: &mut Random) {
        let snapshot = log.snapshot();
        for account in &self.accounts {
            let me = account.me().await;
            assert!(
                me.used_bytes + me.reserved_bytes <= me.quota_bytes,
                "I7: {me:?}"
            );
        }
        for (id, upload) in &snapshot.uploads {
            self.has_chunks(id, upload).await;
        }
        let mut keys = log.take_recent();
        let all: Vec<_> = snapshot.slots.keys().cloned().collect();
        keys.extend((0..SAMPLE).filter_map(|_| random.pick(&all).cloned()));
        for key in &keys {
            self.holds(key, &snapshot.slots[key]).await;
        }
    }

    /// I1 and I2: the path holds what was acknowledged, or what may have happened since.
    async fn holds(&self, key: &Key, slot: &Slot) {
        let found = self.accounts[key.0].read(&key.1).await;
        assert!(
            slot.allows(found),
            "I1: {key:?} holds {:?} instead of {slot:?}",
            found.map(hex::encode)
        );
    }

    /// I1: acknowledged chunks are still there.
    async fn has_chunks(&self, id: &str, upload: &OpenUpload) {
        let status = self.accounts[upload.account].upload(Method::GET, id, "");
        let answer = send(status).await.expect("an answer");
        if upload.ending && answer.status == 410 {
            return;
        }
        assert_eq!(answer.status, 200, "I1: {upload:?}: {}", answer.text());
        match answer.json() {
            UploadState::Uploading { upload: found } => {
                let missing = found
                    .missing
                    .iter()
                    .flat_map(|[first, last]| *first..=*last);
                let lost: Vec<_> = missing
                    .filter(|index| upload.chunks.contains(index))
                    .collect();
                assert!(lost.is_empty(), "I1: {upload:?} lost the chunks {lost:?}");
            }
            UploadState::Completed { file } => {
                assert!(upload.ending, "completed by nobody: {upload:?}");
                assert_eq!(file.blake3, upload.content.hex());
            }
        }
    }

    /// When the load has ended: everything, to the byte.
    pub(crate) async fn at_the_end(&mut self, log: &Log, server: &Server) {
        let mut snapshot = log.snapshot();
        for (key, slot) in &snapshot.slots {
            assert!(slot.pending.is_none(), "{key:?} is not settled: {slot:?}");
            self.holds(key, slot).await;
        }
        for account in 0..self.accounts.len() {
            self.usage_is_exact(account, &snapshot).await;
        }
        self.finish_open_uploads(&mut snapshot).await;
        for account in 0..self.accounts.len() {
            self.usage_is_exact(account, &snapshot).await;
        }
        for (key, slot) in &snapshot.slots {
            if slot.settled.is_some() {
                self.is_stored(key).await;
            }
        }
        nothing_is_left_over(&snapshot, server).await;
        for (key, slot) in &snapshot.slots {
            self.holds(key, slot).await;
        }
    }

    /// Used is the sum of the files, reserved the sum of the unfinished uploads.
    async fn usage_is_exact(&self, account: usize, snapshot: &Snapshot) {
        let own = snapshot
            .slots
            .iter()
            .filter(|((owner, _), _)| *owner == account);
        let used: u64 = own
            .filter_map(|(_, slot)| slot.settled)
            .map(|content| content.size)
            .sum();
        let open: BTreeMap<_, _> = snapshot
            .uploads
            .iter()
            .filter(|(_, upload)| upload.account == account)
            .collect();
        let reserved: u64 = open.values().map(|upload| upload.content.size).sum();
        let client = &self.accounts[account];
        eventually(async || {
            let me = client.me().await;
            let found = (me.used_bytes, me.reserved_bytes);
            if found == (used, reserved) {
                return Ok(());
            }
            Err(format!(
                "(used, reserved) is {found:?} instead of {:?}",
                (used, reserved)
            ))
        })
        .await;
        let listed: Uploads = send(client.get("/api/v1/uploads"))
            .await
            .expect("an answer")
            .json();
        let listed: BTreeSet<_> = listed.uploads.iter().map(|upload| &upload.id).collect();
        assert_eq!(listed, open.into_keys().collect(), "unfinished uploads");
    }

    /// What the kills interrupted can still be finished.
    async fn finish_open_uploads(&self, snapshot: &mut Snapshot) {
        for (id, upload) in std::mem::take(&mut snapshot.uploads) {
            let client = &self.accounts[upload.account];
            let status = send(client.upload(Method::GET, &id, ""))
                .await
                .expect("an answer");
            let UploadState::Uploading { upload: found } = status.json() else {
                panic!("completed by nobody: {upload:?}")
            };
            let bytes = upload.content.bytes();
            let chunks: Vec<_> = bytes
                .chunks(usize::try_from(found.chunk_size).unwrap())
                .collect();
            for index in found
                .missing
                .iter()
                .flat_map(|[first, last]| *first..=*last)
            {
                let chunk = chunks[usize::try_from(index).unwrap()].to_vec();
                let put = client
                    .upload(Method::PUT, &id, &format!("/chunks/{index}"))
                    .body(chunk);
                assert_eq!(send(put).await.expect("an answer").status, 204);
            }
            let complete = client.upload(Method::POST, &id, "/complete");
            let completed: Completed = send(complete).await.expect("an answer").json();
            assert_eq!(completed.file.blake3, upload.content.hex());
            let slot = Slot {
                settled: Some(upload.content),
                pending: None,
            };
            snapshot.slots.insert((upload.account, upload.path), slot);
        }
    }

    /// I4.
    async fn is_stored(&self, key: &Key) {
        eventually(async || {
            let stat = self.accounts[key.0].get(&format!("/api/v1/files{}", key.1));
            let listing: Listing = send(stat).await.expect("an answer").json();
            match listing.entry {
                Entry::File(file) if file.state == FileState::Stored => Ok(()),
                other => Err(format!("I4: not stored: {other:?}")),
            }
        })
        .await;
    }
}

/// I4: one object for each content that a file has, and nothing else anywhere.
async fn nothing_is_left_over(snapshot: &Snapshot, server: &Server) {
    let mut expected = BTreeSet::new();
    for content in snapshot.slots.values().filter_map(|slot| slot.settled) {
        expected.insert(content.hex());
        if content.size > GROUP {
            expected.insert(format!("{}.outboard", content.hex()));
        }
    }
    let expected: Vec<_> = expected.into_iter().collect();
    eventually(async || {
        let found = server.files("blobs");
        if found == expected {
            return Ok(());
        }
        let surplus: Vec<_> = found
            .iter()
            .filter(|name| !expected.contains(name))
            .collect();
        let absent: Vec<_> = expected
            .iter()
            .filter(|name| !found.contains(name))
            .collect();
        Err(format!(
            "objects too many: {surplus:?}, too few: {absent:?}"
        ))
    })
    .await;
    eventually(async || {
        let mut left = server.files("staging");
        left.extend(
            server
                .files("tmp")
                .into_iter()
                .filter(|name| name != "lock"),
        );
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("files left behind: {left:?}"))
        }
    })
    .await;
}

/// Waits until it is so, and fails with the last reason why it is not.
async fn eventually(mut probe: impl AsyncFnMut() -> Result<(), String>) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(reason) = probe().await {
        assert!(Instant::now() < deadline, "{reason}");
        tokio::time::sleep(POLL).await;
    }
}
