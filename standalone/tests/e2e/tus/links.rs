//! Upload links: others put files into a folder, and get no further.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use cloudstore_proto::http::shares::{CreatedShare, PublicShare, Share, ShareList, UnlockedShare};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Digest as _;

use super::{BYTES, metadata};
use crate::support::{TestStack, User, eventually, send};

const SECRET: &str = "open sesame";

async fn link(owner: &User, body: Value) -> CreatedShare {
    owner.post("/api/v1/shares", &body).await.json(201)
}

/// Somebody who has nothing but the link, and shows it where others show their login.
fn visitor(stack: &TestStack, link: &CreatedShare) -> User {
    User {
        api: stack.api().clone(),
        name: "visitor".to_owned(),
        token: link.token.clone(),
        refresh: String::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_arrive_in_the_folder_and_replace_nothing() {
    let (stack, owner) = TestStack::with_user().await;
    owner.put("/inbox/own.txt", b"own").await;
    let shared = link(&owner, json!({ "path": "/inbox", "uploads": true })).await;
    assert!(shared.about.uploads);
    let listed: Vec<Share> = owner
        .get("/api/v1/shares")
        .await
        .json::<ShareList>(200)
        .shares;
    assert!(listed[0].uploads);

    let visitor = visitor(&stack, &shared);
    let content = owner.content("gift", 3_000_000);
    let upload = visitor.tus_begin("gift.bin", content.len()).await;
    let half = content.len() / 2;
    visitor
        .tus_patch(&upload, 0, &content[..half])
        .await
        .status(204);
    visitor.tus_finish(&upload, &content).await;
    owner.assert_content("/inbox/gift.bin", &content).await;

    let again = visitor.tus_begin("own.txt", 5).await;
    visitor.tus_finish(&again, b"other").await;
    owner.assert_content("/inbox/own.txt", b"own").await;
    owner.assert_content("/inbox/own (1).txt", b"other").await;

    let below = metadata(&[("relativePath", "a/b/c.txt")]);
    let upload = visitor
        .tus_create(&[("upload-length", "1"), ("upload-metadata", &below)])
        .await;
    visitor.tus_finish(&upload, b"c").await;
    owner.assert_content("/inbox/a/b/c.txt", b"c").await;
    let outside = metadata(&[("relativePath", "../c.txt")]);
    let request = visitor
        .tus(Method::POST, "/files/")
        .header("upload-length", "1")
        .header("upload-metadata", outside);
    send(request).await.problem(422, "invalid-path");

    // The folder moves, and its link with it.
    owner.rename("/inbox", "/letters").await.status(200);
    let upload = visitor.tus_begin("late.txt", 4).await;
    visitor.tus_finish(&upload, b"late").await;
    owner.assert_content("/letters/late.txt", b"late").await;
    owner.try_stat("/inbox").await.problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_shows_nothing_and_opens_nothing_else() {
    let (stack, owner) = TestStack::with_user().await;
    owner.put("/inbox/secret.txt", b"secret").await;
    let shared = link(&owner, json!({ "path": "/inbox", "uploads": true })).await;
    let api = stack.api();
    let public = format!("/api/v1/public/shares/{}", shared.token);
    let look = async |rest: &str| send(api.request(Method::GET, &format!("{public}{rest}"))).await;
    let shown: PublicShare = look("").await.json(200);
    assert!(shown.uploads && shown.entries.is_none() && shown.next_cursor.is_none());
    assert_eq!(shown.entry.unwrap().name, "inbox");
    for rest in ["/files/secret.txt", "/content/secret.txt"] {
        look(rest).await.problem(404, "not-found");
    }
    let content = look("/content").await;
    assert!(content.any_problem().status >= 400);

    let visitor = visitor(&stack, &shared);
    for path in [
        "/api/v1/files/",
        "/api/v1/content/inbox/secret.txt",
        "/api/v1/uploads",
        "/api/v1/me",
        "/api/v1/shares",
    ] {
        visitor.get(path).await.problem(401, "unauthenticated");
    }
    let put = visitor.try_put("/inbox/x", b"x").await;
    put.problem(401, "unauthenticated");

    // One for looking takes nothing.
    let looking = link(&owner, json!({ "path": "/inbox" })).await;
    let request = self::visitor(&stack, &looking)
        .tus(Method::POST, "/files/")
        .header("upload-length", "1");
    send(request).await.problem(403, "insufficient-scope");
    for (body, status, kind) in [
        (
            json!({ "path": "/inbox/secret.txt", "uploads": true }),
            409,
            "not-a-folder",
        ),
        (
            json!({ "path": "/inbox", "uploads": true, "max_downloads": 1 }),
            422,
            "invalid-fields",
        ),
    ] {
        let refused = owner.post("/api/v1/shares", &body).await;
        refused.problem(status, kind);
    }
}

/// Requests after which every instance behind a gateway has had one.
const IN_A_ROW: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_asked_for_and_a_revoked_link_ends() {
    let (stack, owner) = TestStack::with_user().await;
    owner.mkdirs("/inbox").await.status(201);
    let body = json!({ "path": "/inbox", "uploads": true, "password": SECRET });
    let shared = link(&owner, body).await;
    let visitor = visitor(&stack, &shared);
    let create = || {
        let fields = metadata(&[("filename", "a.txt")]);
        visitor
            .tus(Method::POST, "/files/")
            .header("upload-length", "5")
            .header("upload-metadata", fields)
    };
    send(create()).await.problem(403, "password-required");
    let unlock = format!("/api/v1/public/shares/{}/unlock", shared.token);
    let password = json!({ "password": SECRET });
    let unlocked = stack.api().post(&unlock, &password).await;
    let UnlockedShare { ticket, .. } = unlocked.json(200);
    let ticket = |request: reqwest::RequestBuilder| {
        send(request.header("cloudstore-share-ticket", ticket.clone()))
    };
    let upload = visitor.tus_created(&ticket(create()).await.status(201));
    let patch = |at: usize, bytes: &'static [u8]| {
        visitor
            .tus(Method::PATCH, &upload)
            .header("content-type", BYTES)
            .header("upload-offset", at.to_string())
            .body(bytes)
    };
    send(patch(0, b"he"))
        .await
        .problem(403, "password-required");
    ticket(patch(0, b"he")).await.status(204);

    let revoke = format!("/api/v1/shares/{}", shared.about.id);
    owner.delete(&revoke).await.status(204);
    ticket(create()).await.problem(401, "unauthenticated");
    // Pieces of what has begun are taken for some seconds more, by each instance for itself. One
    // that has refused never accepts again.
    eventually("the link ends everywhere", async || {
        for _ in 0..IN_A_ROW {
            let head = ticket(visitor.tus(Method::HEAD, &upload)).await;
            if head.status != 401 {
                // Not at once: each refusal counts as a guess.
                tokio::time::sleep(Duration::from_secs(1)).await;
                return None;
            }
        }
        Some(())
    })
    .await;
    ticket(patch(2, b"llo"))
        .await
        .problem(401, "unauthenticated");
    owner
        .try_stat("/inbox/a.txt")
        .await
        .problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_are_told_nothing_of_the_account() {
    let (stack, owner) = TestStack::with_user().await;
    owner.put("/clients/inbox/x", b"secret").await;
    let shared = link(&owner, json!({ "path": "/clients/inbox", "uploads": true })).await;
    let visitor = visitor(&stack, &shared);
    let through_a_file = metadata(&[("relativePath", "x/y")]);
    let request = visitor
        .tus(Method::POST, "/files/")
        .header("upload-length", "1")
        .header("upload-metadata", through_a_file);
    let refused = send(request).await.problem(409, "not-a-folder");
    assert!(!refused.detail.contains("clients"), "{}", refused.detail);

    // The owner has this content: whoever only tells its digest is told nothing, and sends it.
    let digest = BASE64.encode(sha2::Sha256::digest(b"secret"));
    let create = |name: &str| {
        let name = format!("attachment; filename=\"{name}\"");
        visitor
            .request(Method::POST, "/files/")
            .header("upload-complete", "?1")
            .header("upload-draft-interop-version", "8")
            .header("repr-digest", format!("sha-256=:{digest}:"))
            .header("content-disposition", name)
    };
    let answer = send(create("same").body("secret")).await;
    assert!((200..300).contains(&answer.status), "{}", answer.status);
    assert!(answer.body.is_empty(), "{}", answer.text());
    owner.assert_content("/clients/inbox/same", b"secret").await;
    let claimed = send(create("other").body("wrong!")).await;
    assert!(claimed.status >= 400, "the digest is compared");
}
