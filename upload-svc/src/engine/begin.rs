//! Creation: reserve, or find that nothing has to be sent.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use cloudstore_proto::{
    file,
    http::{DEFAULT_CHUNK_SIZE, MAX_CHUNKS},
    upload::{
        self, BeginUpload, BeginUploadsRequest, CancelUploadRequest, InstantPolicy, begin_result,
    },
};
use cloudstore_service::{Problem, rpc::deadline};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::limit::MAX_PROBES;

use super::{
    Engine, Error, MAX_OPEN_UPLOADS, Result, bytes,
    challenge::Pending,
    facts, millis, optional,
    session::{Declared, Session, check_room},
    signed,
};

/// How long what visitors leave unfinished holds the room that it has reserved: the account's owner
/// did not ask for it.
const VISITOR_LIFETIME: Duration = Duration::from_secs(24 * 3_600);

/// One entry of a probe or creation.
#[derive(Clone, Debug)]
pub struct Begin {
    /// What the upload will be called; `None`: any new id.
    pub id: Option<Uuid>,
    /// Normalised path of the file to be.
    pub path: String,
    /// Bytes; `None`: it is told later ([`Engine::set_length`]).
    pub size: Option<u64>,
    /// What the client knows.
    pub declared: Declared,
    /// What to do with a taken path.
    pub on_conflict: upload::OnConflict,
    /// Unix milliseconds, 0 when unknown.
    pub mtime_ms: i64,
    /// Guessed from the name.
    pub media_type: String,
    /// For [`Engine::concatenate`]; it never becomes a file itself.
    pub part: bool,
    /// What the dialect wants to find again, at most 8 KiB.
    pub note: String,
    /// It is sent by somebody who may see nothing of the account: it is told of no content that is here
    /// and of no name, and what it leaves unfinished does not stay for long.
    pub visitor: bool,
}

/// What became of a [`Begin`].
pub enum Begun {
    /// The file exists now, nothing was sent.
    Instant(Box<file::Entry>),
    /// Send the missing chunks.
    Uploading(Arc<Session>),
    /// Prove possession, or send the missing chunks.
    Challenge(ChallengeView, Arc<Session>),
    /// Small and new: send it in one request.
    Direct,
    /// Refused, the others of the batch are not affected.
    Refused(Error),
}

/// A challenge as the client gets it.
#[derive(Clone, Debug)]
pub struct ChallengeView {
    /// Key of the proof.
    pub nonce: [u8; 32],
    /// Offset and length of each window.
    pub windows: Vec<(u64, u64)>,
    /// Unix milliseconds.
    pub expires_at_ms: i64,
}

impl Engine {
    /// Creates uploads, or finds that nothing has to be sent. `batch`: small new files are told
    /// to come in one request.
    ///
    /// # Errors
    /// Only what concerns the whole call; refusals of single entries are in the answer.
    pub async fn begin(
        &self,
        account: Uuid,
        entries: Vec<Begin>,
        batch: bool,
    ) -> Result<Vec<Begun>> {
        let probes = entries
            .iter()
            .filter(|entry| is_probe(&entry.declared))
            .count();
        let by_visitor = entries.iter().any(|entry| entry.visitor);
        let (policy, lifetime) = if by_visitor {
            (
                InstantPolicy::Off,
                self.lifetime(account).min(VISITOR_LIFETIME),
            )
        } else {
            (self.policy(account, probes), self.lifetime(account))
        };
        let request = BeginUploadsRequest {
            account_id: bytes(account),
            node: self.settings.node.clone(),
            policy: policy.into(),
            lifetime_ms: millis(lifetime),
            direct_limit: if batch {
                signed(self.settings.direct_limit)
            } else {
                -1
            },
            max_open: MAX_OPEN_UPLOADS,
            entries: entries
                .into_iter()
                .map(|entry| self.begin_message(entry))
                .collect(),
        };
        let answer = self
            .client()
            .begin_uploads(deadline(request))
            .await?
            .into_inner();
        let mut begun = Vec::with_capacity(answer.results.len());
        for result in answer.results {
            let result = match result.result {
                Some(begin_result::Result::Problem(problem)) if by_visitor => {
                    let detail = "the owner's account cannot take this file".to_owned();
                    let hidden = upload::Problem { detail, ..problem };
                    Some(begin_result::Result::Problem(hidden))
                }
                other => other,
            };
            begun.push(self.admit(self.begun(result)?).await?);
        }
        Ok(begun)
    }

    /// Who may upload instantly in a call with this many probes. Each instance counts for itself.
    fn policy(&self, account: Uuid, probes: usize) -> InstantPolicy {
        let live = &self.ports.live;
        let policy = live.upload_instant(self.settings.instant);
        let max = live.upload_probes_per_minute(MAX_PROBES);
        self.limit.apply(account, probes, policy, max)
    }

    pub(super) fn begin_message(&self, entry: Begin) -> BeginUpload {
        let too_large = entry.size > Some(self.settings.max_size);
        debug_assert!(!too_large, "invariant: the dialects refuse too large sizes");
        BeginUpload {
            id: bytes(entry.id.unwrap_or_else(Uuid::now_v7)),
            path: entry.path,
            size: signed(entry.size.unwrap_or(0)),
            digests: Some(upload::Digests {
                blake3: optional(&entry.declared.blake3),
                sha256: optional(&entry.declared.sha256),
                sha1: optional(&entry.declared.sha1),
            }),
            on_conflict: entry.on_conflict.into(),
            mtime_ms: entry.mtime_ms,
            chunk_size: signed(chunk_size(entry.size.unwrap_or(0))),
            media_type: entry.media_type,
            deferred: entry.size.is_none(),
            part: entry.part,
            note: entry.note,
        }
    }

    fn begun(&self, result: Option<begin_result::Result>) -> Result<Begun> {
        use begin_result::Result as Answer;
        Ok(
            match result.ok_or(Error::Metadata(Problem::internal("an empty result")))? {
                Answer::Instant(entry) => Begun::Instant(Box::new(entry)),
                Answer::Uploading(upload) => Begun::Uploading(self.register(&upload)?),
                Answer::Challenge(challenge) => {
                    let session = self.register(&challenge.upload.unwrap_or_default())?;
                    let candidate = challenge.candidate.unwrap_or_default();
                    let Some(pending) = Pending::new(candidate, &session.facts().declared) else {
                        return Ok(Begun::Uploading(session));
                    };
                    let view = pending.view();
                    *session
                        .challenge
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner) = Some(pending);
                    Begun::Challenge(view, session)
                }
                Answer::Direct(_) => Begun::Direct,
                Answer::Problem(problem) => {
                    Begun::Refused(Error::refused(&problem.slug, problem.detail))
                }
            },
        )
    }

    /// An upload that the disk has no room for ends at once, before anything is sent in vain.
    async fn admit(&self, begun: Begun) -> Result<Begun> {
        let Begun::Uploading(session) = &begun else {
            return Ok(begun);
        };
        let Err(full) = check_room(&self.dir, session.facts().size.unwrap_or(0)) else {
            return Ok(begun);
        };
        let request = CancelUploadRequest {
            account_id: bytes(session.facts().account),
            id: bytes(session.facts().id),
        };
        self.client().cancel_upload(deadline(request)).await?;
        self.drop_session(session.facts().id).await?;
        Ok(Begun::Refused(full.into()))
    }

    fn register(&self, upload: &upload::Upload) -> Result<Arc<Session>> {
        let session = Arc::new(Session::new(facts(upload)?, self.layout.clone()));
        let slot = Arc::new(OnceCell::new_with(Some(session.clone())));
        self.sessions().insert(session.facts().id, slot);
        Ok(session)
    }
}

fn is_probe(declared: &Declared) -> bool {
    declared.blake3.is_some() || declared.sha256.is_some() || declared.sha1.is_some()
}

/// The server's choice: the default, doubled until the chunks are few enough.
pub(crate) fn chunk_size(size: u64) -> u64 {
    let mut chunk_size = DEFAULT_CHUNK_SIZE;
    while size.div_ceil(chunk_size) > MAX_CHUNKS {
        chunk_size *= 2;
    }
    chunk_size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_sizes_are_powers_of_two_and_few() {
        for size in [
            0,
            1,
            8 << 20,
            80_000 << 20,
            (80_000 << 20) + 1,
            5 << 40,
            u64::MAX / 4,
        ] {
            let chunk = chunk_size(size);
            assert!(chunk.is_power_of_two() && chunk >= 8 << 20);
            assert!(size.div_ceil(chunk) <= MAX_CHUNKS);
        }
        assert_eq!(chunk_size(80_000 << 20), 8 << 20);
        assert_eq!(chunk_size((80_000 << 20) + 1), 16 << 20);
    }
}
