//! One transfer, step by step: staged copy, durable storage, commit. A crash between any two
//! steps leaves a claim whose lease ends, and doing all of it again has the same effect.

use std::{fs::File, path::PathBuf, sync::Arc};

use bytes::Bytes;
use cloudstore_backends::{
    blob::{self, Key, Source},
    staging::{self, Content},
};
use cloudstore_content::{Outboard, digest::Hasher, tree::group_count};
use tokio::sync::SemaphorePermit;

use crate::{Worker, lease, ledger::Claim, pass};

/// Why a transfer did not reach its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Somebody else has the claim now, or may have it: nothing more to be done here.
    #[error("the lease was lost")]
    LeaseLost,
    /// The worker is being stopped.
    #[error("the worker was stopped")]
    Stopped,
    /// Trying again cannot help.
    #[error("{0}")]
    Final(String),
    /// Worth another try.
    #[error("{0}")]
    Passing(String),
}

impl From<staging::Error> for Failure {
    fn from(error: staging::Error) -> Self {
        match error {
            staging::Error::Damaged => Self::Final(error.to_string()),
            error => Self::Passing(error.to_string()),
        }
    }
}

impl From<pass::Error> for Failure {
    fn from(error: pass::Error) -> Self {
        match error {
            pass::Error::Damaged(_) => Self::Final(error.to_string()),
            pass::Error::Read(_) => Self::Passing(error.to_string()),
        }
    }
}

impl From<blob::Error> for Failure {
    fn from(error: blob::Error) -> Self {
        Self::Passing(error.to_string())
    }
}

impl Worker {
    /// Moves the blob while keeping its lease. Dropped midway when the lease is lost or the worker
    /// may not go on: a put that is dropped leaves nothing that readers see.
    pub(crate) async fn transfer(&self, claim: &Claim) -> Result<(), Failure> {
        tokio::select! {
            biased;
            ended = self.move_blob(claim) => ended,
            () = lease::keep(&self.ledger, claim, self.config.lease) => Err(Failure::LeaseLost),
            () = self.abort.cancelled() => Err(Failure::Stopped),
        }
    }

    async fn move_blob(&self, claim: &Claim) -> Result<(), Failure> {
        let turn = self.turn(claim.size).await?;
        let id = claim
            .staging_id
            .ok_or_else(|| Failure::Final("no staged copy is known".into()))?;
        let staged = self
            .staged
            .open(&claim.node, id, claim.size, &claim.root)
            .await?;
        let Content::Local { file, path } = staged.content else {
            return Err(Failure::Final("remote copies are not moved yet".into()));
        };
        let (sha1, sha256) = self.read(claim, file, staged.outboard.clone()).await?;
        self.store(claim, path, &staged.outboard).await?;
        drop(turn);
        match self.committer.commit(claim, sha1, sha256).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failure::LeaseLost),
            Err(error) => Err(Failure::Passing(error)),
        }
    }

    /// Waits until another blob of that size may be moved.
    async fn turn(&self, size: u64) -> Result<SemaphorePermit<'_>, Failure> {
        let turns = if group_count(size) == 1 {
            &self.small
        } else {
            &self.large
        };
        tokio::select! {
            turn = turns.acquire() => turn.map_err(|_| Failure::Stopped),
            () = self.stop.cancelled() => Err(Failure::Stopped),
        }
    }

    /// Verifies the staged copy and returns its SHA-1 and SHA-256, those that dbproxy has as they
    /// are.
    async fn read(
        &self,
        claim: &Claim,
        data: Arc<File>,
        outboard: Arc<Outboard>,
    ) -> Result<(Bytes, Bytes), Failure> {
        let _turn = self.reads.acquire().await.map_err(|_| Failure::Stopped)?;
        let hasher = Hasher::new(claim.sha1.is_empty(), claim.sha256.is_empty());
        let computed = pass::read(data, outboard, hasher).await?;
        let sha1 = computed.sha1.map(|digest| Bytes::copy_from_slice(&digest));
        let sha256 = computed
            .sha256
            .map(|digest| Bytes::copy_from_slice(&digest));
        Ok((
            sha1.unwrap_or(claim.sha1.clone()),
            sha256.unwrap_or(claim.sha256.clone()),
        ))
    }

    /// Puts the blob and what verifies its groups, and checks that the store has all of both.
    async fn store(
        &self,
        claim: &Claim,
        path: PathBuf,
        outboard: &Outboard,
    ) -> Result<(), Failure> {
        let key = Key::blob(&claim.root);
        self.put(
            &key,
            Source::File {
                path,
                len: claim.size,
            },
        )
        .await?;
        if group_count(claim.size) > 1 {
            let values = Bytes::from(outboard.encode());
            self.put(&Key::outboard(&claim.root), Source::Bytes(values))
                .await?;
        }
        Ok(())
    }

    async fn put(&self, key: &Key, source: Source) -> Result<(), Failure> {
        let expected = source.len();
        self.blobs.put(key, source).await?;
        match self.blobs.stat(key).await? {
            Some(stat) if stat.len == expected => Ok(()),
            Some(stat) => Err(blob::Error::Length {
                expected,
                found: stat.len,
            }
            .into()),
            None => Err(blob::Error::NotFound.into()),
        }
    }
}
