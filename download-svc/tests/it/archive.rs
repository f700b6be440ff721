//! `/api/v1/archive`: what is refused before anything is sent. What is in archives the tests of
//! `cloudstore-standalone` read.

use axum::http::Method;
use serde_json::json;

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
