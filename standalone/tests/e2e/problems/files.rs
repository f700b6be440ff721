//! The table of bad input to content, files and folders, and the problems that answer it.

use reqwest::Method;
use serde_json::json;

use super::rows::{Row, put};
use crate::support::User;

/// Content, files, folders, unknown addresses.
pub(super) fn file_rows(user: &User) -> Vec<Row> {
    let get = |path: &str| user.request(Method::GET, path);
    let content = "/api/v1/content/new";
    vec![
        (
            "content that is not there",
            get("/api/v1/content/absent"),
            404,
            "not-found",
        ),
        (
            "content of a folder",
            get("/api/v1/content/folder"),
            409,
            "is-a-folder",
        ),
        (
            "no byte of the range",
            get("/api/v1/content/taken").header("range", "bytes=100-"),
            416,
            "range-not-satisfiable",
        ),
        (
            "a precondition",
            get("/api/v1/content/taken").header("if-match", "\"x\""),
            412,
            "precondition-failed",
        ),
        (
            "unknown disposition",
            get("/api/v1/content/taken?disposition=x"),
            400,
            "malformed-request",
        ),
        (
            "compressed content",
            put(user, content, "content-encoding", "gzip"),
            415,
            "unsupported-media-type",
        ),
        (
            "part of a content",
            put(user, content, "content-range", "bytes 0-9/20"),
            400,
            "malformed-request",
        ),
        (
            "content with a wrong digest",
            put(
                user,
                content,
                "repr-digest",
                "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:",
            ),
            422,
            "digest-mismatch",
        ),
        (
            "content in a file",
            put(user, "/api/v1/content/taken/x", "x-a", "b"),
            409,
            "not-a-folder",
        ),
        (
            "content in place of a folder",
            put(user, "/api/v1/content/folder", "x-a", "b"),
            409,
            "is-a-folder",
        ),
        (
            "content with NUL in its name",
            put(user, "/api/v1/content/a%00b", "x-a", "b"),
            422,
            "invalid-path",
        ),
        (
            "unknown conflict rule",
            put(user, "/api/v1/content/new?on_conflict=x", "x-a", "b"),
            400,
            "malformed-request",
        ),
        (
            "content without a name",
            put(user, "/api/v1/content/", "x-a", "b"),
            404,
            "not-found",
        ),
        (
            "metadata of nothing",
            get("/api/v1/files/absent"),
            404,
            "not-found",
        ),
        (
            "a page of no entries",
            get("/api/v1/files/folder?limit=0"),
            400,
            "malformed-request",
        ),
        (
            "unknown order",
            get("/api/v1/files/folder?sort=luck"),
            400,
            "malformed-request",
        ),
        (
            "forged cursor",
            get("/api/v1/files/folder?cursor=abc"),
            400,
            "malformed-request",
        ),
        (
            "folder in a file",
            user.request(Method::POST, "/api/v1/folders")
                .json(&json!({ "path": "/taken/x" })),
            409,
            "not-a-folder",
        ),
        (
            "folder in nothing",
            user.request(Method::POST, "/api/v1/folders")
                .json(&json!({ "path": "/x/y" })),
            404,
            "not-found",
        ),
        (
            "folder in place of a file",
            user.request(Method::POST, "/api/v1/folders")
                .json(&json!({ "path": "/taken" })),
            409,
            "name-conflict",
        ),
        (
            "rename to a taken name",
            user.request(Method::PATCH, "/api/v1/files/folder")
                .json(&json!({ "path": "/taken" })),
            409,
            "name-conflict",
        ),
        (
            "deleting the root folder",
            user.request(Method::DELETE, "/api/v1/files/"),
            422,
            "invalid-path",
        ),
        (
            "deleting nothing",
            user.request(Method::DELETE, "/api/v1/files/absent"),
            404,
            "not-found",
        ),
        ("unknown address", get("/api/v1/nothing"), 404, "not-found"),
        (
            "unknown address with a huge name",
            get(&format!("/{}", "x".repeat(5_000))),
            404,
            "not-found",
        ),
        (
            "the seed's address",
            user.request(Method::POST, "/file/upload"),
            404,
            "not-found",
        ),
        (
            "unknown method",
            user.request(Method::DELETE, "/api/v1/uploads"),
            405,
            "method-not-allowed",
        ),
        (
            "unknown method of content",
            user.request(Method::POST, "/api/v1/content/a"),
            405,
            "method-not-allowed",
        ),
        (
            "made-up method",
            user.request("BREW".parse().unwrap(), "/api/v1/me"),
            405,
            "method-not-allowed",
        ),
    ]
}
