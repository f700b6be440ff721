//! One row for each rule, with its source in the drafts. "-05" is
//! draft-ietf-httpbis-resumable-upload-05, "-12" the text after -11. All rows are tried in every
//! version they are for.

use std::ops::RangeInclusive;

use cloudstore_proto::http::File;
use reqwest::Method;
use serde_json::Value;

use super::{PROBLEMS, Said, VERSIONS, completeness, is_complete};
use crate::support::{Answer, TestStack, User, send};

const CONTENT: &[u8] = b"0123456789";

/// The upload before the request.
#[derive(Clone, Copy)]
enum Before {
    /// Four of ten bytes, the length told or not.
    Four {
        told: bool,
    },
    /// All ten, not completed.
    All,
    Done,
    Cancelled,
}

/// What the answer says about completeness.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Complete {
    Yes,
    No,
    Unsaid,
}
use Complete::{No, Unsaid, Yes};

struct Rule {
    source: &'static str,
    versions: RangeInclusive<u8>,
    before: Before,
    method: Method,
    said: Said<'static>,
    body: &'static [u8],
    status: u16,
    complete: Complete,
    /// Last part of the problem's type.
    problem: &'static str,
    /// Offset afterwards; `None`: the upload is not there any more.
    after: Option<usize>,
}

const fn said(complete: Option<bool>, offset: Option<usize>) -> Said<'static> {
    Said {
        complete,
        offset,
        length: None,
        fields: &[],
    }
}

#[expect(clippy::too_many_arguments, reason = "the columns of a table")]
fn rule(
    source: &'static str,
    versions: RangeInclusive<u8>,
    before: Before,
    said: Said<'static>,
    body: &'static [u8],
    status: u16,
    complete: Complete,
    problem: &'static str,
    after: Option<usize>,
) -> Rule {
    Rule {
        source,
        versions,
        before,
        method: Method::PATCH,
        said,
        body,
        status,
        complete,
        problem,
        after,
    }
}

fn other(method: Method, rule: Rule) -> Rule {
    Rule { method, ..rule }
}

const OFFSET: &str = "mismatching-upload-offset";
const LENGTH: &str = "inconsistent-upload-length";
const COMPLETED: &str = "completed-upload";
const FOUR: Before = Before::Four { told: true };
const OPEN: Before = Before::Four { told: false };

#[rustfmt::skip]
fn appends() -> Vec<Rule> {
    let (more, rest) = (Some(false), Some(true));
    vec![
        rule("-05 Upload Append: 201 if not yet complete", 3..=6, FOUR, said(more, Some(4)), b"45", 201, No, "", Some(6)),
        rule("-06 Upload Append: 2xx if not yet complete", 7..=8, FOUR, said(more, Some(4)), b"45", 204, No, "", Some(6)),
        rule("-01 Upload Append: 201 when complete", 3..=8, FOUR, said(rest, Some(4)), b"456789", 201, Yes, "", Some(10)),
        rule("-02 Length: where the rest ends", 3..=8, OPEN, said(rest, Some(4)), b"456789", 201, Yes, "", Some(10)),
        rule("-02 Length: where the rest ends, also if nothing comes", 3..=8, OPEN, said(rest, Some(4)), b"", 201, Yes, "", Some(4)),
        rule("-01 Upload Append: 409 for another offset", 3..=8, FOUR, said(more, Some(3)), b"3", 409, No, OFFSET, Some(4)),
        rule("-01 Upload Append: 409 for an offset ahead", 3..=8, FOUR, said(rest, Some(9)), b"9", 409, No, OFFSET, Some(4)),
        rule("-01 Upload-Offset is required", 3..=8, FOUR, said(more, None), b"4", 400, No, "", Some(4)),
        rule("-01 Upload-Incomplete: omitted is false", 3..=3, FOUR, said(None, Some(4)), b"456789", 201, Yes, "", Some(10)),
        rule("-02 Upload-Complete: complete only if true", 4..=6, FOUR, said(None, Some(4)), b"456789", 201, No, "", Some(10)),
        rule("-06 Upload-Complete is required", 7..=8, FOUR, said(None, Some(4)), b"456789", 400, No, "", Some(4)),
        rule("-03 media type: any", 3..=5, FOUR, Said { fields: &[("content-type", "text/plain")], ..said(more, Some(4)) }, b"4", 201, No, "", Some(5)),
        rule("-04 media type: application/partial-upload", 6..=8, FOUR, Said { fields: &[("content-type", "text/plain")], ..said(more, Some(4)) }, b"4", 415, No, "", Some(4)),
        rule("-02 Length: must match if the rest comes", 3..=8, FOUR, said(rest, Some(4)), b"45", 400, No, LENGTH, Some(4)),
        rule("-06 Length: both indicators must match", 3..=8, OPEN, Said { length: Some(9), ..said(rest, Some(4)) }, b"456789", 400, No, LENGTH, Some(4)),
        rule("-06 Length: must match the one before", 3..=8, FOUR, Said { length: Some(11), ..said(more, Some(4)) }, b"4", 400, No, LENGTH, Some(4)),
        rule("-05 Length: no bytes beyond it", 3..=6, FOUR, said(more, Some(4)), b"456789X", 400, No, LENGTH, Some(4)),
        rule("-08 Length: bytes beyond it end the upload", 7..=8, FOUR, said(more, Some(4)), b"456789X", 400, No, LENGTH, None),
        rule("-03 nothing more completes", 3..=8, Before::All, said(rest, Some(10)), b"", 201, Yes, "", Some(10)),
        rule("-04 a complete upload is not changed", 3..=7, Before::Done, said(more, Some(10)), b"X", 400, No, COMPLETED, Some(10)),
        rule("-12 a complete upload is not changed", 8..=8, Before::Done, said(more, Some(10)), b"X", 400, No, COMPLETED, Some(10)),
        rule("-11 completing again is refused", 3..=7, Before::Done, said(rest, Some(10)), b"", 400, No, COMPLETED, Some(10)),
        rule("-12 the final answer is given again", 8..=8, Before::Done, said(rest, Some(10)), b"", 200, Yes, "", Some(10)),
        rule("-12 but not for another offset", 8..=8, Before::Done, said(rest, Some(4)), b"456789", 409, No, OFFSET, Some(10)),
        rule("-05 not active: 404", 3..=6, Before::Cancelled, said(more, Some(4)), b"4", 404, No, "", None),
        rule("-11 not available: 410", 7..=8, Before::Cancelled, said(more, Some(4)), b"4", 410, No, "", None),
    ]
}

#[rustfmt::skip]
fn others() -> Vec<Rule> {
    let nothing = said(None, None);
    vec![
        other(Method::HEAD, rule("-01 Offset Retrieval: 204", 3..=8, FOUR, nothing, b"", 204, No, "", Some(4))),
        other(Method::HEAD, rule("-01 the offset alone completes nothing", 3..=8, Before::All, nothing, b"", 204, No, "", Some(10))),
        other(Method::HEAD, rule("-01 Offset Retrieval of a complete upload", 3..=8, Before::Done, nothing, b"", 204, Yes, "", Some(10))),
        other(Method::HEAD, rule("-05 Offset Retrieval: no fields of an append", 3..=6, FOUR, said(None, Some(4)), b"", 400, No, "", Some(4))),
        other(Method::HEAD, rule("-06 Offset Retrieval: whatever fields", 7..=8, FOUR, said(None, Some(4)), b"", 204, No, "", Some(4))),
        other(Method::HEAD, rule("-05 not active: 404", 3..=6, Before::Cancelled, nothing, b"", 404, No, "", None)),
        other(Method::HEAD, rule("-11 not available: 410", 7..=8, Before::Cancelled, nothing, b"", 410, No, "", None)),
        other(Method::DELETE, rule("-01 Cancellation: 204", 3..=8, FOUR, nothing, b"", 204, Unsaid, "", None)),
        other(Method::DELETE, rule("-05 Cancellation: no fields of an append", 3..=6, FOUR, said(Some(true), None), b"", 400, No, "", Some(4))),
        other(Method::DELETE, rule("-06 Cancellation: whatever fields", 7..=8, FOUR, said(Some(true), None), b"", 204, Unsaid, "", None)),
    ]
}

async fn begin(user: &User, version: u8, before: Before) -> String {
    let length = match before {
        Before::Four { told: false } => None,
        _ => Some(CONTENT.len()),
    };
    let sent = match before {
        Before::All | Before::Done => CONTENT,
        _ => &CONTENT[..4],
    };
    let path = user.ietf_begin(version, length, sent).await;
    match before {
        Before::Done => {
            let end = Said::complete(true).at(CONTENT.len());
            let done = user.ietf_append(version, &path, end, b"").await;
            assert!(is_complete(version, &done.status(201)));
        }
        Before::Cancelled => {
            let cancel = user.ietf(version, Method::DELETE, &path, Said::default());
            send(cancel).await.status(204);
        }
        _ => {}
    }
    path
}

async fn check(user: &User, version: u8, rule: &Rule) {
    let what = format!("version {version}, {}", rule.source);
    let path = begin(user, version, rule.before).await;
    let request = user.ietf(version, rule.method.clone(), &path, rule.said);
    let answer = send(request.body(rule.body.to_vec())).await;
    assert_eq!(answer.status, rule.status, "{what}: {}", answer.text());
    let told = answer.headers.contains_key(completeness(version, true).0);
    let complete = match (told, told && is_complete(version, &answer)) {
        (false, _) => Unsaid,
        (true, true) => Yes,
        (true, false) => No,
    };
    assert_eq!(complete, rule.complete, "{what}");
    if !rule.problem.is_empty() {
        check_problem(&what, rule, &answer);
    }
    if answer.status == 201 && complete == Yes {
        let file: File = answer.json(201);
        assert_eq!(
            Some(file.size),
            rule.after.map(|size| size as u64),
            "{what}"
        );
    }
    let head = user.ietf_head(version, &path).await;
    match rule.after {
        Some(offset) => {
            let head = head.status(204);
            assert_eq!(head.header("upload-offset"), offset.to_string(), "{what}");
            assert_eq!(head.header("cache-control"), "no-store", "{what}");
        }
        None if version <= 6 => drop(head.status(404)),
        None => drop(head.status(410)),
    }
}

fn check_problem(what: &str, rule: &Rule, answer: &Answer) {
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        body["type"],
        format!("{PROBLEMS}{}", rule.problem),
        "{what}"
    );
    assert_eq!(body["status"], rule.status, "{what}");
    if rule.problem == OFFSET {
        let expected = rule.after.unwrap();
        assert_eq!(answer.header("upload-offset"), expected.to_string());
        assert_eq!(body["expected-offset"], expected, "{what}");
        assert_eq!(body["provided-offset"], rule.said.offset.unwrap(), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn appending() {
    let (_stack, user) = TestStack::with_user().await;
    for rule in appends() {
        for version in rule.versions.clone() {
            check(&user, version, &rule).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_and_cancellation() {
    let (_stack, user) = TestStack::with_user().await;
    for rule in others() {
        for version in rule.versions.clone() {
            check(&user, version, &rule).await;
        }
    }
}

/// What `Upload-Limit` calls the lifetime; empty where there is no such field.
fn age(version: u8) -> &'static str {
    match version {
        ..=5 => "",
        6 => "expires=",
        7.. => "max-age=",
    }
}

#[track_caller]
fn check_limit(version: u8, answer: &Answer) {
    let limit = answer.header("upload-limit");
    if version <= 5 {
        assert_eq!(limit, "", "{}", answer.what);
    } else {
        assert!(limit.starts_with("max-size="), "{}: {limit}", answer.what);
        assert!(limit.contains(age(version)), "{}: {limit}", answer.what);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn creation() {
    let (_stack, user) = TestStack::with_user().await;
    for version in VERSIONS {
        for (source, said, body, status, complete) in [
            (
                "-01 not complete: 201",
                Said::complete(false),
                CONTENT,
                201,
                Some(false),
            ),
            (
                "-03 nothing yet",
                Said::complete(false),
                b"".as_slice(),
                201,
                Some(false),
            ),
            (
                "-01 complete: the target's answer",
                Said::complete(true),
                CONTENT,
                201,
                Some(true),
            ),
            (
                "-03 an empty file",
                Said::complete(true),
                b"",
                201,
                Some(true),
            ),
            (
                "-05 Upload-Length",
                Said::complete(true).of(10),
                CONTENT,
                201,
                Some(true),
            ),
            (
                "-05 Upload-Length of more",
                Said::complete(false).of(99),
                CONTENT,
                201,
                Some(false),
            ),
            (
                "-06 the lengths must match",
                Said::complete(true).of(9),
                CONTENT,
                400,
                Some(false),
            ),
            (
                "-05 more than the length",
                Said::complete(false).of(9),
                CONTENT,
                400,
                Some(false),
            ),
            (
                "-04 more than max-size",
                Said::complete(false).of(1 << 49),
                b"",
                413,
                Some(false),
            ),
            (
                "whether it is all is not said",
                Said::default(),
                CONTENT,
                400,
                Some(false),
            ),
        ] {
            let what = format!("version {version}, {source}");
            let answer = user.ietf_create(version, said, body).await;
            assert_eq!(answer.status, status, "{what}: {}", answer.text());
            assert_eq!(Some(is_complete(version, &answer)), complete, "{what}");
            if [201, 413].contains(&status) {
                check_limit(version, &answer);
            }
            if status != 201 {
                continue;
            }
            let path = user.ietf_location(&answer);
            let head = user.ietf_head(version, &path).await.status(204);
            assert_eq!(
                head.header("upload-offset"),
                body.len().to_string(),
                "{what}"
            );
            assert_eq!(Some(is_complete(version, &head)), complete, "{what}");
            let length = match (said.complete, said.length) {
                (Some(true), _) => body.len().to_string(),
                (_, length) => length.map(|length| length.to_string()).unwrap_or_default(),
            };
            assert_eq!(head.header("upload-length"), length, "{what}");
            check_limit(version, &head);
            if complete == Some(true) {
                let file: File = answer.json(201);
                user.assert_content(&file.path, body).await;
            }
        }
    }
}

/// Malformed fields are as good as not there.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_fields_are_ignored() {
    let (_stack, user) = TestStack::with_user().await;
    for (name, value) in [
        ("upload-length", "-1"),
        ("upload-length", "ten"),
        ("upload-length", "1.5"),
        ("upload-offset", "x"),
        ("upload-limit", "max-size=x"),
    ] {
        let fields = [(name, value)];
        let said = Said {
            fields: &fields,
            ..Said::complete(false)
        };
        let answer = user.ietf_create(8, said, CONTENT).await.status(201);
        let path = user.ietf_location(&answer);
        let head = user.ietf_head(8, &path).await;
        assert_eq!(head.header("upload-length"), "", "{name}: {value}");
        // Where the field is required, ignored is missing.
        if name == "upload-offset" {
            user.ietf_append(8, &path, said, b"").await.status(400);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_told_in_advance_and_to_anybody() {
    let (stack, user) = TestStack::with_user().await;
    for version in VERSIONS {
        for path in ["/files/", "/api/v1/content/x"] {
            let request = stack.api().request(Method::OPTIONS, path);
            let request = request.header("upload-draft-interop-version", version.to_string());
            check_limit(version, &send(request).await.status(204));
        }
    }
    // A client of the standard to come has no version to tell.
    let plain = stack.api().request(Method::OPTIONS, "/files/");
    check_limit(8, &send(plain).await);
    let path = user.ietf_begin(8, Some(10), b"0123").await;
    let plain = send(user.request(Method::HEAD, &path)).await.status(204);
    assert_eq!(plain.header("upload-complete"), "?0");
    assert_eq!(plain.header("upload-offset"), "4");
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_their_owners() {
    let (stack, user) = TestStack::with_user().await;
    let stranger = stack.user().await;
    let path = user.ietf_begin(8, Some(10), b"0123").await;
    let said = Said::complete(false).at(4);
    stranger
        .ietf_append(8, &path, said, b"4")
        .await
        .problem(404, "not-found");
    stranger.ietf_head(8, &path).await.status(404);
    let cancel = stranger.ietf(8, Method::DELETE, &path, Said::default());
    send(cancel).await.status(404);
    let request = stack.api().request(Method::POST, "/files/");
    let request = request.header("upload-complete", "?1").body("x");
    send(request).await.problem(401, "unauthenticated");
    assert_eq!(user.ietf_head(8, &path).await.header("upload-offset"), "4");
}
