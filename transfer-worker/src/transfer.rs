//! One transfer, step by step: staged copy, durable storage, commit. A crash between any two
//! steps leaves a claim whose lease ends, and doing all of it again has the same effect.

use std::sync::Arc;

use bytes::Bytes;
use cloudstore_backends::{
    blob::{self, Key, Source},
    staging::{self, Content, Staged},
};
use cloudstore_content::{
    Outboard, Root,
    digest::{Digests, Hasher},
    tree::group_count,
};
use tokio::sync::SemaphorePermit;
use uuid::Uuid;

use crate::{
    Worker, lease,
    ledger::Claim,
    limit::Size,
    pass::{self, Passing},
    step::step,
};

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
    /// Something that every blob there needs cannot be reached. Tried until it can, however long
    /// that takes.
    #[error("{0}")]
    Away(String),
}

impl From<staging::Error> for Failure {
    fn from(error: staging::Error) -> Self {
        match error {
            staging::Error::Damaged => Self::Final(error.to_string()),
            staging::Error::Unavailable(_) => Self::Away(error.to_string()),
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
        step("after-claim");
        let turn = self.turn(claim.size).await?;
        let id = claim
            .staging_id
            .ok_or_else(|| Failure::Final("no staged copy is known".into()))?;
        let hasher = Hasher::new(claim.sha1.is_empty(), claim.sha256.is_empty());
        let digests = self
            .store(&claim.root, claim.size, &claim.node, id, hasher)
            .await?;
        drop(turn);
        // Those that dbproxy has stay as they are.
        let digest = |computed: Option<&[u8]>, known: &Bytes| {
            computed.map_or_else(|| known.clone(), Bytes::copy_from_slice)
        };
        let sha1 = digest(digests.sha1.as_ref().map(|sha1| &sha1[..]), &claim.sha1);
        let sha256 = digest(
            digests.sha256.as_ref().map(|sha256| &sha256[..]),
            &claim.sha256,
        );
        step("before-commit");
        let committed = self.committer.commit(claim, sha1, sha256).await;
        step("after-commit");
        match committed {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failure::LeaseLost),
            Err(error) => Err(Failure::Passing(error)),
        }
    }

    /// Waits until another blob of that size may be moved.
    async fn turn(&self, size: u64) -> Result<SemaphorePermit<'_>, Failure> {
        let limit = self.limit(Size::of(size));
        tokio::select! {
            turn = limit.turn() => turn.ok_or(Failure::Stopped),
            () = self.stop.cancelled() => Err(Failure::Stopped),
        }
    }

    /// Puts a blob and what verifies its groups from its staged copy, which is verified on the
    /// way, and checks that the store has all of both.
    pub(crate) async fn store(
        &self,
        root: &Root,
        size: u64,
        node: &str,
        id: Uuid,
        hasher: Hasher,
    ) -> Result<Digests, Failure> {
        let Staged { content, outboard } = self.staged.open(node, id, size, root).await?;
        step("after-open");
        let key = Key::blob(root);
        let digests = match content {
            Content::Local { file, path } if self.blobs.links() => {
                let digests = {
                    let _turn = self.reads.acquire().await.map_err(|_| Failure::Stopped)?;
                    pass::read(file, outboard.clone(), hasher).await?
                };
                self.put(&key, Source::File { path, len: size }).await?;
                digests
            }
            content => {
                self.put_while_reading(&key, content, outboard.clone(), hasher)
                    .await?
            }
        };
        step("after-blob");
        if group_count(size) > 1 {
            let values = Bytes::from(outboard.encode());
            self.put(&Key::outboard(root), Source::Bytes(values))
                .await?;
        }
        step("after-outboard");
        Ok(digests)
    }

    /// Puts content that has to be copied: one reading serves the store, the verification and the
    /// digests.
    async fn put_while_reading(
        &self,
        key: &Key,
        content: Content,
        outboard: Arc<Outboard>,
        hasher: Hasher,
    ) -> Result<Digests, Failure> {
        let len = outboard.size();
        let (stream, passing) = Passing::begin(content, outboard, hasher);
        let put = self.put(key, Source::Stream { len, stream }).await;
        // What is wrong with the copy explains the failure of the put, and not the reverse.
        match (passing.end().await, put) {
            (Err(pass::Error::Damaged(damaged)), _) => Err(pass::Error::Damaged(damaged).into()),
            (_, Err(failure)) => Err(failure),
            (digests, Ok(())) => Ok(digests?),
        }
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
