//! Every route of the service, and its handlers.

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRef, FromRequestParts, State},
    http::{HeaderMap, HeaderName, StatusCode, header, request::Parts},
    routing::{delete, get, post, put},
};
use cloudstore_proto::{
    account::Session,
    http::{
        self, Account, ChangePassword, CreateToken, CreatedToken, Refresh, Register, TokenList,
        UpdateMe,
        shares::{CreateShare, CreatedShare, Share, ShareList, UnlockShare, UnlockedShare},
    },
};
use cloudstore_service::{
    Problem, Result,
    auth::{Access, Credential, Login, SHARE_TICKET, User, Verifier},
    json::Json,
    listener::{ClientAddress, PublicOrigin},
    path::Path,
};

use uuid::Uuid;

use crate::{accounts::Accounts, keys::Jwks, sessions::Sessions, shares::Shares, tokens::Tokens};

/// Bytes of a request body: the longest fields, escaped, fit several times.
const BODY_LIMIT: usize = 32 * 1024;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) shares: Arc<Shares>,
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
        .route(
            "/api/v1/sessions",
            post(login).get(list_sessions).delete(logout_everywhere),
        )
        .route("/api/v1/sessions/refresh", post(refresh))
        .route("/api/v1/sessions/current", delete(logout))
        .route("/api/v1/sessions/{id}", delete(revoke_session))
        .route("/api/v1/me", get(me).patch(update_me))
        .route("/api/v1/me/password", put(change_password))
        .route("/api/v1/tokens", post(create_token).get(list_tokens))
        .route("/api/v1/tokens/{id}", delete(revoke_token))
        .route("/api/v1/shares", post(create_share).get(list_shares))
        .route("/api/v1/shares/{id}", get(get_share).delete(revoke_share))
        .route("/api/v1/public/shares/{token}/unlock", post(unlock_share))
        .route("/.well-known/jwks.json", get(jwks))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(app)
}

/// The description of [`routes`]: each of them is named here.
#[derive(utoipa::OpenApi)]
#[openapi(paths(
    register,
    login,
    refresh,
    logout,
    logout_everywhere,
    list_sessions,
    revoke_session,
    me,
    update_me,
    change_password,
    create_token,
    list_tokens,
    revoke_token,
    create_share,
    list_shares,
    get_share,
    revoke_share,
    unlock_share,
    jwks,
))]
pub(crate) struct Description;

/// The caller, whose login has not ended: unlike [`Login`], not even a moment ago. Whatever manages
/// the account takes it, so no API token can: a lost one must not outlive its withdrawal.
struct Caller {
    user: User,
    session: Session,
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let Login(user) = Login::from_request_parts(parts, app).await?;
        let session = app.sessions.live(user).await?;
        Ok(Self { user, session })
    }
}

/// Whoever asks for its own account: as [`Caller`], or with an API token of any scope. Who uploads
/// needs to know how much room there is.
struct Anybody(User);

impl FromRequestParts<App> for Anybody {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let Access { user, credential } = Access::from_request_parts(parts, app).await?;
        if credential == Credential::Login {
            app.sessions.live(user).await?;
        }
        Ok(Self(user))
    }
}

/// Whoever may show the account's files to others: as [`Caller`], or with a token of the scope `full`.
struct Owner(User);

impl FromRequestParts<App> for Owner {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let access = Access::from_request_parts(parts, app).await?;
        let user = access.user()?;
        if access.credential == Credential::Login {
            app.sessions.live(user).await?;
        }
        Ok(Self(user))
    }
}

/// An answer that no cache may keep.
type Private<T> = ([(HeaderName, &'static str); 1], Json<T>);

fn private<T>(body: T) -> Private<T> {
    ([(header::CACHE_CONTROL, "no-store")], Json(body))
}

/// Registers an account.
#[utoipa::path(
    post,
    path = "/api/v1/accounts",
    tag = "accounts",
    request_body = Register,
    responses((status = 201, description = "The account", body = Account)),
    extensions(("x-problems" = json!(["name-taken", "overloaded"]))),
)]
async fn register(
    State(app): State<App>,
    Json(body): Json<Register>,
) -> Result<(StatusCode, Private<Account>)> {
    Ok((
        StatusCode::CREATED,
        private(app.accounts.register(body).await?),
    ))
}

/// Logs in with name and password.
#[utoipa::path(
    post,
    path = "/api/v1/sessions",
    tag = "sessions",
    request_body = http::Login,
    responses((status = 201, description = "The tokens of a new session", body = http::Tokens)),
    extensions(("x-problems" = json!(["unauthenticated", "rate-limited", "overloaded"]))),
)]
async fn login(
    State(app): State<App>,
    headers: HeaderMap,
    Json(body): Json<http::Login>,
) -> Result<(StatusCode, Private<http::Tokens>)> {
    let client = headers.get(header::USER_AGENT);
    let client = client.map(|agent| String::from_utf8_lossy(agent.as_bytes()));
    let tokens = app
        .sessions
        .login(body, &client.unwrap_or_default())
        .await?;
    Ok((StatusCode::CREATED, private(tokens)))
}

/// Lists where the account is logged in.
#[utoipa::path(
    get,
    path = "/api/v1/sessions",
    tag = "sessions",
    security(("login" = [])),
    responses((status = 200, description = "The sessions that have not ended", body = http::SessionList)),
)]
async fn list_sessions(
    State(app): State<App>,
    caller: Caller,
) -> Result<Private<http::SessionList>> {
    Ok(private(app.sessions.list(caller.user).await?))
}

/// Ends one session of the account.
#[utoipa::path(
    delete,
    path = "/api/v1/sessions/{id}",
    tag = "sessions",
    security(("login" = [])),
    params(("id" = Uuid, Path, description = "Its id")),
    responses((status = 204, description = "It has ended")),
    extensions(("x-problems" = json!(["not-found"]))),
)]
async fn revoke_session(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<StatusCode> {
    app.sessions.revoke(caller.user.account_id, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Exchanges a refresh token for the next pair of tokens.
#[utoipa::path(
    post,
    path = "/api/v1/sessions/refresh",
    tag = "sessions",
    request_body = Refresh,
    responses((status = 200, description = "The next tokens", body = http::Tokens)),
    extensions(("x-problems" = json!(["unauthenticated"]))),
)]
async fn refresh(
    State(app): State<App>,
    Json(body): Json<Refresh>,
) -> Result<Private<http::Tokens>> {
    Ok(private(app.sessions.refresh(&body.refresh_token).await?))
}

/// Ends the session that the access token belongs to.
#[utoipa::path(
    delete,
    path = "/api/v1/sessions/current",
    tag = "sessions",
    security(("login" = [])),
    responses((status = 204, description = "It has ended")),
)]
async fn logout(State(app): State<App>, caller: Caller) -> Result<StatusCode> {
    app.sessions.logout(caller.user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends every session of the account.
#[utoipa::path(
    delete,
    path = "/api/v1/sessions",
    tag = "sessions",
    security(("login" = [])),
    responses((status = 204, description = "They have ended")),
)]
async fn logout_everywhere(State(app): State<App>, caller: Caller) -> Result<StatusCode> {
    app.sessions.logout_everywhere(caller.user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Shows the account, and how much room it has.
#[utoipa::path(
    get,
    path = "/api/v1/me",
    tag = "accounts",
    operation_id = "get_account",
    security(("login" = []), ("token" = []), ("basic" = [])),
    responses((status = 200, description = "The account", body = Account)),
)]
async fn me(State(app): State<App>, Anybody(user): Anybody) -> Result<Private<Account>> {
    Ok(private(app.accounts.get(user.account_id).await?))
}

/// Changes the account's profile.
#[utoipa::path(
    patch,
    path = "/api/v1/me",
    tag = "accounts",
    operation_id = "update_account",
    security(("login" = [])),
    request_body = UpdateMe,
    responses((status = 200, description = "The account as it is now", body = Account)),
)]
async fn update_me(
    State(app): State<App>,
    caller: Caller,
    Json(body): Json<UpdateMe>,
) -> Result<Private<Account>> {
    Ok(private(
        app.accounts.update(caller.user.account_id, body).await?,
    ))
}

/// Changes the password, and ends every other session.
#[utoipa::path(
    put,
    path = "/api/v1/me/password",
    tag = "accounts",
    security(("login" = [])),
    request_body = ChangePassword,
    responses((status = 204, description = "It is changed")),
    extensions(("x-problems" = json!(["precondition-failed", "rate-limited", "overloaded"]))),
)]
async fn change_password(
    State(app): State<App>,
    caller: Caller,
    Json(body): Json<ChangePassword>,
) -> Result<StatusCode> {
    app.sessions.change_password(caller.session, body).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes an API token for a program.
#[utoipa::path(
    post,
    path = "/api/v1/tokens",
    tag = "tokens",
    security(("login" = [])),
    request_body = CreateToken,
    responses((status = 201, description = "The token, with its secret", body = CreatedToken)),
    extensions(("x-problems" = json!(["too-many-tokens"]))),
)]
async fn create_token(
    State(app): State<App>,
    caller: Caller,
    Json(body): Json<CreateToken>,
) -> Result<(StatusCode, Private<CreatedToken>)> {
    let created = app.tokens.create(caller.user.account_id, body).await?;
    Ok((StatusCode::CREATED, private(created)))
}

/// Lists the account's API tokens.
#[utoipa::path(
    get,
    path = "/api/v1/tokens",
    tag = "tokens",
    security(("login" = [])),
    responses((status = 200, description = "Those that work now", body = TokenList)),
)]
async fn list_tokens(State(app): State<App>, caller: Caller) -> Result<Private<TokenList>> {
    Ok(private(app.tokens.list(caller.user.account_id).await?))
}

/// Ends an API token.
#[utoipa::path(
    delete,
    path = "/api/v1/tokens/{id}",
    tag = "tokens",
    security(("login" = [])),
    params(("id" = Uuid, Path, description = "Its id")),
    responses((status = 204, description = "It has ended")),
)]
async fn revoke_token(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<StatusCode> {
    app.tokens.revoke(caller.user.account_id, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Shares a file or folder with whoever knows the address.
#[utoipa::path(
    post,
    path = "/api/v1/shares",
    tag = "shares",
    security(("login" = []), ("token" = ["full"]), ("basic" = ["full"])),
    request_body = CreateShare,
    responses((status = 201, description = "The share, with its token", body = CreatedShare)),
    extensions(("x-problems" = json!(["not-a-folder", "not-found", "invalid-path", "limit-reached", "overloaded"]))),
)]
async fn create_share(
    State(app): State<App>,
    Owner(user): Owner,
    PublicOrigin(origin): PublicOrigin,
    Json(body): Json<CreateShare>,
) -> Result<(StatusCode, Private<CreatedShare>)> {
    let created = app.shares.create(user.account_id, body, &origin).await?;
    Ok((StatusCode::CREATED, private(created)))
}

/// Lists the account's shares.
#[utoipa::path(
    get,
    path = "/api/v1/shares",
    tag = "shares",
    security(("login" = []), ("token" = ["full"]), ("basic" = ["full"])),
    responses((status = 200, description = "Those that have not ended", body = ShareList)),
)]
async fn list_shares(State(app): State<App>, Owner(user): Owner) -> Result<Private<ShareList>> {
    Ok(private(app.shares.list(user.account_id).await?))
}

/// Shows a share.
#[utoipa::path(
    get,
    path = "/api/v1/shares/{id}",
    tag = "shares",
    security(("login" = []), ("token" = ["full"]), ("basic" = ["full"])),
    params(("id" = Uuid, Path, description = "Its id")),
    responses((status = 200, description = "The share", body = Share)),
)]
async fn get_share(
    State(app): State<App>,
    Owner(user): Owner,
    Path(id): Path<Uuid>,
) -> Result<Private<Share>> {
    Ok(private(app.shares.get(user.account_id, id).await?))
}

/// Ends a share, at once and everywhere.
#[utoipa::path(
    delete,
    path = "/api/v1/shares/{id}",
    tag = "shares",
    security(("login" = []), ("token" = ["full"]), ("basic" = ["full"])),
    params(("id" = Uuid, Path, description = "Its id")),
    responses((status = 204, description = "It has ended")),
)]
async fn revoke_share(
    State(app): State<App>,
    Owner(user): Owner,
    Path(id): Path<Uuid>,
) -> Result<StatusCode> {
    app.shares.revoke(user.account_id, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Unlocks a share that has a password.
///
/// Anybody who knows the token. The cookie is for browsers, which load content without any fields of
/// ours; it goes to this share only, and no script sees it.
#[utoipa::path(
    post,
    path = "/api/v1/public/shares/{token}/unlock",
    tag = "public shares",
    params(("token" = String, Path, description = "The token of the share")),
    request_body = UnlockShare,
    responses((
        status = 200,
        description = "A ticket",
        body = UnlockedShare,
        headers(("Set-Cookie" = String, description = "The ticket, for browsers")),
    )),
    extensions(("x-problems" = json!(["rate-limited", "overloaded"]))),
)]
async fn unlock_share(
    State(app): State<App>,
    client: ClientAddress,
    PublicOrigin(origin): PublicOrigin,
    Path(token): Path<String>,
    Json(body): Json<UnlockShare>,
) -> Result<([(HeaderName, String); 1], Private<UnlockedShare>)> {
    let unlocked = app.shares.unlock(client, &token, body).await?;
    let UnlockedShare { ticket, expires_in } = &unlocked;
    let secure = if origin.starts_with("https:") {
        "; Secure"
    } else {
        ""
    };
    let cookie = format!(
        "{SHARE_TICKET}={ticket}; Path=/api/v1/public/shares/{token}; Max-Age={expires_in}; \
        HttpOnly; SameSite=Lax{secure}"
    );
    Ok(([(header::SET_COOKIE, cookie)], private(unlocked)))
}

/// The public keys that access tokens are signed with (RFC 7517).
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    tag = "sessions",
    responses((status = 200, description = "The keys", body = Jwks)),
)]
async fn jwks(State(app): State<App>) -> Result<([(HeaderName, &'static str); 1], Json<Jwks>)> {
    // Short: whoever meets an unknown kid should look here and find it.
    let cache = [(header::CACHE_CONTROL, "public, max-age=60")];
    Ok((cache, Json(app.sessions.jwks().await?)))
}
