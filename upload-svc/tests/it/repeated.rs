//! Calls of dbproxy that are made again because their answer was lost.

use cloudstore_proto::file::{Entry, MoveRequest, StatRequest};
use reqwest::{Method, StatusCode};
use uuid::Uuid;

use crate::cluster::{Cluster, PATIENCE, content, id, problem};

const A: usize = 0;

async fn stat(cluster: &Cluster, path: &str) -> Entry {
    let request = StatRequest {
        owner: id(cluster.user.account),
        path: path.to_owned(),
    };
    cluster.store.stat(request).await.unwrap()
}

/// The condition does not hold any more when the commit is repeated, because it was made before.
/// What was received may be all there is of the content by then.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_a_repetition_costs_no_content() {
    let cluster = Cluster::new().await;
    let (old, new) = (content(1_000, 1), content(1_000, 2));
    let put = |body: Vec<u8>| {
        let request = cluster.request(A, Method::PUT, "/api/v1/content/once");
        request.body(body)
    };
    let made = put(old.clone()).send().await.unwrap();
    assert_eq!(made.status(), StatusCode::CREATED);
    let tag = format!("\"{}\"", blake3::hash(&old).to_hex());

    cluster.line.lose_the_answer_to("/once");
    let replacing = tokio::spawn(put(new.clone()).header("if-match", tag).send());
    let root = blake3::hash(&new);
    let made = async {
        while stat(&cluster, "/once").await.blob.unwrap().blake3 != root.as_bytes()[..] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, made).await.unwrap();
    let request = MoveRequest {
        owner: id(cluster.user.account),
        from: "/once".to_owned(),
        to: "/elsewhere".to_owned(),
        precondition: None,
        replace: false,
    };
    cluster.store.move_entry(request).await.unwrap();
    cluster.line.end();
    let refused = replacing.await.unwrap().unwrap();
    assert_eq!(problem(refused).await.0, 412);

    let copy = stat(&cluster, "/elsewhere").await.blob.unwrap().staging_id;
    let copy = Uuid::from_slice(&copy).unwrap();
    let kept = std::fs::read(cluster.nodes[A].layout.data(copy)).unwrap();
    assert!(kept == new, "the only copy is gone");
}
