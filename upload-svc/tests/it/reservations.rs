//! What a direct upload reserved is given back, also when dbproxy cannot be told at once.

use std::{fs, time::Duration};

use cloudstore_proto::account::GetAccountRequest;
use reqwest::{Method, StatusCode};

use crate::{
    cluster::{CHUNK, Cluster, PATIENCE, content, id, problem},
    raw::Raw,
};

const A: usize = 0;
/// So long that it is reserved first.
const SIZE: usize = CHUNK + 1;
/// How often a call is sent before it has failed.
const ATTEMPTS: usize = 3;

/// Waits until the account has so much reserved. Asks past the line.
async fn reserved(cluster: &Cluster, wanted: usize) {
    let request = GetAccountRequest {
        id: id(cluster.user.account),
    };
    let reached = async {
        loop {
            let account = cluster.store.get_account(request.clone()).await.unwrap();
            if account.reserved_bytes == i64::try_from(wanted).unwrap() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let reached = tokio::time::timeout(PATIENCE, reached).await;
    assert!(reached.is_ok(), "{wanted} bytes are reserved");
}

/// The beginning of the message that cancels an upload of this user (fields 1 and 2, 16 bytes each).
fn cancelling(cluster: &Cluster) -> Vec<u8> {
    let account = cluster.user.account;
    [&[0x0A, 16], &account.as_bytes()[..], &[0x12, 16]].concat()
}

fn files(cluster: &Cluster) -> usize {
    fs::read_dir(cluster.nodes[A].layout.dir()).unwrap().count()
}

async fn breaks_off(cluster: &Cluster) {
    let mut client = Raw::connect(cluster.nodes[A].address).await;
    let bearer = format!("authorization: Bearer {}", cluster.user.token);
    let length = format!("content-length: {SIZE}");
    let put = "PUT /api/v1/content/broken HTTP/1.1";
    client.head(&[put, &bearer, &length]).await;
    client.send(&content(CHUNK / 2, 1)).await;
    reserved(cluster, SIZE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dbproxy_was_away_when_it_was_to_be_told() {
    let cluster = Cluster::new().await;
    breaks_off(&cluster).await;
    reserved(&cluster, 0).await;
    cluster.line.cut_before(cancelling(&cluster), ATTEMPTS);
    breaks_off(&cluster).await;
    reserved(&cluster, 0).await;
    assert_eq!(cluster.line.cuts_left(), 0, "the first call has failed");
    let gone = async {
        while files(&cluster) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let gone = tokio::time::timeout(PATIENCE, gone).await;
    assert!(gone.is_ok(), "nothing is left of it");
}

/// Nobody knows whether anything is reserved then.
#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_the_reservation_was_lost() {
    let cluster = Cluster::new().await;
    let path = "/unanswered";
    cluster.line.lose_the_answer_to(path);
    let put = cluster
        .request(A, Method::PUT, &format!("/api/v1/content{path}"))
        .body(content(SIZE, 2));
    let put = tokio::spawn(put.send());
    reserved(&cluster, SIZE).await;
    cluster.line.cut_before(path.into(), ATTEMPTS - 1);
    cluster.line.end();
    let refused = put.await.unwrap().unwrap();
    assert_eq!(problem(refused).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(cluster.line.cuts_left(), 0, "all attempts have failed");
    reserved(&cluster, 0).await;
}
