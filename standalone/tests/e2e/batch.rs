//! Many creations in one call.

use cloudstore_proto::http::{Completed, Created, CreatedUploads};
use serde_json::{Value, json};

use crate::support::{TestStack, User, digests, prove};

const MIB: usize = 1 << 20;

async fn batch(user: &User, entries: &[Value]) -> Vec<Created> {
    let answer = user
        .post("/api/v1/uploads/batch", &json!({ "entries": entries }))
        .await;
    let created: CreatedUploads = answer.json(200);
    assert_eq!(
        created.results.len(),
        entries.len(),
        "one result for each entry"
    );
    created.results
}

#[track_caller]
fn assert_problem(created: &Created, status: u16, slug: &str) {
    let Created::Problem { problem } = created else {
        panic!("expected {slug}, got {created:?}")
    };
    assert_eq!(
        (problem.status, problem.slug()),
        (status, slug),
        "{problem:?}"
    );
    assert!(!problem.title.is_empty() && !problem.detail.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_entry_has_its_own_result_in_order() {
    let (stack, user) = TestStack::with_user().await;
    let stranger = stack.user().await;
    let own = user.content("own", 3_000);
    let foreign = stranger.content("foreign", 4_000);
    user.put("/taken", &own).await;
    stranger.put("/theirs", &foreign).await;
    let entry = |path: &str, size: usize| json!({ "path": path, "size": size });
    let with = |mut entry: Value, member: &str, value: Value| {
        entry[member] = value;
        entry
    };
    let entries = [
        with(entry("/b/own", 3_000), "digests", json!(digests(&own))),
        entry("/b/small", 10),
        entry("/b/large", 9 * MIB),
        with(
            entry("/b/foreign", 4_000),
            "digests",
            json!(digests(&foreign)),
        ),
        entry("/taken", 5),
        entry("/b/../c", 5),
        entry("/b/large-enough-for-one-request", 8 * MIB),
        with(entry("/b/digest", 5), "digests", json!({ "sha1": "12" })),
        with(entry("/b/mtime", 5), "mtime", json!("soon")),
        entry("/b/huge", usize::try_from(i64::MAX).unwrap()),
        entry(&format!("/b/{}", "n".repeat(256)), 5),
        entry("/taken/below", 5),
        entry("/", 5),
        with(entry("/taken", 5), "on_conflict", json!("rename")),
        entry("/b/empty", 0),
    ];
    let results = batch(&user, &entries).await;
    let Created::Instant { file } = &results[0] else {
        panic!("{:?}", results[0])
    };
    assert!(file.instant && file.path == "/b/own");
    assert!(matches!(results[1], Created::Direct), "{:?}", results[1]);
    let Created::Uploading { upload: large } = &results[2] else {
        panic!("{:?}", results[2])
    };
    assert_eq!(large.size, 9 * MIB as u64);
    let Created::Challenge { challenge, upload } = &results[3] else {
        panic!("{:?}", results[3])
    };
    assert_problem(&results[4], 409, "name-conflict");
    assert_problem(&results[5], 422, "invalid-path");
    assert!(matches!(results[6], Created::Direct), "{:?}", results[6]);
    assert_problem(&results[7], 422, "invalid-fields");
    assert_problem(&results[8], 422, "invalid-fields");
    assert_problem(&results[9], 413, "too-large");
    assert_problem(&results[10], 422, "invalid-path");
    assert_problem(&results[11], 409, "not-a-folder");
    assert_problem(&results[12], 422, "invalid-path");
    assert!(matches!(results[13], Created::Direct), "{:?}", results[13]);
    assert!(matches!(results[14], Created::Direct), "{:?}", results[14]);

    // What was begun works like any other upload.
    user.assert_content("/b/own", &own).await;
    let proven = user.prove(&upload.id, &prove(challenge, &foreign)).await;
    assert_eq!(proven.json::<Completed>(201).file.path, "/b/foreign");
    let content = user.content("large", 9 * MIB);
    user.finish(large, &content).await;
    user.put("/b/small", &user.content("small", 10)).await;
    user.put("/b/empty", b"").await;
    assert_eq!(
        user.names("/b", "").await,
        ["empty", "foreign", "large", "own", "small"]
    );
    assert_eq!(
        user.usage().await,
        (3_000 * 2 + 4_000 + 9 * MIB as u64 + 10, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_files_by_way_of_two_batches() {
    let (_stack, user) = TestStack::with_user().await;
    // Long enough that nobody else on the server happens to have the same.
    let len = |i: usize| i + 16;
    let contents: Vec<_> = (0..1_000_usize)
        .map(|i| user.content(&format!("{i}"), len(i)))
        .collect();
    let entries = |folder: &str| -> Vec<Value> {
        let entry = |(i, content): (usize, &Vec<u8>)| {
            let path = format!("/{folder}/{:02}/{i}", i % 30);
            json!({ "path": path, "size": content.len(), "digests": digests(content) })
        };
        contents.iter().enumerate().map(entry).collect()
    };
    let results = batch(&user, &entries("first")).await;
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Created::Direct))
    );
    for first in (0..1_000).step_by(50) {
        let puts = (first..first + 50).map(|i| {
            let (user, content) = (&user, &contents[i]);
            async move {
                user.put(&format!("/first/{:02}/{i}", i % 30), content)
                    .await
            }
        });
        futures::future::join_all(puts).await;
    }
    let results = batch(&user, &entries("second")).await;
    for (i, result) in results.iter().enumerate() {
        let Created::Instant { file } = result else {
            panic!("{i}: {result:?}")
        };
        assert_eq!(file.size, len(i) as u64);
    }
    let total: usize = 2 * (0..1_000).map(len).sum::<usize>();
    assert_eq!(user.usage().await, (total as u64, 0));
    for i in [0, 1, 29, 500, 999] {
        user.assert_content(&format!("/second/{:02}/{i}", i % 30), &contents[i])
            .await;
    }
    assert_eq!(user.names("/second", "").await.len(), 30);
    // Repeating it changes nothing.
    let results = batch(&user, &entries("second")).await;
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Created::Instant { .. }))
    );
    assert_eq!(user.usage().await, (total as u64, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_one_to_a_thousand_entries() {
    let (_stack, user) = TestStack::with_user().await;
    let entry = json!({ "path": "/same", "size": 1 });
    for count in [0, 1_001, 2_000] {
        let body = json!({ "entries": vec![entry.clone(); count] });
        let problem = user
            .post("/api/v1/uploads/batch", &body)
            .await
            .problem(422, "invalid-fields");
        assert!(
            problem.extensions["errors"].get("entries").is_some(),
            "{problem:?}"
        );
    }
    let results = batch(&user, &vec![entry; 1_000]).await;
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Created::Direct))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_paths_fit_in_a_batch() {
    let (_stack, user) = TestStack::with_user().await;
    let long = format!("/{}", vec!["\u{1F33B}".repeat(60); 16].join("/"));
    let entries: Vec<_> = (0..1_000)
        .map(|i| json!({ "path": format!("{long}/{i}"), "size": 1 }))
        .collect();
    for result in batch(&user, &entries).await {
        assert!(matches!(result, Created::Direct), "{result:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_another_shape_refuses_the_whole_call() {
    let (_stack, user) = TestStack::with_user().await;
    let good = json!({ "path": "/good", "size": 9 * MIB });
    let shapes = [
        json!({ "path": "/a" }),
        json!({ "path": "/a", "size": -1 }),
        json!({ "path": "/a", "size": "1" }),
        json!({ "path": "/a", "size": 1.5 }),
        json!({ "path": "/a", "size": 1, "colour": "red" }),
        json!({ "path": "/a", "size": 1, "on_conflict": "explode" }),
        json!("x"),
    ];
    for shape in shapes {
        let body = json!({ "entries": [good, shape] });
        user.post("/api/v1/uploads/batch", &body)
            .await
            .problem(422, "invalid-fields");
    }
    assert_eq!(user.usage().await, (0, 0), "nothing was begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_do_not_fit_do_not_stop_those_that_do() {
    let (_stack, user) = TestStack::with_user().await;
    let quota = user.me().await.quota_bytes;
    let entries = [
        json!({ "path": "/too-much", "size": quota + 1 }),
        json!({ "path": "/fits", "size": 9 * MIB }),
    ];
    let results = batch(&user, &entries).await;
    let Created::Problem { problem } = &results[0] else {
        panic!("{:?}", results[0])
    };
    assert_eq!((problem.status, problem.slug()), (413, "quota-exceeded"));
    assert!(
        matches!(results[1], Created::Uploading { .. }),
        "{:?}",
        results[1]
    );
    assert_eq!(user.usage().await, (0, 9 * MIB as u64));
}
