//! `/api/v1/archive`: what is refused before anything is sent. What is in archives the tests of
//! `cloudstore-standalone` read.

use axum::{body::Body, http::Method};
use serde_json::json;
use tower::ServiceExt as _;

use crate::app::App;

#[tokio::test]
async fn the_root_folder_is_alone_in_a_selection() {
    let app = App::new().await;
    app.put("/a/b.txt", "", b"content").await;
    let select = async |paths: &[&str]| {
        app.json(Method::POST, "/api/v1/archive", json!({ "paths": paths }))
            .await
    };
    for paths in [["/", "/a"], ["/a", "//"], ["/", "/"]] {
        let refused = select(&paths).await;
        let expected = (422, "invalid-fields".to_owned());
        assert_eq!(refused.problem(), expected, "{paths:?}");
        assert!(refused.json()["errors"]["paths"].is_string());
    }
    for paths in [&["/"][..], &["/a", "/a/b.txt"]] {
        assert_eq!(select(paths).await.status, 200, "{paths:?}");
    }
}

#[tokio::test]
async fn who_gets_no_place_has_nothing_looked_up() {
    /// As many archives as an account may have made at a time.
    const PLACES: usize = 4;
    let app = App::new().await;
    app.put("/a", "", b"content").await;
    let open = async || {
        let request = app.builder(Method::GET, "/api/v1/archive/a");
        let request = request.body(Body::empty()).unwrap();
        app.router.clone().oneshot(request).await.unwrap()
    };
    let mut held = Vec::new();
    for _ in 0..PLACES {
        let response = open().await;
        assert_eq!(response.status(), 200);
        held.push(response);
    }
    // What is not there is no more than refused: nobody has asked.
    for method in [Method::GET, Method::HEAD] {
        let missing = app.send(method, "/api/v1/archive/missing", &[]).await;
        assert_eq!(missing.status, 503);
    }
    held.clear();
    let missing = app.get("/api/v1/archive/missing", &[]).await;
    assert_eq!(missing.problem(), (404, "not-found".to_owned()));
}
