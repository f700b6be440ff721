//! Who may make shares, and who may open them.

use cloudstore_proto::http::{
    CreatedToken,
    shares::{PublicShare, UnlockedShare},
};
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use super::{SECRET, SHARES, ask, cookie, create, list, look, paths, see, share, unlock};
use crate::support::{TestStack, User, eventually, send};

/// Of one account.
const MAX_SHARES: usize = 250;
const UNLOCK_FIELD: &str = "cloudstore-share-ticket";

#[tokio::test(flavor = "multi_thread")]
async fn a_password_opens_and_guessing_is_slow() {
    let (stack, user) = TestStack::with_user().await;
    user.mkdirs("/private").await.status(201);
    user.put("/private/a", b"content").await;
    let body = json!({ "path": "/private", "password": SECRET, "expires_in": 3_600 });
    let shared = create(&user, &body).await;
    let token = &*shared.token;
    assert!(shared.about.has_password);
    let text = user.get(SHARES).await.text();
    assert!(!text.contains(SECRET) && !text.contains("argon2"), "{text}");
    let api = stack.api();
    let closed = see(api, token, "").await;
    assert!(closed.needs_password && closed.expires_at.is_some());
    assert!(
        closed.entry.is_none() && closed.entries.is_none(),
        "no names before"
    );
    for rest in ["/content/a", "/content/absent", "/files/a", "/files/absent"] {
        let answer = look(api, token, rest).await;
        answer.problem(403, "password-required");
    }

    let problem = unlock(api, token, "wrong")
        .await
        .problem(422, "invalid-fields");
    assert!(problem.extensions["errors"]["password"].is_string());
    let answer = unlock(api, token, SECRET).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let set = cookie(&answer);
    assert_eq!(set["Path"], format!("/api/v1/public/shares/{token}"));
    let unlocked: UnlockedShare = answer.json(200);
    assert_eq!(set[UNLOCK_FIELD], unlocked.ticket);
    assert_eq!(unlocked.expires_in, 3_600);
    let with = |rest: &str, name: &str, value: String| {
        send(ask(api, Method::GET, token, rest).header(name, value))
    };
    let by_field = with("/content/a", UNLOCK_FIELD, unlocked.ticket.clone()).await;
    assert_eq!(by_field.status(200).body, "content");
    let cookie = format!("{UNLOCK_FIELD}={}", unlocked.ticket);
    let by_cookie: PublicShare = with("", "cookie", cookie.clone()).await.json(200);
    assert!(!by_cookie.needs_password);
    assert_eq!(paths(&by_cookie), ["/a"]);
    with("/content/absent", "cookie", cookie)
        .await
        .problem(404, "not-found");

    // Nothing else is a ticket, and a ticket is nothing else.
    let other = create(&user, &body).await;
    let foreign: UnlockedShare = unlock(api, &other.token, SECRET).await.json(200);
    let mut tampered = unlocked.ticket.clone();
    tampered.pop();
    for wrong in [
        foreign.ticket,
        user.token.clone(),
        tampered,
        token.to_owned(),
        "x".to_owned(),
    ] {
        let answer = with("/content/a", UNLOCK_FIELD, wrong).await;
        answer.problem(403, "password-required");
    }
    let me = api
        .request(Method::GET, "/api/v1/me")
        .bearer_auth(&unlocked.ticket);
    send(me).await.problem(401, "unauthenticated");
    let me = api.request(Method::GET, "/api/v1/me").bearer_auth(token);
    send(me).await.problem(401, "unauthenticated");

    let slowed = eventually("guesses have to wait", async || {
        let answer = unlock(api, token, "wrong").await;
        (answer.status == 429).then_some(answer)
    })
    .await;
    let wait: u64 = slowed.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    slowed.problem(429, "rate-limited");
    unlock(api, &other.token, SECRET).await.status(200);
    let held = with("/content/a", UNLOCK_FIELD, unlocked.ticket.clone()).await;
    held.status(200);
    user.delete(&format!("{SHARES}/{}", shared.about.id))
        .await
        .status(204);
    let ended = with("/content/a", UNLOCK_FIELD, unlocked.ticket).await;
    ended.problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_are_the_business_of_their_owner() {
    let (stack, user) = TestStack::with_user().await;
    user.put("/a", b"content").await;
    let shared = share(&user, "/a").await;
    let path = format!("{SHARES}/{}", shared.about.id);
    let other = stack.user().await;
    assert!(list(&other).await.is_empty());
    for path in [
        path.clone(),
        format!("{SHARES}/{}", Uuid::now_v7()),
        format!("{SHARES}/x"),
    ] {
        other.get(&path).await.problem(404, "not-found");
        other.delete(&path).await.problem(404, "not-found");
    }
    let foreign = other.post(SHARES, &json!({ "path": "/a" })).await;
    foreign.problem(404, "not-found");
    for method in [Method::GET, Method::POST] {
        let request = stack.api().request(method, SHARES);
        send(request.json(&json!({ "path": "/a" })))
            .await
            .problem(401, "unauthenticated");
    }

    for (scope, may) in [("full", true), ("upload", false), ("read", false)] {
        let body = json!({ "name": scope, "scope": scope });
        let token: CreatedToken = user.post("/api/v1/tokens", &body).await.json(201);
        let program = User {
            token: token.token,
            ..user.clone()
        };
        let answers = [
            program.post(SHARES, &json!({ "path": "/a" })).await,
            program.get(SHARES).await,
            program.get(&path).await,
            program
                .delete(&format!("{SHARES}/{}", Uuid::now_v7()))
                .await,
        ];
        for answer in answers {
            assert_eq!(answer.status != 403, may, "{scope}: {}", answer.what);
            if !may {
                answer.problem(403, "insufficient-scope");
            }
        }
    }
    look(stack.api(), &shared.token, "/content")
        .await
        .status(200);
    assert_eq!(list(&user).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_shared_and_how_is_bounded() {
    let (stack, user) = TestStack::with_user().await;
    user.put("/a", b"content").await;
    let ten_years = 10 * 365 * 24 * 3_600_u64;
    for (body, field) in [
        (json!({}), "path"),
        (json!({ "path": "/a", "expires_in": 0 }), "expires_in"),
        (
            json!({ "path": "/a", "expires_in": ten_years + 1 }),
            "expires_in",
        ),
        (json!({ "path": "/a", "expires_in": -1 }), "expires_in"),
        (json!({ "path": "/a", "max_downloads": 0 }), "max_downloads"),
        (
            json!({ "path": "/a", "max_downloads": 1_000_000_001 }),
            "max_downloads",
        ),
        (json!({ "path": "/a", "password": "short" }), "password"),
        (
            json!({ "path": "/a", "password": "x".repeat(1_025) }),
            "password",
        ),
        (json!({ "path": "/a", "token": "css_mine" }), "token"),
    ] {
        let problem = user
            .post(SHARES, &body)
            .await
            .problem(422, "invalid-fields");
        let errors = problem.extensions["errors"].as_object().unwrap();
        assert!(errors.keys().eq([field]), "{body}: {errors:?}");
    }
    for (path, status, slug) in [
        ("/", 422, "invalid-path"),
        ("/../a", 422, "invalid-path"),
        ("/absent", 404, "not-found"),
        ("/a/b", 404, "not-found"),
    ] {
        let answer = user.post(SHARES, &json!({ "path": path })).await;
        answer.problem(status, slug);
    }
    let longest = json!({
        "path": "/a", "expires_in": ten_years, "max_downloads": 1_000_000_000,
        "password": "x".repeat(1_024),
    });
    user.post(SHARES, &longest).await.status(201);
    for _ in 1..MAX_SHARES {
        user.post(SHARES, &json!({ "path": "/a" }))
            .await
            .status(201);
    }
    let refused = user.post(SHARES, &json!({ "path": "/a" })).await;
    refused.problem(507, "limit-reached");
    let shares = list(&user).await;
    assert_eq!(shares.len(), MAX_SHARES);
    user.delete(&format!("{SHARES}/{}", shares[9].id))
        .await
        .status(204);
    user.post(SHARES, &json!({ "path": "/a" }))
        .await
        .status(201);

    let api = stack.api();
    for token in [
        "css_",
        "x",
        "css_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "%20",
    ] {
        look(api, token, "").await.problem(404, "not-found");
        look(api, token, "/content").await.problem(404, "not-found");
        unlock(api, token, SECRET).await.problem(404, "not-found");
    }
}
