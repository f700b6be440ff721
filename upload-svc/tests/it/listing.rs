//! One list of what is on several nodes.

use cloudstore_proto::http::Uploads;
use reqwest::{Method, StatusCode};

use crate::cluster::{CHUNK, Cluster, content};

const A: usize = 0;
const B: usize = 1;
const LIST: &str = "/api/v1/uploads";

async fn list(cluster: &Cluster, node: usize) -> Uploads {
    let answer = cluster.send(node, Method::GET, LIST).await;
    assert_eq!(answer.status(), StatusCode::OK);
    answer.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_lists_all() {
    let mut cluster = Cluster::new().await;
    let uploads = [
        cluster.create(A, "/1", 2 * CHUNK).await,
        cluster.create(B, "/2", CHUNK).await,
        cluster.create(A, "/3", CHUNK).await,
    ];
    cluster.completed(A, "/done", &content(10, 1)).await;
    let answer = cluster.put(B, &uploads[0], 1, content(CHUNK, 1)).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let ids =
        |list: &Uploads| -> Vec<String> { list.uploads.iter().map(|one| one.id.clone()).collect() };
    let expected: Vec<_> = uploads.iter().map(|one| one.id.clone()).collect();
    for node in [A, B] {
        let list = list(&cluster, node).await;
        assert_eq!(ids(&list), expected);
        assert_eq!(list.uploads[0].received, CHUNK as u64);
        assert_eq!(list.uploads[0].missing, [[0, 0]]);
        assert!(list.uploads.iter().all(|one| !one.unreachable));
    }
    // Asked by another node, each lists its own.
    let token = cluster.identity("upload-svc").token("upload-svc");
    let own = cluster
        .request(B, Method::GET, LIST)
        .header("cloudstore-forwarded", "a")
        .header("cloudstore-service-token", token);
    let own: Uploads = own.send().await.unwrap().json().await.unwrap();
    assert_eq!(ids(&own), [uploads[1].id.clone()]);
    // What a node does not answer for is shown all the same.
    cluster.take_down(A).await;
    for names in [&["a", "b"][..], &["b"]] {
        cluster.announce(names);
        let list = list(&cluster, B).await;
        assert_eq!(ids(&list), expected);
        let unreachable: Vec<_> = list.uploads.iter().map(|one| one.unreachable).collect();
        assert_eq!(unreachable, [true, false, true]);
        assert_eq!(list.uploads[0].path, "/1");
        assert_eq!(list.uploads[0].missing, [[0, 1]]);
    }
}
