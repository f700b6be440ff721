//! Files and folders: looking, moving, deleting.

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_proto::{file::*, path};
use sqlx::AssertSqlSafe;

use super::{
    content,
    error::{Fail, Outcome},
    locks,
    rows::{EntryRow, blob_columns, entry_columns},
    trash,
    tree::{self, Walk},
    tx::{Command, Tx},
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

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<Entry> {
        Walk::down(tx, &self.owner, &self.path).await?.into_end()
    }
}

#[async_trait]
impl Command for ListRequest {
    type Reply = ListResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<ListResponse> {
        let folder = Walk::down(tx, &self.owner, &self.path).await?.into_end()?;
        list_folder(tx, folder, self).await
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
    let search = names::key(&request.search);
    let sql = page(
        sort,
        request.descending,
        after.is_some(),
        !search.is_empty(),
    );
    let mut query = sqlx::query_as(AssertSqlSafe(sql)).bind(&folder.id[..]);
    if !search.is_empty() {
        query = query.bind(search.as_bytes());
    }
    if let Some(after) = &after {
        if sort != SortKey::Name {
            query = query.bind(after.value);
        }
        query = query.bind(after.name.as_bytes());
    }
    // One more than asked for tells whether there is another page.
    let mut rows: Vec<EntryRow> = query.bind(limit + 1).fetch_all(&mut *tx.conn).await?;
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

/// The query for a page: folder, search key (if there is one), value (unless sorted by name) and
/// name of the cursor (if there is one), rows. Made of constants only.
fn page(sort: SortKey, descending: bool, has_cursor: bool, has_search: bool) -> String {
    let (order, than) = if descending {
        ("DESC", "<")
    } else {
        ("ASC", ">")
    };
    let by = match sort {
        SortKey::Size => "e.size",
        SortKey::Modified => "e.modified_at",
        SortKey::Name | SortKey::Unspecified => "",
    };
    let search = if has_search {
        "AND instr(e.name_key, ?) > 0"
    } else {
        ""
    };
    let after = match (has_cursor, by) {
        (false, _) => String::new(),
        (true, "") => format!("AND e.name {than} ?"),
        (true, by) => format!("AND ({by}, e.name) {than} (?, ?)"),
    };
    let by = if by.is_empty() {
        String::new()
    } else {
        format!("{by} {order}, ")
    };
    format!(
        "SELECT {columns} FROM entries e LEFT JOIN blobs b ON b.blake3 = e.blob_id
        WHERE e.parent = ? AND e.live = 1 {search} {after}
        ORDER BY {by}e.name {order} LIMIT ?",
        columns = entry_columns!()
    )
}

#[async_trait]
impl Command for CreateFolderRequest {
    type Reply = Entry;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<Entry> {
        content::lock_account(tx, &self.owner).await?;
        create_folder(tx, self).await
    }
}

/// The account is locked.
async fn create_folder(tx: &mut Tx<'_>, request: &CreateFolderRequest) -> Outcome<Entry> {
    let mut walk = Walk::down(tx, &request.owner, &request.path).await?;
    match walk.end() {
        Some(there) if request.parents && there.kind() == EntryKind::Folder => {
            return Ok(there.clone());
        }
        Some(_) => return Err(rules::name_conflict().into()),
        None => {}
    }
    if walk.parent()?.is_none() && !request.parents {
        return Err(rules::not_found("folder").into());
    }
    let made = [Touched::written(&request.path, None)];
    locks::allow(tx, &request.owner, request.precondition.as_ref(), &made).await?;
    let mut rows = Vec::new();
    let folder = walk.make_all(tx.now, &mut rows)?;
    tree::insert(tx, &rows).await?;
    Ok(folder)
}

#[async_trait]
impl Command for MoveRequest {
    type Reply = Entry;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<Entry> {
        content::lock_account(tx, &self.owner).await?;
        move_entry(tx, self).await
    }
}

/// The account is locked.
async fn move_entry(tx: &mut Tx<'_>, request: &MoveRequest) -> Outcome<Entry> {
    let source = Walk::down(tx, &request.owner, &request.from).await?;
    let entry = source.end().cloned();
    let entry = entry.ok_or_else(|| rules::not_found("file or folder"))?;
    let precondition = request.precondition.as_ref();
    rules::check_precondition(precondition, Some(&entry))?;
    let target = Walk::down(tx, &request.owner, &request.to).await?;
    if target.end().is_some_and(|there| there.id == entry.id) {
        return Ok(entry);
    }
    dav::check_replacing(|id| source.passes(id), target.end(), request.replace)?;
    dav::check_inside(&entry, |id| target.passes(id))?;
    let Some(parent) = target.parent()? else {
        return Err(rules::not_found("folder").into());
    };
    tree::check_lengths(tx, &entry, &request.to).await?;
    let touched = [Touched::tree(&request.from), Touched::tree(&request.to)];
    locks::allow(tx, &request.owner, precondition, &touched).await?;
    if let Some(there) = target.end() {
        remove(tx, &there.id).await?;
        locks::end(tx, &request.owner, precondition, &request.to).await?;
    }
    locks::end(tx, &request.owner, precondition, &request.from).await?;
    let name = path::name(&request.to);
    // The time of a folder is that of its name and place, the time of a file its content's.
    let modified_at_ms = match entry.kind() {
        EntryKind::Folder => tx.now,
        _ => entry.modified_at_ms,
    };
    sqlx::query(
        "UPDATE entries SET parent = ?, name = ?, name_key = ?, modified_at = ?,
            version = version + 1
        WHERE id = ?",
    )
    .bind(&parent.id[..])
    .bind(name)
    .bind(names::key(name))
    .bind(modified_at_ms)
    .bind(&entry.id[..])
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

#[async_trait]
impl Command for DeleteRequest {
    type Reply = DeleteResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<DeleteResponse> {
        content::lock_account(tx, &self.owner).await?;
        delete(tx, self).await
    }
}

/// The account is locked.
async fn delete(tx: &mut Tx<'_>, request: &DeleteRequest) -> Outcome<DeleteResponse> {
    let entry = Walk::down(tx, &request.owner, &request.path)
        .await?
        .into_end()?;
    let precondition = request.precondition.as_ref();
    rules::check_precondition(precondition, Some(&entry))?;
    let touched = [Touched::tree(&request.path)];
    locks::allow(tx, &request.owner, precondition, &touched).await?;
    match request.keep_ms {
        0 => remove(tx, &entry.id).await?,
        keep_ms => trash::keep(tx, &entry, keep_ms).await?,
    }
    locks::end(tx, &request.owner, precondition, &request.path).await?;
    Ok(DeleteResponse {})
}

/// Marks an entry as deleted for good, and with it what hangs below it.
pub(super) async fn remove(tx: &mut Tx<'_>, id: &Bytes) -> Outcome<()> {
    sqlx::query("UPDATE entries SET deleted_at = ?, version = version + 1 WHERE id = ?")
        .bind(tx.now)
        .bind(&id[..])
        .execute(&mut *tx.conn)
        .await?;
    Ok(())
}

#[async_trait]
impl Command for ApplyRequest {
    type Reply = ApplyResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<ApplyResponse> {
        content::lock_account(tx, &self.owner).await?;
        let mut entries = Vec::with_capacity(self.changes.len());
        for (index, change) in self.changes.iter().enumerate() {
            let made = match &change.change {
                Some(change::Change::CreateFolder(request)) => create_folder(tx, request).await,
                Some(change::Change::Move(request)) => move_entry(tx, request).await,
                Some(change::Change::Delete(request)) => {
                    delete(tx, request).await.map(|_| Entry::default())
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
