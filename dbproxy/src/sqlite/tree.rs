//! Paths: walking down from an account's root folder, and back up.

use bytes::Bytes;
use cloudstore_proto::{
    file::{Entry, EntryKind},
    path,
};
use cloudstore_service::{Kind, Problem};
use sqlx::FromRow as _;
use sqlx::Row as _;
use uuid::Uuid;

use super::{
    error::{Outcome, corrupt},
    rows::{EntryRow, blob_columns, entry_columns, list},
    writer::Tx,
};
use crate::{
    names,
    paths::{self, Above, Paths},
    rules,
};

/// The part of a path that exists.
pub(super) struct Walk<'p> {
    owner: Bytes,
    names: Vec<&'p str>,
    /// The root folder, then one entry for each name that was found.
    found: Vec<Entry>,
    /// The entry whose id was asked for beside the path, deleted or not.
    pub(super) by_id: Option<Entry>,
}

/// One statement resolves a whole path: `?1` is where it begins, `?2` a JSON array of names, `?3` an id
/// or NULL, `?4` the account.
const WALK: &str = concat!(
    "WITH RECURSIVE walk (depth, id) AS (
        SELECT 0, id FROM entries WHERE id = ?1 AND owner = ?4
        UNION ALL
        SELECT w.depth + 1, e.id FROM walk w CROSS JOIN entries e
        ON e.parent = w.id AND e.name = (?2 ->> w.depth) AND e.live = 1)
    SELECT w.depth, ",
    entry_columns!(),
    " FROM walk w CROSS JOIN entries e ON e.id = w.id LEFT JOIN blobs b ON b.blake3 = e.blob
    UNION ALL
    SELECT -1, ",
    entry_columns!(),
    " FROM entries e LEFT JOIN blobs b ON b.blake3 = e.blob
    WHERE e.id = ?3
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
            .bind(serde_json::Value::from(names.clone()).to_string())
            .bind(id.map(|id| &id[..]))
            .bind(&owner[..])
            .fetch_all(&mut *tx.conn)
            .await?;
        let mut walk = Self {
            owner: owner.clone(),
            names,
            found: Vec::new(),
            by_id: None,
        };
        let mut at = String::new();
        for row in rows {
            let EntryRow { mut entry, name } = EntryRow::from_row(&row)?;
            if row.try_get::<i64, _>(0)? < 0 {
                walk.by_id = Some(entry);
                continue;
            }
            at = if walk.found.is_empty() {
                "/".to_owned()
            } else {
                path::join(&at, &name)
            };
            entry.path.clone_from(&at);
            walk.found.push(entry);
        }
        if walk.found.is_empty() {
            return Err(rules::not_found("account").into());
        }
        Ok(walk)
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

    /// Makes the folders that are missing on the way to the end, and says which one holds it.
    pub(super) async fn make_parents(&mut self, tx: &mut Tx<'_>) -> Outcome<Entry> {
        let last = self.names.len().saturating_sub(1);
        self.make(tx, last).await
    }

    /// Makes every folder of the path that is missing.
    pub(super) async fn make_all(&mut self, tx: &mut Tx<'_>) -> Outcome<Entry> {
        let last = self.names.len();
        self.make(tx, last).await
    }

    async fn make(&mut self, tx: &mut Tx<'_>, upto: usize) -> Outcome<Entry> {
        self.parent()?;
        while self.found.len() <= upto {
            let parent = self.last();
            let name = self.names[self.found.len() - 1];
            let folder = Entry {
                id: new_id(),
                owner: self.owner.clone(),
                path: path::join(&parent.path, name),
                kind: EntryKind::Folder.into(),
                created_at_ms: tx.now,
                modified_at_ms: tx.now,
                version: 1,
                ..Entry::default()
            };
            insert(tx, &folder, &parent.id.clone(), name).await?;
            self.found.push(folder);
        }
        Ok(self.found[upto].clone())
    }
}

/// Adds an entry to a folder in which its name is free.
pub(super) async fn insert(
    tx: &mut Tx<'_>,
    entry: &Entry,
    parent: &Bytes,
    name: &str,
) -> Outcome<()> {
    let blob = entry.blob.as_ref();
    sqlx::query(
        "INSERT INTO entries (id, owner, parent, name, name_key, kind, blob, size, media_type,
            created_at, modified_at, version)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&entry.id[..])
    .bind(&entry.owner[..])
    .bind(&parent[..])
    .bind(name)
    .bind(names::key(name))
    .bind(entry.kind)
    .bind(blob.map(|blob| &blob.blake3[..]))
    .bind(blob.map_or(0, |blob| blob.size))
    .bind(&*entry.media_type)
    .bind(entry.created_at_ms)
    .bind(entry.modified_at_ms)
    .bind(entry.version)
    .execute(&mut *tx.conn)
    .await?;
    Ok(())
}

/// The first numbered name that is free in a folder; `None` when all are taken.
pub(super) async fn free_name(
    tx: &mut Tx<'_>,
    folder: &Bytes,
    name: &str,
) -> Outcome<Option<String>> {
    let numbered = names::Numbered::new(name);
    let number: Option<u32> = sqlx::query_scalar(
        "WITH RECURSIVE numbers (n, taken) AS (
            SELECT 0, 1
            UNION ALL
            SELECT n + 1, EXISTS (SELECT 1 FROM entries
                WHERE parent = ?1 AND name = ?2 || (n + 1) || ?3 AND live = 1)
            FROM numbers WHERE taken AND n < ?4)
        SELECT n FROM numbers WHERE NOT taken",
    )
    .bind(&folder[..])
    .bind(numbered.prefix())
    .bind(numbered.suffix())
    .bind(names::MAX_NUMBER)
    .fetch_optional(&mut *tx.conn)
    .await?;
    Ok(number.map(|number| numbered.name(number)))
}

/// An entry by its id, with its path; `None` when it, or a folder above it, is deleted.
pub(super) async fn by_id(tx: &mut Tx<'_>, id: &Bytes) -> Outcome<Option<Entry>> {
    let row: Option<EntryRow> = sqlx::query_as(concat!(
        "SELECT ",
        entry_columns!(),
        " FROM entries e LEFT JOIN blobs b ON b.blake3 = e.blob
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
    let names: Vec<(Option<Vec<u8>>, String, Option<i64>)> = sqlx::query_as(
        "WITH RECURSIVE up (height, parent, name, deleted_at) AS (
            SELECT 0, parent, name, deleted_at FROM entries WHERE id = ?
            UNION ALL
            SELECT u.height + 1, e.parent, e.name, e.deleted_at
            FROM up u CROSS JOIN entries e ON e.id = u.parent)
        SELECT parent, name, deleted_at FROM up ORDER BY height DESC",
    )
    .bind(&id[..])
    .fetch_all(&mut *tx.conn)
    .await?;
    match names.first() {
        None => return Ok(None),
        Some((Some(_), ..)) => return Err(corrupt("an entry has no way up to a root folder")),
        Some(_) => {}
    }
    if names.iter().any(|(_, _, deleted_at)| deleted_at.is_some()) {
        return Ok(None);
    }
    let path = names[1..]
        .iter()
        .fold(String::new(), |path, (_, name, _)| path + "/" + name);
    Ok(Some(if path.is_empty() {
        "/".to_owned()
    } else {
        path
    }))
}

/// The paths of entries; those that are deleted, or below something that is, have none.
pub(super) async fn paths(
    tx: &mut Tx<'_>,
    entries: impl Iterator<Item = &Bytes> + Clone,
) -> Outcome<Paths> {
    // What is above several of them comes once.
    let above: Vec<Above> = sqlx::query_as(
        "WITH RECURSIVE up (id, parent, name, is_deleted) AS (
            SELECT e.id, e.parent, e.name, e.deleted_at IS NOT NULL
            FROM entries e WHERE e.id IN (SELECT unhex(value) FROM json_each(?))
            UNION
            SELECT e.id, e.parent, e.name, e.deleted_at IS NOT NULL
            FROM up u CROSS JOIN entries e ON e.id = u.parent)
        SELECT id, parent, name, is_deleted FROM up",
    )
    .bind(list(entries.clone()))
    .fetch_all(&mut *tx.conn)
    .await?;
    Ok(paths::place(entries, above))
}

/// Refuses a place at which something below the entry would get too long a path. Looks at everything
/// below it, in one statement, if its way gets longer.
pub(super) async fn check_lengths(tx: &mut Tx<'_>, entry: &Entry, to: &str) -> Outcome<()> {
    let Some(room) = rules::room_below(entry, to) else {
        return Ok(());
    };
    let is_too_long: bool = sqlx::query_scalar(
        "WITH RECURSIVE below (id, bytes) AS (
            SELECT ?1, 0
            UNION ALL
            SELECT e.id, b.bytes + 1 + length(CAST(e.name AS BLOB))
            FROM below b CROSS JOIN entries e ON e.parent = b.id AND e.live = 1
            WHERE b.bytes <= ?2)
        SELECT EXISTS (SELECT 1 FROM below WHERE bytes > ?2)",
    )
    .bind(&entry.id[..])
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
