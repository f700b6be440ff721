//! SHA-256 and SHA-1 of an upload that declared them, computed on the contiguous prefix as it
//! grows, so that completion has little left to read. Chunks that arrive out of order are read
//! back from the page cache when the gap before them closes.

use std::{
    io,
    os::unix::fs::FileExt as _,
    sync::{Arc, Mutex, PoisonError, TryLockError},
};

use cloudstore_content::digest::{Digests, Hasher};
use tokio::task::spawn_blocking;

use super::{
    Error, Result,
    session::{Declared, Files, Session},
};

/// Bytes read back at a time.
const READ: usize = 512 * 1024;

/// The state of the running digests.
#[derive(Debug)]
pub(crate) struct Prefix {
    hasher: Option<Hasher>,
    offset: u64,
}

impl Prefix {
    pub(crate) fn new(declared: &Declared) -> Self {
        let (sha1, sha256) = (declared.sha1.is_some(), declared.sha256.is_some());
        let hasher = (sha1 || sha256).then(|| Hasher::new(sha1, sha256));
        Self { hasher, offset: 0 }
    }

    fn advance(&mut self, files: &Files, to: u64) -> io::Result<()> {
        let Some(hasher) = &mut self.hasher else {
            return Ok(());
        };
        let mut buffer = vec![0; READ];
        while self.offset < to {
            let left = usize::try_from(to - self.offset).unwrap_or(READ);
            let piece = &mut buffer[..left.min(READ)];
            files.data.read_exact_at(piece, self.offset)?;
            hasher.update(piece);
            self.offset += piece.len() as u64;
        }
        Ok(())
    }
}

/// Starts catching up with what has arrived, unless somebody is at it already.
pub(crate) fn catch_up(session: &Arc<Session>, files: Arc<Files>) {
    let declared = session.facts().declared;
    if declared.sha1.is_none() && declared.sha256.is_none() {
        return;
    }
    let session = session.clone();
    // Nobody waits for it: completion does what is left.
    drop(spawn_blocking(move || {
        let mut prefix = match session.prefix.try_lock() {
            Ok(prefix) => prefix,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if let Err(error) = prefix.advance(&files, session.contiguous()) {
            tracing::warn!(upload = %session.facts().id, %error, "cannot read a prefix back");
        }
    }));
}

/// Compares the finished content with what was declared.
pub(crate) async fn verify(session: &Arc<Session>, files: Arc<Files>) -> Result<Digests> {
    let session = session.clone();
    let verified = spawn_blocking(move || {
        let prefix: &Mutex<Prefix> = &session.prefix;
        let mut prefix = prefix.lock().unwrap_or_else(PoisonError::into_inner);
        let facts = session.facts();
        prefix.advance(&files, facts.size.ok_or(Error::LengthUnknown)?)?;
        let found = prefix
            .hasher
            .clone()
            .map(Hasher::finish)
            .unwrap_or_default();
        check(&facts.declared, &found).map(|()| found)
    });
    verified.await.map_err(io::Error::other)?
}

/// Does the content have the declared SHA digests?
pub(crate) fn check(declared: &Declared, found: &Digests) -> Result<()> {
    if declared.sha256.is_some() && declared.sha256 != found.sha256 {
        return Err(Error::DigestMismatch("sha256"));
    }
    if declared.sha1.is_some() && declared.sha1 != found.sha1 {
        return Err(Error::DigestMismatch("sha1"));
    }
    Ok(())
}
