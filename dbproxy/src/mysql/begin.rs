//! Uploads from their announcement: what must be sent, and how.
//!
//! Everything is looked up first, for all entries of a call together, then decided in memory, then
//! written together: a call with 1,000 entries takes about as many statements as one with two. The
//! lock on the account keeps what was looked up true; content that the account refers to cannot go
//! meanwhile.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_proto::{
    file::{Blob, Entry},
    path,
    upload::{
        BeginResult, BeginUpload, BeginUploadsRequest, BeginUploadsResponse, Challenge, Digests,
        Direct, InstantPolicy as Policy, OnConflict, Problem as Refusal, Upload,
        UploadStatus as Status, begin_result::Result as Answer,
    },
};
use cloudstore_service::{Kind, Problem};

use super::{
    content,
    error::{Fail, Outcome, is_taken, unavailable},
    known::{Candidate, Candidates, Made, Tree},
    place::{self, Effect, NewFile, Plan},
    rows::nullable,
    statement::Statement,
    tree::{self, NewEntry},
    tx::{Command, Tx},
};
use crate::{
    check,
    rules::{self, Match},
};

/// Rows of one INSERT: the longest are 30 KiB, and a statement may be no longer than 16 MiB.
const ROWS_AT_ONCE: usize = 500;

#[async_trait]
impl Command for BeginUploadsRequest {
    type Reply = BeginUploadsResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<BeginUploadsResponse> {
        let mut batch = Batch::begin(tx, self).await?;
        let mut results = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let decided = match batch.decide(tx, entry).await {
                Ok(decision) => batch.carry_out(tx, entry, decision),
                Err(fail) => Err(fail),
            };
            let answer = match decided {
                Ok(answer) => answer,
                // Nothing was written yet: a refused entry leaves nothing behind.
                Err(Fail::Problem(problem)) if problem.kind() != Kind::Internal => refuse(&problem),
                Err(fail) => return Err(fail),
            };
            results.push(BeginResult {
                result: Some(answer),
            });
        }
        batch.writes.write(tx, &self.account_id).await?;
        Ok(BeginUploadsResponse { results })
    }
}

fn refuse(problem: &Problem) -> Answer {
    Answer::Problem(Refusal {
        slug: problem.slug().to_owned(),
        detail: problem.detail().to_owned(),
    })
}

/// What will be done for an entry.
enum Decision<'p> {
    /// An earlier call with this id made the file.
    Made(Box<Entry>),
    /// Put this content in its place; `None` where it is already.
    Instant(Box<(Plan<'p>, Option<Blob>)>),
    /// Make an upload, with content to prove.
    Upload(Option<Box<Candidate>>),
    /// Let it be sent in one request.
    Direct,
}

/// The account while its entries are decided, one after the other.
struct Batch<'r> {
    request: &'r BeginUploadsRequest,
    /// Whose content may be recognised.
    policy: Policy,
    /// Bytes that are neither used nor reserved.
    free: i64,
    /// Unfinished uploads, counted no further than `max_open`.
    open: u32,
    tree: Tree,
    made: Made,
    candidates: Candidates,
    writes: Writes,
}

impl<'r> Batch<'r> {
    async fn begin(tx: &mut Tx<'_>, request: &'r BeginUploadsRequest) -> Outcome<Self> {
        let account = &request.account_id;
        let locked = content::lock_account(tx, account).await?;
        let policy = rules::instant(request.policy(), tx.now < locked.instant_blocked_until);
        let open: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM (SELECT 1 FROM uploads
                WHERE account = ? AND status = 1 /* uploading */ LIMIT ?) unfinished",
        )
        .bind(&account[..])
        .bind(request.max_open)
        .fetch_one(&mut *tx.conn)
        .await?;
        let sound: Vec<&BeginUpload> = request
            .entries
            .iter()
            .filter(|entry| check::begin_upload(entry).is_ok())
            .collect();
        let paths: Vec<&str> = sound.iter().map(|entry| &*entry.path).collect();
        let candidates = match policy {
            Policy::Off | Policy::Unspecified => Candidates::default(),
            Policy::Account | Policy::Everyone => {
                let declared = sound
                    .iter()
                    .filter_map(|entry| Some((entry.digests.as_ref()?, entry.size)));
                Candidates::load(tx, account, declared).await?
            }
        };
        Ok(Self {
            request,
            policy,
            free: locked.free,
            open: u32::try_from(open).unwrap_or(u32::MAX),
            tree: Tree::load(tx, account, &paths).await?,
            made: Made::load(tx, &sound).await?,
            candidates,
            writes: Writes::default(),
        })
    }

    fn file<'e>(&self, entry: &'e BeginUpload) -> NewFile<'e>
    where
        'r: 'e,
    {
        NewFile {
            id: &entry.id,
            owner: &self.request.account_id,
            path: &entry.path,
            on_conflict: entry.on_conflict(),
            mtime_ms: entry.mtime_ms,
            media_type: &entry.media_type,
        }
    }

    async fn decide<'e>(&self, tx: &mut Tx<'_>, entry: &'e BeginUpload) -> Outcome<Decision<'e>> {
        check::begin_upload(entry)?;
        let none = Digests::default();
        let declared = entry.digests.as_ref().unwrap_or(&none);
        let file = self.file(entry);
        let walk = self.tree.walk(&entry.path)?;
        if self.made.is_entry(&entry.id) {
            return Ok(Decision::Made(Box::new(self.made_before(tx, entry).await?)));
        }
        walk.parent()?;
        let there = walk.end().and_then(|there| there.blob.as_ref());
        let there = there.map_or(Match::No, |blob| rules::matches(declared, entry.size, blob));
        let candidate = self.candidates.find(declared, entry.size);
        let candidate = candidate.filter(|found| found.held || self.policy == Policy::Everyone);
        let same = there == Match::Identified;
        if !same {
            // Content there that was only found may turn out the same: that is no conflict yet.
            let rule = match (there, candidate.is_some()) {
                (Match::Found, true) => OnConflict::Replace,
                _ => file.on_conflict,
            };
            rules::place(walk.end(), false, rule)?;
        }
        let is_own = |found: &Candidate| found.identified && found.held;
        if same || candidate.as_ref().is_some_and(is_own) {
            let folder = path::parent(&entry.path);
            let is_promised = |name: &str| self.tree.get(&path::join(folder, name)).is_some();
            let plan = place::plan(tx, walk, &file, same, entry.size, &is_promised).await?;
            self.has_room(plan.growth)?;
            let blob = candidate.map(|found| found.blob);
            return Ok(Decision::Instant(Box::new((plan, blob))));
        }
        if candidate.is_none() && !entry.deferred && entry.size <= self.request.direct_limit {
            self.has_room(entry.size)?;
            return Ok(Decision::Direct);
        }
        // What the same call took before does not count against it.
        if self.made.upload(&entry.id).is_none() {
            self.has_room(entry.size)?;
            self.may_open()?;
        }
        Ok(Decision::Upload(candidate.map(Box::new)))
    }

    /// The file that an earlier call, or an earlier entry of this one, made with an entry's id.
    async fn made_before(&self, tx: &mut Tx<'_>, entry: &BeginUpload) -> Outcome<Entry> {
        let path = self.made.path(&entry.id).unwrap_or(&entry.path);
        match self.tree.get(path) {
            Some(there) if there.id == entry.id => Ok(there.clone()),
            _ => place::made_before(tx, &entry.id, &self.request.account_id).await,
        }
    }

    fn may_open(&self) -> Outcome<()> {
        if self.open < self.request.max_open {
            return Ok(());
        }
        let detail = format!("the account has {} unfinished uploads", self.open);
        Err(Problem::new(Kind::TooManyUploads, detail).into())
    }

    fn has_room(&self, bytes: i64) -> Outcome<()> {
        if bytes <= self.free.max(0) {
            Ok(())
        } else {
            Err(rules::quota_exceeded().into())
        }
    }

    /// Does it as far as memory goes; [`Writes`] has the rest.
    fn carry_out(
        &mut self,
        tx: &Tx<'_>,
        entry: &BeginUpload,
        decision: Decision<'_>,
    ) -> Outcome<Answer> {
        match decision {
            Decision::Made(file) => Ok(Answer::Instant(*file)),
            Decision::Direct => Ok(Answer::Direct(Direct {})),
            Decision::Instant(work) => {
                let (plan, blob) = *work;
                self.free -= plan.growth;
                self.writes.used += plan.growth;
                let file = self.file(entry);
                let (file, effect) = plan.into_entry(&file, blob, tx.now)?;
                self.place(&file, effect);
                Ok(Answer::Instant(file))
            }
            Decision::Upload(candidate) => {
                let upload = self.reserve(tx, entry)?;
                Ok(match candidate {
                    None => Answer::Uploading(upload),
                    Some(candidate) => Answer::Challenge(Challenge {
                        upload: Some(upload),
                        candidate: Some(candidate.blob),
                    }),
                })
            }
        }
    }

    /// Notes what a file that is placed means for the entries and references.
    fn place(&mut self, file: &Entry, effect: Effect) {
        match effect {
            Effect::Kept => return,
            Effect::Created(rows) => {
                for row in &rows {
                    self.tree.put(row.entry.clone());
                }
                self.made.put_entry(file);
                self.writes.entries.extend(rows);
            }
            Effect::Replaced(old) => {
                self.tree.put(file.clone());
                self.writes.refer(old, -1);
                self.writes.replaced.push(file.clone());
            }
        }
        self.writes.refer(file.blob.clone(), 1);
    }

    /// Makes an upload and reserves its bytes. Nothing is reserved again for one that an earlier
    /// call made.
    fn reserve(&mut self, tx: &Tx<'_>, entry: &BeginUpload) -> Outcome<Upload> {
        let request = self.request;
        if let Some(made) = self.made.upload(&entry.id) {
            if made.account_id == request.account_id
                && made.path == entry.path
                && made.size == entry.size
                && made.status() == Status::Uploading
            {
                return Ok(made.clone());
            }
            let detail = "an upload with this id has been made before";
            return Err(Problem::new(Kind::UploadGone, detail).into());
        }
        let upload = Upload {
            id: entry.id.clone(),
            account_id: request.account_id.clone(),
            path: entry.path.clone(),
            size: entry.size,
            digests: Some(entry.digests.clone().unwrap_or_default()),
            on_conflict: entry.on_conflict,
            mtime_ms: entry.mtime_ms,
            node: request.node.clone(),
            chunk_size: entry.chunk_size,
            status: Status::Uploading.into(),
            created_at_ms: tx.now,
            expires_at_ms: tx.now + request.lifetime_ms,
            file: None,
            deferred: entry.deferred,
            part: entry.part,
            note: entry.note.clone(),
        };
        self.made.put_upload(upload.clone());
        self.writes
            .uploads
            .push((upload.clone(), entry.media_type.clone()));
        self.writes.reserved += entry.size;
        self.free -= entry.size;
        self.open += 1;
        Ok(upload)
    }
}

/// What a batch writes in the end.
#[derive(Default)]
struct Writes {
    /// Bytes that the account uses and has reserved more than before.
    used: i64,
    reserved: i64,
    uploads: Vec<(Upload, String)>,
    entries: Vec<NewEntry>,
    /// Entries that were there, or are made by this batch, and have other content now.
    replaced: Vec<Entry>,
    /// References that blobs have more than before.
    references: BTreeMap<Bytes, i64>,
}

impl Writes {
    fn refer(&mut self, blob: Option<Blob>, change: i64) {
        if let Some(blob) = blob {
            *self.references.entry(blob.blake3).or_default() += change;
        }
    }

    async fn write(self, tx: &mut Tx<'_>, account: &Bytes) -> Outcome<()> {
        if self.used != 0 || self.reserved != 0 {
            content::charge(tx, account, self.used, self.reserved).await?;
        }
        insert(tx, &self.uploads).await?;
        content::change_references(tx, &self.references).await?;
        tree::insert(tx, &self.entries).await?;
        for entry in &self.replaced {
            place::replace(tx, entry).await?;
        }
        Ok(())
    }
}

/// Adds uploads, none of which was there when they were looked up.
async fn insert(tx: &mut Tx<'_>, uploads: &[(Upload, String)]) -> Outcome<()> {
    let none = Digests::default();
    for some in uploads.chunks(ROWS_AT_ONCE) {
        let insert = Statement::new(
            "INSERT INTO uploads (id, account, path, size, blake3, sha256, sha1, on_conflict,
                mtime, media_type, node, chunk_size, status, created_at, expires_at, deferred, part,
                note) VALUES ",
        )
        .rows(some, |row, (upload, media_type)| {
            let digests = upload.digests.as_ref().unwrap_or(&none);
            row.bytes(&upload.id)
                .bytes(&upload.account_id)
                .text(&upload.path)
                .number(upload.size)
                .optional(nullable(&digests.blake3))
                .optional(nullable(&digests.sha256))
                .optional(nullable(&digests.sha1))
                .number(upload.on_conflict.into())
                .number(upload.mtime_ms)
                .text(media_type)
                .bytes(upload.node.as_bytes())
                .number(upload.chunk_size)
                .number(upload.status.into())
                .number(upload.created_at_ms)
                .number(upload.expires_at_ms)
                .number(upload.deferred.into())
                .number(upload.part.into())
                .text(&upload.note);
        });
        match insert.execute(tx).await {
            Ok(_) => {}
            // Another account chose the same id this moment.
            Err(Fail::Sql(error)) if is_taken(&error) => {
                return Err(unavailable().caused_by(error).into());
            }
            Err(fail) => return Err(fail),
        }
    }
    Ok(())
}
