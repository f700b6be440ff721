//! The web app: the files that `web/` builds, from inside the program.
//!
//! Addresses of the app's pages all answer with its one document, which looks at the address itself;
//! other unknown addresses stay 404. Everything the app loads is named after its content and can be
//! kept for ever; the document and the service worker are asked for each time.

use axum::{
    Router,
    extract::Path,
    http::{
        HeaderMap, HeaderName, HeaderValue,
        header::{
            ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY,
            CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
        },
        status::StatusCode,
    },
    response::{IntoResponse as _, Response},
    routing::get,
};
use cloudstore_service::{Kind, Problem, Result};
use rust_embed::{EmbeddedFile, RustEmbed};

/// What `npm run build` has made. Debug builds read it from the disk at each request.
#[derive(RustEmbed)]
#[folder = "../web/dist"]
#[allow_missing = true]
struct Dist;

/// What the app may load and run. The same file is in force while it is developed and tested.
const POLICY: HeaderValue =
    HeaderValue::from_static(include_str!("../../../web/csp.txt").trim_ascii_end());
/// Other pages that open the app get no hold of its window.
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
/// For files that are named after their content.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// For the rest: it may be kept, and is asked about each time.
const ASK: HeaderValue = HeaderValue::from_static("no-cache");
/// Hexadecimal digits of an entity tag.
const TAG_BYTES: usize = 16;
/// Instead of the document, in a build without the app.
const MISSING: &str = "<!doctype html><html lang=\"en\"><title>cloudstore</title>\
    <h1>cloudstore runs, without its web app</h1>\
    <p>This program was built before the app was. To have it here, build the app, then the program:\
    <pre>cd web && npm ci && npm run build && cd .. && cargo build --release</pre>\
    <p>The command line client and the API work without it.";

/// Everything a browser loads, and the pages that people can have in their address bar.
pub(crate) fn routes() -> Router {
    let page = || get(document);
    Router::new()
        .route("/", page())
        .route("/drive", page())
        .route("/drive/{*path}", page())
        .route("/uploads", page())
        .route("/shares", page())
        .route("/trash", page())
        .route("/account", page())
        .route("/signin", page())
        .route("/register", page())
        .route("/assets/{name}", get(asset))
        .route("/sw.js", get(async |head: HeaderMap| file("sw.js", &head)))
        .route(
            "/icon.svg",
            get(async |head: HeaderMap| file("icon.svg", &head)),
        )
}

async fn document(head: HeaderMap) -> Response {
    file("index.html", &head).unwrap_or_else(|_| {
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        let policy = HeaderValue::from_static("default-src 'none'");
        let headers = [
            (CONTENT_TYPE, html),
            (CONTENT_SECURITY_POLICY, policy),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        (headers, MISSING).into_response()
    })
}

/// The app's document for an address that answers programs, too: if a person's browser asks, and this
/// build has the app.
pub(crate) fn document_for_people(head: &HeaderMap) -> Option<Response> {
    let mut response = takes_html(head).then(|| file("index.html", head).ok())??;
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("accept"));
    Some(response)
}

/// Browsers name HTML when they go somewhere; programs that take anything mean data.
fn takes_html(head: &HeaderMap) -> bool {
    head.get_all(ACCEPT).iter().any(|field| {
        let ranges = field.to_str().unwrap_or_default().split(',');
        ranges
            .map(|range| range.split(';').next().unwrap_or_default().trim())
            .any(|range| range.eq_ignore_ascii_case("text/html"))
    })
}

/// They lie in one folder, and what looks like a way out of it names nothing.
async fn asset(Path(name): Path<String>, head: HeaderMap) -> Result<Response> {
    if name.contains('/') {
        return Err(missing());
    }
    file(&format!("assets/{name}"), &head)
}

/// One of the app's files, compressed if the client takes that and the build has it.
fn file(name: &str, head: &HeaderMap) -> Result<Response> {
    // Compressed copies are no files of their own.
    let media_type = media_type(name).ok_or_else(missing)?;
    let plain = Dist::get(name).ok_or_else(missing)?;
    let packed = takes_gzip(head)
        .then(|| Dist::get(&format!("{name}.gz")))
        .flatten();
    let mut headers = HeaderMap::new();
    if packed.is_some() {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let file = packed.unwrap_or(plain);
    let tag = entity_tag(&file);
    let known = head
        .get_all(IF_NONE_MATCH)
        .iter()
        .any(|field| field.to_str().is_ok_and(|tags| names(tags, &tag)));
    headers.insert(
        ETAG,
        HeaderValue::try_from(tag).expect("hex digits are ASCII"),
    );
    let for_ever = name.starts_with("assets/");
    headers.insert(CACHE_CONTROL, if for_ever { FOR_EVER } else { ASK });
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if known {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok((headers, file.data).into_response())
}

fn missing() -> Problem {
    Problem::new(Kind::NotFound, "there is nothing under this address")
}

/// Strong, and another one for each encoding.
fn entity_tag(file: &EmbeddedFile) -> String {
    let digest = file.metadata.sha256_hash();
    format!("\"{}\"", hex::encode(&digest[..TAG_BYTES]))
}

/// Does a list of entity tags name this one? `If-None-Match` compares weakly (RFC 9110 section 13.1.2).
pub(super) fn names(tags: &str, tag: &str) -> bool {
    tags.split(',').any(|one| {
        let one = one.trim();
        one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag
    })
}

/// Weights beyond a refusal do not matter: there is nothing to choose from.
fn takes_gzip(head: &HeaderMap) -> bool {
    head.get_all(ACCEPT_ENCODING).iter().any(|field| {
        let codings = field.to_str().unwrap_or_default().split(',');
        codings
            .map(|coding| coding.split_once(';').unwrap_or((coding, "")))
            .any(|(coding, weight)| {
                let refused = ["q=0", "q=0.0", "q=0.00", "q=0.000"].contains(&weight.trim());
                coding.trim().eq_ignore_ascii_case("gzip") && !refused
            })
    })
}

/// The types that a build of the app has.
fn media_type(name: &str) -> Option<&'static str> {
    Some(match name.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use tower::ServiceExt as _;

    use super::*;

    async fn status(address: &str) -> StatusCode {
        let request = Request::get(address).body(Body::empty()).unwrap();
        routes().oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn pages_have_a_document_whether_the_app_was_built_or_not() {
        for page in [
            "/",
            "/drive/a/b%2Fc",
            "/uploads",
            "/shares",
            "/trash",
            "/account",
            "/signin",
        ] {
            assert_eq!(status(page).await, StatusCode::OK, "{page}");
        }
        let outside = "/assets/%2e%2e%2Findex.html";
        for other in [
            "/nowhere",
            "/assets/nothing.js",
            "/assets/../index.html",
            outside,
        ] {
            assert_eq!(status(other).await, StatusCode::NOT_FOUND, "{other}");
        }
    }

    #[test]
    fn policy_allows_no_inline_code() {
        let policy = POLICY;
        let policy = policy.to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; "));
        assert!(!policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"));
    }

    #[test]
    fn only_who_names_html_is_a_person() {
        let takes = |value: &str| {
            let value = value.parse().unwrap();
            takes_html(&HeaderMap::from_iter([(ACCEPT, value)]))
        };
        assert!(takes(
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
        ));
        assert!(takes("application/json, TEXT/HTML;q=0.5"));
        assert!(!takes("*/*") && !takes("application/json") && !takes("text/htmlx"));
        assert!(!takes_html(&HeaderMap::new()));
    }

    #[test]
    fn encodings_and_tags() {
        let takes = |value: &str| {
            let value = value.parse().unwrap();
            takes_gzip(&HeaderMap::from_iter([(ACCEPT_ENCODING, value)]))
        };
        assert!(takes("gzip, deflate, br") && takes("br, GZIP;q=0.5"));
        assert!(!takes("br") && !takes("gzip;q=0") && !takes("gzip; q=0"));
        assert!(names("\"a\", W/\"b\"", "\"b\"") && names("*", "\"b\""));
        assert!(!names("\"a\"", "\"b\""));
    }

    #[test]
    fn only_what_a_build_has() {
        assert!(media_type("assets/index-abc.js").is_some());
        for name in ["assets/index.js.gz", "index", "x.html.bak"] {
            assert_eq!(media_type(name), None, "{name}");
        }
    }
}
