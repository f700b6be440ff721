//! Holds the server to what the clients wrote down.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cloudstore_proto::http::{Completed, Entry, FileState, Listing, UploadState, Uploads};
use reqwest::Method;

use crate::{
    client::{Client, send},
    eventually,
    log::{Key, Log, OpenUpload, Slot, Snapshot},
    random::Random,
};

/// Paths that are read after every restart, beside those that changed.
const SAMPLE: usize = 6;
/// How long what happens by itself may take in the end: the lease of a killed process has to run
/// out first, and the sweep that removes what no request did comes once a minute.
const PATIENCE: Duration = Duration::from_secs(90);
/// Content above this has an outboard beside it.
const GROUP: u64 = 1 << 20;
/// Shorter content may be that of any other run.
const UNMISTAKABLE: u64 = 16;

/// Where a server keeps content, seen from outside.
pub trait Places {
    /// Names of the objects in durable storage (without folders), sorted: blobs by their BLAKE3 in
    /// hexadecimal, outboards as `<blake3>.outboard`.
    fn objects(&self) -> impl Future<Output = Vec<String>>;
    /// Names of everything that only unfinished work needs: staged copies, temporary files,
    /// unfinished multipart uploads.
    fn leftovers(&self) -> impl Future<Output = Vec<String>>;
    /// Others keep content there, too. Then only what this run has made counts.
    fn is_shared(&self) -> bool {
        false
    }
}

/// Holds a server to the log.
pub struct Checker {
    accounts: Vec<Client>,
}

impl Checker {
    /// With one client for each account.
    #[must_use]
    pub fn new(accounts: Vec<Client>) -> Self {
        Self { accounts }
    }

    /// While no request is under way: what was acknowledged is there.
    pub async fn after_restart(&mut self, log: &Log, random: &mut Random) {
        // First, so that every one of them is in the snapshot: clients go on writing down what
        // they are about to ask for.
        let mut keys = log.take_recent();
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
    pub async fn at_the_end(&mut self, log: &Log, places: &impl Places) {
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
        self.is_all_stored(&snapshot).await;
        nothing_is_left_over(&snapshot, places).await;
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
        eventually(PATIENCE, async || {
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

    /// I4: every file of the log reaches durable storage.
    pub async fn is_all_stored(&self, snapshot: &Snapshot) {
        for (key, slot) in &snapshot.slots {
            if slot.settled.is_some() {
                self.is_stored(key).await;
            }
        }
    }

    /// I4.
    async fn is_stored(&self, key: &Key) {
        eventually(PATIENCE, async || {
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

impl Snapshot {
    /// Has an object come from this run, and certainly from no other?
    fn is_own(&self, object: &str) -> bool {
        let blake3 = object.split('.').next().unwrap_or_default();
        let content = self.contents.get(blake3);
        content.is_some_and(|content| content.size >= UNMISTAKABLE)
    }
}

/// I4: one object for each content that a file has, and nothing else anywhere.
async fn nothing_is_left_over(snapshot: &Snapshot, places: &impl Places) {
    let mut expected = BTreeSet::new();
    for content in snapshot.slots.values().filter_map(|slot| slot.settled) {
        expected.insert(content.hex());
        if content.size > GROUP {
            expected.insert(format!("{}.outboard", content.hex()));
        }
    }
    let shared = places.is_shared();
    eventually(PATIENCE, async || {
        let found = places.objects().await;
        let surplus: Vec<_> = found
            .iter()
            .filter(|name| !expected.contains(*name) && (!shared || snapshot.is_own(name)))
            .collect();
        let absent: Vec<_> = expected
            .iter()
            .filter(|name| !found.contains(name))
            .collect();
        let twice = found.windows(2).find(|pair| pair[0] == pair[1]);
        if surplus.is_empty() && absent.is_empty() && twice.is_none() {
            return Ok(());
        }
        Err(format!(
            "objects too many: {surplus:?}, too few: {absent:?}, twice: {twice:?}"
        ))
    })
    .await;
    eventually(PATIENCE, async || {
        let left = places.leftovers().await;
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("files left behind: {left:?}"))
        }
    })
    .await;
}
