//! Reading content while it moves, and content that has rotted.

use reqwest::Method;

use crate::support::{Local, Raw, TestStack, User, assert_same, eventually, send, try_send};

const MIB: usize = 1 << 20;

async fn range(user: &User, path: &str, range: &str) -> Vec<u8> {
    let request = user
        .content_request(Method::GET, path)
        .header("range", range);
    send(request).await.status(206).body.to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_gets_every_byte_while_the_content_moves() {
    let local = Local::with(|config| config.transfer.staged_grace = 0).await;
    let user = local.user().await;
    let content = user.content("moving", 64 * MIB);
    let upload = user.begin("/moving", content.len()).await;
    user.put_parts(&upload, 0..8, &content).await;
    user.complete(&upload.id).await;
    let mut readers = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw::connect_slowly(&user.api.base).await;
        raw.head(&user, "GET /api/v1/content/moving", &[]).await;
        assert_eq!(raw.read_head().await.status, 200);
        let beginning = raw.read_body(100_000).await.unwrap();
        readers.push((raw, beginning.to_vec()));
    }
    user.stored("/moving").await;
    local.nothing_staged().await;
    for (mut raw, mut found) in readers {
        found.extend_from_slice(&raw.read_body(content.len() - found.len()).await.unwrap());
        assert_same(&found, &content);
    }
    user.assert_content("/moving", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_keeps_what_it_began_to_read() {
    let local = Local::with(|config| config.transfer.staged_grace = 0).await;
    let user = local.user().await;
    let (old, new) = (user.content("old", 32 * MIB), user.content("new", 5 * MIB));
    user.put("/replaced", &old).await;
    let mut raw = Raw::connect_slowly(&user.api.base).await;
    raw.head(&user, "GET /api/v1/content/replaced", &[]).await;
    assert_eq!(raw.read_head().await.status, 200);
    let mut found = raw.read_body(1_000).await.unwrap().to_vec();
    user.try_put("/replaced", &new).await.status(200);
    user.assert_content("/replaced", &new).await;
    user.remove("/replaced").await.status(204);
    found.extend_from_slice(&raw.read_body(old.len() - found.len()).await.unwrap());
    assert_same(&found, &old);
}

#[tokio::test(flavor = "multi_thread")]
async fn rotten_content_is_never_sent() {
    let mut local = Local::with(|config| config.transfer.staged_grace = 0).await;
    let user = local.user().await;
    let content = user.content("rotten", 4 * MIB);
    let file = user.put("/rotten", &content).await;
    user.stored("/rotten").await;
    local.nothing_staged().await;
    let object = local.object(&file.blake3);
    local
        .restart_after(|_| {
            use std::os::unix::fs::FileExt as _;
            let options = std::fs::File::options()
                .read(true)
                .write(true)
                .open(&object)
                .unwrap();
            options.write_all_at(b"rotten", 2 * MIB as u64 + 5).unwrap();
        })
        .await;
    let user = User {
        api: local.api(),
        ..user
    };
    let (answer, end) = try_send(user.content_request(Method::GET, "/rotten")).await;
    if answer.status == 200 {
        assert!(end.is_err(), "the connection is cut off");
        assert!(answer.body.len() <= 2 * MIB, "before the damaged group");
        assert_same(&answer.body, &content[..answer.body.len()]);
    } else {
        assert!(answer.status >= 500, "{}", answer.text());
    }
    let healthy = range(&user, "/rotten", "bytes=0-2000000").await;
    assert_same(&healthy, &content[..=2_000_000]);
    let healthy = range(&user, "/rotten", &format!("bytes={}-", 3 * MIB)).await;
    assert_same(&healthy, &content[3 * MIB..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_readers_at_once() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("many", 3 * MIB + 1);
    user.put("/many", &content).await;
    let readers = (0..24).map(|_| user.assert_content("/many", &content));
    futures::future::join_all(readers).await;
    eventually("it is stored meanwhile", async || {
        user.assert_content("/many", &content).await;
        let state = user.stat("/many").await.state;
        (state == cloudstore_proto::http::FileState::Stored).then_some(())
    })
    .await;
}
