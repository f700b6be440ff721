//! Chunks whose connection breaks, stalls, or meets another one for the same chunk.

use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::support::{Raw, TestStack};

const MIB: usize = 1 << 20;
/// The server's choice for files of ordinary size.
const CHUNK: usize = 8 * MIB;
/// The place of a sender who is gone or silent is free within seconds; those who want it wait 30 s at
/// most.
const PATIENCE: Duration = Duration::from_secs(20);

fn chunk_line(id: &str, index: u64) -> String {
    format!("PUT /api/v1/uploads/{id}/chunks/{index}")
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_cut_connection_the_chunk_is_sent_again() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("cut", 2 * CHUNK);
    let upload = user.begin("/cut", content.len()).await;
    let length = format!("content-length: {CHUNK}");
    for cut in [0, 1, MIB, MIB + 1, CHUNK - 1] {
        let mut raw = Raw::connect(&user.api.base).await;
        raw.head(&user, &chunk_line(&upload.id, 0), &[&length])
            .await;
        raw.send(&content[..cut]).await;
        raw.reset();
    }
    let start = Instant::now();
    user.put_part(&upload, 0, &content).await;
    assert!(
        start.elapsed() < PATIENCE,
        "its place is free within seconds: {:?}",
        start.elapsed()
    );
    user.put_part(&upload, 1, &content).await;
    user.complete(&upload.id).await;
    user.assert_content("/cut", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_sender_gives_way_to_a_new_one() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("stalled", CHUNK);
    let upload = user.begin("/stalled", content.len()).await;
    let mut stalled = Raw::connect(&user.api.base).await;
    let length = format!("content-length: {CHUNK}");
    stalled
        .head(&user, &chunk_line(&upload.id, 0), &[&length])
        .await;
    // What the first one sent so far must not end up in what the second one sends.
    stalled.send(&vec![0xAA; 3 * MIB]).await;
    let start = Instant::now();
    user.put_part(&upload, 0, &content).await;
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    // Late bytes of the first one change nothing.
    let _ = stalled.try_send(&vec![0xAA; 5 * MIB]).await;
    user.complete(&upload.id).await;
    user.assert_content("/stalled", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_send_the_same_chunk_at_once() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("same", CHUNK);
    let upload = user.begin("/same", content.len()).await;
    let both = join_all((0..4).map(|_| user.put_chunk(&upload.id, 0, &content))).await;
    for answer in both {
        answer.status(204);
    }
    user.complete(&upload.id).await;
    user.assert_content("/same", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_send_different_bytes_for_a_chunk() {
    let (_stack, user) = TestStack::with_user().await;
    let contents = [user.content("one", CHUNK), user.content("other", CHUNK)];
    let upload = user.begin("/race", CHUNK).await;
    let [one, other] = &contents;
    let (a, b) = tokio::join!(
        user.put_chunk(&upload.id, 0, one),
        user.put_chunk(&upload.id, 0, other)
    );
    let winner = match (a.status, b.status) {
        (204, 409) => one,
        (409, 204) => other,
        both => panic!("one wins, one is refused: {both:?}"),
    };
    let refused = if a.status == 409 { a } else { b };
    refused.problem(409, "chunk-conflict");
    user.complete(&upload.id).await;
    user.assert_content("/race", winner).await;
}
