//! Room in the quota for direct uploads: reserved before the first byte is read, and given back when
//! no file came of it, however long dbproxy is away meanwhile.

use std::{
    collections::HashMap,
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use cloudstore_proto::upload::{
    BeginUpload, BeginUploadsRequest, CancelUploadRequest, InstantPolicy, begin_result,
};
use cloudstore_service::{
    Kind, Problem,
    rpc::{DEADLINE, deadline},
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Begin, Engine, Error, MAX_OPEN_UPLOADS, Result, bytes, commit::is_definite, millis,
    session::Declared,
};

/// Reservations that wait to be given back, about 60 bytes each. What is more than that lasts until
/// the upload expires or this node starts again.
const MAX_UNRELEASED: usize = 100_000;
/// A reservation without an answer may yet be made, but not later than dbproxy gives a call up.
/// Before that it cannot be given back for certain.
const SETTLED_AFTER: Duration = DEADLINE.saturating_mul(2);
/// One that could not be given back lets the others go first for so long.
const PAUSE: Duration = Duration::from_secs(20);

/// Reservations to give back, by upload.
pub(super) type Unreleased = HashMap<Uuid, Reservation>;

pub(super) struct Reservation {
    account: Uuid,
    /// Not before.
    due: Instant,
}

impl Engine {
    /// Reserves the bytes of a direct upload.
    pub(super) async fn reserve(&self, account: Uuid, id: Uuid, upload: &Begin) -> Result<()> {
        let reserved = self.ask_to_reserve(account, id, upload).await;
        if let Err(error) = &reserved
            && !is_definite(error)
        {
            // The answer may be all that was lost.
            self.release_later(account, id, SETTLED_AFTER);
        }
        reserved
    }

    async fn ask_to_reserve(&self, account: Uuid, id: Uuid, upload: &Begin) -> Result<()> {
        let entry = Begin {
            declared: Declared::default(),
            ..upload.clone()
        };
        let request = BeginUploadsRequest {
            account_id: bytes(account),
            node: self.settings.node.clone(),
            policy: InstantPolicy::Off.into(),
            lifetime_ms: millis(self.lifetime(account)),
            direct_limit: -1,
            max_open: MAX_OPEN_UPLOADS,
            entries: vec![BeginUpload {
                id: bytes(id),
                // Marks the row: what a restart finds of it cannot be continued.
                chunk_size: 0,
                ..self.begin_message(entry)
            }],
        };
        let answer = self.client().begin_uploads(deadline(request)).await?;
        let result = answer.into_inner().results.into_iter().next();
        match result.and_then(|result| result.result) {
            Some(begin_result::Result::Uploading(_)) => Ok(()),
            Some(begin_result::Result::Problem(problem)) => {
                Err(Error::refused(&problem.slug, problem.detail))
            }
            _ => Err(Error::Metadata(Problem::internal(
                "unexpected answer to a reservation",
            ))),
        }
    }

    /// Gives back what was reserved for an upload that has ended, now or as soon as dbproxy takes
    /// it. If the upload was committed after all, this changes nothing.
    pub(super) async fn release(&self, account: Uuid, id: Uuid) {
        if let Err(error) = self.try_release(account, id).await {
            tracing::warn!(upload = %id, %error, "a reservation is given back later");
            self.release_later(account, id, Duration::ZERO);
        }
    }

    /// Gives back what waits for it.
    pub(super) async fn release_waiting(&self) {
        let now = Instant::now();
        let due: Vec<_> = self
            .unreleased()
            .iter()
            .filter(|(_, reservation)| reservation.due <= now)
            .map(|(id, reservation)| (*id, reservation.account))
            .collect();
        for (id, account) in due {
            match self.try_release(account, id).await {
                Ok(()) => drop(self.unreleased().remove(&id)),
                Err(error) => {
                    tracing::debug!(upload = %id, %error, "a reservation is given back later");
                    // The others would have to wait for a deadline each.
                    return self.release_later(account, id, PAUSE);
                }
            }
        }
    }

    async fn try_release(&self, account: Uuid, id: Uuid) -> Result<()> {
        let request = CancelUploadRequest {
            account_id: bytes(account),
            id: bytes(id),
        };
        match self.client().cancel_upload(deadline(request)).await {
            Ok(_) => {
                // What is cancelled is not committed and never will be.
                if let Err(error) = self.drop_session(id).await {
                    tracing::warn!(upload = %id, %error, "cannot remove what nobody needs");
                }
                Ok(())
            }
            Err(status) => match Problem::from(status) {
                // Nothing was reserved, or it became a file.
                problem if matches!(problem.kind(), Kind::NotFound | Kind::UploadGone) => Ok(()),
                problem => Err(Error::Metadata(problem)),
            },
        }
    }

    fn release_later(&self, account: Uuid, id: Uuid, pause: Duration) {
        let mut waiting = self.unreleased();
        if waiting.len() >= MAX_UNRELEASED && !waiting.contains_key(&id) {
            tracing::warn!(upload = %id, "a reservation lasts until its upload expires");
            return;
        }
        let due = Instant::now() + pause;
        waiting.insert(id, Reservation { account, due });
    }

    fn unreleased(&self) -> MutexGuard<'_, Unreleased> {
        self.unreleased
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
