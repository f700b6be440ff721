//! What every adapter says of the trash in the same way.

use bytes::Bytes;
use cloudstore_proto::file::{ListTrashRequest, ListTrashResponse, SortKey, Trashed};
use cloudstore_service::{Kind, Problem, Result};

use crate::cursor::Cursor;

/// A page of the trash is ordered as by time, last first.
const ORDER: (SortKey, bool) = (SortKey::Modified, true);

/// When the last entry of the page before was deleted, and its id.
///
/// # Errors
/// `MalformedRequest` for a cursor of another listing.
pub fn after(request: &ListTrashRequest) -> Result<Option<(i64, Vec<u8>)>> {
    let Some(cursor) = Cursor::decode(&request.cursor, ORDER.0, ORDER.1)? else {
        return Ok(None);
    };
    let id = hex::decode(&cursor.name).map_err(|_| {
        let detail = "the cursor is not of this listing";
        Problem::new(Kind::MalformedRequest, detail)
    })?;
    Ok(Some((cursor.value, id)))
}

/// A page out of what was found, which is one more than asked for if there is another page.
#[must_use]
pub fn page(mut found: Vec<Trashed>, limit: u32) -> ListTrashResponse {
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| more).map(|last| {
        let id: Option<&Bytes> = last.entry.as_ref().map(|entry| &entry.id);
        Cursor {
            value: last.deleted_at_ms,
            name: id.map(hex::encode).unwrap_or_default(),
        }
        .encode(ORDER.0, ORDER.1)
    });
    ListTrashResponse {
        next_cursor: next.unwrap_or_default(),
        entries: found,
    }
}
