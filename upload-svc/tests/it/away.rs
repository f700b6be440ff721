//! Owners that cannot be reached.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use uuid::Uuid;

use crate::cluster::{CHUNK, Cluster, SOON, content, problem};

const A: usize = 0;
const B: usize = 1;

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_is_down_may_come_back() {
    let mut cluster = Cluster::new().await;
    let upload = cluster.create(A, "/file", 2 * CHUNK).await;
    let answer = cluster.put(B, &upload, 0, content(CHUNK, 1)).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    cluster.take_down(A).await;
    // In the list, and out of it.
    for names in [&["a", "b"][..], &["b"]] {
        cluster.announce(names);
        for method in [Method::GET, Method::DELETE] {
            let answer = cluster.send(B, method, &upload.location).await;
            let (status, slug, retry) = problem(answer).await;
            assert_eq!((status, slug.as_str()), (503, "unavailable"));
            assert!(retry.is_some());
        }
        let answer = cluster.put(B, &upload, 1, content(CHUNK, 1)).await;
        assert_eq!(problem(answer).await.0, 503);
    }
    let reserved = cluster.account().await.reserved_bytes;
    assert_eq!(reserved, 2 * i64::try_from(CHUNK).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_is_gone_for_good() {
    let mut cluster = Cluster::with(SOON).await;
    let done = content(10, 2);
    let completed = cluster.completed(A, "/done", &done).await;
    let upload = cluster.create(A, "/file", CHUNK).await;
    // So that B remembers where it is.
    let warm = cluster.send(B, Method::GET, &upload.location).await;
    assert_eq!(warm.status(), StatusCode::OK);
    cluster.take_down(A).await;
    cluster.announce(&["b"]);
    let lost = async {
        let mut again = tokio::time::interval(Duration::from_millis(10));
        loop {
            again.tick().await;
            let answer = cluster.send(B, Method::GET, &upload.location).await;
            match problem(answer).await {
                (410, slug, None) => break assert_eq!(slug, "upload-lost"),
                (503, _, Some(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(crate::cluster::PATIENCE, lost)
        .await
        .expect("the time is over at last");
    let answer = cluster.put(B, &upload, 0, content(CHUNK, 2)).await;
    assert_eq!(problem(answer).await.1, "upload-lost");
    // What was completed is not lost: the row answers.
    let status = cluster.send(B, Method::GET, &completed.location).await;
    let body: Value = status.json().await.unwrap();
    assert_eq!(body["status"], "completed");
    // Cancelling gives the room back.
    let answer = cluster.send(B, Method::DELETE, &upload.location).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(cluster.account().await.reserved_bytes, 0);
    let answer = cluster.send(B, Method::GET, &upload.location).await;
    assert_eq!(problem(answer).await.1, "upload-gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_completed_meanwhile_is_answered_without_its_owner() {
    let mut cluster = Cluster::new().await;
    let upload = cluster.create(A, "/file", 10).await;
    // B remembers the owner of the unfinished upload.
    let answer = cluster.put(B, &upload, 0, content(10, 3)).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let complete = format!("{}/complete", upload.location);
    let answer = cluster.send(A, Method::POST, &complete).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    cluster.take_down(A).await;
    for path in [&upload.location, &complete] {
        let method = if path == &complete {
            Method::POST
        } else {
            Method::GET
        };
        let answer = cluster.send(B, method, path).await;
        assert!(answer.status().is_success(), "{}", answer.status());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_comes_back_goes_on() {
    let cluster = Cluster::with(Duration::ZERO).await;
    let upload = cluster.create(A, "/file", CHUNK).await;
    cluster.announce(&["b"]);
    let answer = cluster.send(B, Method::GET, &upload.location).await;
    assert_eq!(problem(answer).await.0, 410);
    cluster.announce(&["a", "b"]);
    let answer = cluster.put(B, &upload, 0, content(CHUNK, 4)).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    // A list that has not been received says nothing.
    cluster.announce(&[]);
    let answer = cluster.send(B, Method::GET, &upload.location).await;
    assert_eq!(problem(answer).await.0, 503);
    let id = Uuid::parse_str(&upload.id).unwrap();
    assert!(cluster.nodes[A].layout.data(id).exists());
}
