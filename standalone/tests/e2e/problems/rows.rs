//! The table of bad input to accounts and uploads, and the problems that answer it.

use cloudstore_proto::http::Upload;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::User;

/// A refused request: what it is, the request, status and slug of the answer.
pub(super) type Row = (&'static str, RequestBuilder, u16, &'static str);

fn post(user: &User, path: &str, body: &str) -> RequestBuilder {
    user.request(Method::POST, path)
        .header("content-type", "application/json")
        .body(body.to_owned())
}

fn create(user: &User, body: &Value) -> RequestBuilder {
    user.request(Method::POST, "/api/v1/uploads").json(body)
}

pub(super) fn put(user: &User, path: &str, name: &str, value: &str) -> RequestBuilder {
    user.request(Method::PUT, path)
        .header(name, value)
        .body("0123456789")
}

/// Bodies that are no JSON, and JSON of another shape.
pub(super) fn json_rows(user: &User) -> Vec<Row> {
    const UPLOADS: &str = "/api/v1/uploads";
    let text = user.request(Method::POST, UPLOADS);
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let huge = format!(r#"{{"path":"/{}","size":1}}"#, "x".repeat(2 << 20));
    vec![
        ("no body", text, 415, "unsupported-media-type"),
        (
            "empty body",
            post(user, UPLOADS, ""),
            400,
            "malformed-request",
        ),
        (
            "cut off",
            post(user, UPLOADS, r#"{"path":"/a","#),
            400,
            "malformed-request",
        ),
        (
            "not JSON",
            post(user, UPLOADS, "path=/a&size=1"),
            400,
            "malformed-request",
        ),
        (
            "more than JSON",
            post(user, UPLOADS, r#"{"path":"/a","size":1}}"#),
            400,
            "malformed-request",
        ),
        (
            "endless nesting",
            post(user, UPLOADS, &deep),
            422,
            "invalid-fields",
        ),
        ("too large", post(user, UPLOADS, &huge), 413, "too-large"),
        (
            "another type",
            user.request(Method::POST, UPLOADS)
                .body(r#"{"path":"/a","size":1}"#),
            415,
            "unsupported-media-type",
        ),
        (
            "compressed",
            create(user, &json!({ "path": "/a", "size": 1 })).header("content-encoding", "gzip"),
            415,
            "unsupported-media-type",
        ),
        ("an array", post(user, UPLOADS, "[]"), 422, "invalid-fields"),
        ("a number", post(user, UPLOADS, "5"), 422, "invalid-fields"),
        ("null", post(user, UPLOADS, "null"), 422, "invalid-fields"),
        (
            "a field twice",
            post(user, UPLOADS, r#"{"path":"/a","path":"/b","size":1}"#),
            422,
            "invalid-fields",
        ),
        (
            "broken UTF-16",
            post(user, UPLOADS, r#"{"path":"/\ud800","size":1}"#),
            400,
            "malformed-request",
        ),
    ]
}

/// Fields of an upload.
pub(super) fn upload_rows(user: &User) -> Vec<Row> {
    let with = |name: &str, value: Value| {
        let mut body = json!({ "path": "/a", "size": 1 });
        body[name] = value;
        create(user, &body)
    };
    let digest = |name: &str, value: &str| with("digests", json!({ name: value }));
    vec![
        (
            "no path",
            create(user, &json!({ "size": 1 })),
            422,
            "invalid-fields",
        ),
        (
            "no size",
            create(user, &json!({ "path": "/a" })),
            422,
            "invalid-fields",
        ),
        (
            "unknown field",
            with("colour", json!("red")),
            422,
            "invalid-fields",
        ),
        (
            "negative size",
            with("size", json!(-1)),
            422,
            "invalid-fields",
        ),
        (
            "half a byte",
            with("size", json!(0.5)),
            422,
            "invalid-fields",
        ),
        (
            "size as text",
            with("size", json!("1")),
            422,
            "invalid-fields",
        ),
        (
            "size beyond 64 bits",
            post(
                user,
                "/api/v1/uploads",
                r#"{"path":"/a","size":99999999999999999999999}"#,
            ),
            422,
            "invalid-fields",
        ),
        (
            "size over the maximum",
            with("size", json!(u64::MAX)),
            413,
            "too-large",
        ),
        (
            "size over what a file can have",
            with("size", json!(1_u64 << 62)),
            413,
            "too-large",
        ),
        (
            "path of another type",
            with("path", json!(["a"])),
            422,
            "invalid-fields",
        ),
        (
            "path with ..",
            with("path", json!("/a/../b")),
            422,
            "invalid-path",
        ),
        (
            "path with NUL",
            with("path", json!("/a\0b")),
            422,
            "invalid-path",
        ),
        (
            "path with a control character",
            with("path", json!("/a\u{1}")),
            422,
            "invalid-path",
        ),
        (
            "a name of 256 bytes",
            with("path", json!(format!("/{}", "x".repeat(256)))),
            422,
            "invalid-path",
        ),
        (
            "100 folders deep",
            with("path", json!("/d".repeat(100))),
            422,
            "invalid-path",
        ),
        (
            "the root folder",
            with("path", json!("/")),
            422,
            "invalid-path",
        ),
        (
            "conflict rule",
            with("on_conflict", json!("explode")),
            422,
            "invalid-fields",
        ),
        (
            "time",
            with("mtime", json!("yesterday")),
            422,
            "invalid-fields",
        ),
        (
            "time of another type",
            with("mtime", json!(12)),
            422,
            "invalid-fields",
        ),
        (
            "short SHA-1",
            digest("sha1", "abcdef"),
            422,
            "invalid-fields",
        ),
        (
            "SHA-256 without hex",
            digest("sha256", &"x".repeat(64)),
            422,
            "invalid-fields",
        ),
        (
            "long BLAKE3",
            digest("blake3", &"0".repeat(66)),
            422,
            "invalid-fields",
        ),
        (
            "unknown digest",
            digest("md5", &"0".repeat(32)),
            422,
            "invalid-fields",
        ),
        (
            "name taken",
            with("path", json!("/taken")),
            409,
            "name-conflict",
        ),
        (
            "below a file",
            with("path", json!("/taken/x")),
            409,
            "not-a-folder",
        ),
    ]
}

/// Chunks and ids.
pub(super) fn chunk_rows(user: &User, upload: &Upload) -> Vec<Row> {
    let id = &upload.id;
    let chunk = |index: &str| format!("/api/v1/uploads/{id}/chunks/{index}");
    let unknown = "/api/v1/uploads/0197a0b0-0000-7000-8000-000000000000";
    let plain = |path: &str, body: &'static str| user.request(Method::PUT, path).body(body);
    vec![
        (
            "chunk out of range",
            plain(&chunk("1"), "x"),
            400,
            "malformed-request",
        ),
        (
            "chunk too short",
            plain(&chunk("0"), "x"),
            400,
            "wrong-length",
        ),
        (
            "chunk too long",
            plain(&chunk("0"), "0123456789x"),
            400,
            "wrong-length",
        ),
        (
            "chunk with a wrong digest",
            put(
                user,
                &chunk("0"),
                "content-digest",
                "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:",
            ),
            422,
            "digest-mismatch",
        ),
        (
            "chunk with half a digest",
            put(user, &chunk("0"), "content-digest", "sha-256=:AAAA:"),
            400,
            "malformed-request",
        ),
        (
            "compressed chunk",
            put(user, &chunk("0"), "content-encoding", "br"),
            415,
            "unsupported-media-type",
        ),
        ("negative index", plain(&chunk("-1"), "x"), 404, "not-found"),
        (
            "index that is none",
            plain(&chunk("first"), "x"),
            404,
            "not-found",
        ),
        (
            "incomplete",
            user.request(Method::POST, &format!("/api/v1/uploads/{id}/complete")),
            409,
            "incomplete",
        ),
        (
            "proof of nothing",
            user.request(Method::POST, &format!("/api/v1/uploads/{id}/proof"))
                .json(&json!({ "proof": "0".repeat(64) })),
            403,
            "proof-failed",
        ),
        (
            "short proof",
            user.request(Method::POST, &format!("/api/v1/uploads/{id}/proof"))
                .json(&json!({ "proof": "0" })),
            422,
            "invalid-fields",
        ),
        (
            "unknown upload",
            user.request(Method::GET, unknown),
            404,
            "not-found",
        ),
        (
            "unknown upload's chunk",
            plain(&format!("{unknown}/chunks/0"), "x"),
            404,
            "not-found",
        ),
        (
            "unknown upload's completion",
            user.request(Method::POST, &format!("{unknown}/complete")),
            404,
            "not-found",
        ),
        (
            "unknown upload's end",
            user.request(Method::DELETE, unknown),
            404,
            "not-found",
        ),
        (
            "id that is none",
            user.request(Method::GET, "/api/v1/uploads/x"),
            404,
            "not-found",
        ),
    ]
}
