//! Bad input, row by row: each has its documented problem, and none leaves anything behind.

mod files;
mod rows;

use reqwest::Method;

use crate::support::{Answer, TestStack, send};

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_input_has_its_problem_and_leaves_nothing_behind() {
    let (_stack, user) = TestStack::with_user().await;
    user.put("/taken", b"taken").await;
    user.mkdir("/folder").await.status(201);
    let upload = user.begin("/upload", 10).await;
    let rows = [
        rows::json_rows(&user),
        rows::upload_rows(&user),
        rows::chunk_rows(&user, &upload),
        files::file_rows(&user),
    ];
    let mut failures = Vec::new();
    for (what, request, status, slug) in rows.into_iter().flatten() {
        let answer = send(request).await;
        if answer.status == status {
            let problem = answer.any_problem();
            if problem.slug() == slug {
                continue;
            }
        }
        failures.push(format!(
            "{what}: expected {status} {slug}, got {} {}",
            answer.status,
            answer.text()
        ));
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert_eq!(user.names("/", "").await, ["folder", "taken"]);
    assert_eq!(user.usage().await, (5, 10));
    assert_eq!(user.unfinished(&upload.id).await.received, 0);
    user.put_chunk(&upload.id, 0, b"0123456789")
        .await
        .status(204);
    user.complete(&upload.id).await;
    user.assert_content("/upload", b"0123456789").await;
    user.assert_content("/taken", b"taken").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_that_exist_are_named() {
    let (_stack, user) = TestStack::with_user().await;
    let answer = send(user.request(Method::PATCH, "/api/v1/content/a")).await;
    let allow = answer.header("allow").to_owned();
    answer.problem(405, "method-not-allowed");
    for method in ["GET", "HEAD", "PUT"] {
        assert!(
            allow.split(',').any(|allowed| allowed.trim() == method),
            "{method} in {allow}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_ids_are_taken_over_when_they_are_harmless() {
    let (_stack, user) = TestStack::with_user().await;
    let ask = async |id: &str| -> Answer {
        send(
            user.request(Method::GET, "/api/v1/absent")
                .header("x-request-id", id),
        )
        .await
    };
    let problem = ask("my-request-17").await.problem(404, "not-found");
    assert_eq!(problem.request_id, "my-request-17");
    for harmful in ["", "with space", "<script>", &"x".repeat(500)] {
        let problem = ask(harmful).await.problem(404, "not-found");
        assert_ne!(problem.request_id, harmful);
    }
}
