//! Folders, and selections of entries, as one zip archive that is made while it is sent.
//!
//! Nothing is compressed, nothing is stored: of an archive there are in memory the piece that is being
//! sent, a page of a folder, the folders whose turn is to come (`walk.rs`), and the directory that stands
//! at its end (`format.rs`). Content is read and verified as for any download. Whatever goes wrong ends
//! the archive without its directory, and breaks the connection off. That is what tells clients: readers
//! look for a directory from the end, and may find that of an archive which is one of the files.
//!
//! An archive shows no single moment: entries are those that are there when their folder's turn comes.
//! What is deleted or moved away before is left out, what is moved from one folder to another may be in
//! both or in none, a file that gets other content has the old one or the new one, never a mixture. No
//! name is in an archive twice: folders are listed in the order of names, each once, and what was asked
//! for has different names.

mod format;
mod name;
mod walk;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use cloudstore_proto::{
    file::{Entry, EntryKind},
    path,
};
use cloudstore_service::{Kind, Problem, Result, json::invalid_fields};
use crc32fast::Hasher;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use uuid::Uuid;

use self::{
    format::{Full, Head, Open, Writer},
    walk::Walk,
};
use crate::{
    catalog::Catalog,
    content::{self, Attempts},
    reader::{self, Pieces, Reader, Ticket},
};

/// Archives that are made at a time. Each keeps its directory, of 16 MiB at most, and the names of folders
/// that it has still to look into, of 16 MiB at most: together 512 MiB. What was asked for, a thousand
/// entries at most, and a page of a folder are some MiB more.
pub(crate) const MAX_ARCHIVES: usize = 16;
/// Of these for one account.
pub(crate) const MAX_ARCHIVES_PER_ACCOUNT: usize = 4;
/// Entries of a selection that are looked up at a time.
const LOOKUPS: usize = 8;
/// Entries and small content are sent together, in pieces of about this size.
const PIECE_BYTES: usize = 64 << 10;
/// Name of an archive of the root folder, or of entries of several folders.
const UNNAMED: &str = "files";

/// What an archive is to have.
#[derive(Debug)]
pub(crate) struct Selection {
    entries: Vec<Entry>,
}

impl Selection {
    /// Finds everything that is named.
    ///
    /// # Errors
    /// `not-found`; `invalid-fields` for several with the same name, which would be one in the archive,
    /// and for others beside the root folder: it has all of them, and no name to keep them apart.
    pub(crate) async fn find(catalog: &Catalog, owner: Uuid, paths: Vec<String>) -> Result<Self> {
        if paths.len() > 1 && paths.iter().any(|path| path == "/") {
            let message = "the root folder has everything else in it";
            return Err(invalid_fields([("paths", message)]));
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = paths.iter().find(|path| !names.insert(path::name(path))) {
            let message = format!("{twice} has the name of another one");
            return Err(invalid_fields([("paths", message)]));
        }
        let entries = stream::iter(paths)
            .map(async |path| catalog.stat(owner, &path).await)
            .buffered(LOOKUPS)
            .try_collect()
            .await?;
        Ok(Self { entries })
    }

    /// A name for the archive's file: that of the only entry, or of the folder of all of them.
    pub(crate) fn name(&self) -> String {
        let mut folders = self.entries.iter().map(|entry| path::parent(&entry.path));
        let name = match (&self.entries[..], folders.next()) {
            ([entry], _) => path::name(&entry.path),
            (_, Some(first)) if folders.all(|folder| folder == first) => path::name(first),
            _ => "",
        };
        format!("{}.zip", if name.is_empty() { UNNAMED } else { name })
    }
}

/// An archive that is being made.
pub(crate) struct Archive {
    catalog: Catalog,
    owner: Uuid,
    room: Room,
    walk: Walk,
    writer: Writer,
    /// To be sent next.
    ready: VecDeque<Bytes>,
    state: State,
}

enum State {
    /// Another entry comes next.
    Between,
    /// The rest of a file comes next.
    Inside(Box<Unfinished>),
    /// Nothing comes any more.
    Ended,
}

/// A file that is being sent.
struct Unfinished {
    open: Open,
    pieces: Pieces,
    crc: Hasher,
}

impl From<Full> for Problem {
    fn from(full: Full) -> Self {
        Self::new(Kind::LimitReached, full.to_string())
    }
}

/// A place among the archives that are made at a time. Taken before anything is looked up: who gets none
/// has cost nothing.
pub(crate) struct Room {
    reader: Arc<Reader>,
    ticket: Ticket,
}

impl Room {
    /// # Errors
    /// `overloaded` when as many are being made as may be.
    pub(crate) fn enter(reader: Arc<Reader>, owner: Uuid) -> Result<Self> {
        let ticket = reader.enter_archive(owner).map_err(content::problem)?;
        Ok(Self { reader, ticket })
    }
}

impl Archive {
    pub(crate) fn new(room: Room, catalog: Catalog, owner: Uuid, selection: Selection) -> Self {
        Self {
            walk: Walk::new(catalog.clone(), owner, selection.entries),
            catalog,
            owner,
            room,
            writer: Writer::default(),
            ready: VecDeque::new(),
            state: State::Between,
        }
    }

    /// The next bytes; `None` after the end.
    ///
    /// # Errors
    /// Those of reading, `limit-reached` for too many entries. The archive is not complete then.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Ok(Some(bytes));
            }
            match &mut self.state {
                State::Between => self.add_entries().await?,
                State::Inside(file) => match file.pieces.next().await {
                    Some(piece) => {
                        let piece = piece.map_err(content::problem)?;
                        file.crc.update(&piece);
                        return Ok(Some(piece));
                    }
                    None => self.end_file(),
                },
                State::Ended => return Ok(None),
            }
        }
    }

    /// Puts together what is small, up to the first file that is not.
    async fn add_entries(&mut self) -> Result<()> {
        let mut out = BytesMut::with_capacity(PIECE_BYTES);
        while out.len() < PIECE_BYTES {
            let Some((entry, name)) = self.walk.next().await? else {
                self.send(out);
                self.ready.extend(std::mem::take(&mut self.writer).finish());
                self.state = State::Ended;
                return Ok(());
            };
            let Some((entry, pieces)) = self.open(entry).await? else {
                continue;
            };
            let head = Head {
                name,
                size: entry
                    .blob
                    .map_or(0, |blob| cloudstore_proto::convert::unsigned(blob.size)),
                modified_ms: entry.modified_at_ms,
            };
            match pieces.into_bytes() {
                // It is all there, so its CRC is known before: simpler for every reader.
                Ok(bytes) => {
                    let crc = crc32fast::hash(&bytes);
                    let open = self.writer.begin(&mut out, head, Some(crc))?;
                    if bytes.len() < PIECE_BYTES {
                        out.extend_from_slice(&bytes);
                        self.writer.end(&mut out, &open, crc);
                    } else {
                        self.send(out);
                        self.ready.push_back(bytes);
                        out = BytesMut::new();
                        self.writer.end(&mut out, &open, crc);
                        break;
                    }
                }
                Err(pieces) => {
                    let open = self.writer.begin(&mut out, head, None)?;
                    let crc = Hasher::new();
                    self.state = State::Inside(Box::new(Unfinished { open, pieces, crc }));
                    break;
                }
            }
        }
        self.send(out);
        Ok(())
    }

    fn end_file(&mut self) {
        if let State::Inside(file) = std::mem::replace(&mut self.state, State::Between) {
            let mut out = BytesMut::new();
            self.writer.end(&mut out, &file.open, file.crc.finalize());
            self.send(out);
        }
    }

    fn send(&mut self, out: BytesMut) {
        if !out.is_empty() {
            self.ready.push_back(out.freeze());
        }
    }

    /// The content of an entry; `None` if it is not there any more. It may have moved, or be another one
    /// by now.
    async fn open(&self, mut entry: Entry) -> Result<Option<(Entry, Pieces)>> {
        let mut attempts = Attempts::default();
        while attempts.next().await {
            if attempts.is_repeated() {
                match self.catalog.stat(self.owner, &entry.path).await {
                    Ok(found) if found.kind() == entry.kind() => entry = found,
                    Err(problem) if problem.kind() != Kind::NotFound => return Err(problem),
                    Ok(_) | Err(_) => return Ok(None),
                }
            }
            if entry.kind() == EntryKind::Folder {
                return Ok(Some((entry, Pieces::none())));
            }
            let blob = content::blob_of(&entry)?;
            if blob.size == 0 {
                return Ok(Some((entry, Pieces::none())));
            }
            let pieces = async {
                let Room { reader, ticket } = &self.room;
                let content = reader.open_with(ticket, &blob).await?;
                content.read(0..blob.size).await
            };
            match pieces.await {
                Ok(pieces) => return Ok(Some((entry, pieces))),
                Err(reader::Error::Gone) => {}
                Err(error) => return Err(content::problem(error)),
            }
        }
        Err(content::problem(reader::Error::Gone))
    }
}
