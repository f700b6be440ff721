//! Locks of two clients of one account: what RFC 4918 calls two principals are two holders of tokens.

use super::texts;
use crate::support::{Answer, TestStack, User, send};

const EXCLUSIVE: &str = "<?xml version=\"1.0\"?><D:lockinfo xmlns:D=\"DAV:\">\
    <D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype>\
    <D:owner><D:href>mailto:me@example.net</D:href></D:owner></D:lockinfo>";
const SHARED: &str = "<D:lockinfo xmlns:D=\"DAV:\"><D:lockscope><D:shared/></D:lockscope>\
    <D:locktype><D:write/></D:locktype></D:lockinfo>";

impl User {
    async fn try_lock(&self, path: &str, depth: &str, info: &'static str) -> Answer {
        send(self.dav("LOCK", path).header("depth", depth).body(info)).await
    }

    /// Takes a lock; its token as it stands in the field `If`.
    async fn lock(&self, path: &str, depth: &str, info: &'static str) -> String {
        let answer = self.try_lock(path, depth, info).await;
        assert!([200, 201].contains(&answer.status), "{}", answer.text());
        let token = answer.header("lock-token").to_owned();
        let body = answer.text();
        assert!(body.contains(&format!("<D:href>{}</D:href>", &token[1..token.len() - 1])));
        token
    }

    async fn unlock(&self, path: &str, token: &str) -> Answer {
        send(self.dav("UNLOCK", path).header("lock-token", token)).await
    }

    /// A change of a path, with a value of the field `If`.
    async fn change(&self, method: &str, path: &str, states: &str) -> Answer {
        let mut request = self.dav(method, path);
        if !states.is_empty() {
            request = request.header("if", states);
        }
        match method {
            "PUT" => request = request.body("changed"),
            "COPY" | "MOVE" => request = request.header("destination", self.destination("/to")),
            "PROPPATCH" => {
                request = request.body(
                    "<D:propertyupdate xmlns:D=\"DAV:\"><D:set><D:prop><p xmlns=\"urn:x\">1</p>\
                    </D:prop></D:set></D:propertyupdate>",
                );
            }
            _ => {}
        }
        send(request).await
    }
}

/// RFC 4918 sections 6 and 7: the holder changes what it has locked, nobody else does.
#[tokio::test]
async fn two_clients_and_one_file() {
    let (stack, first) = TestStack::with_user().await;
    let second = stack
        .api()
        .login(&first.name, crate::support::PASSWORD)
        .await;
    first.dav_put("/file", b"content").await.status(201);
    let token = first.lock("/file", "0", EXCLUSIVE).await;
    for scope in [EXCLUSIVE, SHARED] {
        let refused = second.try_lock("/file", "0", scope).await.status(423);
        assert!(
            refused
                .text()
                .contains("<D:no-conflicting-lock><D:href>/dav/file")
        );
    }
    for method in ["PUT", "DELETE", "MOVE", "PROPPATCH"] {
        let refused = second.change(method, "/file", "").await.status(423);
        let text = refused.text();
        assert!(
            text.contains("<D:lock-token-submitted><D:href>/dav/file</D:href>"),
            "{method}: {text}"
        );
    }
    second.change("COPY", "/file", "").await.status(201);
    second.change("PUT", "/to", "").await.status(204);
    // A token that is none, in a list that does not matter: section 10.4.
    let other = "(<urn:uuid:00000000-0000-4000-8000-000000000000>) (Not <DAV:no-lock>)";
    second.change("PUT", "/file", other).await.status(423);
    let found = second.propfind("/file", "0", "").await;
    assert_eq!(texts(&found, "lockroot"), ["<D:href>/dav/file</D:href>"]);
    assert!(found.contains("mailto:me@example.net"));

    let held = format!("({token})");
    first.change("PUT", "/file", &held).await.status(204);
    first.change("PROPPATCH", "/file", &held).await.status(207);
    let etag = first.dav_get("/file").await.header("etag").to_owned();
    for (states, status) in [
        (format!("({token} [{etag}])"), 204),
        (format!("({token} [\"other\"])"), 412),
        (format!("({token}) (Not <DAV:no-lock>)"), 204),
        (format!("({token} [\"other\"]) (Not <DAV:no-lock>)"), 204),
        (format!("</dav/file> ({token})"), 204),
        (format!("</dav/to> ({token})"), 412),
    ] {
        let answer = first.change("PUT", "/file", &states).await;
        assert_eq!(answer.status, status, "{states}");
    }
    second.unlock("/to", &token).await.status(409);
    first.unlock("/file", &token).await.status(204);
    first.unlock("/file", &token).await.status(409);
    second.change("DELETE", "/file", "").await.status(204);
}

/// Sections 6.2 and 7.4: shared locks, and locks on folders.
#[tokio::test]
async fn shared_and_deep_locks() {
    let (_stack, user) = TestStack::with_user().await;
    for folder in ["/a", "/a/b"] {
        send(user.dav("MKCOL", folder)).await.status(201);
    }
    user.dav_put("/a/b/file", b"content").await.status(201);
    let deep = user.lock("/a", "infinity", SHARED).await;
    let other = user.lock("/a/b/file", "0", SHARED).await;
    user.try_lock("/a/b", "0", EXCLUSIVE).await.status(423);
    user.change("PUT", "/a/b/file", "").await.status(423);
    user.change("PUT", "/a/b/new", "").await.status(423);
    user.change("PUT", "/a/b/new", &format!("({deep})"))
        .await
        .status(201);
    user.change("DELETE", "/a", &format!("({deep})"))
        .await
        .status(423);
    // The lock of another address is named with the address.
    let both = format!("</dav/a> ({deep}) </dav/a/b/file> ({other})");
    user.change("PUT", "/a/b/file", &both).await.status(204);
    user.unlock("/a/b/file", &other).await.status(204);
    // Any address that it covers will do.
    user.unlock("/a/b", &deep).await.status(204);

    let flat = user.lock("/a", "0", EXCLUSIVE).await;
    user.change("PUT", "/a/b/file", "").await.status(204);
    user.change("PUT", "/a/new", "").await.status(423);
    user.change("MKCOL", "/a/folder", "").await.status(423);
    user.change("DELETE", "/a/b", "").await.status(423);
    let held = format!("</dav/a> ({flat})");
    user.change("MKCOL", "/a/folder", &held).await.status(201);
    user.change("MOVE", "/a", &format!("({flat})"))
        .await
        .status(201);
    let found = user.propfind("/to", "0", "").await;
    assert_eq!(texts(&found, "lockdiscovery"), [""], "a lock does not move");
}

/// Sections 7.3 and 9.10.2: a lock on nothing is an empty file, and a lock is refreshed.
#[tokio::test]
async fn new_names_and_refreshed_locks() {
    let (_stack, user) = TestStack::with_user().await;
    user.try_lock("/missing/file", "0", EXCLUSIVE)
        .await
        .status(409);
    let made = user.try_lock("/new", "0", EXCLUSIVE).await.status(201);
    let token = made.header("lock-token").to_owned();
    assert_eq!(user.dav_get("/new").await.status(200).body.len(), 0);
    user.change("PUT", "/new", "").await.status(423);
    user.change("PUT", "/new", &format!("({token})"))
        .await
        .status(204);

    let refresh = |states: &str, timeout: &str| {
        let request = user.dav("LOCK", "/new").header("if", states);
        send(request.header("timeout", timeout))
    };
    let refreshed = refresh(&format!("({token})"), "Second-90")
        .await
        .status(200);
    assert_eq!(texts(&refreshed.text(), "timeout"), ["Second-90"]);
    let refreshed = refresh(&format!("({token})"), "Infinite").await.status(200);
    assert_eq!(
        texts(&refreshed.text(), "timeout"),
        ["Second-3600"],
        "at most"
    );
    let unknown = "(<urn:uuid:00000000-0000-4000-8000-000000000000>)";
    refresh(unknown, "Second-90").await.status(412);
    user.unlock("/new", &token).await.status(204);
    refresh(&format!("({token})"), "Second-90")
        .await
        .status(412);

    for body in ["<D:lockinfo xmlns:D=\"DAV:\"/>", "<other/>", "text"] {
        send(user.dav("LOCK", "/new").body(body)).await.status(400);
    }
    send(
        user.dav("LOCK", "/new")
            .header("depth", "1")
            .body(EXCLUSIVE),
    )
    .await
    .status(400);
}
