//! Restarts, the end of uploads, and what they leave behind.

use std::os::unix::fs::FileExt as _;

use reqwest::Method;

use crate::support::{Local, Raw, TestStack, eventually, send};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_every_acknowledged_byte() {
    let mut local = Local::start().await;
    let user = local.user().await;
    let content = user.content("restart", 4 * MIB + 11);
    let known = user.tus_begin("known", content.len()).await;
    let deferred = user.tus_create(&[("upload-defer-length", "1")]).await;
    let mut at = 0;
    for len in [5, MIB - 5, 2 * MIB + 77] {
        for path in [&known, &deferred] {
            user.tus_patch(path, at, &content[at..at + len])
                .await
                .status(204);
        }
        at += len;
        local.restart_after(|_| {}).await;
        for path in [&known, &deferred] {
            assert_eq!(user.tus_offset(path).await, at);
        }
    }
    user.tus_finish(&known, &content).await;
    let last = user.tus_bytes(&deferred, at, &content[at..]);
    send(last.header("upload-length", content.len()))
        .await
        .status(204);
    user.assert_content("/known", &content).await;
    let name = deferred.strip_prefix("/files").unwrap();
    user.assert_content(name, &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_forgotten_and_sent_again() {
    let mut local = Local::start().await;
    let user = local.user().await;
    let content = user.content("damage", 3 * MIB);
    let path = user.tus_begin("damage", content.len()).await;
    let at = 2 * MIB + 500;
    user.tus_patch(&path, 0, &content[..at]).await.status(204);
    let data = local.data_file(path.strip_prefix("/files/").unwrap());
    let flip = |at: u64| {
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .open(&data)
            .unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    };
    local.restart_after(|_| flip(2 * MIB as u64 + 7)).await;
    assert_eq!(user.tus_offset(&path).await, 2 * MIB, "the rest of a group");
    user.tus_patch(&path, 2 * MIB, &content[2 * MIB..at])
        .await
        .status(204);
    local.restart_after(|_| flip(MIB as u64)).await;
    assert_eq!(user.tus_offset(&path).await, MIB, "a group in the middle");
    user.tus_finish(&path, &content).await;
    user.assert_content("/damage", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_upload_is_gone_with_its_reservation() {
    let local = Local::with(|config| config.upload.upload_lifetime = 5).await;
    let user = local.user().await;
    let path = user.tus_begin("expiring", 10).await;
    let answer = user.tus_patch(&path, 0, b"0123").await.status(204);
    let expires = answer.header("upload-expires");
    assert!(expires.ends_with(" GMT"), "{expires}");
    eventually("the upload has expired", async || {
        (user.tus_head(&path).await.status == 410).then_some(())
    })
    .await;
    user.tus_patch(&path, 4, b"456789").await.status(410);
}

#[tokio::test(flavor = "multi_thread")]
async fn terminating_stops_whoever_sends() {
    let (stack, user) = TestStack::with_user().await;
    let path = user.tus_begin("stopped", MIB).await;
    let mut raw = Raw::connect(&user.api.base).await;
    let fields = [
        "tus-resumable: 1.0.0",
        "content-type: application/offset+octet-stream",
        "upload-offset: 0",
        "content-length: 1048576",
    ];
    raw.head(&user, &format!("PATCH {path}"), &fields).await;
    raw.send(&vec![7; MIB / 2]).await;
    send(user.tus(Method::DELETE, &path)).await.status(204);
    if !stack.is_gateway() {
        raw.read_final_head().await.status(410);
    }
    user.tus_head(&path).await.status(410);
    assert_eq!(user.usage().await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn terminating_a_finished_upload_removes_its_file_and_no_other() {
    let (_stack, user) = TestStack::with_user().await;
    let path = user.tus_begin("file", 3).await;
    user.tus_finish(&path, b"abc").await;
    user.rename("/file", "/moved").await.status(200);
    send(user.tus(Method::DELETE, &path)).await.status(204);
    user.try_stat("/moved").await.status(404);
    send(user.tus(Method::DELETE, &path)).await.status(410);

    let path = user.tus_begin("file", 3).await;
    user.tus_finish(&path, b"abc").await;
    user.try_put("/file", b"changed").await.status(200);
    send(user.tus(Method::DELETE, &path)).await;
    user.assert_content("/file", b"changed").await;
}
