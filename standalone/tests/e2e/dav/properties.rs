//! PROPFIND and PROPPATCH.

use super::texts;
use crate::support::{TestStack, User, send};

impl User {
    async fn proppatch(&self, path: &str, instructions: &str) -> String {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
            <D:propertyupdate xmlns:D=\"DAV:\">{instructions}</D:propertyupdate>"
        );
        let answer = send(self.dav("PROPPATCH", path).body(body))
            .await
            .status(207);
        String::from_utf8(answer.body.to_vec()).unwrap()
    }

    async fn prop(&self, path: &str, names: &str) -> String {
        let body = format!("<D:propfind xmlns:D=\"DAV:\"><D:prop>{names}</D:prop></D:propfind>");
        self.propfind(path, "0", &body).await
    }
}

fn set(properties: &str) -> String {
    format!("<D:set><D:prop>{properties}</D:prop></D:set>")
}

fn remove(properties: &str) -> String {
    format!("<D:remove><D:prop>{properties}</D:prop></D:remove>")
}

/// Section 15: what the server knows by itself, under every way to ask.
#[tokio::test]
async fn live_properties() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("file", 1_234);
    let put = user
        .dav("PUT", "/a & b.txt")
        .header("x-oc-mtime", "1700000000.5");
    let put = send(put.body(content.clone())).await.status(201);
    let etag = format!("\"{}\"", blake3::hash(&content).to_hex());
    assert_eq!(put.header("etag"), etag);
    let everything = user.propfind("/a & b.txt", "0", "").await;
    for (name, value) in [
        ("href", "/dav/a%20%26%20b.txt"),
        ("displayname", "a &amp; b.txt"),
        ("getcontentlength", "1234"),
        ("getcontenttype", "text/plain"),
        ("getlastmodified", "Tue, 14 Nov 2023 22:13:20 GMT"),
        ("getetag", &etag.replace('"', "&quot;")),
        ("resourcetype", ""),
        ("lockdiscovery", ""),
        ("status", "HTTP/1.1 200 OK"),
    ] {
        assert_eq!(texts(&everything, name), [value], "{name}");
    }
    assert!(everything.contains("<D:creationdate>20"), "{everything}");
    assert!(!everything.contains("quota"), "only when asked for");
    let folder = user.propfind("/", "0", "").await;
    assert_eq!(texts(&folder, "resourcetype"), ["<D:collection/>"]);
    assert!(texts(&folder, "getcontentlength").is_empty());
    let names = "<D:propfind xmlns:D=\"DAV:\"><D:propname/></D:propfind>";
    let names = user.propfind("/a & b.txt", "0", names).await;
    assert!(names.contains("<D:getetag/>") && !names.contains("1234"));
    let some = user
        .prop(
            "/a & b.txt",
            "<D:getcontentlength/><D:other/><x xmlns=\"y\"/>",
        )
        .await;
    assert_eq!(
        texts(&some, "status"),
        ["HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found"]
    );
    assert_eq!(
        texts(&some, "prop"),
        [
            "<D:getcontentlength>1234</D:getcontentlength>",
            "<D:other/><x:x xmlns:x=\"y\"/>"
        ]
    );
}

/// Section 9.2: in order, and all of it or nothing.
#[tokio::test]
async fn dead_properties() {
    let (_stack, user) = TestStack::with_user().await;
    user.dav_put("/file", b"x").await.status(201);
    let value = "<v xmlns=\"urn:x\" xml:lang=\"en\">1 &lt; 2 <in xmlns=\"\" a=\"b\"/>\u{10000}</v>";
    let changed = user.proppatch("/file", &set(value)).await;
    assert_eq!(texts(&changed, "status"), ["HTTP/1.1 200 OK"]);
    let ask = "<v xmlns=\"urn:x\"/>";
    // What was declared around it may be meant by something in it.
    let value = value.replacen("urn:x\"", "urn:x\" xmlns:D=\"DAV:\"", 1);
    assert_eq!(texts(&user.prop("/file", ask).await, "prop"), [&*value]);
    assert!(user.propfind("/file", "0", "").await.contains(&value));

    let refused = set("<v xmlns=\"urn:x\">2</v><D:getetag>mine</D:getetag>");
    let refused = user.proppatch("/file", &refused).await;
    assert_eq!(
        texts(&refused, "status"),
        ["HTTP/1.1 403 Forbidden", "HTTP/1.1 424 Failed Dependency"]
    );
    assert_eq!(texts(&user.prop("/file", ask).await, "prop"), [&*value]);

    // Another namespace is another property, and so is none.
    let others = set("<v xmlns=\"\">none</v><v xmlns=\"urn:y\">y</v>");
    user.proppatch("/file", &others).await;
    assert_eq!(texts(&user.prop("/file", ask).await, "prop"), [&*value]);
    let none = user.prop("/file", "<v xmlns=\"\"/>").await;
    assert!(texts(&none, "prop")[0].contains(">none</v>"), "{none}");

    user.transplant("COPY", "/file", "/copy").await.status(201);
    user.transplant("MOVE", "/file", "/moved").await.status(201);
    user.dav_put("/moved", b"other").await.status(204);
    for path in ["/copy", "/moved"] {
        assert_eq!(
            texts(&user.prop(path, ask).await, "prop"),
            [&*value],
            "{path}"
        );
    }
    let both = remove(ask) + &set("<v xmlns=\"urn:x\">3</v>") + &remove("<w xmlns=\"urn:x\"/>");
    user.proppatch("/moved", &both).await;
    let three = "<v xmlns=\"urn:x\" xmlns:D=\"DAV:\">3</v>";
    assert_eq!(texts(&user.prop("/moved", ask).await, "prop"), [three]);
    let both = set("<v xmlns=\"urn:x\">4</v>") + &remove(ask);
    user.proppatch("/moved", &both).await;
    let gone = user.prop("/moved", ask).await;
    assert_eq!(texts(&gone, "status"), ["HTTP/1.1 404 Not Found"]);
    assert_eq!(texts(&user.prop("/copy", ask).await, "prop"), [&*value]);
}

/// What a client can make the server keep is bounded.
#[tokio::test]
async fn too_many_properties() {
    let (_stack, user) = TestStack::with_user().await;
    user.dav_put("/file", b"x").await.status(201);
    let long = "x".repeat(33 << 10);
    let many: String = (0..101)
        .map(|n| format!("<p{n} xmlns=\"urn:x\"/>"))
        .collect();
    for (properties, status) in [
        (format!("<p xmlns=\"urn:x\">{long}</p>"), 507),
        (many, 400),
        (format!("<p xmlns=\"{long}\"/>"), 507),
        (format!("<p xmlns=\"urn:x\">{long}{long}</p>"), 413),
    ] {
        let body = format!(
            "<D:propertyupdate xmlns:D=\"DAV:\">{}</D:propertyupdate>",
            set(&properties)
        );
        let answer = send(user.dav("PROPPATCH", "/file").body(body)).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    assert!(!user.propfind("/file", "0", "").await.contains("urn:x"));
}
