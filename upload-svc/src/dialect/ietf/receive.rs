//! The bytes of a request, progress while they come, and what there is in the end.

use ::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use cloudstore_proto::{
    convert::{self, unsigned},
    file,
};
use cloudstore_service::{Interim, Kind, Problem, Result, json::Json};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{
    UPLOAD_DRAFT_INTEROP_VERSION, UPLOAD_LENGTH, UPLOAD_LIMIT, UPLOAD_OFFSET, fields, problem,
    version::Version,
};
use crate::{
    dialect::{content_length, sha256_field, stream},
    engine::{
        Appended, Check, Engine, Error,
        checksum::{Algorithm, Checksum},
        session::Session,
    },
};

/// How often a client is told what has arrived: often enough for a progress bar, and to let go of
/// what it keeps for a repetition.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// 104 (Upload Resumption Supported)
const UPLOAD_RESUMPTION_SUPPORTED: u16 = 104;

/// What a request says about the bytes it brings, and where they go.
pub(super) struct Delivery<'a> {
    pub(super) engine: &'a Arc<Engine>,
    pub(super) session: &'a Arc<Session>,
    pub(super) version: Version,
    pub(super) interim: &'a Interim,
    /// The request has the rest of the content.
    pub(super) completes: bool,
}

/// The length of the upload that a request tells: `Upload-Length`, or where its content ends if it
/// has the rest.
pub(super) fn length(headers: &HeaderMap, at: u64, completes: bool) -> Result<Option<u64>> {
    let told = fields::integer(headers, &UPLOAD_LENGTH);
    let content = content_length(headers)?.filter(|_| completes);
    let end = content.map(|length| at.saturating_add(length));
    match (told, end) {
        (Some(told), Some(end)) if told != end => Err(problem::inconsistent(
            "Upload-Length is not where the content of this request ends",
        )),
        (told, end) => Ok(told.or(end)),
    }
}

impl Delivery<'_> {
    /// Sends a 104, if the client is one for it.
    pub(super) async fn tell(&self, mut headers: HeaderMap) {
        let Ok(status) = StatusCode::from_u16(UPLOAD_RESUMPTION_SUPPORTED) else {
            return;
        };
        if self.version.announced {
            let version = u16::from(self.version.rules.number);
            headers.insert(UPLOAD_DRAFT_INTEROP_VERSION, version.into());
            self.interim.send(status, &headers).await;
        }
    }

    /// Receives the content of a request, and completes the upload if that was the rest. The
    /// answer is the target's own if it is complete, else there is none yet.
    pub(super) async fn receive(
        &self,
        at: u64,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Appended, Option<Response>)> {
        let announced = content_length(headers)?;
        let check = check(headers)?;
        let appended = self.append(at, announced, check, body).await;
        let appended = match appended {
            Err(error @ Error::Length { .. }) if self.version.rules.excess_ends => {
                self.give_up().await;
                return Err(problem::of(error));
            }
            appended => appended.map_err(problem::of)?,
        };
        if !self.completes {
            return Ok((appended, None));
        }
        if self.session.facts().size.is_none() {
            let length = self.engine.set_length(self.session, appended.offset);
            length.await.map_err(problem::of)?;
        } else if !appended.is_whole {
            return Err(problem::inconsistent(
                "the content is shorter than the length that was told",
            ));
        }
        Ok((appended, Some(self.complete().await?)))
    }

    async fn append(
        &self,
        at: u64,
        announced: Option<u64>,
        check: Option<Check>,
        body: Body,
    ) -> Result<Appended, Error> {
        // Of bytes with a digest none counts before the last.
        let tells = self.version.announced
            && self.version.rules.progress
            && check.is_none()
            && self.interim.is_possible();
        let appending = self
            .engine
            .append(self.session, at, announced, check, stream(body));
        let mut appending = pin!(appending);
        if !tells {
            return appending.await;
        }
        let mut told = at;
        // Not at once: of what is received sooner the final response tells.
        let mut ticks = interval_at(Instant::now() + PROGRESS_EVERY, PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                appended = &mut appending => return appended,
                _ = ticks.tick() => {}
            }
            let offset = self.session.contiguous();
            if offset > told {
                told = offset;
                let headers = HeaderMap::from_iter([(UPLOAD_OFFSET, offset.into())]);
                // A client that does not read must not hold up what it sends.
                tokio::select! {
                    biased;
                    appended = &mut appending => return appended,
                    () = self.tell(headers) => {}
                }
            }
        }
    }

    async fn complete(&self) -> Result<Response> {
        match self.engine.complete(self.session).await {
            Ok(file) => {
                let counter = "cloudstore_uploads_completed_total";
                metrics::counter!(counter, "how" => "ietf").increment(1);
                Ok(self.of_target(&file))
            }
            // All of it was received, and it is not what it should be.
            Err(error @ Error::DigestMismatch(_)) => {
                self.give_up().await;
                let mut response = problem::of(error).into_response();
                self.version.tell_complete(response.headers_mut(), true);
                Ok(response)
            }
            Err(error) => Err(problem::of(error)),
        }
    }

    fn of_target(&self, file: &file::Entry) -> Response {
        let id = self.session.facts().id;
        target_answer(self.version, file, id.as_bytes())
    }

    async fn give_up(&self) {
        let facts = self.session.facts();
        if let Err(error) = self.engine.cancel(facts.account, facts.id).await {
            tracing::debug!(upload = %facts.id, %error, "a failed upload stays until it expires");
        }
    }

    /// `Upload-Limit` of this upload.
    pub(super) fn limit(&self) -> Option<(HeaderName, ::http::HeaderValue)> {
        let age = fields::age(self.session.facts().expires_at_ms);
        let max_size = self.engine.settings().max_size;
        let limit = fields::limit(self.version, max_size, age)?;
        Some((UPLOAD_LIMIT, limit))
    }
}

/// What a conventional upload would have been answered: a new file has the id of its upload.
pub(super) fn target_answer(version: Version, file: &file::Entry, upload: &[u8]) -> Response {
    let status = if file.id[..] == *upload {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let mut response = (status, Json(convert::file(file, false))).into_response();
    let headers = response.headers_mut();
    version.tell_complete(headers, true);
    if let Some(blob) = &file.blob {
        headers.insert(UPLOAD_OFFSET, unsigned(blob.size).into());
    }
    headers.insert(
        header::CACHE_CONTROL,
        const { ::http::HeaderValue::from_static("no-store") },
    );
    response
}

/// `Content-Digest` of the content of this request.
fn check(headers: &HeaderMap) -> Result<Option<Check>> {
    let name = HeaderName::from_static("content-digest");
    let Some(digest) = sha256_field(headers, &name)? else {
        return Ok(None);
    };
    let checksum = Checksum::new(Algorithm::Sha256, digest.to_vec());
    let checksum = checksum.ok_or_else(|| {
        Problem::new(
            Kind::MalformedRequest,
            "Content-Digest has the wrong length",
        )
    })?;
    Ok(Some(Box::new(move || Ok(checksum))))
}
