//! Where a request without valid credentials is told of the Basic scheme.

use axum::{extract::Request, middleware::Next, response::Response};
use http::{HeaderValue, StatusCode, header};

/// What programs without a login of their own speak: resumable uploads and WebDAV. Nowhere else:
/// a browser that is offered Basic asks its user for a password in a window of its own.
const PROGRAMS: [&str; 2] = ["/files", "/dav"];
const CHALLENGE: &str = "Basic realm=\"cloudstore\", charset=\"UTF-8\"";

/// Adds the challenge (RFC 7617 section 2) to a 401 of these paths.
pub(super) async fn offer_basic(request: Request, next: Next) -> Response {
    let offer = is_for_programs(request.uri().path());
    let mut response = next.run(request).await;
    if offer && response.status() == StatusCode::UNAUTHORIZED {
        let headers = response.headers_mut();
        let challenges = headers.get_all(header::WWW_AUTHENTICATE);
        // An answer that another instance has given has it already.
        if !challenges.iter().any(|challenge| *challenge == *CHALLENGE) {
            let challenge = HeaderValue::from_static(CHALLENGE);
            headers.append(header::WWW_AUTHENTICATE, challenge);
        }
    }
    response
}

fn is_for_programs(path: &str) -> bool {
    PROGRAMS.iter().any(|top| {
        path.strip_prefix(top)
            .is_some_and(|below| below.is_empty() || below.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, routing::any};
    use tower::ServiceExt as _;

    use super::*;
    use crate::{Kind, Problem};

    async fn challenges(path: &str) -> Vec<String> {
        let refuse = async || Problem::new(Kind::Unauthenticated, "who are you?");
        let router = crate::http::finish(
            Router::new()
                .route("/{*path}", any(refuse))
                .layer(axum::middleware::from_fn(offer_basic)),
        );
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let challenges = response.headers().get_all(header::WWW_AUTHENTICATE);
        challenges
            .iter()
            .map(|challenge| challenge.to_str().unwrap().to_owned())
            .collect()
    }

    #[tokio::test]
    async fn basic_is_offered_once_and_to_programs_only() {
        let bearer = "Bearer realm=\"cloudstore\"";
        for path in ["/files/", "/files/x", "/dav", "/dav/a/b"] {
            assert_eq!(challenges(path).await, [bearer, CHALLENGE], "{path}");
        }
        for path in [
            "/api/v1/files/x",
            "/filesystem",
            "/davx/",
            "/api/v1/me",
            "//files/",
        ] {
            assert_eq!(challenges(path).await, [bearer], "{path}");
        }
    }
}
