//! Bytes in order: names, pieces, broken connections, requests that meet.

use std::time::{Duration, Instant};

use reqwest::Method;

use super::{BYTES, metadata};
use crate::support::{Local, Raw, TestStack, User, assert_same, eventually, send};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_pieces_becomes_a_file() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("pieces", 3 * MIB + 1_234);
    let fields = metadata(&[
        ("relativePath", "album/ä 1.bin"),
        ("filename", "1.bin"),
        ("filetype", "x-own/type"),
    ]);
    let length = content.len().to_string();
    let create = [("upload-length", &*length), ("upload-metadata", &*fields)];
    let path = user.tus_create(&create).await;
    assert_eq!(user.tus_offset(&path).await, 0);
    let mut at = 0;
    for len in [1, 99_999, 0, MIB, 1_000, content.len()] {
        let end = content.len().min(at + len);
        let answer = user
            .tus_patch(&path, at, &content[at..end])
            .await
            .status(204);
        at = end;
        assert_eq!(answer.header("upload-offset"), at.to_string());
        assert_eq!(user.tus_offset(&path).await, at);
    }
    let file = user.stat("/album/ä 1.bin").await;
    assert_eq!(file.media_type, "x-own/type");
    user.assert_content("/album/ä 1.bin", &content).await;
    let answer = send(user.tus(Method::GET, &path)).await.status(200);
    assert_same(&answer.body, &content);
    assert_eq!(answer.header("content-type"), "x-own/type");
    assert_eq!(answer.header("content-disposition"), "attachment");
    user.stored("/album/ä 1.bin").await;
    let answer = send(user.tus(Method::GET, &path)).await.status(200);
    assert_same(&answer.body, &content);
    assert_eq!(user.usage().await, (content.len() as u64, 0));
    let head = user.tus_head(&path).await.status(200);
    assert_eq!(head.header("upload-metadata"), fields);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_name_gets_a_number_and_no_name_is_the_id() {
    let (_stack, user) = TestStack::with_user().await;
    user.put("/a.txt", b"there").await;
    let path = user.tus_begin("a.txt", 4).await;
    user.tus_finish(&path, b"tus!").await;
    user.assert_content("/a.txt", b"there").await;
    user.assert_content("/a (1).txt", b"tus!").await;
    let path = user.tus_create(&[("upload-length", "0")]).await;
    let name = path.strip_prefix("/files").unwrap();
    user.assert_content(name, b"").await;
    assert_eq!(user.tus_offset(&path).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_come_with_the_creation() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("along", 2 * MIB + 7);
    for (name, first) in [("some", MIB + 3), ("all", content.len())] {
        let request = user
            .tus(Method::POST, "/files")
            .header("upload-length", content.len())
            .header("upload-metadata", metadata(&[("name", name)]))
            .header("content-type", BYTES)
            .body(content[..first].to_vec());
        let answer = send(request).await.status(201);
        assert_eq!(answer.header("upload-offset"), first.to_string());
        let path = user.tus_created(&answer);
        if first < content.len() {
            user.tus_finish(&path, &content).await;
        }
        user.assert_content(&format!("/{name}"), &content).await;
    }
}

async fn begin_patch(user: &User, path: &str, at: usize, len: usize, sent: &[u8]) -> Raw {
    let mut raw = Raw::connect(&user.api.base).await;
    let fields = [
        "tus-resumable: 1.0.0".to_owned(),
        format!("content-type: {BYTES}"),
        format!("upload-offset: {at}"),
        format!("content-length: {len}"),
    ];
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    raw.head(user, &format!("PATCH {path}"), &fields).await;
    raw.send(sent).await;
    raw
}

/// On a server of the test's own: a gateway may keep for itself what it has read when the client
/// goes away.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_broken_connection_is_kept() {
    let local = Local::start().await;
    let user = local.user().await;
    let content = user.content("broken", 5 * MIB);
    let path = user.tus_begin("broken", content.len()).await;
    let mut at = 0;
    for len in [1, MIB / 2, 2 * MIB + 17] {
        let rest = content.len() - at;
        let mut raw = begin_patch(&user, &path, at, rest, &content[at..at + len]).await;
        // An orderly end: what was sent has arrived when the server sees it.
        raw.finish_sending().await;
        at += len;
        arrived(&user, &path, at).await;
        assert_eq!(user.tus_offset(&path).await, at);
    }
    let next = &content[at..at + MIB];
    let raw = begin_patch(&user, &path, at, content.len() - at, next).await;
    raw.reset();
    assert!(user.tus_offset(&path).await >= at);
    // What was on its way when the connection broke may still arrive.
    eventually("the rest is taken", async || {
        let at = user.tus_offset(&path).await;
        let answer = user.tus_patch(&path, at, &content[at..]).await;
        (answer.status != 409).then(|| answer.status(204))
    })
    .await;
    user.assert_content("/broken", &content).await;
}

/// Waits until so many bytes are kept. Asks as another protocol does, which stops nobody.
async fn arrived(user: &User, path: &str, at_least: usize) {
    let id = path.strip_prefix("/files/").unwrap();
    eventually("the bytes have arrived", async || {
        let received = user.unfinished(id).await.received;
        (received >= at_least as u64).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_sender_gives_way_and_keeps_what_it_sent() {
    let (stack, user) = TestStack::with_user().await;
    let content = user.content("silent", 3 * MIB);
    let path = user.tus_begin("silent", content.len()).await;
    let sent = 2 * MIB + MIB / 2;
    let mut silent = begin_patch(&user, &path, 0, content.len(), &content[..sent]).await;
    arrived(&user, &path, MIB).await;
    let start = Instant::now();
    let at = user.tus_offset(&path).await;
    assert!((MIB..=sent).contains(&at), "{at}");
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
    if !stack.is_gateway() {
        silent.read_final_head().await.status(409);
    }
    // Late bytes change nothing.
    let _ = silent.try_send(&vec![0xAA; MIB]).await;
    user.tus_patch(&path, at, &content[at..]).await.status(204);
    user.assert_content("/silent", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_requests_for_an_offset_one_gets_it() {
    let (_stack, user) = TestStack::with_user().await;
    let contents = [user.content("one", 2 * MIB), user.content("other", 2 * MIB)];
    let path = user.tus_begin("race", 4 * MIB).await;
    let (a, b) = tokio::join!(
        user.tus_patch(&path, 0, &contents[0]),
        user.tus_patch(&path, 0, &contents[1])
    );
    let mut whole = Vec::new();
    for (answer, content) in [a, b].iter().zip(&contents) {
        match answer.status {
            204 => whole.extend_from_slice(content),
            409 => {}
            other => panic!("{other}: {}", answer.text()),
        }
    }
    let offset = user.tus_offset(&path).await;
    if whole.is_empty() {
        // The second stopped the first and then was at the wrong place.
        whole.extend_from_slice(&contents[0][..offset]);
    }
    let rest = user.content("rest", 4 * MIB - offset);
    user.tus_patch(&path, offset, &rest).await.status(204);
    let found = user.download("/race").await.status(200).body;
    assert_eq!(found.len(), 4 * MIB);
    let starts = |content: &Vec<u8>| found[..offset.min(2 * MIB)] == content[..offset.min(2 * MIB)];
    assert!(contents.iter().any(starts), "the two are not mixed");
    assert_same(&found[offset..], &rest);
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_that_come_later_reserve_what_they_need() {
    let local = Local::with(|config| config.account.quota_bytes = 4 << 20).await;
    let user = local.user().await;
    let content = user.content("deferred", 3 * MIB + 5);
    let path = user.tus_create(&[("upload-defer-length", "1")]).await;
    assert_eq!(user.usage().await, (0, 0));
    user.tus_patch(&path, 0, &content[..MIB]).await.status(204);
    let (used, reserved) = user.usage().await;
    assert!(used == 0 && reserved >= MIB as u64, "{reserved}");
    // More than the quota: refused before anything is written.
    user.tus_patch(&path, MIB, &vec![0; 4 * MIB])
        .await
        .status(413);
    assert_eq!(user.tus_offset(&path).await, MIB);
    // Without a length in advance: as much as there is room for.
    let streamed = user
        .tus(Method::PATCH, &path)
        .header("content-type", BYTES)
        .header("upload-offset", MIB)
        .body(crate::support::streamed(&content[MIB..]));
    send(streamed).await.status(204);
    let last = user
        .tus_bytes(&path, content.len(), b"")
        .header("upload-length", content.len());
    send(last).await.status(204);
    let name = path.strip_prefix("/files").unwrap();
    user.assert_content(name, &content).await;
    assert_eq!(user.usage().await, (content.len() as u64, 0), "settled");
    let path = user.tus_create(&[("upload-defer-length", "1")]).await;
    user.tus_patch(&path, 0, b"x").await.status(204);
    send(user.tus(Method::DELETE, &path)).await.status(204);
    assert_eq!(user.usage().await, (content.len() as u64, 0), "given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_configured_pages_may_upload_from_browsers() {
    let origin = "https://app.example";
    let local = Local::with(|config| config.upload.upload_origins = vec![origin.into()]).await;
    let user = local.user().await;
    let path = user.tus_begin("page", 1).await;
    for (told, allowed) in [
        (origin, true),
        ("https://app.example.evil", false),
        ("http://app.example", false),
        ("null", false),
    ] {
        let preflight = local
            .api()
            .request(Method::OPTIONS, &path)
            .header("origin", told)
            .header("access-control-request-method", "PATCH");
        let head = user.tus(Method::HEAD, &path).header("origin", told);
        let refused = user.request(Method::POST, "/files/").header("origin", told);
        for (request, status) in [(preflight, 204), (head, 200), (refused, 412)] {
            let answer = send(request).await.status(status);
            let expected = if allowed { told } else { "" };
            assert_eq!(answer.header("access-control-allow-origin"), expected);
            let exposed = answer
                .header("access-control-expose-headers")
                .to_lowercase();
            for field in [
                "location",
                "upload-offset",
                "tus-resumable",
                "upload-expires",
            ] {
                assert_eq!(exposed.contains(field), allowed, "{field}");
            }
        }
    }
    let plain = Local::start().await;
    let answer = plain
        .api()
        .request(Method::OPTIONS, "/files/")
        .header("origin", origin);
    let answer = send(answer).await.status(204);
    assert_eq!(answer.header("access-control-allow-origin"), "");
}
