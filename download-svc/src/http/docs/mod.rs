//! The description of the HTTP API: `/api/v1/openapi.json` for programs, and `/docs` for people.
//!
//! The document is that of the whole API, whichever service answers what. The page is made of it, once,
//! and needs nothing but its own stylesheet: no script, nothing from elsewhere.

mod page;
mod schema;

use std::sync::LazyLock;

use axum::{
    Router,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
            REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse as _, Response},
    routing::get,
};

use super::web::names;

/// Of all services together; `make openapi` makes it out of the handlers.
const OPENAPI: &str = include_str!("../../../../proto/openapi.json");
/// What the page may load.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
const CORS: HeaderName = HeaderName::from_static("access-control-allow-origin");
/// It may be kept, and is asked about each time: it changes with the program.
const ASK: HeaderValue = HeaderValue::from_static("no-cache");

static DOCUMENT: LazyLock<File> =
    LazyLock::new(|| File::new("application/json", OPENAPI.to_owned()));
static PAGE: LazyLock<File> =
    LazyLock::new(|| File::new("text/html; charset=utf-8", page::of(OPENAPI)));
static STYLE: LazyLock<File> = LazyLock::new(|| {
    File::new(
        "text/css; charset=utf-8",
        include_str!("style.css").to_owned(),
    )
});

/// A text with its entity tag.
struct File {
    media_type: &'static str,
    tag: String,
    text: String,
}

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/api/v1/openapi.json", get(document))
        .route("/docs", get(page))
        .route("/docs/style.css", get(style))
}

/// This description.
///
/// Scripts of any page may read it: it holds no secret.
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    tag = "documentation",
    params(("If-None-Match" = Option<String>, Header, description = "The entity tag of what the client has")),
    responses(
        (status = 200, description = "The description", body = Object),
        (status = 304, description = "The client has it"),
    ),
)]
pub(crate) async fn document(head: HeaderMap) -> Response {
    let mut response = DOCUMENT.answer(&head);
    let all = HeaderValue::from_static("*");
    response.headers_mut().insert(CORS, all);
    response
}

/// This description, for people.
#[utoipa::path(
    get,
    path = "/docs",
    tag = "documentation",
    params(("If-None-Match" = Option<String>, Header, description = "The entity tag of what the client has")),
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html"),
        (status = 304, description = "The client has it"),
    ),
)]
pub(crate) async fn page(head: HeaderMap) -> Response {
    PAGE.answer(&head)
}

/// How the page looks.
#[utoipa::path(
    get,
    path = "/docs/style.css",
    tag = "documentation",
    params(("If-None-Match" = Option<String>, Header, description = "The entity tag of what the client has")),
    responses(
        (status = 200, description = "The stylesheet", body = String, content_type = "text/css"),
        (status = 304, description = "The client has it"),
    ),
)]
pub(crate) async fn style(head: HeaderMap) -> Response {
    STYLE.answer(&head)
}

impl File {
    fn new(media_type: &'static str, text: String) -> Self {
        let digest = blake3::hash(text.as_bytes());
        let tag = format!("\"{}\"", &digest.to_hex()[..32]);
        Self {
            media_type,
            tag,
            text,
        }
    }

    fn answer(&'static self, head: &HeaderMap) -> Response {
        let tag = HeaderValue::from_static(&self.tag);
        let known = head.get_all(IF_NONE_MATCH).iter();
        let known = known.filter_map(|field| field.to_str().ok());
        if known.into_iter().any(|tags| names(tags, &self.tag)) {
            let headers = [(ETAG, tag), (CACHE_CONTROL, ASK)];
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        let headers = [
            (ETAG, tag),
            (CACHE_CONTROL, ASK),
            (CONTENT_TYPE, HeaderValue::from_static(self.media_type)),
            (CONTENT_SECURITY_POLICY, POLICY),
            (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ];
        (headers, self.text.as_str()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn get_with(address: &str, tag: Option<&HeaderValue>) -> Response {
        let mut request = Request::get(address);
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let request = request.body(Body::empty()).unwrap();
        routes().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn each_has_a_tag_and_is_not_sent_again() {
        for address in ["/api/v1/openapi.json", "/docs", "/docs/style.css"] {
            let response = get_with(address, None).await;
            assert_eq!(response.status(), StatusCode::OK, "{address}");
            let tag = response.headers()[ETAG].clone();
            let again = get_with(address, Some(&tag)).await;
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{address}");
        }
    }

    #[tokio::test]
    async fn the_page_has_every_operation_and_loads_nothing_from_elsewhere() {
        let page = get_with("/docs", None).await.into_body().collect().await;
        let page = String::from_utf8(page.unwrap().to_bytes().to_vec()).unwrap();
        let document: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        for item in document["paths"].as_object().unwrap().values() {
            for operation in item.as_object().unwrap().values() {
                let id = operation["operationId"].as_str().unwrap();
                assert!(page.contains(&format!(" id=\"{id}\"")), "{id}");
            }
        }
        for schema in document["components"]["schemas"]
            .as_object()
            .unwrap()
            .keys()
        {
            assert!(
                page.contains(&format!(" id=\"schema-{schema}\"")),
                "{schema}"
            );
        }
        for forbidden in ["<script", "style=\"", "src=", " onclick", "<form"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }
}
