//! Shares: what others see who know the address, for as long as the owner wants, and nothing else.

mod access;
mod downloads;

use std::collections::HashMap;

use cloudstore_proto::{
    convert::parse_rfc3339,
    http::shares::{CreatedShare, EntryKind, PublicShare, Share, ShareList, SharedEntry},
};
use cloudstore_service::clock::now_ms;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{Answer, Api, TestStack, User, assert_same, encode, eventually, send};

const SHARES: &str = "/api/v1/shares";
const SECRET: &str = "open sesame";

async fn create(user: &User, body: &Value) -> CreatedShare {
    user.post(SHARES, body).await.json(201)
}

async fn share(user: &User, path: &str) -> CreatedShare {
    create(user, &json!({ "path": path })).await
}

async fn get(user: &User, id: &str) -> Share {
    user.get(&format!("{SHARES}/{id}")).await.json(200)
}

async fn list(user: &User) -> Vec<Share> {
    user.get(SHARES).await.json::<ShareList>(200).shares
}

/// A request of somebody without an account, to what is below the address of a share.
fn ask(api: &Api, method: Method, token: &str, rest: &str) -> RequestBuilder {
    api.request(method, &format!("/api/v1/public/shares/{token}{rest}"))
}

async fn look(api: &Api, token: &str, rest: &str) -> Answer {
    send(ask(api, Method::GET, token, rest)).await
}

async fn see(api: &Api, token: &str, rest: &str) -> PublicShare {
    look(api, token, rest).await.json(200)
}

fn paths(shown: &PublicShare) -> Vec<&str> {
    let entries = shown.entries.as_ref().unwrap();
    entries.iter().map(|entry| &*entry.path).collect()
}

/// Everything that a token opens is closed.
async fn is_closed(api: &Api, token: &str) {
    for rest in ["", "/content", "/content/a", "/files/a"] {
        let answer = look(api, token, rest).await;
        let problem = answer.problem(404, "not-found");
        assert!(!problem.detail.contains(token), "{problem:?}");
    }
    let page = send(api.request(Method::GET, &format!("/s/{token}"))).await;
    page.problem(404, "not-found");
    unlock(api, token, SECRET).await.problem(404, "not-found");
}

async fn unlock(api: &Api, token: &str, password: &str) -> Answer {
    let request = ask(api, Method::POST, token, "/unlock");
    send(request.json(&json!({ "password": password }))).await
}

/// The address of a cookie and what it holds.
fn cookie(answer: &Answer) -> HashMap<String, String> {
    let cookie = answer.header("set-cookie");
    assert!(cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
    let pairs = cookie.split("; ").filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_file_from_its_creation_to_its_end() {
    let (stack, user) = TestStack::with_user().await;
    let content = user.content("a", 3 << 20);
    user.put("/b\u{fc}ro <1>.html", &content).await;
    let CreatedShare { token, url, about } = share(&user, "/b\u{fc}ro <1>.html").await;
    assert_eq!(token.strip_prefix("css_").unwrap().len(), 43, "256 bits");
    assert_eq!(url, format!("{}/s/{token}", user.api.base));
    assert_eq!(about.path, "/b\u{fc}ro <1>.html");
    assert_eq!((about.kind, about.downloads), (EntryKind::File, 0));
    assert!(!about.has_password && about.expires_at.is_none() && about.max_downloads.is_none());

    let api = stack.api();
    let page = send(api.request(Method::GET, &format!("/s/{token}"))).await;
    assert_eq!(page.header("cache-control"), "no-store");
    let page: PublicShare = page.json(200);
    assert!(!page.needs_password && page.entries.is_none() && page.downloads_left.is_none());
    let entry = page.entry.unwrap();
    let SharedEntry {
        name, path, size, ..
    } = &entry;
    assert_eq!((&**name, &**path), ("b\u{fc}ro <1>.html", "/"));
    assert_eq!(*size, Some(3 << 20));
    assert_eq!(entry.media_type.as_deref(), Some("text/html"));
    assert_eq!(see(api, &token, "").await.entry, Some(entry));

    let answer = look(api, &token, "/content").await.status(200);
    assert_same(&answer.body, &content);
    let etag = format!("\"{}\"", blake3::hash(&content).to_hex());
    assert_eq!(answer.header("etag"), etag);
    let disposition = answer.header("content-disposition");
    assert!(disposition.starts_with("attachment"), "{disposition}");
    assert!(disposition.contains("b%C3%BCro"), "{disposition}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    let policy = answer.header("content-security-policy");
    assert!(policy.contains("sandbox"), "{policy}");
    let inline = look(api, &token, "/content?disposition=inline").await;
    let disposition = inline.header("content-disposition");
    assert!(disposition.starts_with("attachment"), "HTML is never shown");

    let range = ask(api, Method::GET, &token, "/content").header("range", "bytes=1000000-1999999");
    let answer = send(range).await.status(206);
    assert_eq!(&answer.body[..], &content[1_000_000..2_000_000]);
    assert_eq!(
        answer.header("content-range"),
        "bytes 1000000-1999999/3145728"
    );
    let head = send(ask(api, Method::HEAD, &token, "/content")).await;
    assert_eq!(head.status(200).header("content-length"), "3145728");
    let known = ask(api, Method::GET, &token, "/content").header("if-none-match", &etag);
    send(known).await.status(304);
    let beyond = ask(api, Method::GET, &token, "/content").header("range", "bytes=3145728-");
    send(beyond).await.problem(416, "range-not-satisfiable");
    // From the first byte, and counted behind the answer.
    eventually("both downloads are counted", async || {
        (get(&user, &about.id).await.downloads == 2).then_some(())
    })
    .await;

    let text = user.get(SHARES).await.text();
    assert!(!text.contains("css_"), "{text}");
    let again = share(&user, "/b\u{fc}ro <1>.html").await;
    assert_ne!(again.token, token);
    let ids: Vec<_> = list(&user)
        .await
        .into_iter()
        .map(|share| share.id)
        .collect();
    assert_eq!(ids, [&*about.id, &*again.about.id], "oldest first");

    user.delete(&format!("{SHARES}/{}", about.id))
        .await
        .status(204);
    is_closed(api, &token).await;
    let gone = user.delete(&format!("{SHARES}/{}", about.id)).await;
    gone.problem(404, "not-found");
    look(api, &again.token, "/content").await.status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_folder_shows_itself_and_nothing_outside() {
    let (stack, user) = TestStack::with_user().await;
    user.mkdirs("/docs/open/sub").await.status(201);
    for path in [
        "/docs/open/a b",
        "/docs/open/c",
        "/docs/open/sub/d",
        "/docs/secret",
        "/a",
    ] {
        user.put(path, path.as_bytes()).await;
    }
    let CreatedShare { token, about, .. } = share(&user, "/docs/open").await;
    assert_eq!(about.kind, EntryKind::Folder);
    let api = stack.api();
    let top = see(api, &token, "").await;
    assert_eq!(paths(&top), ["/a b", "/c", "/sub"]);
    let entry = top.entry.as_ref().unwrap();
    assert_eq!(
        (&*entry.name, entry.kind, entry.size),
        ("open", EntryKind::Folder, None)
    );
    let first = see(api, &token, "?limit=2").await;
    assert_eq!(paths(&first), ["/a b", "/c"]);
    let cursor = first.next_cursor.unwrap();
    let rest = see(api, &token, &format!("?limit=2&cursor={cursor}")).await;
    assert_eq!(paths(&rest), ["/sub"]);
    assert!(rest.next_cursor.is_none());
    let newest = see(api, &token, "?sort=size&order=desc").await;
    assert_eq!(paths(&newest)[0], "/a b");
    assert_eq!(paths(&see(api, &token, "/files/sub").await), ["/sub/d"]);
    let file = see(api, &token, "/files/a%20b").await;
    assert_eq!(file.entry.unwrap().name, "a b");
    assert!(file.entries.is_none());
    for path in ["/a b", "/sub/d"] {
        let answer = look(api, &token, &format!("/content{}", encode(path))).await;
        assert_eq!(answer.status(200).body, format!("/docs/open{path}"));
    }
    look(api, &token, "/content")
        .await
        .problem(409, "is-a-folder");
    look(api, &token, "/content/sub")
        .await
        .problem(409, "is-a-folder");
    look(api, &token, "?limit=0")
        .await
        .problem(400, "malformed-request");
    look(api, &token, "?search=a")
        .await
        .problem(400, "malformed-request");

    for outside in ["secret", "docs/open/c", "open/c", "a", "c/x", "sub/c"] {
        for way in ["files", "content"] {
            let answer = look(api, &token, &format!("/{way}/{outside}")).await;
            answer.problem(404, "not-found");
        }
    }
    // Names of steps upwards are none, however they are written.
    let whole = format!("{}/api/v1/public/shares/{token}", user.api.base);
    for step in [
        "%2e%2e/secret",
        "%2E%2E%2Fsecret",
        "sub/..%2f..%2fsecret",
        "..%2fsecret",
    ] {
        for way in ["files", "content"] {
            let url = format!("{whole}/{way}/{step}");
            // Not as a client would clean it.
            let answer = raw(&url).await;
            assert!(
                answer.starts_with("HTTP/1.1 422") || answer.starts_with("HTTP/1.1 404"),
                "{url}: {answer}"
            );
            assert!(!answer.contains("/docs/secret"), "{url}: {answer}");
        }
    }
    for path in ["sub%00", "c%00", "c%0a"] {
        let answer = look(api, &token, &format!("/content/{path}")).await;
        assert!(
            matches!(answer.status, 400 | 404 | 422),
            "{}",
            answer.status
        );
    }
}

/// The answer to a GET whose address goes over the wire as it is.
async fn raw(url: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let (host, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_follows_its_entry_and_ends_with_it() {
    let (stack, user) = TestStack::with_user().await;
    user.mkdirs("/x/f").await.status(201);
    user.put("/x/a", b"first").await;
    user.put("/x/f/b", b"below").await;
    let (file, folder) = (share(&user, "/x/a").await, share(&user, "/x/f").await);
    let api = stack.api();
    let content = async |share: &CreatedShare, rest: &str| {
        let answer = look(api, &share.token, &format!("/content{rest}")).await;
        answer.status(200).body
    };
    user.rename("/x/a", "/renamed").await.status(200);
    user.put("/x/a", b"another").await;
    user.rename("/x", "/y").await.status(200);
    assert_eq!(content(&file, "").await, "first");
    assert_eq!(content(&folder, "/b").await, "below");
    let named = see(api, &file.token, "").await.entry.unwrap();
    assert_eq!(named.name, "renamed");
    let at: Vec<_> = list(&user)
        .await
        .into_iter()
        .map(|share| share.path)
        .collect();
    assert_eq!(at, ["/renamed", "/y/f"]);

    // New content is the same file.
    user.try_put("/renamed", b"second").await.status(200);
    assert_eq!(content(&file, "").await, "second");

    user.remove("/y").await.status(204);
    is_closed(api, &folder.token).await;
    assert_eq!(list(&user).await.len(), 1);
    user.mkdirs("/y/f").await.status(201);
    user.put("/y/f/b", b"not shared").await;
    is_closed(api, &folder.token).await;
    user.remove("/renamed").await.status(204);
    is_closed(api, &file.token).await;
    let gone = user.get(&format!("{SHARES}/{}", file.about.id)).await;
    gone.problem(404, "not-found");
    assert!(list(&user).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_expires_on_time() {
    let (stack, user) = TestStack::with_user().await;
    user.put("/a", b"content").await;
    let shared = create(&user, &json!({ "path": "/a", "expires_in": 2 })).await;
    let expires = parse_rfc3339(shared.about.expires_at.as_ref().unwrap()).unwrap();
    let api = stack.api();
    eventually("the share has expired", async || {
        let before = now_ms();
        let answer = look(api, &shared.token, "/content").await;
        match answer.status {
            200 => assert!(before < expires, "it was open too long"),
            _ => assert!(now_ms() >= expires, "it was closed too early"),
        }
        (answer.status == 404).then_some(())
    })
    .await;
    is_closed(api, &shared.token).await;
    assert!(list(&user).await.is_empty());
}
