//! Checksums of single requests, before and behind the bytes.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use sha2::Digest as _;

use super::BYTES;
use crate::support::{Answer, Raw, TestStack, User, send};

const MIB: usize = 1 << 20;

/// Every algorithm's field for these bytes.
fn checksums(bytes: &[u8]) -> Vec<String> {
    let crc = crc32fast::hash(bytes).to_be_bytes();
    let named = [
        ("sha1", sha1::Sha1::digest(bytes).to_vec()),
        ("sha256", sha2::Sha256::digest(bytes).to_vec()),
        ("md5", md5::Md5::digest(bytes).to_vec()),
        ("crc32", crc.to_vec()),
        ("blake3", blake3::hash(bytes).as_bytes().to_vec()),
    ];
    let named = named.iter();
    named
        .map(|(name, value)| format!("{name} {}", BASE64.encode(value)))
        .collect()
}

/// Sends bytes whose checksum, or none, comes behind them.
async fn trailer(
    user: &User,
    path: &str,
    at: usize,
    bytes: &[u8],
    checksum: Option<&str>,
) -> Answer {
    let mut raw = Raw::connect(&user.api.base).await;
    let fields = [
        "tus-resumable: 1.0.0".to_owned(),
        format!("content-type: {BYTES}"),
        format!("upload-offset: {at}"),
        "transfer-encoding: chunked".to_owned(),
        "trailer: Upload-Checksum".to_owned(),
    ];
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    raw.head(user, &format!("PATCH {path}"), &fields).await;
    for piece in bytes.chunks(300_000) {
        raw.send(format!("{:x}\r\n", piece.len()).as_bytes()).await;
        raw.send(piece).await;
        raw.send(b"\r\n").await;
    }
    let field = checksum.map_or(String::new(), |checksum| {
        format!("upload-checksum: {checksum}\r\n")
    });
    raw.send(format!("0\r\n{field}\r\n").as_bytes()).await;
    let head = raw.read_final_head().await;
    raw.body_of(head).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_count_only_with_the_right_checksum() {
    let (stack, user) = TestStack::with_user().await;
    let content = user.content("checked", 15 * MIB);
    let path = user.tus_begin("checked", content.len()).await;
    let mut at = 0;
    let len = MIB + 999;
    for (index, wrong) in checksums(b"other bytes").iter().enumerate() {
        let bytes = &content[at..at + len];
        let right = &checksums(bytes)[index];
        for (told, status) in [(wrong, 460), (right, 204)] {
            let request = user.tus_bytes(&path, at, bytes);
            let answer = send(request.header("upload-checksum", told)).await;
            if status == 460 {
                answer.problem(460, "checksum-mismatch");
                assert_eq!(user.tus_offset(&path).await, at, "nothing counts");
            } else {
                answer.status(204);
                at += len;
            }
        }
        // nginx does not pass trailers on.
        if stack.is_gateway() {
            continue;
        }
        let bytes = &content[at..at + len];
        let right = &checksums(bytes)[index];
        for (told, status) in [
            (None, 400),
            (Some("sha1 ????"), 400),
            (Some("sha3 AAAA"), 400),
            (Some(&**wrong), 460),
            (Some(&**right), 204),
        ] {
            assert_eq!(user.tus_offset(&path).await, at);
            trailer(&user, &path, at, bytes, told).await.status(status);
        }
        at += len;
        assert_eq!(user.tus_offset(&path).await, at);
    }
    user.tus_finish(&path, &content).await;
    user.assert_content("/checked", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_with_wrong_bytes_leaves_nothing() {
    let (_stack, user) = TestStack::with_user().await;
    for (told, status) in [
        (&checksums(b"other")[0], 460),
        (&checksums(b"0123456789")[0], 201),
    ] {
        let request = user
            .tus(reqwest::Method::POST, "/files/")
            .header("upload-length", "10")
            .header("upload-metadata", super::metadata(&[("filename", "with")]))
            .header("content-type", BYTES)
            .header("upload-checksum", told)
            .body("0123456789");
        send(request).await.status(status);
        let used = if status == 201 { 10 } else { 0 };
        assert_eq!(user.usage().await, (used, 0));
    }
    user.assert_content("/with", b"0123456789").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_request_with_a_checksum_keeps_nothing() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("cut", 3 * MIB);
    let path = user.tus_begin("cut", content.len()).await;
    user.tus_patch(&path, 0, &content[..100]).await.status(204);
    let mut raw = Raw::connect(&user.api.base).await;
    let checksum = format!("upload-checksum: {}", checksums(&content[100..])[0]);
    let length = format!("content-length: {}", content.len() - 100);
    let fields = [
        "tus-resumable: 1.0.0",
        "content-type: application/offset+octet-stream",
        "upload-offset: 100",
        &checksum,
        &length,
    ];
    raw.head(&user, &format!("PATCH {path}"), &fields).await;
    raw.send(&content[100..2 * MIB]).await;
    raw.finish_sending().await;
    assert_eq!(user.tus_offset(&path).await, 100);
    user.tus_finish(&path, &content).await;
    user.assert_content("/cut", &content).await;
}
