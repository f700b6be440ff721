//! Uploads in indexed chunks.

use cloudstore_proto::http::Uploads;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Answer, PASSWORD, TestStack, User, digests, part, send, sha256_field, streamed,
};

const MIB: usize = 1 << 20;
/// The server's choice for files of ordinary size.
const CHUNK: usize = 8 * MIB;

#[tokio::test(flavor = "multi_thread")]
async fn chunks_arrive_in_any_order_and_in_parallel() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("big", 5 * CHUNK + 12_345);
    let answer = user
        .create(&json!({ "path": "/big.bin", "size": content.len() }))
        .await;
    let location = answer.header("location").to_owned();
    let created: Value = answer.json(201);
    assert_eq!(created["status"], "uploading");
    assert_eq!(created["location"], location);
    assert_eq!(created["missing"], json!([[0, 5]]));

    let upload = user.unfinished(created["id"].as_str().unwrap()).await;
    assert!(upload.chunk_size.is_power_of_two() && upload.chunk_size >= 1 << 20);
    assert_eq!((upload.chunk_count, upload.received), (6, 0));
    assert_eq!(user.usage().await, (0, content.len() as u64), "reserved");

    user.put_parts(&upload, [5, 2, 0, 4, 1, 3], &content).await;
    let upload = user.unfinished(&upload.id).await;
    assert_eq!(
        (upload.received, &upload.missing[..]),
        (content.len() as u64, &[][..])
    );

    let file = user.complete(&upload.id).await;
    assert_eq!((&*file.path, file.size), ("/big.bin", content.len() as u64));
    assert_eq!(Some(file.blake3), digests(&content).blake3);
    assert!(!file.instant);
    user.assert_content("/big.bin", &content).await;
    assert_eq!(user.usage().await, (content.len() as u64, 0), "settled");
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_at_the_edges_of_groups_and_chunks() {
    let (_stack, user) = TestStack::with_user().await;
    let sizes = [
        0,
        1,
        MIB - 1,
        MIB,
        MIB + 1,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        2 * CHUNK,
    ];
    for size in sizes {
        let content = user.content(&format!("{size}"), size);
        let path = format!("/sizes/{size}");
        let upload = user.begin(&path, size).await;
        let chunks = size.div_ceil(CHUNK) as u64;
        assert_eq!(upload.chunk_count, chunks, "{size}");
        let missing: &[[u64; 2]] = if chunks == 0 { &[] } else { &[[0, chunks - 1]] };
        assert_eq!(upload.missing, missing, "{size}");
        let file = user.finish(&upload, &content).await;
        assert_eq!(
            (file.size, Some(file.blake3)),
            (size as u64, digests(&content).blake3)
        );
        user.assert_content(&path, &content).await;
    }
    let total: usize = sizes.iter().sum();
    assert_eq!(user.usage().await, (total as u64, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_resumed_from_another_device() {
    let (stack, user) = TestStack::with_user().await;
    let content = user.content("resumed", 4 * CHUNK + 7);
    let upload = user.begin("/resumed", content.len()).await;
    user.put_parts(&upload, [1, 3], &content).await;

    let other = stack.api().login(&user.name, PASSWORD).await;
    let listed: Uploads = other.get("/api/v1/uploads").await.json(200);
    let [found] = &listed.uploads[..] else {
        panic!("{listed:?}")
    };
    assert_eq!((&found.id, &*found.path), (&upload.id, "/resumed"));
    assert_eq!(found.missing, [[0, 0], [2, 2], [4, 4]]);
    assert_eq!(found.received, 2 * CHUNK as u64);
    assert_eq!(found.expires_at, upload.expires_at);
    other.finish(found, &content).await;
    user.assert_content("/resumed", &content).await;
    let listed: Uploads = other.get("/api/v1/uploads").await.json(200);
    assert!(listed.uploads.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_chunk_must_be_the_same() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("first", 2 * CHUNK);
    let other = user.content("second", 2 * CHUNK);
    let upload = user.begin("/repeated", content.len()).await;
    user.put_part(&upload, 0, &content).await;
    user.put_part(&upload, 0, &content).await;
    let refused = user
        .put_chunk(&upload.id, 0, part(&upload, 0, &other))
        .await;
    refused.problem(409, "chunk-conflict");
    let mut last_byte = part(&upload, 0, &content).to_vec();
    *last_byte.last_mut().unwrap() ^= 1;
    user.put_chunk(&upload.id, 0, &last_byte)
        .await
        .problem(409, "chunk-conflict");
    let unfinished = user.unfinished(&upload.id).await;
    assert_eq!(
        (unfinished.received, &unfinished.missing[..]),
        (CHUNK as u64, &[[1, 1]][..])
    );
    user.put_part(&upload, 1, &content).await;
    user.complete(&upload.id).await;
    user.assert_content("/repeated", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_of_a_wrong_length_are_refused() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("lengths", CHUNK + 1_000);
    let upload = user.begin("/lengths", content.len()).await;
    let first = part(&upload, 0, &content);
    let bodies = [
        (0, &first[..CHUNK - 1]),
        (0, &content[..=CHUNK]),
        (0, &[]),
        (1, &content[..999]),
        (1, &content[..1_001]),
        (1, first),
    ];
    for (index, body) in bodies {
        let what = format!("chunk {index} with {} bytes", body.len());
        let answer = user.put_chunk(&upload.id, index, body).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        answer.problem(400, "wrong-length");
        let answer = send(user.chunk(&upload.id, index).body(streamed(body))).await;
        assert_eq!(
            answer.status,
            400,
            "{what}, length not announced: {}",
            answer.text()
        );
        answer.problem(400, "wrong-length");
    }
    assert_eq!(
        user.unfinished(&upload.id).await.received,
        0,
        "nothing of them counts"
    );
    send(user.chunk(&upload.id, 0).body(streamed(first)))
        .await
        .status(204);
    user.put_part(&upload, 1, &content).await;
    user.complete(&upload.id).await;
    user.assert_content("/lengths", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_do_not_exist_are_refused() {
    let (_stack, user) = TestStack::with_user().await;
    let upload = user.begin("/indexes", CHUNK + 1).await;
    let empty = user.begin("/indexes-empty", 0).await;
    let refused = [
        (&upload, 2),
        (&upload, 10_000),
        (&upload, u64::MAX),
        (&empty, 0),
    ];
    for (upload, index) in refused {
        user.put_chunk(&upload.id, index, &[1])
            .await
            .problem(400, "malformed-request");
    }
    for index in ["-1", "x", "1.0", "18446744073709551616", "%30x"] {
        let path = format!("/api/v1/uploads/{}/chunks/{index}", upload.id);
        let answer = send(user.request(Method::PUT, &path).body("x")).await;
        answer.problem(404, "not-found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_digest_is_verified() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("digest", 1_000);
    let upload = user.begin("/digest", content.len()).await;
    let put = async |field: &str| {
        let request = user.chunk(&upload.id, 0).header("content-digest", field);
        send(request.body(content.clone())).await
    };
    put(&sha256_field(b"something else"))
        .await
        .problem(422, "digest-mismatch");
    assert_eq!(
        user.unfinished(&upload.id).await.missing,
        [[0, 0]],
        "the chunk was discarded"
    );
    for malformed in ["sha-256", "sha-256=abc", "sha-256=:abc:", "sha-256=:####:"] {
        put(malformed).await.problem(400, "malformed-request");
    }
    put(&format!("md5=:AAAA:, {}", sha256_field(&content)))
        .await
        .status(204);
    put(&sha256_field(b"something else"))
        .await
        .problem(422, "digest-mismatch");
    put("md5=:AAAA:").await.status(204);
    user.complete(&upload.id).await;
    user.assert_content("/digest", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_upload_says_what_is_missing() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("incomplete", 5 * CHUNK);
    let upload = user.begin("/incomplete", content.len()).await;
    let missing = async || {
        let problem = user
            .try_complete(&upload.id)
            .await
            .problem(409, "incomplete");
        problem.extensions["missing"].clone()
    };
    assert_eq!(missing().await, json!([[0, 4]]));
    user.put_parts(&upload, [1, 3], &content).await;
    assert_eq!(missing().await, json!([[0, 0], [2, 2], [4, 4]]));
    user.put_parts(&upload, [0, 2, 4], &content).await;
    user.complete(&upload.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_upload_is_gone_and_its_room_is_free() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("cancelled", 2 * CHUNK);
    let upload = user.begin("/cancelled", content.len()).await;
    user.put_part(&upload, 0, &content).await;
    assert_eq!(user.usage().await, (0, content.len() as u64));
    user.cancel(&upload.id).await.status(204);
    assert_eq!(user.usage().await, (0, 0));
    let path = format!("/api/v1/uploads/{}", upload.id);
    user.get(&path).await.problem(410, "upload-gone");
    user.put_chunk(&upload.id, 1, part(&upload, 1, &content))
        .await
        .problem(410, "upload-gone");
    user.try_complete(&upload.id)
        .await
        .problem(410, "upload-gone");
    user.prove(&upload.id, &"0".repeat(64))
        .await
        .problem(410, "upload-gone");
    user.cancel(&upload.id).await.status(204);
    let listed: Uploads = user.get("/api/v1/uploads").await.json(200);
    assert!(listed.uploads.is_empty());
    user.try_stat("/cancelled").await.problem(404, "not-found");
}

async fn everything_with(user: &User, id: &str) -> Vec<Answer> {
    vec![
        user.get(&format!("/api/v1/uploads/{id}")).await,
        user.put_chunk(id, 0, b"other").await,
        user.try_complete(id).await,
        user.prove(id, &"0".repeat(64)).await,
        user.cancel(id).await,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_others_look_as_if_they_were_not_there() {
    let (stack, owner) = TestStack::with_user().await;
    let stranger = stack.user().await;
    let content = owner.content("private", 1_000);
    let upload = owner.begin("/private", content.len()).await;
    let done = owner.upload("/done", b"done").await;
    let unknown = everything_with(&stranger, &Uuid::now_v7().to_string()).await;
    for id in [&upload.id, &done.id] {
        let foreign = everything_with(&stranger, id).await;
        for (foreign, unknown) in foreign.into_iter().zip(&unknown) {
            let (mut foreign, mut unknown) = (foreign.any_problem(), unknown.any_problem());
            assert_eq!(
                (foreign.status, foreign.slug()),
                (404, "not-found"),
                "{foreign:?}"
            );
            foreign.request_id.clear();
            unknown.request_id.clear();
            let bodies = [&foreign, &unknown].map(|body| serde_json::to_value(body).unwrap());
            assert_eq!(bodies[0], bodies[1]);
        }
    }
    for id in ["x", "0", "%2e%2e", "00000000-0000-0000-0000-00000000000g"] {
        for answer in everything_with(&stranger, id).await {
            answer.problem(404, "not-found");
        }
    }
    owner.finish(&upload, &content).await;
    owner.assert_content("/private", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_chunks_are_refused() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("gzip", 1_000);
    let upload = user.begin("/gzip", content.len()).await;
    for encoding in ["gzip", "br", "zstd", "identity, gzip"] {
        let request = user
            .chunk(&upload.id, 0)
            .header("content-encoding", encoding);
        let answer = send(request.body(content.clone())).await;
        answer.problem(415, "unsupported-media-type");
    }
    let identity = user
        .chunk(&upload.id, 0)
        .header("content-encoding", "identity");
    send(identity.body(content.clone())).await.status(204);
}
