//! Putting content at a path: the part that instant uploads and commits share.

use std::collections::BTreeMap;

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
    tree::{self, NewEntry, Walk},
    tx::Tx,
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

/// What a plan means for the entries.
pub(super) enum Effect {
    /// Nothing: the path holds this content already.
    Kept,
    /// New rows, folders first, the file last.
    Created(Vec<NewEntry>),
    /// The file that was there has other content now; this was its content.
    Replaced(Option<Blob>),
}

/// Decides where a file of `size` bytes goes. `is_promised` tells of names in its folder that are
/// taken though the database does not know it yet.
pub(super) async fn plan<'p>(
    tx: &mut Tx<'_>,
    walk: Walk<'p>,
    file: &NewFile<'_>,
    same_content: bool,
    size: i64,
    is_promised: &(dyn Fn(&str) -> bool + Sync),
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
            name = tree::free_name(tx, &folder, &name, is_promised)
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

impl Plan<'_> {
    /// The content that loses its place.
    fn old_content(&self) -> Option<&Bytes> {
        if self.placement != Placement::Replace {
            return None;
        }
        let blob = self.walk.end().and_then(|there| there.blob.as_ref());
        blob.map(|blob| &blob.blake3)
    }

    /// The file that this plan makes out of a blob, and what has to be written for it.
    pub(super) fn into_entry(
        mut self,
        file: &NewFile<'_>,
        blob: Option<Blob>,
        now: i64,
    ) -> Outcome<(Entry, Effect)> {
        let entry = Entry {
            id: file.id.clone(),
            owner: file.owner.clone(),
            path: String::new(),
            kind: EntryKind::File.into(),
            blob,
            media_type: file.media_type.to_owned(),
            created_at_ms: now,
            modified_at_ms: if file.mtime_ms == 0 {
                now
            } else {
                file.mtime_ms
            },
            version: 1,
        };
        match self.placement {
            Placement::Keep => Ok((self.walk.into_end()?, Effect::Kept)),
            // The file that was there keeps its id, place and creation time.
            Placement::Replace => {
                let old = self.walk.into_end()?;
                let entry = Entry {
                    id: old.id,
                    path: old.path,
                    created_at_ms: old.created_at_ms,
                    version: old.version + 1,
                    ..entry
                };
                Ok((entry, Effect::Replaced(old.blob)))
            }
            Placement::Create | Placement::Rename => {
                let mut rows = Vec::new();
                let folder = self.walk.make_parents(now, &mut rows)?;
                let entry = Entry {
                    path: path::join(&folder.path, &self.name),
                    ..entry
                };
                rows.push(NewEntry {
                    entry: entry.clone(),
                    parent: folder.id,
                });
                Ok((entry, Effect::Created(rows)))
            }
        }
    }
}

/// Carries a plan out: quota, reference and entry. `reserved` bytes are given back.
pub(super) async fn carry_out(
    tx: &mut Tx<'_>,
    plan: Plan<'_>,
    file: &NewFile<'_>,
    content: &Content,
    reserved: i64,
) -> Outcome<Placed> {
    let is_kept = plan.placement == Placement::Keep;
    if !is_kept || reserved != 0 {
        content::charge(tx, file.owner, plan.growth, -reserved).await?;
    }
    let mut blob = None;
    if !is_kept {
        // Blobs are locked in the order of their digests.
        if let Some(old) = plan.old_content()
            && *old < content.digests.blake3
        {
            content::lock_blobs(tx, [old].into_iter()).await?;
        }
        blob = Some(content::take_reference(tx, content).await?);
    }
    let (mut entry, effect) = plan.into_entry(file, blob, tx.now)?;
    let replaced = matches!(effect, Effect::Replaced(_));
    match effect {
        Effect::Kept => {
            if let Some(blob) = entry.blob.take() {
                entry.blob = Some(content::mend(tx, content, blob).await?);
            }
        }
        Effect::Created(rows) => tree::insert(tx, &rows).await?,
        Effect::Replaced(old) => {
            replace(tx, &entry).await?;
            let old = old.map(|old| (old.blake3, -1));
            content::change_references(tx, &BTreeMap::from_iter(old)).await?;
        }
    }
    Ok(Placed { entry, replaced })
}

/// Writes the new content of an entry.
pub(super) async fn replace(tx: &mut Tx<'_>, entry: &Entry) -> Outcome<()> {
    let blob = entry.blob.as_ref();
    sqlx::query(
        "UPDATE entries SET blob_id = ?, size = ?, media_type = ?, modified_at = ?, version = ?
        WHERE id = ?",
    )
    .bind(blob.map(|blob| &blob.blake3[..]))
    .bind(blob.map_or(0, |blob| blob.size))
    .bind(&*entry.media_type)
    .bind(entry.modified_at_ms)
    .bind(entry.version)
    .bind(&entry.id[..])
    .execute(&mut *tx.conn)
    .await?;
    Ok(())
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
