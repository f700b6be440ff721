//! Creation, with all, some or none of the content.

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::{
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use cloudstore_proto::{path, upload::OnConflict};
use cloudstore_service::{
    Interim, Kind, Problem, Result, auth::Uploader, listener::PublicOrigin, path::Path,
    query::Query,
};
use std::sync::Arc;
use uuid::Uuid;

use super::{
    NOTE, UPLOAD_OFFSET, bare, disposition, fields, problem,
    receive::{Delivery, length, target_answer},
    settled,
    version::Version,
};
use crate::{
    dialect::{
        direct::{self, Options, content_type},
        media_type, mtime, refuse_encodings, sha256_field,
        tus::Metadata,
    },
    drop_box::Depositor,
    engine::{
        Begin, Begun, Engine, Error,
        session::{Declared, Session},
    },
};

/// Where the content is to become a file.
struct Target {
    path: String,
    on_conflict: OnConflict,
    mtime_ms: i64,
}

/// `POST /files/`: the name is that of `Content-Disposition`, else what `Upload-Metadata` says, which
/// clients that also speak tus send along (tus-js-client does), else the upload's id.
pub(super) async fn in_files(
    State(engine): State<Arc<Engine>>,
    user: Depositor,
    origin: PublicOrigin,
    interim: Interim,
    request: Request,
) -> Response {
    let version = Version::of(request.headers());
    let id = user.new_id();
    let target = path_in_files(request.headers(), &user, id).map(|path| Target {
        path,
        on_conflict: OnConflict::Rename,
        mtime_ms: 0,
    });
    let creation = Creation {
        engine,
        account: user.account_id,
        origin,
        interim,
        version,
        id,
        visitor: user.is_anonymous,
    };
    let created = match target {
        Ok(target) => creation.run(target, request).await,
        Err(problem) => Err(problem),
    };
    bare(creation.visitor, settled(version, created))
}

fn path_in_files(headers: &HeaderMap, user: &Depositor, id: Uuid) -> Result<String> {
    let path = match disposition::name(headers) {
        Some(name) => path::normalize_new(&name)?,
        None => Metadata::of(headers)?.path(id)?,
    };
    Ok(path::normalize_new(&format!("{}{path}", user.folder))?)
}

/// `PUT` or `POST /api/v1/content/{path}` with an offer to resume.
pub(super) async fn at_path(
    State(engine): State<Arc<Engine>>,
    uploader: Uploader,
    Path(path): Path<String>,
    Query(options): Query<Options>,
    origin: PublicOrigin,
    interim: Interim,
    request: Request,
) -> Response {
    let version = Version::of(request.headers());
    let creation = Creation {
        engine,
        account: uploader.account_id,
        origin,
        interim,
        version,
        id: Uuid::now_v7(),
        visitor: false,
    };
    let created = match target(&uploader, &path, &options) {
        Ok(target) => creation.run(target, request).await,
        Err(problem) => Err(problem),
    };
    settled(version, created)
}

fn target(uploader: &Uploader, path: &str, options: &Options) -> Result<Target> {
    Ok(Target {
        path: path::normalize_new(path)?,
        on_conflict: direct::on_conflict(uploader, options.on_conflict)?,
        mtime_ms: mtime(options.mtime.as_deref())?,
    })
}

struct Creation {
    engine: Arc<Engine>,
    account: Uuid,
    origin: PublicOrigin,
    interim: Interim,
    version: Version,
    id: Uuid,
    visitor: bool,
}

impl Creation {
    async fn run(&self, target: Target, request: Request) -> Result<Response> {
        let (parts, body) = request.into_parts();
        let headers = &parts.headers;
        refuse_encodings(headers)?;
        let completes = self.version.completes(headers);
        let completes = completes.ok_or_else(|| {
            let detail = "a creation says whether it has all of the content: Upload-Complete";
            Problem::new(Kind::MalformedRequest, detail)
        })?;
        let length = length(headers, 0, completes)?;
        let max = self.engine.settings().max_size;
        if length > Some(max) {
            let refused = problem::answer(self.version, Error::TooLarge(max).into());
            let age = self.engine.settings().lifetime.as_secs();
            let limit = fields::limit(self.version, max, age);
            return Ok(problem::with_limit(refused, limit));
        }
        let session = match self.begin(target, length, headers).await? {
            Begun::Uploading(session) | Begun::Challenge(_, session) => session,
            // The account has this content: nothing has to be sent.
            Begun::Instant(file) => {
                return Ok(target_answer(self.version, &file, self.id.as_bytes()));
            }
            Begun::Refused(error) => return Err(problem::of(error)),
            Begun::Direct => return Err(Problem::internal("an upload was told to be direct")),
        };
        metrics::counter!("cloudstore_uploads_created_total", "how" => "ietf").increment(1);
        let delivery = Delivery {
            engine: &self.engine,
            session: &session,
            version: self.version,
            interim: &self.interim,
            completes,
        };
        let location = self.location(&session)?;
        let mut resource = HeaderMap::from_iter([(header::LOCATION, location)]);
        resource.extend(delivery.limit());
        delivery.tell(resource.clone()).await;
        let mut response = match delivery.receive(0, headers, body).await {
            Ok((_, Some(of_target))) => of_target,
            Ok((appended, None)) => {
                let mut response = StatusCode::CREATED.into_response();
                let answer = response.headers_mut();
                answer.insert(UPLOAD_OFFSET, appended.offset.into());
                self.version.tell_complete(answer, false);
                response
            }
            Err(problem) => problem::answer(self.version, problem),
        };
        response.headers_mut().extend(resource);
        Ok(response)
    }

    async fn begin(
        &self,
        target: Target,
        length: Option<u64>,
        headers: &HeaderMap,
    ) -> Result<Begun> {
        let whole = HeaderName::from_static("repr-digest");
        let entry = Begin {
            id: Some(self.id),
            media_type: content_type(headers).unwrap_or_else(|| media_type(&target.path)),
            path: target.path,
            size: length,
            declared: Declared {
                sha256: sha256_field(headers, &whole)?,
                ..Declared::default()
            },
            on_conflict: target.on_conflict,
            mtime_ms: target.mtime_ms,
            part: false,
            note: format!("{NOTE}{}}}", self.version.rules.number),
            visitor: self.visitor,
        };
        let begun = self.engine.begin(self.account, vec![entry], false);
        let begun = begun.await.map_err(problem::of)?.into_iter().next();
        begun.ok_or_else(|| Problem::internal("no result"))
    }

    fn location(&self, session: &Session) -> Result<HeaderValue> {
        let PublicOrigin(origin) = &self.origin;
        let location = format!("{origin}/files/{}", session.facts().id);
        HeaderValue::try_from(location).map_err(Problem::internal)
    }
}
