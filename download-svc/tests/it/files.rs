//! `/api/v1/files` and `/api/v1/folders`.

use axum::http::Method;
use serde_json::{Value, json};

use crate::app::{Answer, App};

fn paths(listing: &Answer) -> Vec<String> {
    assert_eq!(listing.status, 200, "{:?}", listing.json());
    let listing = listing.json();
    let entries = listing["entries"].as_array().unwrap().iter();
    entries
        .map(|entry| entry["path"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn metadata_of_a_file() {
    let app = App::new().await;
    let blob = app.put("/folder/ä.txt", "text/plain", b"content").await;
    let file = app.get("/api/v1/files/folder/%C3%A4.txt", &[]).await.json();
    assert_eq!(file["kind"], "file");
    assert_eq!(file["path"], "/folder/ä.txt");
    assert_eq!(file["size"], 7);
    assert_eq!(file["blake3"], hex::encode(blob.root));
    assert_eq!(file["state"], "staged");
    assert_eq!(file.get("entries"), None);
    let missing = app.get("/api/v1/files/folder/b", &[]).await;
    assert_eq!(missing.problem(), (404, "not-found".to_owned()));
}

#[tokio::test]
async fn listing_pages_order_and_search() {
    let app = App::new().await;
    for (name, size) in [("b.txt", 3), ("a.txt", 1), ("c.dat", 2)] {
        app.put(&format!("/d/{name}"), "", &vec![b'x'; size]).await;
    }
    let list = async |query: &str| app.get(&format!("/api/v1/files/d{query}"), &[]).await;
    assert_eq!(paths(&list("").await), ["/d/a.txt", "/d/b.txt", "/d/c.dat"]);
    assert_eq!(
        paths(&list("?order=desc").await),
        ["/d/c.dat", "/d/b.txt", "/d/a.txt"]
    );
    assert_eq!(
        paths(&list("?sort=size").await),
        ["/d/a.txt", "/d/c.dat", "/d/b.txt"]
    );
    assert_eq!(
        paths(&list("?sort=size&order=desc&limit=1").await),
        ["/d/b.txt"]
    );
    assert_eq!(paths(&list("?search=TXT").await), ["/d/a.txt", "/d/b.txt"]);
    let mut found = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let page = list(&query).await;
        found.extend(paths(&page));
        let Value::String(cursor) = &page.json()["next_cursor"] else {
            break;
        };
        query = format!("?limit=2&cursor={cursor}");
    }
    assert_eq!(found, ["/d/a.txt", "/d/b.txt", "/d/c.dat"]);
    for root in ["/api/v1/files", "/api/v1/files/"] {
        let root = app.get(root, &[]).await;
        assert_eq!(
            (root.json()["path"].as_str(), paths(&root)),
            (Some("/"), vec!["/d".to_owned()])
        );
    }
}

#[tokio::test]
async fn odd_queries_are_refused() {
    let app = App::new().await;
    let odd = [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=x",
        "sort=colour",
        "order=up",
        "colour=red",
        "cursor=nonsense",
        "sort=size&sort=name",
    ];
    for odd in odd
        .map(str::to_owned)
        .into_iter()
        .chain([format!("search={}", "x".repeat(256))])
    {
        let answer = app.get(&format!("/api/v1/files?{odd}"), &[]).await;
        assert_eq!(
            answer.problem(),
            (400, "malformed-request".to_owned()),
            "{odd}"
        );
    }
}

#[tokio::test]
async fn folders_moves_and_deletion() {
    let app = App::new().await;
    let create = async |body| app.json(Method::POST, "/api/v1/folders", body).await;
    let made = create(json!({"path": "/a"})).await;
    assert_eq!(
        (made.status.as_u16(), made.json()["kind"].as_str()),
        (201, Some("folder"))
    );
    assert_eq!(
        create(json!({"path": "/a"})).await.problem(),
        (409, "name-conflict".to_owned())
    );
    assert_eq!(
        create(json!({"path": "/x/y/z", "parents": true}))
            .await
            .status,
        201
    );
    assert_eq!(
        create(json!({"path": "/"})).await.problem().1,
        "invalid-path"
    );
    assert_eq!(
        create(json!({"path": "/a", "colour": 1})).await.problem().1,
        "invalid-fields"
    );
    assert_eq!(
        create(json!({"path": "d/".repeat(100)})).await.problem().1,
        "invalid-path"
    );

    app.put("/a/file", "", b"x").await;
    let rename = async |from: &str, to: &str| {
        let uri = format!("/api/v1/files{from}");
        app.json(Method::PATCH, &uri, json!({"path": to})).await
    };
    let moved = rename("/a/file", "/x/renamed").await;
    assert_eq!(
        (moved.status.as_u16(), moved.json()["path"].as_str()),
        (200, Some("/x/renamed"))
    );
    assert_eq!(app.get("/api/v1/content/x/renamed", &[]).await.body, "x");
    assert_eq!(
        rename("/x/renamed", "/a").await.problem(),
        (409, "name-conflict".to_owned())
    );
    assert_eq!(
        rename("/missing", "/b").await.problem(),
        (404, "not-found".to_owned())
    );
    assert_eq!(
        rename("/", "/b").await.problem(),
        (422, "invalid-path".to_owned())
    );
    assert_eq!(
        rename("/a", "/").await.problem(),
        (422, "invalid-path".to_owned())
    );

    let delete = async |path: &str| {
        app.send(Method::DELETE, &format!("/api/v1/files{path}"), &[])
            .await
    };
    assert_eq!(delete("/x").await.status, 204);
    assert_eq!(delete("/x").await.problem(), (404, "not-found".to_owned()));
    assert_eq!(
        app.get("/api/v1/files/x/renamed", &[]).await.problem().0,
        404
    );
    assert_eq!(delete("").await.problem(), (422, "invalid-path".to_owned()));
    let put = app.send(Method::PUT, "/api/v1/files/a", &[]).await;
    assert_eq!(put.problem(), (405, "method-not-allowed".to_owned()));
}
