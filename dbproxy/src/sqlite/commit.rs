//! From received content to a file.

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_proto::{
    file::Entry,
    upload::{CommitUploadRequest, CommitUploadResponse, Digests, Upload, UploadStatus as Status},
};
use cloudstore_service::{Kind, Problem};

use super::{
    content::{self, Content},
    error::Outcome,
    locks,
    place::{self, NewFile, Placed},
    tree::Walk,
    uploads::{self, UploadRow},
    writer::{Command, Tx},
};
use crate::{dav::Touched, rules};

#[async_trait]
impl Command for CommitUploadRequest {
    type Reply = CommitUploadResponse;

    async fn run(mut self, tx: &mut Tx<'_>) -> Outcome<CommitUploadResponse> {
        let content = Content {
            digests: self.content.take().unwrap_or_default(),
            size: self.size,
            node: std::mem::take(&mut self.node),
            staging_id: std::mem::take(&mut self.staging_id),
        };
        if self.reserved {
            reserved(tx, &self, content).await
        } else {
            direct(tx, &self, content).await
        }
    }
}

/// Completes the upload that has a row.
async fn reserved(
    tx: &mut Tx<'_>,
    request: &CommitUploadRequest,
    content: Content,
) -> Outcome<CommitUploadResponse> {
    let row = uploads::get(tx, &request.account_id, &request.id).await?;
    let UploadRow {
        upload,
        media_type,
        entry,
    } = row;
    match upload.status() {
        Status::Completed => {
            return again(tx, &entry.unwrap_or_default(), &upload.account_id, &content).await;
        }
        Status::Uploading => {}
        _ => return Err(uploads::gone(&upload).into()),
    }
    rules::completable(&upload)?;
    let content = Content {
        size: upload.size,
        ..content
    };
    rules::verify_declared(
        upload.digests.as_ref().unwrap_or(&Digests::default()),
        &content.digests,
    )?;
    let file = NewFile {
        id: &upload.id,
        owner: &upload.account_id,
        path: &upload.path,
        on_conflict: upload.on_conflict(),
        mtime_ms: if request.mtime_ms == 0 {
            upload.mtime_ms
        } else {
            request.mtime_ms
        },
        media_type: if request.media_type.is_empty() {
            &media_type
        } else {
            &request.media_type
        },
    };
    let walk = Walk::down(tx, file.owner, file.path).await?;
    rules::check_precondition(request.precondition.as_ref(), walk.end())?;
    let written = [Touched::written(file.path, walk.end())];
    locks::allow(tx, file.owner, request.precondition.as_ref(), &written).await?;
    let placed = put(tx, walk, &file, &content, upload.size).await?;
    complete(tx, &upload, &placed.entry.id, &content).await?;
    Ok(response(placed, &content))
}

/// Makes the file of an upload without a row.
async fn direct(
    tx: &mut Tx<'_>,
    request: &CommitUploadRequest,
    content: Content,
) -> Outcome<CommitUploadResponse> {
    let file = NewFile {
        id: &request.id,
        owner: &request.account_id,
        path: &request.path,
        on_conflict: request.on_conflict(),
        mtime_ms: request.mtime_ms,
        media_type: &request.media_type,
    };
    let walk = Walk::down_and(tx, file.owner, file.path, Some(file.id)).await?;
    if walk.by_id.is_some() {
        return again(tx, file.id, file.owner, &content).await;
    }
    // An entry that is replaced keeps its id: then the copy tells that this was done before.
    let there = walk.end().and_then(|there| there.blob.as_ref());
    if there.is_some_and(|blob| content.is_copy_of(blob)) {
        let entry = walk.into_end()?;
        let placed = Placed {
            entry,
            replaced: false,
        };
        return Ok(response(placed, &content));
    }
    rules::check_precondition(request.precondition.as_ref(), walk.end())?;
    let written = [Touched::written(file.path, walk.end())];
    locks::allow(tx, file.owner, request.precondition.as_ref(), &written).await?;
    let placed = put(tx, walk, &file, &content, 0).await?;
    Ok(response(placed, &content))
}

async fn put(
    tx: &mut Tx<'_>,
    walk: Walk<'_>,
    file: &NewFile<'_>,
    content: &Content,
    reserved: i64,
) -> Outcome<Placed> {
    let same = |there: &Entry| {
        there
            .blob
            .as_ref()
            .is_some_and(|blob| blob.blake3 == content.digests.blake3)
    };
    let same = walk.end().is_some_and(same);
    let plan = place::plan(tx, walk, file, same, content.size).await?;
    place::carry_out(tx, plan, file, content, reserved).await
}

/// Answers the repetition of a commit.
async fn again(
    tx: &mut Tx<'_>,
    entry: &Bytes,
    owner: &Bytes,
    content: &Content,
) -> Outcome<CommitUploadResponse> {
    let file = place::made_before(tx, entry, owner).await?;
    // The file may have other content by now; the copy is the business of its own blob.
    let blob = content::get(tx, &content.digests.blake3).await?;
    let took_staged_copy = blob.is_some_and(|blob| content.is_copy_of(&blob));
    Ok(CommitUploadResponse {
        file: Some(file),
        took_staged_copy,
        replaced: false,
    })
}

async fn complete(
    tx: &mut Tx<'_>,
    upload: &Upload,
    entry: &Bytes,
    content: &Content,
) -> Outcome<()> {
    let changed = sqlx::query(
        "UPDATE uploads SET status = 2 /* completed */, entry = ?2, forget_at = ?3,
            blake3 = ?4
        WHERE id = ?1 AND status = 1 /* uploading */",
    )
    .bind(&upload.id[..])
    .bind(&entry[..])
    .bind(upload.expires_at_ms.max(tx.now + rules::FINISHED_UPLOAD_MS))
    .bind(&content.digests.blake3[..])
    .execute(&mut *tx.conn)
    .await?;
    if changed.rows_affected() == 0 {
        return Err(Problem::new(Kind::UploadGone, "the upload has ended").into());
    }
    Ok(())
}

/// Reads `took_staged_copy` off the blob instead of remembering who made it, so that a repeated
/// call never tells its caller to remove the blob's only copy.
fn response(placed: Placed, content: &Content) -> CommitUploadResponse {
    let took_staged_copy = placed
        .entry
        .blob
        .as_ref()
        .is_some_and(|blob| content.is_copy_of(blob));
    CommitUploadResponse {
        file: Some(placed.entry),
        took_staged_copy,
        replaced: placed.replaced,
    }
}
