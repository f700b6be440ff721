//! Handlers below `/api/v1/public/shares/{token}`: what anybody may do who knows the token, and the
//! password where there is one. What is shared is found by dbproxy from the shared entry downwards, so no
//! path leads out of it.

use axum::{
    extract::{FromRequestParts, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, Uri,
        header::{CACHE_CONTROL, COOKIE, SET_COOKIE, VARY},
        request::Parts,
    },
    response::{IntoResponse as _, Response},
};
use cloudstore_proto::{
    convert,
    file::{Entry, EntryKind},
    http::{Binary, shares::PublicShare},
    path,
    share::Share,
};
use cloudstore_service::{
    Kind, Problem, Result,
    auth::{SHARE_TICKET, ShareToken},
    json::Json,
    listener::{ClientAddress, PublicOrigin},
    path::Path,
    query::Query,
};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    content::{self, ContentFields, ContentQuery},
    files::ListQuery,
    path::EntryPath,
    web,
};
use crate::{
    App,
    content::{Place, Reply, Shortcuts, Wanted, find_in},
    shares::{DownloadTicket, Sent, TICKET_TTL, not_found},
};

/// Name of the cookie with the ticket of a download, and of the field that programs may send instead.
const DOWNLOAD_TICKET: &str = "cloudstore-download-ticket";
/// The path of the content is in its address, and a cookie for that address cannot be longer.
const MAX_COOKIE_PATH: usize = 2_048;

/// The token of the address; 404 for what is none.
pub(crate) struct Token(pub(super) ShareToken);

#[derive(Deserialize)]
struct TokenParam {
    token: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Token {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Path(TokenParam { token }) = Path::from_request_parts(parts, state).await?;
        ShareToken::parse(&token).map(Self).ok_or_else(not_found)
    }
}

/// The address that is given away: a page for people, which asks for the rest itself, and what the share
/// shows for programs. The page is there for any token, and tells in words when it opens nothing.
pub(crate) async fn visit(
    app: State<App>,
    client: ClientAddress,
    token: Result<Token>,
    path: EntryPath,
    query: Query<ListQuery>,
    headers: HeaderMap,
) -> Result<Response> {
    if let Some(page) = web::document_for_people(&headers) {
        return Ok(page);
    }
    let mut response = read(app, client, token?, path, query, headers).await?;
    let fields = response.headers_mut();
    fields.append(VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

/// What the share shows at a path: a file's metadata, or a folder with a page of its entries.
#[utoipa::path(
    get,
    path = "/api/v1/public/shares/{token}/files/{path}",
    tag = "public shares",
    operation_id = "open_share",
    security((), ("share_ticket" = []), ("share_cookie" = [])),
    params(("token" = String, Path, description = "The token of the share"), ("path" = String, Path, description = "Path of the entry; slashes may be as they are"), ListQuery),
    responses((status = 200, description = "What the share shows", body = PublicShare)),
    extensions(("x-problems" = json!(["password-required", "not-a-folder"]))),
)]
pub(crate) async fn read(
    State(app): State<App>,
    client: ClientAddress,
    Token(token): Token,
    EntryPath(path): EntryPath,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Result<Response> {
    let page = query.page()?;
    if !page.search.is_empty() {
        let detail = "shares are not searched";
        return Err(Problem::new(Kind::MalformedRequest, detail));
    }
    // Whether there is something at the path is told only to those who may see it.
    let (share, top) = app.shares.open(client, &token).await?;
    let mut shown = convert::public_share(&share);
    if is_open(&app, &share, &headers).await? {
        shown.needs_password = false;
        let entry = match &*path {
            "/" => top,
            below => app.shares.find(&token, below).await?.1,
        };
        shown.entry = Some(convert::shared_entry(&share, &entry));
        if entry.kind() == EntryKind::Folder && !share.uploads {
            let (share, page) = app.shares.list(&token, &path, page).await?;
            let entries = page.entries.iter();
            let entries = entries.map(|entry| convert::shared_entry(&share, entry));
            shown.entries = Some(entries.collect());
            shown.next_cursor = Some(page.next_cursor).filter(|cursor| !cursor.is_empty());
        }
    } else if path != "/" {
        return Err(locked());
    }
    Ok(private(shown))
}

/// Sends the content of the shared file, or of one below the shared folder.
#[utoipa::path(
    method(get, head),
    path = "/api/v1/public/shares/{token}/content/{path}",
    tag = "public shares",
    operation_id = "read_shared_content",
    security((), ("share_ticket" = []), ("share_cookie" = [])),
    params(("token" = String, Path, description = "The token of the share"), ("path" = String, Path, description = "Path of the entry; slashes may be as they are"), ContentQuery, ContentFields),
    responses(
        (status = 200, description = "The content", body = Binary, content_type = "*/*"),
        (status = 206, description = "The part that was asked for", body = Binary, content_type = "*/*"),
        (status = 304, description = "The client has it"),
    ),
    extensions(("x-problems" = json!(["password-required", "is-a-folder", "not-a-folder", "blob-missing", "precondition-failed", "range-not-satisfiable", "share-exhausted"]))),
)]
pub(crate) async fn content(
    State(app): State<App>,
    client: ClientAddress,
    Token(token): Token,
    request: Parts,
    PublicOrigin(origin): PublicOrigin,
    EntryPath(path): EntryPath,
    Query(query): Query<ContentQuery>,
) -> Result<Response> {
    let headers = &request.headers;
    let (share, _) = enter(&app, client, &token, headers).await?;
    let body = request.method != Method::HEAD;
    let ticket = ticket(headers, DOWNLOAD_TICKET);
    let ticket = ticket.as_deref().and_then(DownloadTicket::parse);
    let is_exhausted = share.max_downloads > 0 && share.downloads >= share.max_downloads;
    if body && is_exhausted && ticket.is_none() {
        // The same that counting would say, before anything is read for nothing.
        return Err(exhausted());
    }
    let wanted = Wanted {
        owner: visitors(&share)?,
        path,
        conditions: content::conditions(headers),
        range: content::range(headers),
        body,
        // Everything is verified and counted here: an address of the object store could be given away.
        shortcuts: Shortcuts::default(),
    };
    let place = Place::Share(&app.shares, &token);
    let mut found = find_in(place, &app.reader, &wanted).await?;
    let mut begun = None;
    if let Reply::Send(sending) = &found.reply
        && body
    {
        // What can be sent is counted, and sent only if it was.
        let sent = Sent::of(sending, found.size);
        begun = app
            .shares
            .begin(&share, &found.entry, &sent, ticket.as_ref())
            .await?;
    }
    name(&share, &mut found.entry);
    let mut response = content::respond(found, query.disposition);
    if let Some(ticket) = begun {
        issue(
            &mut response,
            &ticket,
            &request.uri,
            origin.starts_with("https:"),
        );
    }
    Ok(response)
}

/// Whose places a download takes: not those of the owner, whom visitors must not keep from own files.
/// All shares of an account have as many together, under its id with every bit turned.
pub(super) fn visitors(share: &Share) -> Result<Uuid> {
    let account = Uuid::from_slice(&share.account_id).map_err(Problem::internal)?;
    Ok(Uuid::from_u128(!account.as_u128()))
}

/// Gives the shared entry itself the name by which it is saved.
fn name(share: &Share, entry: &mut Entry) {
    entry.path = path::join("/", convert::shared_name(share, entry));
}

/// The share with a token, and what is shared, for those who may see it.
///
/// # Errors
/// `not-found`, `rate-limited`, `password-required`.
pub(super) async fn enter(
    app: &App,
    client: ClientAddress,
    token: &ShareToken,
    headers: &HeaderMap,
) -> Result<(Share, Entry)> {
    let (share, top) = app.shares.open(client, token).await?;
    if !is_open(app, &share, headers).await? {
        return Err(locked());
    }
    if share.uploads {
        return Err(not_found());
    }
    Ok((share, top))
}

/// No password, or a ticket of somebody who told it.
async fn is_open(app: &App, share: &Share, headers: &HeaderMap) -> Result<bool> {
    if !share.has_password {
        return Ok(true);
    }
    let Some(ticket) = ticket(headers, SHARE_TICKET) else {
        return Ok(false);
    };
    match app.verifier.share_ticket(&ticket).await {
        Ok(id) => Ok(id.as_bytes()[..] == share.id[..]),
        Err(problem) if problem.kind() == Kind::Unauthenticated => Ok(false),
        Err(problem) => Err(problem),
    }
}

fn locked() -> Problem {
    let detail = "unlock the share with its password first";
    Problem::new(Kind::PasswordRequired, detail)
}

fn exhausted() -> Problem {
    let detail = "the share was downloaded as often as it may be";
    Problem::new(Kind::ShareExhausted, detail)
}

/// A ticket, from the field or from the cookie with a name.
fn ticket(headers: &HeaderMap, name: &str) -> Option<String> {
    if let Some(field) = headers.get(name) {
        return field.to_str().ok().map(str::to_owned);
    }
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines.filter_map(|line| line.to_str().ok());
    let mut pairs = pairs.flat_map(|line| line.split(';'));
    pairs.find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then(|| value.to_owned())
    })
}

/// Hands a ticket out: to browsers as a cookie for this address alone, to programs as a field.
fn issue(response: &mut Response, ticket: &DownloadTicket, uri: &Uri, secure: bool) {
    let text = ticket.text();
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::try_from(&text) {
        headers.insert(HeaderName::from_static(DOWNLOAD_TICKET), value);
    }
    // A path with a semicolon would end the attribute; such a client shows the field, or counts again.
    let path = uri.path();
    if path.contains(';') || path.len() > MAX_COOKIE_PATH {
        return;
    }
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!(
        "{DOWNLOAD_TICKET}={text}; Path={path}; Max-Age={}; HttpOnly; SameSite=Lax{secure}",
        TICKET_TTL.as_secs()
    );
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        headers.append(SET_COOKIE, cookie);
    }
}

/// An answer that no cache may keep.
fn private(shown: PublicShare) -> Response {
    let cache = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (cache, Json(shown)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_in_the_field_or_in_any_cookie() {
        let find = |lines: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, HeaderValue::from_static(value));
            }
            ticket(&headers, "name")
        };
        assert_eq!(find(&[]), None);
        assert_eq!(find(&[("cookie", "other=a; xname=b")]), None);
        assert_eq!(find(&[("cookie", "other=a; name=b=c")]).unwrap(), "b=c");
        assert_eq!(
            find(&[("cookie", "a=b"), ("cookie", "name=d")]).unwrap(),
            "d"
        );
        assert_eq!(find(&[("cookie", "name=b"), ("name", "f")]).unwrap(), "f");
    }
}
