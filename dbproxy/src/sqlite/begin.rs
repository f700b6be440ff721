//! Uploads from their announcement: what must be sent, and how.

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_proto::upload::{
    BeginResult, BeginUpload, BeginUploadsRequest, BeginUploadsResponse, Challenge, Digests,
    Direct, InstantPolicy as Policy, OnConflict, Problem as Refusal, Upload,
    UploadStatus as Status, begin_result::Result as Answer,
};
use cloudstore_service::{Kind, Problem};

use super::{
    content::{self, Candidate, Content},
    error::{Fail, Outcome},
    place::{self, NewFile, Plan},
    rows::nullable,
    tree::Walk,
    uploads,
    writer::{Command, Tx},
};
use crate::{
    check,
    rules::{self, Match},
};

#[async_trait]
impl Command for BeginUploadsRequest {
    type Reply = BeginUploadsResponse;

    async fn run(mut self, tx: &mut Tx<'_>) -> Outcome<BeginUploadsResponse> {
        let entries = std::mem::take(&mut self.entries);
        let mut batch = Batch::begin(tx, &self).await?;
        let mut results = Vec::with_capacity(entries.len());
        for entry in &entries {
            let answer = match batch.decide(tx, entry).await {
                Ok(decision) => batch.carry_out(tx, entry, decision).await?,
                Err(Fail::Problem(problem)) if problem.kind() != Kind::Internal => refuse(&problem),
                Err(fail) => return Err(fail),
            };
            results.push(BeginResult {
                result: Some(answer),
            });
        }
        Ok(BeginUploadsResponse { results })
    }
}

fn refuse(problem: &Problem) -> Answer {
    Answer::Problem(Refusal {
        slug: problem.slug().to_owned(),
        detail: problem.detail().to_owned(),
    })
}

/// What will be done for an entry. Deciding only reads and finds everything that can be refused,
/// so that a refused entry leaves nothing behind and needs no savepoint.
enum Decision<'p> {
    /// An earlier call with this id made the file.
    Made,
    /// Put this content in its place.
    Instant(Box<(Plan<'p>, Content)>),
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
}

impl<'r> Batch<'r> {
    async fn begin(tx: &mut Tx<'_>, request: &'r BeginUploadsRequest) -> Outcome<Self> {
        let row: Option<(i64, i64, u32)> = sqlx::query_as(
            "SELECT quota_bytes - used_bytes - reserved_bytes, instant_blocked_until,
                (SELECT count(*) FROM (SELECT 1 FROM uploads
                    WHERE account = ?1 AND status = 1 /* uploading */ LIMIT ?2))
            FROM accounts WHERE id = ?1",
        )
        .bind(&request.account_id[..])
        .bind(request.max_open)
        .fetch_optional(&mut *tx.conn)
        .await?;
        let (free, blocked_until, open) = row.ok_or_else(|| rules::not_found("account"))?;
        Ok(Self {
            request,
            policy: rules::instant(request.policy(), tx.now < blocked_until),
            free,
            open,
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
        let walk = Walk::down_and(tx, file.owner, &entry.path, Some(&entry.id)).await?;
        if walk.by_id.is_some() {
            place::made_before(tx, file.id, file.owner).await?;
            return Ok(Decision::Made);
        }
        walk.parent()?;
        let blob = walk.end().and_then(|there| there.blob.as_ref());
        let there = blob.map_or(Match::No, |blob| rules::matches(declared, entry.size, blob));
        // What could not be moved is as good as lost: who has it sends it anew.
        let lost = match blob.filter(|_| there != Match::No) {
            Some(blob) => content::is_parked(tx, blob).await?,
            None => false,
        };
        let candidate = match self.policy {
            Policy::Off | Policy::Unspecified => None,
            Policy::Account | Policy::Everyone => {
                content::find(tx, file.owner, declared, entry.size).await?
            }
        };
        let candidate = candidate.filter(|found| found.held || self.policy == Policy::Everyone);
        if there != Match::Identified {
            // Content there that was only found may turn out the same: that is no conflict yet.
            let rule = match (there, candidate.is_some()) {
                (Match::Found, true) => OnConflict::Replace,
                (Match::Found, false) if lost => OnConflict::Replace,
                _ => file.on_conflict,
            };
            rules::place(walk.end(), false, rule)?;
        }
        let same = there == Match::Identified && !lost;
        if same
            || candidate
                .as_ref()
                .is_some_and(|found| found.identified && found.held)
        {
            let content = existing(candidate, entry.size);
            let plan = place::plan(tx, walk, &file, same, entry.size).await?;
            self.has_room(plan.growth)?;
            return Ok(Decision::Instant(Box::new((plan, content))));
        }
        if candidate.is_none() && !entry.deferred && entry.size <= self.request.direct_limit {
            self.has_room(entry.size)?;
            return Ok(Decision::Direct);
        }
        if let Err(refused) = self.has_room(entry.size).and_then(|()| self.may_open()) {
            // What the same call took before does not count against it.
            if uploads::find(tx, &entry.id).await?.is_none() {
                return Err(refused);
            }
        }
        Ok(Decision::Upload(candidate.map(Box::new)))
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

    async fn carry_out(
        &mut self,
        tx: &mut Tx<'_>,
        entry: &BeginUpload,
        decision: Decision<'_>,
    ) -> Outcome<Answer> {
        match decision {
            Decision::Made => {
                let owner = &self.request.account_id;
                Ok(Answer::Instant(
                    place::made_before(tx, &entry.id, owner).await?,
                ))
            }
            Decision::Direct => Ok(Answer::Direct(Direct {})),
            Decision::Instant(work) => {
                let (plan, content) = *work;
                let growth = plan.growth;
                let file = self.file(entry);
                let placed = place::carry_out(tx, plan, &file, &content, 0).await?;
                self.free -= growth;
                Ok(Answer::Instant(placed.entry))
            }
            Decision::Upload(candidate) => {
                let upload = match self.reserve(tx, entry).await {
                    Ok(upload) => upload,
                    Err(Fail::Problem(problem)) if problem.kind() == Kind::UploadGone => {
                        return Ok(refuse(&problem));
                    }
                    Err(fail) => return Err(fail),
                };
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

    /// Makes the row of an upload and reserves its bytes.
    async fn reserve(&mut self, tx: &mut Tx<'_>, entry: &BeginUpload) -> Outcome<Upload> {
        let request = self.request;
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
        if !insert(tx, &upload, &entry.media_type).await? {
            return same_upload(tx, &request.account_id, entry).await;
        }
        content::charge(tx, &request.account_id, 0, entry.size).await?;
        self.free -= entry.size;
        self.open += 1;
        Ok(upload)
    }
}

/// Content of a blob that is known, offered without a copy.
fn existing(candidate: Option<Candidate>, size: i64) -> Content {
    let blake3 = candidate.map_or_else(Bytes::new, |candidate| candidate.blob.blake3);
    Content {
        digests: Digests {
            blake3,
            ..Digests::default()
        },
        size,
        ..Content::default()
    }
}

/// False when there is an upload with this id.
async fn insert(tx: &mut Tx<'_>, upload: &Upload, media_type: &str) -> Outcome<bool> {
    let none = Digests::default();
    let digests = upload.digests.as_ref().unwrap_or(&none);
    let inserted = sqlx::query(
        "INSERT INTO uploads (id, account, path, size, blake3, sha256, sha1, on_conflict, mtime,
            media_type, node, chunk_size, status, created_at, expires_at, deferred, part, note)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (id) DO NOTHING",
    )
    .bind(&upload.id[..])
    .bind(&upload.account_id[..])
    .bind(&*upload.path)
    .bind(upload.size)
    .bind(nullable(&digests.blake3))
    .bind(nullable(&digests.sha256))
    .bind(nullable(&digests.sha1))
    .bind(upload.on_conflict)
    .bind(upload.mtime_ms)
    .bind(media_type)
    .bind(&*upload.node)
    .bind(upload.chunk_size)
    .bind(upload.status)
    .bind(upload.created_at_ms)
    .bind(upload.expires_at_ms)
    .bind(upload.deferred)
    .bind(upload.part)
    .bind(&*upload.note)
    .execute(&mut *tx.conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// The upload that the same call made before; nothing is reserved again.
async fn same_upload(tx: &mut Tx<'_>, account: &Bytes, entry: &BeginUpload) -> Outcome<Upload> {
    let row = uploads::find(tx, &entry.id).await?.map(|row| row.upload);
    match row {
        Some(upload)
            if upload.account_id == *account
                && upload.path == entry.path
                && upload.size == entry.size
                && upload.status() == Status::Uploading =>
        {
            Ok(upload)
        }
        _ => {
            let detail = "an upload with this id has been made before";
            Err(Problem::new(Kind::UploadGone, detail).into())
        }
    }
}
