//! API tokens: made by people, used by programs, good for what they say and no longer than they say.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use cloudstore_proto::{
    convert::parse_rfc3339,
    http::{CreatedToken, CreatedUploads, Scope, TokenList},
};
use cloudstore_service::clock::now_ms;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{PASSWORD, TestStack, User, eventually, send};

const TOKENS: &str = "/api/v1/tokens";
/// Of one account.
const MAX_TOKENS: usize = 100;
const DAY_MS: i64 = 24 * 3_600 * 1_000;
const SCOPES: [&str; 3] = ["full", "upload", "read"];

async fn create(user: &User, scope: &str) -> CreatedToken {
    let body = json!({ "name": format!("for {scope}"), "scope": scope, "expires_in": 3_600 });
    user.post(TOKENS, &body).await.json(201)
}

async fn list(user: &User) -> TokenList {
    user.get(TOKENS).await.json(200)
}

/// The account as a program with this token sees it.
fn program(user: &User, token: &str) -> User {
    User {
        token: token.to_owned(),
        ..user.clone()
    }
}

fn basic(user: &User, path: &str, name: &str, password: &str) -> RequestBuilder {
    let request = user.api.request(Method::GET, path);
    request.basic_auth(name, Some(password))
}

/// Every service that takes tokens by itself.
async fn is_refused_everywhere(user: &User) {
    for path in ["/api/v1/me", "/api/v1/files/", "/api/v1/uploads"] {
        let answer = eventually("the token is refused", async || {
            let answer = user.get(path).await;
            (answer.status == 401).then_some(answer)
        })
        .await;
        assert_eq!(
            answer.header("www-authenticate"),
            "Bearer realm=\"cloudstore\""
        );
        answer.problem(401, "unauthenticated");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_from_its_creation_to_its_end() {
    let (stack, user) = TestStack::with_user().await;
    assert!(list(&user).await.tokens.is_empty());
    let body = json!({ "name": "Büro-NAS", "scope": "full" });
    let answer = user.post(TOKENS, &body).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let CreatedToken { token, about } = answer.json(201);
    assert_eq!((&*about.name, about.scope), ("Büro-NAS", Scope::Full));
    let random = token.strip_prefix("cst_").unwrap();
    assert_eq!(random.len(), 43, "256 bits");
    let (created, expires) = (
        parse_rfc3339(&about.created_at).unwrap(),
        parse_rfc3339(&about.expires_at).unwrap(),
    );
    assert_eq!(expires - created, 90 * DAY_MS, "when nothing is asked for");

    let second = create(&user, "read").await;
    let answer = user.get(TOKENS).await;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(!text.contains(random) && !text.contains("cst_"), "{text}");
    let listed: TokenList = answer.json(200);
    let ids = listed.tokens.iter().map(|token| &token.id);
    assert!(ids.eq([&about.id, &second.about.id]), "oldest first");

    let nas = program(&user, &token);
    user.put("/a", b"content").await;
    assert_eq!(nas.me().await.username, user.name);
    nas.assert_content("/a", b"content").await;
    nas.put("/b", b"more").await;

    // Nobody else has anything to do with it.
    let other = stack.user().await;
    assert!(list(&other).await.tokens.is_empty());
    for id in [about.id.clone(), Uuid::now_v7().to_string(), "x".to_owned()] {
        let answer = other.delete(&format!("{TOKENS}/{id}")).await;
        answer.problem(404, "not-found");
    }
    nas.assert_content("/b", b"more").await;

    let path = format!("{TOKENS}/{}", about.id);
    user.delete(&path).await.status(204);
    is_refused_everywhere(&nas).await;
    user.delete(&path).await.status(204);
    let left = list(&user).await.tokens;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].id, second.about.id, "the others go on");
    let reader = program(&user, &second.token);
    reader.assert_content("/a", b"content").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_outlive_logins_and_passwords() {
    let (_stack, user) = TestStack::with_user().await;
    let reader = program(&user, &create(&user, "read").await.token);
    let change = json!({ "old_password": PASSWORD, "new_password": "another good password" });
    let changed = user
        .request(Method::PUT, "/api/v1/me/password")
        .json(&change);
    send(changed).await.status(204);
    user.delete("/api/v1/sessions").await.status(204);
    eventually("the login has ended", async || {
        (user.try_stat("/").await.status == 401).then_some(())
    })
    .await;
    reader.try_stat("/").await.status(200);
}

/// A request, and which scopes may make it.
type Route = (&'static str, String, Value, [bool; 3]);

fn routes(upload: &str) -> Vec<Route> {
    const EVERYBODY: [bool; 3] = [true, true, true];
    const UPLOADERS: [bool; 3] = [true, true, false];
    const READERS: [bool; 3] = [true, false, true];
    const FULL: [bool; 3] = [true, false, false];
    const NOBODY: [bool; 3] = [false, false, false];
    let uploads = |rest: &str| format!("/api/v1/uploads{rest}");
    let entry = json!({ "path": "/new", "size": 5 });
    let none = Value::Null;
    vec![
        ("GET", "/api/v1/me".into(), none.clone(), EVERYBODY),
        ("POST", uploads(""), entry.clone(), UPLOADERS),
        ("GET", uploads(""), none.clone(), UPLOADERS),
        (
            "POST",
            uploads("/batch"),
            json!({ "entries": [entry] }),
            UPLOADERS,
        ),
        (
            "GET",
            uploads(&format!("/{upload}")),
            none.clone(),
            UPLOADERS,
        ),
        (
            "PUT",
            uploads(&format!("/{upload}/chunks/0")),
            json!(1),
            UPLOADERS,
        ),
        (
            "POST",
            uploads(&format!("/{upload}/complete")),
            none.clone(),
            UPLOADERS,
        ),
        (
            "POST",
            uploads(&format!("/{upload}/proof")),
            json!({ "proof": "00" }),
            UPLOADERS,
        ),
        (
            "DELETE",
            uploads(&format!("/{}", Uuid::now_v7())),
            none.clone(),
            UPLOADERS,
        ),
        (
            "PUT",
            "/api/v1/content/new?on_conflict=rename".into(),
            json!(2),
            UPLOADERS,
        ),
        (
            "POST",
            "/api/v1/folders".into(),
            json!({ "path": "/f", "parents": true }),
            UPLOADERS,
        ),
        ("GET", "/api/v1/content/a".into(), none.clone(), READERS),
        ("HEAD", "/api/v1/content/a".into(), none.clone(), READERS),
        ("GET", "/api/v1/files".into(), none.clone(), READERS),
        ("GET", "/api/v1/files/a".into(), none.clone(), READERS),
        (
            "PUT",
            "/api/v1/content/a?on_conflict=replace".into(),
            json!(3),
            FULL,
        ),
        (
            "PATCH",
            "/api/v1/files/absent".into(),
            json!({ "path": "/b" }),
            FULL,
        ),
        ("DELETE", "/api/v1/files/absent".into(), none.clone(), FULL),
        (
            "GET",
            "/api/v1/archive/absent".into(),
            none.clone(),
            READERS,
        ),
        (
            "POST",
            "/api/v1/archive".into(),
            json!({ "paths": ["/absent"] }),
            READERS,
        ),
        (
            "POST",
            "/api/v1/copies".into(),
            json!({ "from": "/absent", "to": "/b" }),
            FULL,
        ),
        (
            "POST",
            "/api/v1/changes".into(),
            json!({ "changes": [{ "op": "delete", "path": "/absent" }] }),
            FULL,
        ),
        (
            "PATCH",
            "/api/v1/me".into(),
            json!({ "display_name": "x" }),
            NOBODY,
        ),
        (
            "PUT",
            "/api/v1/me/password".into(),
            json!({ "old_password": PASSWORD, "new_password": "another one" }),
            NOBODY,
        ),
        (
            "DELETE",
            "/api/v1/sessions/current".into(),
            none.clone(),
            NOBODY,
        ),
        ("DELETE", "/api/v1/sessions".into(), none.clone(), NOBODY),
        ("GET", TOKENS.into(), none.clone(), NOBODY),
        (
            "POST",
            TOKENS.into(),
            json!({ "name": "x", "scope": "read" }),
            NOBODY,
        ),
        (
            "DELETE",
            format!("{TOKENS}/{}", Uuid::now_v7()),
            none,
            NOBODY,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_knows_its_scopes() {
    let (_stack, user) = TestStack::with_user().await;
    user.put("/a", b"content").await;
    let upload = user.begin("/upload", 10).await;
    let mut failures = Vec::new();
    for (index, scope) in SCOPES.into_iter().enumerate() {
        let program = program(&user, &create(&user, scope).await.token);
        for (method, path, body, allowed) in routes(&upload.id) {
            let request = program.request(method.parse().unwrap(), &path);
            let answer = send(match body {
                Value::Null => request,
                body => request.json(&body),
            })
            .await;
            let insufficient = answer.status == 403
                && answer
                    .header("www-authenticate")
                    .contains("insufficient_scope");
            if insufficient && method != "HEAD" {
                assert_eq!(answer.any_problem().slug(), "insufficient-scope");
            }
            // What is allowed may fail for many reasons, but not for this one.
            let as_expected = if allowed[index] {
                !matches!(answer.status, 401 | 403)
            } else {
                insufficient
            };
            if !as_expected {
                failures.push(format!("{scope}: {method} {path}: {}", answer.status));
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    user.me().await;
    assert_eq!(list(&user).await.tokens.len(), SCOPES.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_upload_only_adds() {
    let (_stack, user) = TestStack::with_user().await;
    let uploader = program(&user, &create(&user, "upload").await.token);
    let put = async |path: &str, body: &'static [u8]| {
        let request = uploader.request(Method::PUT, &format!("/api/v1/content{path}"));
        send(request.body(body)).await
    };
    put("/a", b"first").await.status(201);
    // Without a rule, a PUT replaces; not here.
    put("/a", b"second").await.problem(409, "name-conflict");
    put("/a?on_conflict=rename", b"second").await.status(201);
    let answer = put("/a?on_conflict=replace", b"third").await;
    answer.problem(403, "insufficient-scope");
    let replace = json!({ "path": "/a", "size": 5, "on_conflict": "replace" });
    let answer = uploader.create(&replace).await;
    answer.problem(403, "insufficient-scope");
    let entries = json!({ "entries": [replace, { "path": "/b", "size": 20 << 20 }] });
    let batch: CreatedUploads = uploader
        .post("/api/v1/uploads/batch", &entries)
        .await
        .json(200);
    let batch = serde_json::to_value(&batch.results).unwrap();
    assert_eq!(batch[0]["problem"]["type"], "/problems/insufficient-scope");
    assert_eq!(batch[1]["status"], "uploading");

    let upload = uploader.begin("/c", 3).await;
    uploader.put_chunk(&upload.id, 0, b"abc").await.status(204);
    uploader.complete(&upload.id).await;
    user.assert_content("/a", b"first").await;
    user.assert_content("/a (1)", b"second").await;
    user.assert_content("/c", b"abc").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn basic_takes_the_username_and_a_token() {
    let (stack, user) = TestStack::with_user().await;
    let token = create(&user, "full").await.token;
    let narrow = create(&user, "upload").await.token;
    let other = stack.user().await;
    for path in ["/api/v1/me", "/api/v1/files/", "/api/v1/uploads"] {
        for name in [user.name.clone(), user.name.to_uppercase()] {
            send(basic(&user, path, &name, &token)).await.status(200);
        }
        for (name, password) in [
            (&*user.name, PASSWORD),
            (&*user.name, ""),
            (&*user.name, "cst_"),
            (&*user.name, &*user.token),
            (&*other.name, &*token),
            ("", &*token),
            ("nobody", &*token),
            (&*token, ""),
        ] {
            let answer = send(basic(&user, path, name, password)).await;
            let challenges = answer.headers.get_all("www-authenticate").iter();
            assert_eq!(challenges.count(), 1, "no browser asks for a password here");
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
            answer.problem(401, "unauthenticated");
        }
    }
    let answer = send(basic(&user, "/api/v1/files/", &user.name, &narrow)).await;
    answer.problem(403, "insufficient-scope");
    let malformed = user.api.request(Method::GET, "/api/v1/me");
    let unnamed = BASE64_STANDARD.encode(&token);
    let malformed = malformed.header("authorization", format!("Basic {unnamed}"));
    send(malformed).await.problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_expires_on_time() {
    let (_stack, user) = TestStack::with_user().await;
    let body = json!({ "name": "short", "scope": "read", "expires_in": 2 });
    let CreatedToken { token, about } = user.post(TOKENS, &body).await.json(201);
    let expires = parse_rfc3339(&about.expires_at).unwrap();
    let reader = program(&user, &token);
    eventually("the token has expired", async || {
        let before = now_ms();
        let status = reader.try_stat("/").await.status;
        match status {
            200 => assert!(before < expires, "it was accepted too late"),
            _ => assert!(now_ms() >= expires, "it was refused too early"),
        }
        (status == 401).then_some(())
    })
    .await;
    is_refused_everywhere(&reader).await;
    assert!(list(&user).await.tokens.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_may_be_is_bounded() {
    let (_stack, user) = TestStack::with_user().await;
    let ten_years = 10 * 365 * 24 * 3_600;
    for (body, field) in [
        (json!({ "scope": "read" }), "name"),
        (json!({ "name": "", "scope": "read" }), "name"),
        (json!({ "name": "x".repeat(129), "scope": "read" }), "name"),
        (json!({ "name": "a\nb", "scope": "read" }), "name"),
        (json!({ "name": "x" }), "scope"),
        (json!({ "name": "x", "scope": "Read" }), "scope"),
        (json!({ "name": "x", "scope": "everything" }), "scope"),
        (
            json!({ "name": "x", "scope": "read", "expires_in": 0 }),
            "expires_in",
        ),
        (
            json!({ "name": "x", "scope": "read", "expires_in": -1 }),
            "expires_in",
        ),
        (
            json!({ "name": "x", "scope": "read", "expires_in": ten_years + 1 }),
            "expires_in",
        ),
        (
            json!({ "name": "x", "scope": "read", "token": "cst_mine" }),
            "token",
        ),
    ] {
        let problem = user
            .post(TOKENS, &body)
            .await
            .problem(422, "invalid-fields");
        let errors = problem.extensions["errors"].as_object().unwrap();
        assert!(errors.keys().eq([field]), "{body}: {errors:?}");
    }
    let longest = json!({ "name": "x".repeat(128), "scope": "read", "expires_in": ten_years });
    user.post(TOKENS, &longest).await.status(201);
    let more = json!({ "name": "x", "scope": "read" });
    let mut answers = Vec::new();
    for _ in 0..MAX_TOKENS {
        answers.push(user.post(TOKENS, &more).await);
    }
    let last = answers.pop().unwrap();
    last.problem(429, "too-many-tokens");
    for answer in answers {
        answer.status(201);
    }
    let tokens = list(&user).await.tokens;
    assert_eq!(tokens.len(), MAX_TOKENS);
    let path = format!("{TOKENS}/{}", tokens[0].id);
    user.delete(&path).await.status(204);
    user.post(TOKENS, &more).await.status(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_looks_like_a_token_opens_nothing() {
    let (_stack, user) = TestStack::with_user().await;
    let CreatedToken { token, about } = create(&user, "full").await;
    let (body, end) = (&token["cst_".len()..], token.len() - 1);
    for forged in [
        "cst_".to_owned(),
        body.to_owned(),
        format!("CST_{body}"),
        format!("cst_{}", body.chars().rev().collect::<String>()),
        format!("cst_{}", "A".repeat(43)),
        format!("cst_{}", "A".repeat(4_000)),
        format!("cst_{}", about.id),
        token[..end].to_owned(),
        format!("{token}="),
        format!("{token}{token}"),
        format!("cst_{token}"),
    ] {
        let program = program(&user, &forged);
        for path in ["/api/v1/me", "/api/v1/files/", "/api/v1/uploads"] {
            let answer = program.get(path).await;
            let told = answer.text();
            assert!(!told.contains(body), "{told}");
            answer.problem(401, "unauthenticated");
        }
    }
    program(&user, &token).get("/api/v1/me").await.status(200);
    let query = format!("/api/v1/me?access_token={token}");
    let answer = send(user.api.request(Method::GET, &query)).await;
    answer.problem(401, "unauthenticated");
}
