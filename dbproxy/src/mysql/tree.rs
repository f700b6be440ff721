//! Paths: walking down from an account's root folder, and back up.

use std::collections::HashSet;

use bytes::Bytes;
use cloudstore_proto::{
    file::{Entry, EntryKind},
    path,
};
use cloudstore_service::{Kind, Problem};
use sqlx::{FromRow, Row as _, mysql::MySqlRow};
use uuid::Uuid;

use super::{
    error::{Outcome, corrupt},
    rows::{EntryRow, blob_columns, entry_columns, text},
    statement::Statement,
    tx::Tx,
};
use crate::{
    names,
    paths::{self, Above, Paths},
    rules,
};

/// Rows of one INSERT: the longest are 10 KiB, and a statement may be no longer than 16 MiB.
const ROWS_AT_ONCE: usize = 500;
/// How many numbered names are tried with each question: most names are taken a few times only.
const NUMBERS: [std::ops::RangeInclusive<u32>; 3] = [1..=8, 9..=100, 101..=names::MAX_NUMBER];

/// The part of a path that exists.
pub(super) struct Walk<'p> {
    owner: Bytes,
    names: Vec<&'p str>,
    /// The root folder, then one entry for each name that was found.
    found: Vec<Entry>,
    /// The entry whose id was asked for beside the path, deleted or not.
    pub(super) by_id: Option<Entry>,
}

/// One statement resolves a whole path: where it begins, the account, a JSON array of names, and an id
/// or NULL.
const WALK: &str = concat!(
    "WITH RECURSIVE walk (depth, id) AS (
        SELECT 0, id FROM entries WHERE id = ? AND owner = ?
        UNION ALL
        SELECT w.depth + 1, e.id FROM walk w STRAIGHT_JOIN entries e
        ON e.parent = w.id AND e.live = 1
            AND e.name = CAST(JSON_UNQUOTE(JSON_EXTRACT(?, CONCAT('$[', w.depth, ']'))) AS BINARY))
    SELECT w.depth, ",
    entry_columns!(),
    " FROM walk w STRAIGHT_JOIN entries e ON e.id = w.id
    LEFT JOIN blobs b ON b.blake3 = e.blob_id
    UNION ALL
    SELECT -1, ",
    entry_columns!(),
    " FROM entries e LEFT JOIN blobs b ON b.blake3 = e.blob_id
    WHERE e.id = ?
    ORDER BY 1"
);

impl<'p> Walk<'p> {
    /// Follows a path as far as it goes. `NotFound` when there is no such account.
    pub(super) async fn down(tx: &mut Tx<'_>, owner: &Bytes, path: &'p str) -> Outcome<Self> {
        Self::down_and(tx, owner, path, None).await
    }

    /// The same, and looks for an entry by its id on the way.
    pub(super) async fn down_and(
        tx: &mut Tx<'_>,
        owner: &Bytes,
        path: &'p str,
        id: Option<&Bytes>,
    ) -> Outcome<Self> {
        Self::from(tx, owner, owner, path, id).await
    }

    /// Follows a path that begins at an entry of the account: `/` is that entry, which may be a file.
    pub(super) async fn below(
        tx: &mut Tx<'_>,
        owner: &Bytes,
        top: &Bytes,
        path: &'p str,
    ) -> Outcome<Self> {
        Self::from(tx, owner, top, path, None).await
    }

    async fn from(
        tx: &mut Tx<'_>,
        owner: &Bytes,
        top: &Bytes,
        path: &'p str,
        id: Option<&Bytes>,
    ) -> Outcome<Self> {
        let names: Vec<&str> = path::segments(path).collect();
        let rows = sqlx::query(WALK)
            .bind(&top[..])
            .bind(&owner[..])
            .bind(serde_json::Value::from(names.clone()).to_string())
            .bind(id.map(|id| &id[..]))
            .fetch_all(&mut *tx.conn)
            .await?;
        let mut by_id = None;
        let mut found: Vec<Entry> = Vec::with_capacity(rows.len());
        for row in rows {
            let EntryRow { mut entry, name } = EntryRow::from_row(&row)?;
            if row.try_get::<i64, _>(0)? < 0 {
                by_id = Some(entry);
                continue;
            }
            entry.path = found
                .last()
                .map_or_else(|| "/".to_owned(), |folder| path::join(&folder.path, &name));
            found.push(entry);
        }
        let walk = Self::along(owner, path, found)?;
        Ok(Self { by_id, ..walk })
    }

    /// A path of which this much is known to exist, beginning with the root folder.
    pub(super) fn along(owner: &Bytes, path: &'p str, found: Vec<Entry>) -> Outcome<Self> {
        if found.is_empty() {
            return Err(rules::not_found("account").into());
        }
        Ok(Self {
            owner: owner.clone(),
            names: path::segments(path).collect(),
            found,
            by_id: None,
        })
    }

    /// The entry at the end of the path.
    pub(super) fn end(&self) -> Option<&Entry> {
        (self.found.len() > self.names.len()).then(|| self.last())
    }

    /// The same, by value; `NotFound` when the path does not exist.
    pub(super) fn into_end(mut self) -> Outcome<Entry> {
        let end = (self.found.len() > self.names.len())
            .then(|| self.found.pop())
            .flatten();
        end.ok_or_else(|| rules::not_found("file or folder").into())
    }

    /// Does the path lead through this entry?
    pub(super) fn passes(&self, id: &Bytes) -> bool {
        self.found.iter().any(|entry| entry.id == *id)
    }

    /// What was found, the root folder first.
    pub(super) fn into_found(self) -> Vec<Entry> {
        self.found
    }

    /// The last entry that was found; the root folder at least.
    fn last(&self) -> &Entry {
        self.found.last().expect("a walk finds the root folder")
    }

    /// The folder that holds the end of the path, if it exists. `NotAFolder` when the path leads
    /// through a file.
    pub(super) fn parent(&self) -> Outcome<Option<&Entry>> {
        if self.end().is_none() && self.last().kind() != EntryKind::Folder {
            let detail = format!("{} is a file", self.last().path);
            return Err(Problem::new(Kind::NotAFolder, detail).into());
        }
        Ok(self
            .names
            .len()
            .checked_sub(1)
            .and_then(|at| self.found.get(at)))
    }

    /// Adds the folders that are missing on the way to the end to `rows`, and says which one holds
    /// it.
    pub(super) fn make_parents(&mut self, now: i64, rows: &mut Vec<NewEntry>) -> Outcome<Entry> {
        let last = self.names.len().saturating_sub(1);
        self.make(now, last, rows)
    }

    /// Adds every folder of the path that is missing to `rows`.
    pub(super) fn make_all(&mut self, now: i64, rows: &mut Vec<NewEntry>) -> Outcome<Entry> {
        let last = self.names.len();
        self.make(now, last, rows)
    }

    fn make(&mut self, now: i64, upto: usize, rows: &mut Vec<NewEntry>) -> Outcome<Entry> {
        self.parent()?;
        while self.found.len() <= upto {
            let parent = self.last();
            let name = self.names[self.found.len() - 1];
            let folder = Entry {
                id: new_id(),
                owner: self.owner.clone(),
                path: path::join(&parent.path, name),
                kind: EntryKind::Folder.into(),
                created_at_ms: now,
                modified_at_ms: now,
                version: 1,
                ..Entry::default()
            };
            rows.push(NewEntry {
                entry: folder.clone(),
                parent: parent.id.clone(),
            });
            self.found.push(folder);
        }
        Ok(self.found[upto].clone())
    }
}

/// A row to be: an entry, whose path ends with its name, and its folder.
pub(super) struct NewEntry {
    pub(super) entry: Entry,
    pub(super) parent: Bytes,
}

/// Adds entries to folders in which their names are free, folders before what they hold.
pub(super) async fn insert(tx: &mut Tx<'_>, rows: &[NewEntry]) -> Outcome<()> {
    for some in rows.chunks(ROWS_AT_ONCE) {
        let insert = Statement::new(
            "INSERT INTO entries (id, owner, parent, name, name_key, kind, blob_id, size,
                media_type, created_at, modified_at, version) VALUES ",
        )
        .rows(some, |row, NewEntry { entry, parent }| {
            let blob = entry.blob.as_ref();
            let name = path::name(&entry.path);
            row.bytes(&entry.id)
                .bytes(&entry.owner)
                .bytes(parent)
                .bytes(name.as_bytes())
                .bytes(names::key(name).as_bytes())
                .number(entry.kind.into())
                .optional(blob.map(|blob| &blob.blake3[..]))
                .number(blob.map_or(0, |blob| blob.size))
                .text(&entry.media_type)
                .number(entry.created_at_ms)
                .number(entry.modified_at_ms)
                .number(entry.version);
        });
        insert.execute(tx).await?;
    }
    Ok(())
}

/// The first numbered name that is free in a folder; `None` when all are taken. `is_promised` tells
/// of paths in it that are taken though the database does not know it yet.
pub(super) async fn free_name(
    tx: &mut Tx<'_>,
    folder: &Bytes,
    name: &str,
    is_promised: &(dyn Fn(&str) -> bool + Sync),
) -> Outcome<Option<String>> {
    let numbered = names::Numbered::new(name);
    for numbers in NUMBERS {
        let candidates: Vec<String> = numbers.map(|number| numbered.name(number)).collect();
        let select = Statement::new("SELECT name FROM entries WHERE live = 1 AND parent = ")
            .bytes(folder)
            .sql(" AND name IN ")
            .list(candidates.iter().map(String::as_bytes));
        let taken: HashSet<(Vec<u8>,)> = select.fetch(tx).await?.into_iter().collect();
        let is_taken = |name: &str| taken.contains(&(name.as_bytes().to_vec(),));
        let free = candidates
            .into_iter()
            .find(|name| !is_taken(name) && !is_promised(name));
        if free.is_some() {
            return Ok(free);
        }
    }
    Ok(None)
}

/// An entry by its id, with its path; `None` when it, or a folder above it, is deleted.
pub(super) async fn by_id(tx: &mut Tx<'_>, id: &Bytes) -> Outcome<Option<Entry>> {
    let row: Option<EntryRow> = sqlx::query_as(concat!(
        "SELECT ",
        entry_columns!(),
        " FROM entries e LEFT JOIN blobs b ON b.blake3 = e.blob_id
        WHERE e.id = ? AND e.deleted_at IS NULL",
    ))
    .bind(&id[..])
    .fetch_optional(&mut *tx.conn)
    .await?;
    let Some(EntryRow { mut entry, .. }) = row else {
        return Ok(None);
    };
    let Some(path) = up(tx, id).await? else {
        return Ok(None);
    };
    entry.path = path;
    Ok(Some(entry))
}

/// The path of an entry; `None` when it, or a folder above it, is deleted.
pub(super) async fn up(tx: &mut Tx<'_>, id: &Bytes) -> Outcome<Option<String>> {
    let rows = sqlx::query(
        "WITH RECURSIVE up (height, parent, name, deleted_at) AS (
            SELECT 0, parent, name, deleted_at FROM entries WHERE id = ?
            UNION ALL
            SELECT u.height + 1, e.parent, e.name, e.deleted_at
            FROM up u STRAIGHT_JOIN entries e ON e.id = u.parent)
        SELECT parent, name, deleted_at FROM up ORDER BY height DESC",
    )
    .bind(&id[..])
    .fetch_all(&mut *tx.conn)
    .await?;
    let Some(root) = rows.first() else {
        return Ok(None);
    };
    if root.try_get::<Option<&[u8]>, _>("parent")?.is_some() {
        return Err(corrupt("an entry has no way up to a root folder"));
    }
    let mut path = String::new();
    for (height, row) in rows.iter().enumerate() {
        if row.try_get::<Option<i64>, _>("deleted_at")?.is_some() {
            return Ok(None);
        }
        if height > 0 {
            path = path + "/" + &text(row, "name")?;
        }
    }
    Ok(Some(if path.is_empty() {
        "/".to_owned()
    } else {
        path
    }))
}

/// A row of what is above entries.
struct AboveRow(Above);

impl FromRow<'_, MySqlRow> for AboveRow {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Self> {
        Ok(Self(Above {
            id: row.try_get("id")?,
            parent: row.try_get("parent")?,
            name: text(row, "name")?,
            is_deleted: row.try_get::<Option<i64>, _>("deleted_at")?.is_some(),
        }))
    }
}

/// The paths of entries; those that are deleted, or below something that is, have none.
pub(super) async fn paths(
    tx: &mut Tx<'_>,
    entries: impl Iterator<Item = &Bytes> + Clone,
) -> Outcome<Paths> {
    // What is above several of them comes once.
    let above = Statement::new(
        "WITH RECURSIVE up (id, parent, name, deleted_at) AS (
            SELECT e.id, e.parent, e.name, e.deleted_at
            FROM entries e FORCE INDEX (PRIMARY) WHERE e.id IN ",
    )
    .list(entries.clone().map(|id| &id[..]))
    .sql(
        " UNION
            SELECT e.id, e.parent, e.name, e.deleted_at
            FROM up u STRAIGHT_JOIN entries e ON e.id = u.parent)
        SELECT id, parent, name, deleted_at FROM up",
    );
    let above: Vec<AboveRow> = above.fetch(tx).await?;
    Ok(paths::place(entries, above.into_iter().map(|row| row.0)))
}

/// Refuses a place at which something below the entry would get too long a path. Looks at everything
/// below it, in one statement, if its way gets longer.
pub(super) async fn check_lengths(tx: &mut Tx<'_>, entry: &Entry, to: &str) -> Outcome<()> {
    let Some(room) = rules::room_below(entry, to) else {
        return Ok(());
    };
    // Below what is too long nobody looks, however deep it is.
    let is_too_long: bool = sqlx::query_scalar(
        "WITH RECURSIVE below (id, bytes) AS (
            SELECT id, CAST(0 AS SIGNED) FROM entries WHERE id = ?
            UNION ALL
            SELECT e.id, b.bytes + 1 + LENGTH(e.name)
            FROM below b STRAIGHT_JOIN entries e ON e.parent = b.id AND e.live = 1
            WHERE b.bytes <= ?)
        SELECT EXISTS (SELECT 1 FROM below WHERE bytes > ?)",
    )
    .bind(&entry.id[..])
    .bind(room)
    .bind(room)
    .fetch_one(&mut *tx.conn)
    .await?;
    if is_too_long {
        return Err(rules::too_long_below().into());
    }
    Ok(())
}

/// A new id, ordered by time.
pub(super) fn new_id() -> Bytes {
    Bytes::copy_from_slice(Uuid::now_v7().as_bytes())
}
