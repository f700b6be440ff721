//! Uploads that are made of others.

use reqwest::Method;

use super::metadata;
use crate::support::{Local, TestStack, User, assert_same, eventually, send};

const MIB: usize = 1 << 20;

async fn part(user: &User, len: usize) -> String {
    let len = len.to_string();
    user.tus_create(&[("upload-concat", "partial"), ("upload-length", &len)])
        .await
}

/// A final upload of these parts, by their paths or addresses.
async fn put_together(user: &User, name: &str, parts: &[&str]) -> String {
    let concat = format!("final;{}", parts.join(" "));
    let metadata = metadata(&[("filename", name)]);
    user.tus_create(&[("upload-concat", &concat), ("upload-metadata", &metadata)])
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_parts_become_one_file() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("parallel", 5 * MIB + 333);
    let cuts = [0, 700_001, 3 * MIB, 3 * MIB + 1, content.len()];
    let parts = futures::future::join_all(cuts.windows(2).map(|cut| {
        let (user, bytes) = (&user, &content[cut[0]..cut[1]]);
        async move {
            let path = part(user, bytes.len()).await;
            let half = bytes.len() / 2;
            user.tus_patch(&path, 0, &bytes[..half]).await.status(204);
            user.tus_finish(&path, bytes).await;
            path
        }
    }));
    let parts = parts.await;
    assert_eq!(
        user.names("/", "").await,
        Vec::<String>::new(),
        "parts are no files"
    );
    let absolute = format!("{}{}", user.api.base, parts[0]);
    let mut named: Vec<&str> = parts.iter().map(String::as_str).collect();
    named[0] = &absolute;
    let path = put_together(&user, "whole", &named).await;
    user.assert_content("/whole", &content).await;
    let head = user.tus_head(&path).await.status(200);
    assert_eq!(head.header("upload-offset"), content.len().to_string());
    assert_eq!(
        head.header("upload-concat"),
        format!("final;{}", named.join(" "))
    );

    // A part may be used again, and more than once; of metadata nothing is inherited.
    let again = put_together(&user, "again", &[&parts[2], &parts[0], &parts[2]]).await;
    let expected = [
        &content[cuts[2]..cuts[3]],
        &content[..cuts[1]],
        &content[cuts[2]..cuts[3]],
    ];
    user.assert_content("/again", &expected.concat()).await;
    let answer = send(user.tus(Method::GET, &again)).await.status(200);
    assert_same(&answer.body, &expected.concat());
    for part in &parts {
        user.tus_head(part).await.status(200);
        send(user.tus(Method::DELETE, part)).await.status(204);
    }
    let used = content.len() + expected.concat().len();
    assert_eq!(user.usage().await, (used as u64, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_upload_waits_for_its_parts() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("waiting", 2 * MIB + 5);
    let (first, second) = (part(&user, MIB + 1).await, part(&user, MIB + 4).await);
    user.tus_finish(&first, &content[..=MIB]).await;
    let path = put_together(&user, "waited", &[&first, &second]).await;
    let head = user.tus_head(&path).await.status(200);
    assert!(!head.headers.contains_key("upload-offset"));
    user.try_stat("/waited").await.status(404);
    user.tus_patch(&second, 0, &content[MIB + 1..MIB + 9])
        .await
        .status(204);
    assert!(
        !user
            .tus_head(&path)
            .await
            .headers
            .contains_key("upload-offset")
    );
    user.tus_finish(&second, &content[MIB + 1..]).await;
    // Nobody has to ask for it.
    eventually("the parts are put together", async || {
        (user.try_stat("/waited").await.status == 200).then_some(())
    })
    .await;
    user.assert_content("/waited", &content).await;
    assert_eq!(user.tus_offset(&path).await, content.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_unknown_length() {
    let (_stack, user) = TestStack::with_user().await;
    let fields = [("upload-concat", "partial"), ("upload-defer-length", "1")];
    let path = user.tus_create(&fields).await;
    user.tus_patch(&path, 0, b"01234").await.status(204);
    let whole = put_together(&user, "late", &[&path, &path]).await;
    assert!(
        !user
            .tus_head(&whole)
            .await
            .headers
            .contains_key("upload-offset")
    );
    let last = user.tus_bytes(&path, 5, b"56").header("upload-length", "7");
    send(last).await.status(204);
    // Asking for it makes it go on as well.
    eventually("it is complete", async || {
        let head = user.tus_head(&whole).await.status(200);
        (head.header("upload-offset") == "14").then_some(())
    })
    .await;
    user.assert_content("/late", b"01234560123456").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_part_of_ones_own_is_refused() {
    let (stack, user) = TestStack::with_user().await;
    let other = stack.user().await;
    let foreign = part(&other, 1).await;
    other.tus_finish(&foreign, b"x").await;
    let whole = user.tus_begin("whole", 1).await;
    let done = user.tus_begin("done", 1).await;
    user.tus_finish(&done, b"x").await;
    let gone = part(&user, 1).await;
    send(user.tus(Method::DELETE, &gone)).await.status(204);
    for wrong in [foreign, whole, done, gone] {
        let request = user
            .tus(Method::POST, "/files/")
            .header("upload-concat", format!("final;{wrong}"));
        send(request).await.problem(400, "malformed-request");
    }
    assert_eq!(user.names("/", "").await, ["done"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_never_becomes_a_file() {
    let (_stack, user) = TestStack::with_user().await;
    let path = part(&user, 3).await;
    user.tus_finish(&path, b"abc").await;
    let id = path.strip_prefix("/files/").unwrap();
    user.try_complete(id).await.problem(403, "forbidden");
    assert_eq!(user.usage().await, (0, 3));
    assert_eq!(user.tus_offset(&path).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_does_not_end_the_wait() {
    let mut local = Local::start().await;
    let user = local.user().await;
    let content = user.content("restarted", 3 * MIB);
    let path = part(&user, content.len()).await;
    user.tus_patch(&path, 0, &content[..MIB + 3])
        .await
        .status(204);
    let whole = put_together(&user, "restarted", &[&path]).await;
    local.restart_after(|_| {}).await;
    assert_eq!(user.tus_offset(&path).await, MIB + 3);
    user.tus_finish(&path, &content).await;
    eventually("it is complete", async || {
        let head = user.tus_head(&whole).await.status(200);
        (head.header("upload-offset") == content.len().to_string()).then_some(())
    })
    .await;
    user.assert_content("/restarted", &content).await;
}
