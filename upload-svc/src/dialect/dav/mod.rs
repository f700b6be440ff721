//! WebDAV, class 1 and 2 (RFC 4918), at `/dav/`: for file managers, mounts, and programs like rclone.
//!
//! Every method but GET and HEAD, which download-svc answers with the code of `/api/v1/content/`. Here
//! is the protocol only. A change is one call of dbproxy, so it is made or not made: preconditions,
//! locks, the place that another entry gives up, all are decided in its transaction. Content goes
//! through the engine, as that of a direct upload.
//!
//! - [`put`] content, in one body; [`tus`] content by another protocol
//! - [`transplant`] COPY and MOVE
//! - [`propfind`], [`live`], [`proppatch`] properties
//! - [`lock`] LOCK and UNLOCK; [`condition`] the field `If`
//! - [`href`] addresses; [`xml`] documents; [`refusal`] errors

mod condition;
mod description;
mod href;
mod live;
mod lock;
mod propfind;
mod proppatch;
mod put;
mod refusal;
mod store;
mod transplant;
mod tus;
mod xml;

use std::sync::Arc;

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequestParts as _, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use cloudstore_proto::file::Precondition;
use cloudstore_service::{
    Kind, Problem, auth::User, listener::PublicOrigin, precondition::Conditions,
};

pub(crate) use self::description::Description;
use self::{
    condition::{If, precondition},
    refusal::{Refusal, Result},
    store::{Store, no_parent},
};
use super::{malformed, tus::is_spoken};
use crate::{engine::Engine, routes::App};

/// What an address below /dav/ knows.
const ALLOW: HeaderValue = HeaderValue::from_static(
    "OPTIONS, GET, HEAD, PUT, DELETE, MKCOL, COPY, MOVE, PROPFIND, PROPPATCH, LOCK, UNLOCK",
);
/// The classes of RFC 4918 section 18 that this server has.
const CLASSES: HeaderValue = HeaderValue::from_static("1, 2");
const XML: HeaderValue = HeaderValue::from_static("application/xml; charset=utf-8");

/// A request of an account.
struct Call {
    engine: Arc<Engine>,
    user: User,
    store: Store,
    /// What the address names.
    path: String,
    /// The address names a folder, whatever is there.
    has_slash: bool,
    headers: HeaderMap,
    /// `If-Match` and `If-None-Match`.
    conditions: Option<Precondition>,
    /// The field `If`.
    states: If,
}

/// How far a request reaches (RFC 4918 section 10.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    Zero,
    One,
    Infinity,
}

/// All methods of `/dav/` and what is below it.
pub(crate) async fn handle(State(app): State<App>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // Boxed: it holds what the largest method needs.
    match Box::pin(answer(&app, parts, body)).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn answer(app: &App, mut parts: Parts, body: Body) -> Result<Response> {
    // Clients ask for the classes before they have anything to show.
    if parts.method == "OPTIONS" {
        return Ok(options());
    }
    let user = User::from_request_parts(&mut parts, &app.verifier).await?;
    let Conditions(conditions) = Conditions::from_request_parts(&mut parts, &()).await?;
    let origin = PublicOrigin::from_request_parts(&mut parts, &()).await;
    let url_path = parts.uri.path();
    let call = Call {
        engine: app.engine.clone(),
        store: Store::new(
            app.engine.channel(),
            user.account_id,
            app.engine.settings().trash,
        ),
        user,
        path: href::path(url_path)?,
        has_slash: url_path.ends_with('/'),
        states: If::of(&parts.headers)?,
        headers: parts.headers,
        conditions,
    };
    match parts.method.as_str() {
        "PROPFIND" => propfind::propfind(call, body).await,
        "PROPPATCH" => proppatch::proppatch(call, body).await,
        "MKCOL" => make_folder(call, body).await,
        "DELETE" => delete(call).await,
        "COPY" => transplant::copy(call).await,
        "MOVE" => transplant::rename(call).await,
        "PUT" => put::put(call, body).await,
        "LOCK" => lock::lock(call, body).await,
        "UNLOCK" => lock::unlock(call).await,
        "POST" if is_spoken(&call.headers) => tus::create(call, &origin?.0, body).await,
        _ => {
            let detail = "see the Allow header for the methods of this address";
            Err(Problem::new(Kind::MethodNotAllowed, detail).into())
        }
    }
}

fn options() -> Response {
    let headers = [
        (header::ALLOW, ALLOW),
        (header::HeaderName::from_static("dav"), CLASSES),
        // Windows does not speak WebDAV to a server without it.
        (
            header::HeaderName::from_static("ms-author-via"),
            HeaderValue::from_static("DAV"),
        ),
    ];
    (StatusCode::OK, headers).into_response()
}

/// MKCOL (RFC 4918 section 9.3).
async fn make_folder(call: Call, body: Body) -> Result<Response> {
    if !call.read(body).await?.is_empty() {
        let detail = "a folder is made without a body";
        return Err(Problem::new(Kind::UnsupportedMediaType, detail).into());
    }
    call.states.require(&call.store, &call.path).await?;
    let under = call.precondition();
    if call.path == "/" {
        let detail = "there is something at this address";
        return Err(Problem::new(Kind::MethodNotAllowed, detail).into());
    }
    match call.store.create_folder(call.path, under).await {
        Ok(_) => Ok(StatusCode::CREATED.into_response()),
        Err(problem) if problem.kind() == Kind::NotFound => Err(no_parent().into()),
        Err(problem) => {
            Err(Refusal::from(problem).instead(Kind::NameConflict, Kind::MethodNotAllowed))
        }
    }
}

/// DELETE (RFC 4918 section 9.6): a folder goes with everything in it, or stays as it is.
async fn delete(call: Call) -> Result<Response> {
    call.depth(Depth::Infinity, &[Depth::Infinity])?;
    call.states.require(&call.store, &call.path).await?;
    call.below_root()?;
    let under = call.precondition();
    call.store.delete(call.path, under).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl Call {
    /// What the change has to be made under.
    fn precondition(&self) -> Precondition {
        precondition(self.conditions.clone(), self.states.tokens())
    }

    /// The root folder can be neither moved nor deleted.
    fn below_root(&self) -> Result<()> {
        if self.path == "/" {
            let detail = "this cannot be done with the root folder";
            return Err(Problem::new(Kind::Forbidden, detail).into());
        }
        Ok(())
    }

    /// How far the request reaches, if it may reach so far.
    fn depth(&self, default: Depth, allowed: &[Depth]) -> Result<Depth> {
        let depth = match self.headers.get("depth").map(HeaderValue::as_bytes) {
            None => Some(default),
            Some(b"0") => Some(Depth::Zero),
            Some(b"1") => Some(Depth::One),
            Some(text) if text.eq_ignore_ascii_case(b"infinity") => Some(Depth::Infinity),
            Some(_) => None,
        };
        let depth = depth.filter(|depth| allowed.contains(depth));
        Ok(depth.ok_or_else(|| malformed("this Depth makes no sense here"))?)
    }

    /// A body that is a document.
    async fn read(&self, body: Body) -> Result<Bytes> {
        to_bytes(body, xml::MAX_BYTES)
            .await
            .map_err(|error| Problem::from(error).into())
    }
}
