//! 104 (Upload Resumption Supported), as HTTP/1.1 clients get it. These tests have a server of
//! their own: no gateway that is between would pass it on.

use cloudstore_proto::http::File;

use super::{Said, VERSIONS, completeness};
use crate::support::{Answer, Local, Raw, User};

const MIB: usize = 1 << 20;

/// Sends the head of a `PUT`, and nothing of its body.
async fn put(user: &User, name: &str, version: u8, length: usize, fields: &[&str]) -> Raw {
    let mut raw = Raw::connect(&user.api.base).await;
    let (field, value) = completeness(version, true);
    let complete = format!("{field}: {value}");
    let announced = format!("upload-draft-interop-version: {version}");
    let length = format!("content-length: {length}");
    let mut lines = vec![complete.as_str(), &announced, &length];
    lines.extend(fields);
    raw.head(user, &format!("PUT /api/v1/content/{name}"), &lines)
        .await;
    raw
}

#[track_caller]
fn check_resource(user: &User, version: u8, told: &Answer) -> String {
    assert_eq!(told.status, 104, "version {version}");
    let echoed = told.header("upload-draft-interop-version");
    assert_eq!(echoed, version.to_string());
    let limit = told.header("upload-limit");
    assert_eq!(limit.is_empty(), version < 6, "version {version}: {limit}");
    user.ietf_location(told)
}

/// The client that never sees a final answer goes on by what the 104 said.
#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_breaks_off_is_resumed() {
    let local = Local::start().await;
    let user = local.user().await;
    for version in VERSIONS {
        let content = user.content(&format!("v{version}"), 3 * MIB + 5);
        let name = format!("v{version}");
        let mut raw = put(&user, &name, version, content.len(), &[]).await;
        let path = check_resource(&user, version, &raw.read_head().await);
        raw.send(&content[..2 * MIB]).await;
        raw.finish_sending().await;
        raw.is_closed().await;
        let head = user.ietf_head(version, &path).await.status(204);
        let at: usize = head.header("upload-offset").parse().unwrap();
        assert_eq!(at, 2 * MIB, "all that has arrived is kept");
        let said = Said::complete(true).at(at);
        let rest = user.ietf_append(version, &path, said, &content[at..]).await;
        let file: File = rest.json(201);
        assert_eq!(file.path, format!("/{name}"));
        user.assert_content(&file.path, &content).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_stand_for_100_continue() {
    let local = Local::start().await;
    let user = local.user().await;
    let mut raw = put(&user, "x", 8, 5, &["expect: 100-continue"]).await;
    let path = check_resource(&user, 8, &raw.read_head().await);
    assert_eq!(raw.read_head().await.status, 100);
    raw.send(b"12345").await;
    // A slow server may tell of progress before.
    let created = raw.read_final_head().await;
    let created = raw.body_of(created).await;
    assert_eq!(
        user.ietf_location(&created),
        path,
        "always the same address"
    );
    assert_eq!(created.header("upload-complete"), "?1");
    let file: File = created.json(201);
    user.assert_content(&file.path, b"12345").await;
}

/// Draft, "Draft Version Identification": never without the version, or with another.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_one_who_did_not_announce_a_known_version() {
    let local = Local::start().await;
    let user = local.user().await;
    for announced in ["x-nothing: 1", "upload-draft-interop-version: 9"] {
        for request in ["PUT /api/v1/content/x", "POST /files/"] {
            let mut raw = Raw::connect(&local.api().base).await;
            let lines = [announced, "upload-complete: ?1", "content-length: 1"];
            raw.head(&user, request, &lines).await;
            raw.send(b"x").await;
            let answer = raw.answer().await;
            assert!(
                [200, 201].contains(&answer.status),
                "{announced}: {request}"
            );
            assert_eq!(answer.header("upload-complete"), "?1");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told_from_version_5_on() {
    let local = Local::start().await;
    let user = local.user().await;
    for version in 5..=8 {
        let content = user.content(&format!("v{version}"), 3 * MIB);
        let name = format!("v{version}");
        let mut raw = put(&user, &name, version, content.len(), &[]).await;
        let path = check_resource(&user, version, &raw.read_head().await);
        raw.send(&content[..2 * MIB]).await;
        let told = raw.read_head().await;
        check_progress(version, &told, 2 * MIB);
        raw.reset();
        // What was told stays.
        let head = user.ietf_head(version, &path).await.status(204);
        let at: usize = head.header("upload-offset").parse().unwrap();
        assert!(at >= told.header("upload-offset").parse().unwrap());
        // While more is appended, too.
        let mut raw = Raw::connect(&local.api().base).await;
        let (field, value) = completeness(version, true);
        let lines = [
            format!("upload-draft-interop-version: {version}"),
            format!("{field}: {value}"),
            format!("upload-offset: {at}"),
            format!("content-length: {}", content.len() - at),
            "content-type: application/partial-upload".to_owned(),
        ];
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        raw.head(&user, &format!("PATCH {path}"), &lines).await;
        let (middle, end) = content[at..].split_at(content.len() - at - 1);
        raw.send(middle).await;
        if middle.len() >= MIB {
            check_progress(version, &raw.read_head().await, content.len());
        }
        raw.send(end).await;
        let last = raw.read_final_head().await;
        let last = raw.body_of(last).await;
        let file: File = last.json(201);
        user.assert_content(&file.path, &content).await;
    }
}

#[track_caller]
fn check_progress(version: u8, told: &Answer, most: usize) {
    assert_eq!(told.status, 104, "version {version}");
    assert_eq!(told.header("location"), "", "only the first has it");
    let echoed = told.header("upload-draft-interop-version");
    assert_eq!(echoed, version.to_string());
    let offset: usize = told.header("upload-offset").parse().unwrap();
    assert!((1..=most).contains(&offset), "{offset}");
}
