//! Files and folders: looking, moving, deleting.

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_proto::{file::*, path};
use sqlx::AssertSqlSafe;

use super::{
    error::{Fail, Outcome},
    locks,
    rows::{EntryRow, blob_columns, entry_columns},
    trash,
    tree::{self, Walk},
    writer::{Command, Tx},
};
use crate::{
    check,
    cursor::Cursor,
    dav::{self, Touched},
    names, rules,
};

#[async_trait]
impl Command for StatRequest {
    type Reply = Entry;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<Entry> {
        Walk::down(tx, &self.owner, &self.path).await?.into_end()
    }
}

#[async_trait]
impl Command for ListRequest {
    type Reply = ListResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<ListResponse> {
        let folder = Walk::down(tx, &self.owner, &self.path).await?.into_end()?;
        list_folder(tx, folder, &self).await
    }
}

/// A page of a folder that was found, as a request says.
pub(super) async fn list_folder(
    tx: &mut Tx<'_>,
    folder: Entry,
    request: &ListRequest,
) -> Outcome<ListResponse> {
    rules::check_folder(&folder)?;
    let sort = match request.sort() {
        SortKey::Unspecified => SortKey::Name,
        sort => sort,
    };
    let limit = check::limit(request.limit);
    let after = Cursor::decode(&request.cursor, sort, request.descending)?;
    // One more than asked for tells whether there is another page.
    let mut rows: Vec<EntryRow> = sqlx::query_as(AssertSqlSafe(page(sort, request.descending)))
        .bind(&folder.id[..])
        .bind(names::key(&request.search))
        .bind(after.is_some())
        .bind(after.as_ref().map_or(0, |after| after.value))
        .bind(after.map(|after| after.name).unwrap_or_default())
        .bind(limit + 1)
        .fetch_all(&mut *tx.conn)
        .await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next_cursor = rows
        .last()
        .filter(|_| more)
        .map(|EntryRow { entry, name }| {
            let value = match sort {
                SortKey::Size => entry.blob.as_ref().map_or(0, |blob| blob.size),
                SortKey::Modified => entry.modified_at_ms,
                SortKey::Name | SortKey::Unspecified => 0,
            };
            Cursor {
                value,
                name: name.clone(),
            }
            .encode(sort, request.descending)
        });
    let entries = rows.into_iter().map(|EntryRow { entry, name }| Entry {
        path: path::join(&folder.path, &name),
        ..entry
    });
    Ok(ListResponse {
        entries: entries.collect(),
        folder: Some(folder),
        next_cursor: next_cursor.unwrap_or_default(),
    })
}

/// The query for a page: `?1` folder, `?2` search key, `?3` whether there is a cursor, `?4` and
/// `?5` its value and name, `?6` rows. Made of constants only.
fn page(sort: SortKey, descending: bool) -> String {
    let (order, than) = if descending {
        ("DESC", "<")
    } else {
        ("ASC", ">")
    };
    let (after, by) = match sort {
        SortKey::Size => (format!("(e.size, e.name) {than} (?4, ?5)"), "e.size"),
        SortKey::Modified => (
            format!("(e.modified_at, e.name) {than} (?4, ?5)"),
            "e.modified_at",
        ),
        SortKey::Name | SortKey::Unspecified => (format!("e.name {than} ?5"), ""),
    };
    let by = if by.is_empty() {
        String::new()
    } else {
        format!("{by} {order}, ")
    };
    format!(
        "SELECT {columns} FROM entries e LEFT JOIN blobs b ON b.blake3 = e.blob
        WHERE e.parent = ?1 AND e.live = 1 AND (?2 = '' OR instr(e.name_key, ?2) > 0)
            AND (NOT ?3 OR {after})
        ORDER BY {by}e.name {order} LIMIT ?6",
        columns = entry_columns!()
    )
}

#[async_trait]
impl Command for CreateFolderRequest {
    type Reply = Entry;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<Entry> {
        let mut walk = Walk::down(tx, &self.owner, &self.path).await?;
        match walk.end() {
            Some(there) if self.parents && there.kind() == EntryKind::Folder => {
                return Ok(there.clone());
            }
            Some(_) => return Err(rules::name_conflict().into()),
            None => {}
        }
        if walk.parent()?.is_none() && !self.parents {
            return Err(rules::not_found("folder").into());
        }
        let made = [Touched::written(&self.path, None)];
        locks::allow(tx, &self.owner, self.precondition.as_ref(), &made).await?;
        walk.make_all(tx).await
    }
}

#[async_trait]
impl Command for MoveRequest {
    type Reply = Entry;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<Entry> {
        let source = Walk::down(tx, &self.owner, &self.from).await?;
        let entry = source.end().cloned();
        let entry = entry.ok_or_else(|| rules::not_found("file or folder"))?;
        let precondition = self.precondition.as_ref();
        rules::check_precondition(precondition, Some(&entry))?;
        let target = Walk::down(tx, &self.owner, &self.to).await?;
        if target.end().is_some_and(|there| there.id == entry.id) {
            return Ok(entry);
        }
        dav::check_replacing(|id| source.passes(id), target.end(), self.replace)?;
        dav::check_inside(&entry, |id| target.passes(id))?;
        let Some(parent) = target.parent()? else {
            return Err(rules::not_found("folder").into());
        };
        tree::check_lengths(tx, &entry, &self.to).await?;
        let touched = [Touched::tree(&self.from), Touched::tree(&self.to)];
        locks::allow(tx, &self.owner, precondition, &touched).await?;
        if let Some(there) = target.end() {
            remove(tx, &there.id).await?;
            locks::end(tx, &self.owner, precondition, &self.to).await?;
        }
        locks::end(tx, &self.owner, precondition, &self.from).await?;
        let name = path::name(&self.to);
        // The time of a folder is that of its name and place, the time of a file its content's.
        let modified_at_ms = match entry.kind() {
            EntryKind::Folder => tx.now,
            _ => entry.modified_at_ms,
        };
        sqlx::query(
            "UPDATE entries SET parent = ?2, name = ?3, name_key = ?4, modified_at = ?5,
                version = version + 1
            WHERE id = ?1",
        )
        .bind(&entry.id[..])
        .bind(&parent.id[..])
        .bind(name)
        .bind(names::key(name))
        .bind(modified_at_ms)
        .execute(&mut *tx.conn)
        .await?;
        let path = path::join(&parent.path, name);
        Ok(Entry {
            path,
            modified_at_ms,
            version: entry.version + 1,
            ..entry
        })
    }
}

#[async_trait]
impl Command for DeleteRequest {
    type Reply = DeleteResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<DeleteResponse> {
        let entry = Walk::down(tx, &self.owner, &self.path).await?.into_end()?;
        let precondition = self.precondition.as_ref();
        rules::check_precondition(precondition, Some(&entry))?;
        let touched = [Touched::tree(&self.path)];
        locks::allow(tx, &self.owner, precondition, &touched).await?;
        match self.keep_ms {
            0 => remove(tx, &entry.id).await?,
            keep_ms => trash::keep(tx, &entry, keep_ms).await?,
        }
        locks::end(tx, &self.owner, precondition, &self.path).await?;
        Ok(DeleteResponse {})
    }
}

/// Marks an entry as deleted for good, and with it what hangs below it.
pub(super) async fn remove(tx: &mut Tx<'_>, id: &Bytes) -> Outcome<()> {
    sqlx::query("UPDATE entries SET deleted_at = ?2, version = version + 1 WHERE id = ?1")
        .bind(&id[..])
        .bind(tx.now)
        .execute(&mut *tx.conn)
        .await?;
    Ok(())
}

#[async_trait]
impl Command for ApplyRequest {
    type Reply = ApplyResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<ApplyResponse> {
        let mut entries = Vec::with_capacity(self.changes.len());
        for (index, change) in self.changes.into_iter().enumerate() {
            let made = match change.change {
                Some(change::Change::CreateFolder(request)) => request.run(tx).await,
                Some(change::Change::Move(request)) => request.run(tx).await,
                Some(change::Change::Delete(request)) => {
                    request.run(tx).await.map(|_| Entry::default())
                }
                None => Ok(Entry::default()),
            };
            entries.push(made.map_err(|fail| at_change(index, fail))?);
        }
        Ok(ApplyResponse { entries })
    }
}

/// Says which of several changes failed.
fn at_change(index: usize, fail: Fail) -> Fail {
    match fail {
        Fail::Problem(problem) => Fail::Problem(rules::at_change(index, &problem)),
        sql => sql,
    }
}
