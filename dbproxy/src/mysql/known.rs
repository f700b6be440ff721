//! What is known about many announcements: looked up together, a few questions for all of them.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use cloudstore_proto::{
    file::{Blob, BlobState, Entry, EntryKind},
    path,
    upload::{BeginUpload, Digests, Upload},
};
use sqlx::{FromRow, Row as _, mysql::MySqlRow};

use super::{
    error::Outcome,
    rows::{BlobRow, EntryRow, blob_columns, entry_columns},
    statement::Statement,
    tree::Walk,
    tx::Tx,
    uploads,
};
use crate::rules::{self, Lookup, Match};

/// Names in one question: keeps what the server plans, a range of an index for each, small.
const NAMES_AT_ONCE: usize = 500;

/// The part of an account's tree that some paths lead through, by path. The account is locked, so
/// it stays as it is, but for what the holder of the lock does.
pub(super) struct Tree {
    owner: Bytes,
    entries: HashMap<String, Entry>,
}

impl Tree {
    /// Looks paths up, all names of one depth together. `NotFound` when there is no such account.
    pub(super) async fn load(tx: &mut Tx<'_>, owner: &Bytes, paths: &[&str]) -> Outcome<Self> {
        let first = paths.first().copied().filter(|_| paths.len() == 1);
        let walk = Walk::down(tx, owner, first.unwrap_or("/")).await?;
        let mut tree = Self {
            owner: owner.clone(),
            entries: HashMap::new(),
        };
        for entry in walk.into_found() {
            tree.put(entry);
        }
        if first.is_some() {
            return Ok(tree);
        }
        // Each path with the length of what has been looked up of it.
        let mut open: Vec<(&str, usize)> = paths.iter().map(|path| (*path, 0)).collect();
        while !open.is_empty() {
            let mut wanted = BTreeSet::new();
            open.retain_mut(|(path, done)| {
                let folder = if *done == 0 { "/" } else { &path[..*done] };
                let folder = tree.entries.get(folder);
                let Some(folder) = folder.filter(|_| *done < path.len()) else {
                    return false;
                };
                if folder.kind() != EntryKind::Folder {
                    return false;
                }
                let rest = &path[*done + 1..];
                *done += 1 + rest.find('/').unwrap_or(rest.len());
                wanted.insert((folder.id.clone(), &path[..*done]));
                true
            });
            let wanted: Vec<_> = wanted.into_iter().collect();
            for some in wanted.chunks(NAMES_AT_ONCE) {
                tree.load_some(tx, some).await?;
            }
        }
        Ok(tree)
    }

    /// Looks up entries that are named by their folder and path.
    async fn load_some(&mut self, tx: &mut Tx<'_>, wanted: &[(Bytes, &str)]) -> Outcome<()> {
        let mut select = Statement::new(concat!(
            "SELECT e.parent, ",
            entry_columns!(),
            " FROM entries e LEFT JOIN blobs b ON b.blake3 = e.blob_id WHERE e.live = 1 AND (0"
        ));
        for of_folder in wanted.chunk_by(|one, next| one.0 == next.0) {
            let names = of_folder.iter().map(|(_, path)| path::name(path));
            select = select
                .sql(" OR e.parent = ")
                .bytes(&of_folder[0].0)
                .sql(" AND e.name IN ")
                .list(names.map(str::as_bytes));
        }
        let rows: Vec<Child> = select.sql(")").fetch(tx).await?;
        let paths: HashMap<(&[u8], &str), &str> = wanted
            .iter()
            .map(|(folder, path)| ((&folder[..], path::name(path)), *path))
            .collect();
        for Child { folder, mut row } in rows {
            if let Some(path) = paths.get(&(&folder[..], &*row.name)) {
                (*path).clone_into(&mut row.entry.path);
                self.put(row.entry);
            }
        }
        Ok(())
    }

    /// Follows a path that was looked up.
    pub(super) fn walk<'p>(&self, path: &'p str) -> Outcome<Walk<'p>> {
        let ends = path.match_indices('/').skip(1).map(|(at, _)| &path[..at]);
        let found = std::iter::once("/")
            .chain(ends)
            .chain(Some(path).filter(|path| *path != "/"))
            .map_while(|path| self.entries.get(path).cloned());
        Walk::along(&self.owner, path, found.collect())
    }

    /// The entry at a path.
    pub(super) fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// An entry is at its path from now on.
    pub(super) fn put(&mut self, entry: Entry) {
        self.entries.insert(entry.path.clone(), entry);
    }
}

/// An entry and its folder.
struct Child {
    folder: Vec<u8>,
    row: EntryRow,
}

impl FromRow<'_, MySqlRow> for Child {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Self> {
        Ok(Self {
            folder: row.try_get("parent")?,
            row: EntryRow::from_row(row)?,
        })
    }
}

/// Content that was found by declared digests.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) blob: Blob,
    /// The declared digests identify it; otherwise they only found it.
    pub(super) identified: bool,
    /// The account refers to it already, if only by an entry that was deleted and not purged yet.
    pub(super) held: bool,
}

/// Content by the column and the digest that it was looked up by, and whether the account holds it.
#[derive(Default)]
pub(super) struct Candidates(HashMap<(&'static str, Bytes), Vec<(Blob, bool)>>);

/// A blob, and whether the account holds it.
struct Known {
    blob: Blob,
    held: bool,
}

impl FromRow<'_, MySqlRow> for Known {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Self> {
        Ok(Self {
            blob: BlobRow::from_row(row)?.0,
            held: row.try_get("held")?,
        })
    }
}

/// The column of a digest, and the digest.
fn column(lookup: Lookup) -> (&'static str, Bytes) {
    match lookup {
        Lookup::Blake3(digest) => ("blake3", digest),
        Lookup::Sha256(digest) => ("sha256", digest),
        Lookup::Sha1(digest) => ("sha1", digest),
    }
}

impl Candidates {
    /// Looks declared content up. Content that could not be moved is not offered: whoever has it
    /// may well have the only good copy.
    pub(super) async fn load<'d>(
        tx: &mut Tx<'_>,
        account: &Bytes,
        declared: impl Iterator<Item = (&'d Digests, i64)>,
    ) -> Outcome<Self> {
        let mut found = Self::default();
        let mut wanted: HashMap<&'static str, HashSet<(Bytes, i64)>> = HashMap::new();
        for (digests, size) in declared {
            if let Some(lookup) = rules::lookup(digests) {
                let (column, digest) = column(lookup);
                wanted.entry(column).or_default().insert((digest, size));
            }
        }
        for (column, digests) in wanted {
            let digests: Vec<_> = digests.into_iter().collect();
            // Any number of contents can be made that share one SHA-1: one question for each, of
            // which two answers matter. The others are as good as unique.
            let at_once = if column == "sha1" { 1 } else { digests.len() };
            for some in digests.chunks(at_once) {
                found.load_some(tx, account, column, some).await?;
            }
        }
        Ok(found)
    }

    async fn load_some(
        &mut self,
        tx: &mut Tx<'_>,
        account: &Bytes,
        column: &'static str,
        digests: &[(Bytes, i64)],
    ) -> Outcome<()> {
        let mut select = Statement::new(concat!(
            "SELECT ",
            blob_columns!(),
            ", EXISTS (SELECT 1 FROM entries WHERE blob_id = b.blake3 AND owner = "
        ))
        .bytes(account)
        .sql(
            ") AS held
            FROM blobs b WHERE b.state <> 4 /* deleting */
                AND NOT EXISTS (SELECT 1 FROM transfers
                    WHERE blake3 = b.blake3 AND state = 3 /* parked */) AND b.",
        )
        .sql(column)
        .sql(" IN ")
        .list(digests.iter().map(|(digest, _)| &digest[..]));
        if let [(_, size)] = digests {
            select = select.sql(" AND b.size = ").number(*size).sql(" LIMIT 2");
        }
        for Known { blob, held } in select.fetch(tx).await? {
            let digest = match column {
                "blake3" => &blob.blake3,
                "sha256" => &blob.sha256,
                _ => &blob.sha1,
            };
            let of_digest = self.0.entry((column, digest.clone())).or_default();
            of_digest.push((blob, held));
        }
        Ok(())
    }

    /// Content that was looked up and is of this size.
    pub(super) fn find(&self, declared: &Digests, size: i64) -> Option<Candidate> {
        let found = self.0.get(&column(rules::lookup(declared)?))?;
        let mut found = found.iter().filter(|(blob, _)| blob.size == size);
        // Two blobs under one digest: it does not tell which one is meant.
        let (Some((blob, held)), None) = (found.next(), found.next()) else {
            return None;
        };
        let identified = match rules::matches(declared, size, blob) {
            Match::No => return None,
            Match::Found => false,
            Match::Identified => true,
        };
        Some(Candidate {
            blob: blob.clone(),
            identified,
            held: *held,
        })
    }
}

/// Contents at these paths whose transfer is parked: the only copy could not be moved.
pub(super) async fn parked(
    tx: &mut Tx<'_>,
    tree: &Tree,
    paths: &[&str],
) -> Outcome<HashSet<Bytes>> {
    let staged: HashSet<Bytes> = paths
        .iter()
        .filter_map(|path| tree.get(path)?.blob.as_ref())
        .filter(|blob| blob.state() == BlobState::Staged)
        .map(|blob| blob.blake3.clone())
        .collect();
    if staged.is_empty() {
        return Ok(HashSet::new());
    }
    let select =
        Statement::new("SELECT blake3 FROM transfers WHERE state = 3 /* parked */ AND blake3 IN ")
            .list(staged.iter().map(|blake3| &blake3[..]));
    let parked: Vec<(Vec<u8>,)> = select.fetch(tx).await?;
    Ok(parked.into_iter().map(|(id,)| id.into()).collect())
}

/// What earlier calls did with the ids of announcements.
#[derive(Default)]
pub(super) struct Made {
    /// Entries, deleted or not; with the path of those that were made since.
    entries: HashMap<Bytes, Option<String>>,
    uploads: HashMap<Bytes, Upload>,
}

impl Made {
    /// Looks ids up.
    pub(super) async fn load(tx: &mut Tx<'_>, announced: &[&BeginUpload]) -> Outcome<Self> {
        if announced.is_empty() {
            return Ok(Self::default());
        }
        let ids: Vec<&Bytes> = announced.iter().map(|entry| &entry.id).collect();
        let entries = Statement::new("SELECT id FROM entries WHERE id IN ")
            .list(ids.iter().map(|id| &id[..]));
        let entries: Vec<(Vec<u8>,)> = entries.fetch(tx).await?;
        let uploads = uploads::find_all(tx, &ids).await?;
        Ok(Self {
            entries: entries.into_iter().map(|(id,)| (id.into(), None)).collect(),
            uploads: uploads
                .into_iter()
                .map(|upload| (upload.id.clone(), upload))
                .collect(),
        })
    }

    /// Is there an entry with this id?
    pub(super) fn is_entry(&self, id: &Bytes) -> bool {
        self.entries.contains_key(id)
    }

    /// The path of an entry with this id that was not in the database before.
    pub(super) fn path(&self, id: &Bytes) -> Option<&str> {
        self.entries.get(id)?.as_deref()
    }

    /// The upload with this id.
    pub(super) fn upload(&self, id: &Bytes) -> Option<&Upload> {
        self.uploads.get(id)
    }

    /// There is an entry now.
    pub(super) fn put_entry(&mut self, entry: &Entry) {
        let path = Some(entry.path.clone());
        self.entries.insert(entry.id.clone(), path);
    }

    /// There is an upload now.
    pub(super) fn put_upload(&mut self, upload: Upload) {
        self.uploads.insert(upload.id.clone(), upload);
    }
}
