//! Used and reserved bytes never exceed the quota, whatever runs in parallel.

use cloudstore_proto::http::Created;
use futures::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::support::{Local, Raw, User, digests, eventually, prove, send, streamed};

const MIB: u64 = 1 << 20;

async fn with_quota(quota: u64) -> (Local, User) {
    let local = Local::with(|config| config.account.quota_bytes = quota).await;
    let user = local.user().await;
    (local, user)
}

fn bytes(user: &User, label: &str, len: u64) -> Vec<u8> {
    user.content(label, usize::try_from(len).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_before_the_body() {
    let (local, user) = with_quota(20 * MIB).await;
    assert_eq!(user.me().await.quota_bytes, 20 * MIB);
    user.create(&json!({ "path": "/a", "size": 20 * MIB + 1 }))
        .await
        .problem(413, "quota-exceeded");
    for size in [20 * MIB + 1, 1 << 40] {
        let mut raw = Raw::connect(&user.api.base).await;
        let length = format!("content-length: {size}");
        raw.head(
            &user,
            "PUT /api/v1/content/a",
            &[&length, "expect: 100-continue"],
        )
        .await;
        raw.answer().await.problem(413, "quota-exceeded");
    }
    user.put("/most", &bytes(&user, "most", 19 * MIB)).await;
    let mut raw = Raw::connect(&user.api.base).await;
    let length = format!("content-length: {}", MIB + 1);
    raw.head(
        &user,
        "PUT /api/v1/content/b",
        &[&length, "expect: 100-continue"],
    )
    .await;
    raw.answer().await.problem(413, "quota-exceeded");

    user.put("/rest", &bytes(&user, "rest", MIB)).await;
    assert_eq!(user.usage().await, (20 * MIB, 0));
    user.try_put("/one-more", b"x")
        .await
        .problem(413, "quota-exceeded");
    user.put("/empty", b"").await;
    for path in ["/most", "/rest", "/empty"] {
        user.stored(path).await;
    }
    assert_eq!(local.objects().blobs.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_unknown_length_is_stopped_at_the_quota() {
    let (local, user) = with_quota(4 * MIB).await;
    let request = user.content_request(Method::PUT, "/long");
    let answer = send(request.body(streamed(&bytes(&user, "long", 5 * MIB)))).await;
    answer.problem(413, "quota-exceeded");
    assert_eq!(user.usage().await, (0, 0));
    local.nothing_staged().await;
    let request = user.content_request(Method::PUT, "/fits");
    send(request.body(streamed(&bytes(&user, "fits", 4 * MIB))))
        .await
        .status(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn larger_than_the_server_takes() {
    let local = Local::with(|config| config.upload.max_size = 10 * MIB).await;
    let user = local.user().await;
    for size in [10 * MIB + 1, 1 << 60, u64::MAX] {
        user.create(&json!({ "path": "/a", "size": size }))
            .await
            .problem(413, "too-large");
    }
    let mut raw = Raw::connect(&user.api.base).await;
    let length = format!("content-length: {}", 10 * MIB + 1);
    raw.head(
        &user,
        "PUT /api/v1/content/a",
        &[&length, "expect: 100-continue"],
    )
    .await;
    raw.answer().await.problem(413, "too-large");
    let request = user.content_request(Method::PUT, "/a");
    let answer = send(request.body(streamed(&bytes(&user, "long", 10 * MIB + 1)))).await;
    answer.problem(413, "too-large");
    assert_eq!(user.usage().await, (0, 0));
    local.nothing_staged().await;
    user.put("/largest", &bytes(&user, "largest", 10 * MIB))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reservations_count_and_are_released() {
    let (_local, user) = with_quota(30 * MIB).await;
    let first = user.begin("/first", 20 << 20).await;
    assert_eq!(user.usage().await, (0, 20 * MIB));
    user.create(&json!({ "path": "/second", "size": 11 * MIB }))
        .await
        .problem(413, "quota-exceeded");
    user.try_put("/second", &bytes(&user, "second", 11 * MIB))
        .await
        .problem(413, "quota-exceeded");
    let second = user.begin("/second", 10 << 20).await;
    assert_eq!(user.usage().await, (0, 30 * MIB));
    user.cancel(&first.id).await.status(204);
    assert_eq!(user.usage().await, (0, 10 * MIB));
    user.finish(&second, &bytes(&user, "second", 10 * MIB))
        .await;
    assert_eq!(user.usage().await, (10 * MIB, 0));
    user.cancel(&first.id).await.status(204);
    assert_eq!(user.usage().await, (10 * MIB, 0), "released once");
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_needs_room_for_the_difference_only() {
    let (_local, user) = with_quota(10 * MIB).await;
    user.put("/a", &bytes(&user, "old", 7 * MIB)).await;
    user.try_put("/b", &bytes(&user, "b", 4 * MIB))
        .await
        .problem(413, "quota-exceeded");
    user.remove("/a").await.status(204);
    user.usage_becomes(0, 0).await;
    user.put("/a", &bytes(&user, "small", 2 * MIB)).await;
    user.try_put("/a", &bytes(&user, "larger", 3 * MIB))
        .await
        .status(200);
    user.usage_becomes(3 * MIB, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instant_uploads_count_too() {
    let (local, owner) = with_quota(5 * MIB).await;
    let content = bytes(&owner, "shared", 3 * MIB);
    owner.put("/shared", &content).await;
    let digests = digests(&content);
    let again = json!({ "path": "/again", "size": 3 * MIB, "digests": digests });
    owner.create(&again).await.problem(413, "quota-exceeded");

    let user = local.user().await;
    user.put("/own", &bytes(&user, "own", 2 * MIB)).await;
    let Created::Challenge { challenge, upload } = user.create(&again).await.json(201) else {
        panic!("a challenge")
    };
    assert_eq!(user.usage().await, (2 * MIB, 3 * MIB));
    user.prove(&upload.id, &prove(&challenge, &content))
        .await
        .status(201);
    assert_eq!(user.usage().await, (5 * MIB, 0));
    user.try_put("/more", b"x")
        .await
        .problem(413, "quota-exceeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_parallel_uploads_never_exceed_the_quota() {
    let quota = 20 * MIB;
    let (local, user) = with_quota(quota).await;
    let watch = user.clone();
    let watcher = tokio::spawn(async move {
        // `usage` itself demands that the sum stays within the quota.
        loop {
            watch.usage().await;
            tokio::task::yield_now().await;
        }
    });
    let uploads = (0..50_u64).map(|i| {
        let user = user.clone();
        async move {
            let content = bytes(&user, &format!("{i}"), MIB);
            let path = format!("/{i}");
            let answer = match i % 3 {
                0 => user.try_put(&path, &content).await,
                1 => {
                    send(
                        user.content_request(Method::PUT, &path)
                            .body(streamed(&content)),
                    )
                    .await
                }
                _ => {
                    let answer = user.create(&json!({ "path": path, "size": MIB })).await;
                    if answer.status != 201 {
                        answer.problem(413, "quota-exceeded");
                        return None;
                    }
                    let Created::Uploading { upload } = answer.json(201) else {
                        panic!("upload")
                    };
                    user.finish(&upload, &content).await;
                    return Some((path, content));
                }
            };
            match answer.status {
                201 => Some((path, content)),
                // Only a few bodies of unknown length at a time.
                429 if i % 3 == 1 => None,
                _ => {
                    answer.problem(413, "quota-exceeded");
                    None
                }
            }
        }
    });
    let done: Vec<_> = join_all(uploads).await.into_iter().flatten().collect();
    watcher.abort();
    assert!(
        !done.is_empty() && done.len() <= 20,
        "{} of 20 fit",
        done.len()
    );
    user.usage_becomes(done.len() as u64 * MIB, 0).await;
    for (path, content) in &done {
        user.assert_content(path, content).await;
    }
    for i in 0..20 - done.len() {
        user.put(
            &format!("/rest-{i}"),
            &bytes(&user, &format!("rest {i}"), MIB),
        )
        .await;
    }
    assert_eq!(user.usage().await, (quota, 0), "every byte can be used");
    eventually("every file is stored", async || {
        (local.objects().blobs.len() == 20).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_uploads_are_limited() {
    let local = Local::start().await;
    let user = local.user().await;
    let entry = |i: usize| json!({ "path": format!("/{i}"), "size": 9 * MIB });
    let mut begun = 0;
    let refused = 'full: {
        for batch in 0..10 {
            let entries: Vec<_> = (0..1_000).map(|i| entry(batch * 1_000 + i)).collect();
            let answer = user
                .post("/api/v1/uploads/batch", &json!({ "entries": entries }))
                .await;
            let created: cloudstore_proto::http::CreatedUploads = answer.json(200);
            for result in created.results {
                match result {
                    Created::Uploading { .. } => begun += 1,
                    Created::Problem { problem } => break 'full problem,
                    other => panic!("{other:?}"),
                }
            }
        }
        panic!("10,000 unfinished uploads were accepted");
    };
    assert_eq!((refused.status, refused.slug()), (429, "too-many-uploads"));
    assert!(begun >= 1_000);
    user.create(&entry(99_999))
        .await
        .problem(429, "too-many-uploads");
    assert_eq!(user.usage().await, (0, begun * 9 * MIB));
    let listed: cloudstore_proto::http::Uploads = user.get("/api/v1/uploads").await.json(200);
    user.cancel(&listed.uploads[0].id).await.status(204);
    user.create(&entry(99_999)).await.status(201);
}
