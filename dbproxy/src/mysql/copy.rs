//! Copies of entries: new names for the same content.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_proto::{file::*, path};
use cloudstore_service::Problem;
use sqlx::{FromRow, Row as _, mysql::MySqlRow};

use super::{
    content,
    error::Outcome,
    files, locks, properties,
    rows::{EntryRow, blob_columns, entry_columns},
    statement::Statement,
    tree::{self, NewEntry, Walk, new_id},
    tx::{Command, Tx},
};
use crate::{
    dav::{self, Touched},
    rules,
};

/// Folders that are looked into with one statement.
const FOLDERS_AT_ONCE: usize = 500;

#[async_trait]
impl Command for CopyRequest {
    type Reply = Entry;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<Entry> {
        content::lock_account(tx, &self.owner).await?;
        let source = Walk::down_and(tx, &self.owner, &self.from, Some(&self.id)).await?;
        if source.by_id.is_some() {
            return made_before(tx, self).await;
        }
        let from = source.end().cloned();
        let from = from.ok_or_else(|| rules::not_found("file or folder"))?;
        let precondition = self.precondition.as_ref();
        rules::check_precondition(precondition, Some(&from))?;
        let renamed;
        let request = if self.rename {
            let to = free_path(tx, &self.owner, &self.to).await?;
            renamed = Self { to, ..self.clone() };
            &renamed
        } else {
            self
        };
        let target = Walk::down(tx, &self.owner, &request.to).await?;
        dav::check_replacing(|id| source.passes(id), target.end(), self.replace)?;
        dav::check_inside(&from, |id| target.passes(id))?;
        let Some(parent) = target.parent()? else {
            return Err(rules::not_found("folder").into());
        };
        locks::allow(tx, &self.owner, precondition, &[Touched::tree(&request.to)]).await?;
        // Before the target goes: neither of the two is below the other, it changes nothing here.
        let below = if self.shallow {
            Vec::new()
        } else {
            below(tx, &from).await?
        };
        if !below.is_empty() {
            tree::check_lengths(tx, &from, &request.to).await?;
        }
        let parent = parent.id.clone();
        let copies = Copies::new(request, &parent, from, below, tx.now);
        copies.count(tx, &self.owner).await?;
        if let Some(there) = target.end() {
            files::remove(tx, &there.id).await?;
            locks::end(tx, &self.owner, precondition, &self.to).await?;
        }
        copies.keep(tx).await
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
pub(super) async fn free_path(tx: &mut Tx<'_>, owner: &Bytes, path: &str) -> Outcome<String> {
    let walk = Walk::down(tx, owner, path).await?;
    let Some(folder) = walk.parent()?.filter(|_| walk.end().is_some()) else {
        return Ok(path.to_owned());
    };
    let name = tree::free_name(tx, &folder.id, path::name(path), &|_| false).await?;
    Ok(rules::renamed(path, name)?)
}

/// An entry, whose path is its name only, and its folder.
struct Member(NewEntry);

impl FromRow<'_, MySqlRow> for Member {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Self> {
        let EntryRow { entry, name } = EntryRow::from_row(row)?;
        Ok(Self(NewEntry {
            entry: Entry {
                path: name,
                ..entry
            },
            parent: row.try_get::<Vec<u8>, _>("parent")?.into(),
        }))
    }
}

/// Everything below a folder, folders before what they hold.
async fn below(tx: &mut Tx<'_>, top: &Entry) -> Outcome<Vec<NewEntry>> {
    let mut found: Vec<NewEntry> = Vec::new();
    let mut level = vec![top.id.clone()];
    while !level.is_empty() {
        let start = found.len();
        for folders in level.chunks(FOLDERS_AT_ONCE) {
            let room = i64::try_from(dav::MAX_COPIED - found.len()).unwrap_or(0);
            let select = Statement::new(concat!(
                "SELECT e.parent, ",
                entry_columns!(),
                " FROM entries e LEFT JOIN blobs b ON b.blake3 = e.blob_id
                WHERE e.live = 1 AND e.parent IN "
            ))
            .list(folders.iter().map(|folder| &folder[..]))
            .sql(" LIMIT ")
            .number(room);
            let members: Vec<Member> = select.fetch(tx).await?;
            found.extend(members.into_iter().map(|member| member.0));
            // With the one at the top.
            dav::check_copied(found.len() + 1)?;
        }
        let folders = found[start..]
            .iter()
            .filter(|member| member.entry.kind() == EntryKind::Folder);
        level = folders.map(|member| member.entry.id.clone()).collect();
    }
    Ok(found)
}

/// Entries that are to be made.
struct Copies {
    members: Vec<NewEntry>,
    /// Originals and their copies.
    pairs: Vec<(Bytes, Bytes)>,
}

impl Copies {
    fn new(
        request: &CopyRequest,
        parent: &Bytes,
        top: Entry,
        below: Vec<NewEntry>,
        now: i64,
    ) -> Self {
        let top = NewEntry {
            entry: Entry {
                path: path::name(&request.to).to_owned(),
                ..top
            },
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
            members.push(NewEntry {
                entry: dav::copied(member.entry, id, now),
                parent,
            });
        }
        if let Some(top) = members.first_mut() {
            top.entry.path.clone_from(&request.to);
        }
        Self { members, pairs }
    }

    /// Quota and references.
    async fn count(&self, tx: &mut Tx<'_>, owner: &Bytes) -> Outcome<()> {
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
        content::change_references(tx, &references).await
    }

    /// Entries and properties.
    async fn keep(self, tx: &mut Tx<'_>) -> Outcome<Entry> {
        tree::insert(tx, &self.members).await?;
        properties::copy(tx, &self.pairs).await?;
        let top = self.members.into_iter().next();
        let top = top.ok_or_else(|| Problem::internal("a copy of nothing"))?;
        Ok(top.entry)
    }
}
