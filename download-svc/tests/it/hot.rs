//! Copies of hot blobs on the node's disk, and the ways around the service's own stream.

use std::{path::PathBuf, time::Duration};

use cloudstore_backends::blob::{BlobStore as _, Key};
use cloudstore_download::{CacheConfig, Config, Delivery, reader::Blob};
use serde_json::json;

use crate::{
    app::{Answer, App},
    store::content,
};

const FILE: &str = "/api/v1/content/file";
/// Far more than a copy takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn cached(bytes: u64) -> impl FnOnce(&mut Config, &crate::store::Disk) {
    move |config, disk| {
        config.cache = Some(CacheConfig {
            dir: disk.path("cache"),
            bytes,
        });
    }
}

/// Names of the finished copies.
fn copies(app: &App) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(app.disk.path("cache")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_none()).collect()
}

async fn eventually(what: &str, probe: impl Fn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !probe() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "it never happened: {what}");
}

async fn stored(app: &App, path: &str, content: &[u8]) -> Blob {
    let blob = app.put(path, "text/plain", content).await;
    app.transfer(&blob, content).await;
    blob
}

/// Takes the blob away from the store, so that only a copy can answer.
async fn lose(app: &App, blob: &Blob) {
    app.disk.blobs.delete(&Key::blob(&blob.root)).await.unwrap();
}

async fn read_twice(app: &App, uri: &str) -> Answer {
    app.get(uri, &[]).await;
    app.get(uri, &[]).await
}

#[tokio::test]
async fn what_is_read_twice_is_served_from_its_copy() {
    let app = App::with(cached(100 << 20)).await;
    let content = content(3_500_000, 1);
    let blob = stored(&app, "/file", &content).await;
    app.get(FILE, &[]).await;
    assert!(copies(&app).is_empty(), "one read is not worth a copy");
    assert!(app.get(FILE, &[]).await.body == content);
    eventually("a copy", || copies(&app).len() == 1).await;
    lose(&app, &blob).await;
    assert!(app.get(FILE, &[]).await.body == content);
    let range = app.get(FILE, &[("range", "bytes=1048570-1048590")]).await;
    assert_eq!(range.status, 206);
    assert_eq!(range.body[..], content[1_048_570..=1_048_590]);
}

#[tokio::test]
async fn a_damaged_copy_is_dropped_and_the_store_answers() {
    let app = App::with(cached(100 << 20)).await;
    let content = content(50_000, 2);
    stored(&app, "/file", &content).await;
    read_twice(&app, FILE).await;
    eventually("a copy", || copies(&app).len() == 1).await;
    let copy = copies(&app).remove(0);
    let mut damaged = content.clone();
    damaged[777] ^= 1;
    std::fs::write(&copy, &damaged).unwrap();
    assert!(app.get(FILE, &[]).await.body == content);
    assert!(!copy.exists(), "the damaged copy");
    std::fs::write(&copy, &damaged[..100]).unwrap();
    assert!(app.get(FILE, &[]).await.body == content);
}

#[tokio::test]
async fn never_more_than_the_bound_but_for_a_moment() {
    let app = App::with(cached(250_000)).await;
    let mut newest = None;
    for number in 0..6 {
        let content = content(100_000, 10 + number);
        let blob = stored(&app, &format!("/{number}"), &content).await;
        // Each is read more often than those before.
        for _ in 0..number + 3 {
            app.get(&format!("/api/v1/content/{number}"), &[]).await;
        }
        let name = hex::encode(blob.root);
        let is_copied = || {
            let copies = copies(&app);
            let mut names = copies
                .iter()
                .map(|path| path.to_string_lossy().into_owned());
            names.any(|path| path.contains(&name))
        };
        eventually("a copy of the newest", is_copied).await;
        newest = Some((number, blob, content));
    }
    let bytes = || -> u64 {
        let sizes = copies(&app).into_iter().map(|path| path.metadata());
        sizes.flatten().map(|facts| facts.len()).sum()
    };
    eventually("old copies are removed", || bytes() <= 250_000).await;
    let (number, blob, content) = newest.unwrap();
    lose(&app, &blob).await;
    let read = app.get(&format!("/api/v1/content/{number}"), &[]).await;
    assert!(read.body == content);
}

#[tokio::test]
async fn copies_survive_a_restart_and_unfinished_ones_do_not() {
    let mut app = App::with(cached(100 << 20)).await;
    let content = content(2_000_000, 3);
    let blob = stored(&app, "/file", &content).await;
    read_twice(&app, FILE).await;
    eventually("a copy", || copies(&app).len() == 1).await;
    let unfinished = app.disk.path("cache").join("0000-7.part");
    std::fs::write(&unfinished, b"half").unwrap();
    app.restart(cached(100 << 20));
    assert!(!unfinished.exists());
    lose(&app, &blob).await;
    assert!(app.get(FILE, &[]).await.body == content);
}

#[tokio::test]
async fn the_gateway_sends_what_is_in_the_cache() {
    let app = App::with(|config, disk| {
        cached(100 << 20)(config, disk);
        config.delivery.accel_prefix = Some("/_content/here/".to_owned());
    })
    .await;
    let content = content(300_000, 4);
    let blob = stored(&app, "/file", &content).await;
    assert!(read_twice(&app, FILE).await.body == content, "not yet");
    eventually("a copy", || copies(&app).len() == 1).await;
    let handed = app.get(FILE, &[("range", "bytes=0-9")]).await;
    let name = copies(&app)[0]
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(handed.status, 200, "the gateway cuts the range out");
    assert_eq!(handed.header("content-range"), "bytes 0-9/300000");
    assert_eq!(
        handed.header("x-accel-redirect"),
        format!("/_content/here/{name}")
    );
    assert_eq!(
        handed.header("etag"),
        format!("\"{}\"", hex::encode(blob.root))
    );
    assert_eq!(
        handed.header("content-disposition"),
        "attachment; filename=\"file\""
    );
    assert!(handed.body.is_empty());
    let conditional = app.get(FILE, &[("if-match", "*")]).await;
    assert!(conditional.body == content, "conditions are decided here");
    let several = app.get(FILE, &[("range", "bytes=0-1,200000-200001")]).await;
    assert_eq!(several.status, 206);
    for whole in ["bytes=5-2", "lines=0-5"] {
        let handed = app.get(FILE, &[("range", whole)]).await;
        assert_eq!(handed.header("content-range"), "", "{whole} means nothing");
        assert!(handed.header("x-accel-redirect").ends_with(&name));
    }
    let overlapping = app.get(FILE, &[("range", "bytes=5-9,0-6")]).await;
    assert_eq!(overlapping.header("content-range"), "bytes 0-9/300000");
}

#[tokio::test]
async fn large_stored_content_is_redirected_when_the_store_can() {
    let redirect = |config: &mut Config, _: &crate::store::Disk| {
        config.delivery = Delivery {
            redirect_from: Some(1_000),
            accel_prefix: None,
        };
    };
    let app = App::with(redirect).await;
    let content = content(5_000, 5);
    stored(&app, "/file", &content).await;
    // A directory has no URLs: then the content is streamed.
    assert!(app.get(FILE, &[]).await.body == content);
}

#[tokio::test]
async fn several_changes_or_none() {
    let app = App::new().await;
    app.put("/a", "text/plain", b"a").await;
    app.put("/b", "text/plain", b"b").await;
    let changes = |last: &str| {
        json!({ "changes": [
            { "op": "create_folder", "path": "/new" },
            { "op": "move", "from": "/a", "to": "/new/a" },
            { "op": "delete", "path": last },
        ]})
    };
    let post = axum::http::Method::POST;
    let refused = app
        .json(post.clone(), "/api/v1/changes", changes("/c"))
        .await;
    assert_eq!(refused.problem(), (404, "not-found".to_owned()));
    assert_eq!(refused.json()["change"], 2);
    assert_eq!(
        app.get("/api/v1/files/new", &[]).await.status,
        404,
        "nothing changed"
    );
    let changed = app
        .json(post.clone(), "/api/v1/changes", changes("/b"))
        .await;
    assert_eq!(changed.status, 200);
    let entries = changed.json()["entries"].clone();
    assert_eq!(entries[1]["path"], "/new/a");
    assert!(entries[2].is_null());
    assert_eq!(app.get("/api/v1/content/new/a", &[]).await.body[..], *b"a");
    assert_eq!(app.get("/api/v1/files/b", &[]).await.status, 404);
    let none = json!({ "changes": [] });
    let none = app.json(post.clone(), "/api/v1/changes", none).await;
    assert_eq!(none.status, 422);
    let root = json!({ "changes": [{ "op": "delete", "path": "/" }] });
    let root = app.json(post, "/api/v1/changes", root).await;
    assert_eq!(
        (root.status.as_u16(), &root.json()["change"]),
        (422, &json!(0))
    );
}
