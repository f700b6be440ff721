//! Every route of the service, and its handlers.

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRef, FromRequestParts, State},
    http::{HeaderName, StatusCode, header, request::Parts},
    routing::{delete, get, post, put},
};
use cloudstore_proto::{
    account::Session,
    http::{Account, ChangePassword, Login, Refresh, Register, Tokens, UpdateMe},
};
use cloudstore_service::{
    Problem, Result,
    auth::{User, Verifier},
    json::Json,
};

use crate::{accounts::Accounts, keys::Jwks, sessions::Sessions};

/// Bytes of a request body: the longest fields, escaped, fit several times.
const BODY_LIMIT: usize = 32 * 1024;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) verifier: Verifier,
}

impl FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

pub(crate) fn routes(app: App) -> Router {
    Router::new()
        .route("/api/v1/accounts", post(register))
        .route("/api/v1/sessions", post(login).delete(logout_everywhere))
        .route("/api/v1/sessions/refresh", post(refresh))
        .route("/api/v1/sessions/current", delete(logout))
        .route("/api/v1/me", get(me).patch(update_me))
        .route("/api/v1/me/password", put(change_password))
        .route("/.well-known/jwks.json", get(jwks))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(app)
}

/// The caller, whose session has not ended: unlike [`User`], not even a moment ago.
struct Caller {
    user: User,
    session: Session,
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let user = User::from_request_parts(parts, app).await?;
        let session = app.sessions.live(user).await?;
        Ok(Self { user, session })
    }
}

/// An answer that no cache may keep.
type Private<T> = ([(HeaderName, &'static str); 1], Json<T>);

fn private<T>(body: T) -> Private<T> {
    ([(header::CACHE_CONTROL, "no-store")], Json(body))
}

async fn register(
    State(app): State<App>,
    Json(body): Json<Register>,
) -> Result<(StatusCode, Private<Account>)> {
    Ok((
        StatusCode::CREATED,
        private(app.accounts.register(body).await?),
    ))
}

async fn login(
    State(app): State<App>,
    Json(body): Json<Login>,
) -> Result<(StatusCode, Private<Tokens>)> {
    Ok((
        StatusCode::CREATED,
        private(app.sessions.login(body).await?),
    ))
}

async fn refresh(State(app): State<App>, Json(body): Json<Refresh>) -> Result<Private<Tokens>> {
    Ok(private(app.sessions.refresh(&body.refresh_token).await?))
}

async fn logout(State(app): State<App>, caller: Caller) -> Result<StatusCode> {
    app.sessions.logout(caller.user).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn logout_everywhere(State(app): State<App>, caller: Caller) -> Result<StatusCode> {
    app.sessions.logout_everywhere(caller.user).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn me(State(app): State<App>, caller: Caller) -> Result<Private<Account>> {
    Ok(private(app.accounts.get(caller.user.account_id).await?))
}

async fn update_me(
    State(app): State<App>,
    caller: Caller,
    Json(body): Json<UpdateMe>,
) -> Result<Private<Account>> {
    Ok(private(
        app.accounts.update(caller.user.account_id, body).await?,
    ))
}

async fn change_password(
    State(app): State<App>,
    caller: Caller,
    Json(body): Json<ChangePassword>,
) -> Result<StatusCode> {
    app.sessions.change_password(caller.session, body).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn jwks(State(app): State<App>) -> Result<([(HeaderName, &'static str); 1], Json<Jwks>)> {
    // Short: whoever meets an unknown kid should look here and find it.
    let cache = [(header::CACHE_CONTROL, "public, max-age=60")];
    Ok((cache, Json(app.sessions.jwks().await?)))
}
