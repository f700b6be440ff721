//! Putting content at a path: the part that instant uploads and commits share.

use bytes::Bytes;
use cloudstore_proto::{
    file::{Blob, Entry, EntryKind},
    path,
    upload::OnConflict,
};
use cloudstore_service::{Kind, Problem};

use super::{
    content::{self, Content},
    error::Outcome,
    tree::{self, Walk},
    writer::Tx,
};
use crate::rules::{self, Placement};

/// A file to be.
pub(super) struct NewFile<'a> {
    /// Becomes the entry's id, unless a file is replaced.
    pub(super) id: &'a Bytes,
    pub(super) owner: &'a Bytes,
    pub(super) path: &'a str,
    pub(super) on_conflict: OnConflict,
    /// 0: now.
    pub(super) mtime_ms: i64,
    pub(super) media_type: &'a str,
}

/// Where a file will go. Making a plan only reads.
pub(super) struct Plan<'p> {
    walk: Walk<'p>,
    placement: Placement,
    /// The file's name in its folder.
    name: String,
    /// Bytes that the account will use more than before.
    pub(super) growth: i64,
}

/// What became of a plan.
pub(super) struct Placed {
    pub(super) entry: Entry,
    /// A file lost its place to this one.
    pub(super) replaced: bool,
}

/// Decides where a file of `size` bytes goes.
pub(super) async fn plan<'p>(
    tx: &mut Tx<'_>,
    walk: Walk<'p>,
    file: &NewFile<'_>,
    same_content: bool,
    size: i64,
) -> Outcome<Plan<'p>> {
    let folder = walk.parent()?.map(|folder| folder.id.clone());
    let there = walk.end();
    let placement = rules::place(there, same_content, file.on_conflict)?;
    let old = there
        .and_then(|there| there.blob.as_ref())
        .map_or(0, |blob| blob.size);
    let mut name = path::name(file.path).to_owned();
    let growth = match placement {
        Placement::Keep => 0,
        Placement::Create => size,
        Placement::Replace => size - old,
        Placement::Rename => {
            // A file that has the path has a folder, too.
            let folder = folder.unwrap_or_default();
            name = tree::free_name(tx, &folder, &name)
                .await?
                .ok_or_else(rules::name_conflict)?;
            let path = path::join(path::parent(file.path), &name);
            if path.len() > path::MAX_PATH_BYTES {
                return Err(rules::name_conflict().into());
            }
            size
        }
    };
    Ok(Plan {
        walk,
        placement,
        name,
        growth,
    })
}

/// Carries a plan out: quota, reference and entry. `reserved` bytes are given back.
pub(super) async fn carry_out(
    tx: &mut Tx<'_>,
    mut plan: Plan<'_>,
    file: &NewFile<'_>,
    content: &Content,
    reserved: i64,
) -> Outcome<Placed> {
    if plan.placement == Placement::Keep {
        if reserved != 0 {
            content::charge(tx, file.owner, 0, -reserved).await?;
        }
        let mut entry = plan.walk.into_end()?;
        if let Some(blob) = entry.blob.take() {
            entry.blob = Some(content::mend(tx, content, blob).await?);
        }
        return Ok(Placed {
            entry,
            replaced: false,
        });
    }
    content::charge(tx, file.owner, plan.growth, -reserved).await?;
    let blob = content::take_reference(tx, content).await?;
    let entry = Entry {
        id: file.id.clone(),
        owner: file.owner.clone(),
        path: String::new(),
        kind: EntryKind::File.into(),
        blob: Some(blob),
        media_type: file.media_type.to_owned(),
        created_at_ms: tx.now,
        modified_at_ms: if file.mtime_ms == 0 {
            tx.now
        } else {
            file.mtime_ms
        },
        version: 1,
    };
    if plan.placement == Placement::Replace {
        let entry = replace(tx, plan.walk.into_end()?, entry).await?;
        return Ok(Placed {
            entry,
            replaced: true,
        });
    }
    let folder = plan.walk.make_parents(tx).await?;
    let entry = Entry {
        path: path::join(&folder.path, &plan.name),
        ..entry
    };
    tree::insert(tx, &entry, &folder.id, &plan.name).await?;
    Ok(Placed {
        entry,
        replaced: false,
    })
}

/// Gives the content of `new` to the entry `old`, which keeps its id, place and creation time.
async fn replace(tx: &mut Tx<'_>, old: Entry, new: Entry) -> Outcome<Entry> {
    let entry = Entry {
        id: old.id,
        path: old.path,
        created_at_ms: old.created_at_ms,
        version: old.version + 1,
        ..new
    };
    let blob = entry.blob.as_ref();
    sqlx::query(
        "UPDATE entries SET blob = ?2, size = ?3, media_type = ?4, modified_at = ?5, version = ?6
        WHERE id = ?1",
    )
    .bind(&entry.id[..])
    .bind(blob.map(|blob| &blob.blake3[..]))
    .bind(blob.map_or(0, |blob| blob.size))
    .bind(&*entry.media_type)
    .bind(entry.modified_at_ms)
    .bind(entry.version)
    .execute(&mut *tx.conn)
    .await?;
    if let Some(Blob { blake3, .. }) = old.blob {
        content::drop_references(tx, &blake3, 1).await?;
    }
    Ok(entry)
}

/// The file that an earlier call with this id made. `UploadGone` when it is not there any more.
pub(super) async fn made_before(tx: &mut Tx<'_>, entry: &Bytes, owner: &Bytes) -> Outcome<Entry> {
    match tree::by_id(tx, entry).await? {
        Some(entry) if entry.owner == *owner => Ok(entry),
        _ => {
            let detail = "the file that this upload became was deleted";
            Err(Problem::new(Kind::UploadGone, detail).into())
        }
    }
}
