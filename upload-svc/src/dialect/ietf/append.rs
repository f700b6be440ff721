//! More of the content.

use ::http::{HeaderMap, StatusCode};
use axum::{
    body::{Body, HttpBody as _},
    extract::State,
    response::{IntoResponse as _, Response},
};
use cloudstore_service::{Interim, Kind, Problem, Result, path::Path};
use std::sync::Arc;
use uuid::Uuid;

use super::{
    PARTIAL, UPLOAD_OFFSET, bare, fields, has_type, problem,
    receive::{Delivery, length, target_answer},
    settled,
    version::{Unsaid, Version},
};
use crate::{
    dialect::{malformed, refuse_encodings},
    drop_box::Depositor,
    engine::{Engine, Error, Finished, Found},
};

/// `PATCH /files/{id}`
pub(super) async fn append(
    State(engine): State<Arc<Engine>>,
    user: Depositor,
    Path(id): Path<Uuid>,
    interim: Interim,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let version = Version::of(&headers);
    let visitor = user.is_anonymous;
    let appended = match Asked::read(version, &headers) {
        Ok(asked) => asked.run(&engine, user, id, &interim, &headers, body).await,
        Err(problem) => Err(problem),
    };
    bare(visitor, settled(version, appended))
}

/// What the head of a request says.
struct Asked {
    version: Version,
    at: u64,
    completes: bool,
}

impl Asked {
    fn read(version: Version, headers: &HeaderMap) -> Result<Self> {
        if version.rules.typed && !has_type(headers, PARTIAL) {
            let detail = format!("send the bytes as {PARTIAL}");
            return Err(Problem::new(Kind::UnsupportedMediaType, detail));
        }
        refuse_encodings(headers)?;
        let at = fields::integer(headers, &UPLOAD_OFFSET);
        let at = at.ok_or_else(|| malformed("send Upload-Offset"))?;
        let completes = match (version.completes(headers), version.rules.unsaid) {
            (Some(completes), _) => completes,
            (None, Unsaid::Complete) => true,
            (None, Unsaid::Incomplete) => false,
            (None, Unsaid::Refused) => return Err(malformed("send Upload-Complete")),
        };
        Ok(Self {
            version,
            at,
            completes,
        })
    }

    async fn run(
        &self,
        engine: &Arc<Engine>,
        user: Depositor,
        id: Uuid,
        interim: &Interim,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response> {
        let session = match engine.find(user.account_id, id).await {
            Ok(Found::Open(session)) => session,
            Ok(Found::Done(done)) => return self.to_finished(&done, id, &body),
            Err(error) => return Err(problem::of(error)),
        };
        if session.facts().part {
            return Err(Error::Part.into());
        }
        // A request that does not belong here changes nothing.
        let expected = session.offset().await.map_err(problem::of)?;
        self.fits(expected)?;
        if let Some(length) = length(headers, self.at, self.completes)? {
            let told = engine.set_length(&session, length).await;
            told.map_err(problem::of)?;
        }
        let delivery = Delivery {
            engine,
            session: &session,
            version: self.version,
            interim,
            completes: self.completes,
        };
        let (appended, of_target) = delivery.receive(self.at, headers, body).await?;
        let mut response = of_target.unwrap_or_else(|| {
            let mut response = self.version.rules.appended.into_response();
            let answer = response.headers_mut();
            answer.insert(UPLOAD_OFFSET, appended.offset.into());
            self.version.tell_complete(answer, false);
            response
        });
        response.headers_mut().extend(delivery.limit());
        Ok(response)
    }

    fn fits(&self, expected: u64) -> Result<()> {
        let provided = self.at;
        if expected == provided {
            return Ok(());
        }
        Err(Error::OffsetMismatch { expected, provided }.into())
    }

    /// The upload is complete: if the answer that said so was lost, it is given again.
    fn to_finished(&self, done: &Finished, id: Uuid, body: &Body) -> Result<Response> {
        if !self.version.rules.replays {
            return Ok(problem::completed(self.version));
        }
        self.fits(done.size)?;
        if !self.completes || !body.is_end_stream() {
            return Ok(problem::completed(self.version));
        }
        let mut response = target_answer(self.version, &done.file, id.as_bytes());
        if response.status() == StatusCode::CREATED {
            *response.status_mut() = StatusCode::OK;
        }
        Ok(response)
    }
}
