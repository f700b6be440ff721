//! Copies of entries: new names for the same content.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_proto::{file::*, path};
use cloudstore_service::Problem;
use sqlx::{FromRow as _, Row as _};

use super::{
    content,
    error::Outcome,
    files, locks, properties,
    rows::{EntryRow, blob_columns, entry_columns, list},
    tree::{self, Walk, new_id},
    writer::{Command, Tx},
};
use crate::{
    dav::{self, Touched},
    rules,
};

#[async_trait]
impl Command for CopyRequest {
    type Reply = Entry;

    async fn run(mut self, tx: &mut Tx<'_>) -> Outcome<Entry> {
        let source = Walk::down_and(tx, &self.owner, &self.from, Some(&self.id)).await?;
        if source.by_id.is_some() {
            return made_before(tx, &self).await;
        }
        let from = source.end().cloned();
        let from = from.ok_or_else(|| rules::not_found("file or folder"))?;
        let precondition = self.precondition.as_ref();
        rules::check_precondition(precondition, Some(&from))?;
        if self.rename {
            self.to = free_path(tx, &self.owner, self.to).await?;
        }
        let target = Walk::down(tx, &self.owner, &self.to).await?;
        dav::check_replacing(|id| source.passes(id), target.end(), self.replace)?;
        dav::check_inside(&from, |id| target.passes(id))?;
        let Some(parent) = target.parent()? else {
            return Err(rules::not_found("folder").into());
        };
        locks::allow(tx, &self.owner, precondition, &[Touched::tree(&self.to)]).await?;
        // Before the target goes: neither of the two is below the other, it changes nothing here.
        let below = if self.shallow {
            Vec::new()
        } else {
            below(tx, &from).await?
        };
        if !below.is_empty() {
            tree::check_lengths(tx, &from, &self.to).await?;
        }
        if let Some(there) = target.end() {
            files::remove(tx, &there.id).await?;
            locks::end(tx, &self.owner, precondition, &self.to).await?;
        }
        let copies = Copies::new(&self, &parent.id, from, below, tx.now);
        copies.keep(tx, &self.owner).await
    }
}

/// Answers the repetition of a copy.
async fn made_before(tx: &mut Tx<'_>, request: &CopyRequest) -> Outcome<Entry> {
    match tree::by_id(tx, &request.id).await? {
        Some(entry) if entry.owner == request.owner => Ok(entry),
        _ => Err(rules::not_found("copy any more").into()),
    }
}

/// The path, or if that is taken one with a number that is not.
pub(super) async fn free_path(tx: &mut Tx<'_>, owner: &Bytes, path: String) -> Outcome<String> {
    let walk = Walk::down(tx, owner, &path).await?;
    let Some(folder) = walk.parent()?.filter(|_| walk.end().is_some()) else {
        return Ok(path);
    };
    let name = tree::free_name(tx, &folder.id, path::name(&path)).await?;
    Ok(rules::renamed(&path, name)?)
}

/// An entry, its name and its folder.
struct Member {
    entry: Entry,
    name: String,
    parent: Bytes,
}

/// Everything below a folder, folders before what they hold.
async fn below(tx: &mut Tx<'_>, top: &Entry) -> Outcome<Vec<Member>> {
    let mut found = Vec::new();
    let mut level = vec![top.id.clone()];
    while !level.is_empty() {
        let room = u32::try_from(dav::MAX_COPIED - found.len()).unwrap_or(0);
        let rows = sqlx::query(concat!(
            "SELECT e.parent, ",
            entry_columns!(),
            " FROM json_each(?1) i CROSS JOIN entries e ON e.parent = unhex(i.value) AND e.live = 1
            LEFT JOIN blobs b ON b.blake3 = e.blob LIMIT ?2"
        ))
        .bind(list(&level))
        .bind(room)
        .fetch_all(&mut *tx.conn)
        .await?;
        level.clear();
        for row in rows {
            let EntryRow { entry, name } = EntryRow::from_row(&row)?;
            if entry.kind() == EntryKind::Folder {
                level.push(entry.id.clone());
            }
            found.push(Member {
                parent: row.try_get::<Vec<u8>, _>("parent")?.into(),
                entry,
                name,
            });
        }
        // With the one at the top.
        dav::check_copied(found.len() + 1)?;
    }
    Ok(found)
}

/// Entries that are to be made.
struct Copies {
    members: Vec<Member>,
    /// Originals and their copies.
    pairs: Vec<(Bytes, Bytes)>,
}

impl Copies {
    fn new(
        request: &CopyRequest,
        parent: &Bytes,
        top: Entry,
        below: Vec<Member>,
        now: i64,
    ) -> Self {
        let top = Member {
            entry: top,
            name: path::name(&request.to).to_owned(),
            parent: parent.clone(),
        };
        let mut ids: HashMap<Bytes, Bytes> = HashMap::new();
        let mut pairs = Vec::with_capacity(below.len() + 1);
        let mut members = Vec::with_capacity(below.len() + 1);
        for member in std::iter::once(top).chain(below) {
            let id = if members.is_empty() {
                request.id.clone()
            } else {
                new_id()
            };
            pairs.push((member.entry.id.clone(), id.clone()));
            // The folder of the one at the top is no copy.
            let parent = ids.get(&member.parent).unwrap_or(&member.parent).clone();
            ids.insert(member.entry.id.clone(), id.clone());
            members.push(Member {
                entry: dav::copied(member.entry, id, now),
                name: member.name,
                parent,
            });
        }
        if let Some(top) = members.first_mut() {
            top.entry.path.clone_from(&request.to);
        }
        Self { members, pairs }
    }

    /// Quota, references, entries, properties.
    async fn keep(self, tx: &mut Tx<'_>, owner: &Bytes) -> Outcome<Entry> {
        let mut references: BTreeMap<Bytes, i64> = BTreeMap::new();
        let mut used = 0;
        for blob in self
            .members
            .iter()
            .filter_map(|copy| copy.entry.blob.as_ref())
        {
            used += blob.size;
            *references.entry(blob.blake3.clone()).or_default() += 1;
        }
        content::charge(tx, owner, used, 0).await?;
        for (blake3, count) in references {
            content::add_references(tx, &blake3, count).await?;
        }
        for Member {
            entry,
            name,
            parent,
        } in &self.members
        {
            tree::insert(tx, entry, parent, name).await?;
        }
        properties::copy(tx, &self.pairs).await?;
        let top = self.members.into_iter().next();
        let top = top.ok_or_else(|| Problem::internal("a copy of nothing"))?;
        Ok(top.entry)
    }
}
