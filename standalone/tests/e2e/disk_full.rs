//! A full disk: refused in time, nothing acknowledged is lost, reading and deleting go on, and
//! when there is room again the server goes on as if nothing had been.

use std::fs::File;

use cloudstore_proto::http::Created;
use reqwest::Method;
use serde_json::json;

use crate::support::{Local, PASSWORD, Raw, Tmpfs, User, eventually, send, streamed};

const MIB: usize = 1 << 20;

async fn on_a_small_disk() -> (Tmpfs, Local, User) {
    let disk = Tmpfs::mount(64);
    let local = Local::at(&disk.path().join("data"), |config| {
        config.transfer.staged_grace = 0;
        config.transfer.garbage_grace = 0;
    })
    .await;
    let user = local.user().await;
    (disk, local, user)
}

/// Fills the disk to the last page. Removing the file makes room again.
fn fill(disk: &Tmpfs) -> std::path::PathBuf {
    use std::io::Write as _;
    let path = disk.path().join("filler");
    let mut file = File::create(&path).unwrap();
    for size in [MIB, 64 << 10, 4 << 10] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_fit_is_refused_before_the_body() {
    let (_disk, local, user) = on_a_small_disk().await;
    let content = user.content("kept", 5 * MIB);
    user.put("/kept", &content).await;
    let mut raw = Raw::connect(&user.api.base).await;
    let length = format!("content-length: {}", 100 * MIB);
    let headers = [&*length, "expect: 100-continue"];
    raw.head(&user, "PUT /api/v1/content/large", &headers).await;
    raw.answer().await.problem(507, "insufficient-storage");
    user.usage_becomes(5 * MIB as u64, 0).await;

    user.create(&serde_json::json!({ "path": "/large", "size": 100 * MIB }))
        .await
        .problem(507, "insufficient-storage");
    user.usage_becomes(5 * MIB as u64, 0).await;
    // Each fits alone, not all of them: the chunk that finds no room is refused, others go on.
    let first = user.begin("/first", 20 * MIB).await;
    let second = user.begin("/second", 20 * MIB).await;
    let chunk = vec![1; 8 * MIB];
    user.put_chunk(&first.id, 0, &chunk).await.status(204);
    user.put_chunk(&second.id, 0, &chunk)
        .await
        .problem(507, "insufficient-storage");
    assert_eq!(user.unfinished(&second.id).await.received, 0);
    user.cancel(&second.id).await.status(204);
    user.cancel(&first.id).await.status(204);

    user.assert_content("/kept", &content).await;
    let fits = user.content("fits", 20 * MIB);
    user.put("/fits", &fits).await;
    user.assert_content("/fits", &fits).await;
    user.stored("/fits").await;
    local.nothing_staged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_unknown_length_that_fills_the_disk_leaves_nothing() {
    let (_disk, local, user) = on_a_small_disk().await;
    let request = user.content_request(Method::PUT, "/endless");
    let answer = send(request.body(streamed(&vec![7; 60 * MIB]))).await;
    answer.problem(507, "insufficient-storage");
    local.nothing_staged().await;
    assert_eq!(user.usage().await, (0, 0));
    let content = user.content("afterwards", 30 * MIB);
    user.put("/afterwards", &content).await;
    user.assert_content("/afterwards", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_chunks_outlive_a_full_disk() {
    let (disk, local, user) = on_a_small_disk().await;
    let stored = user.content("stored", 4 * MIB);
    user.put("/stored", &stored).await;
    user.stored("/stored").await;
    let content = user.content("chunks", 16 * MIB);
    let upload = user.begin("/chunks", content.len()).await;
    user.put_part(&upload, 0, &content).await;

    let filler = fill(&disk);
    user.assert_content("/stored", &stored).await;
    let refused = user
        .try_put("/refused", &user.content("refused", MIB))
        .await;
    refused.problem(507, "insufficient-storage");
    assert_eq!(user.unfinished(&upload.id).await.missing, [[1, 1]]);
    // Its room was set aside when the upload began to arrive.
    user.put_part(&upload, 1, &content).await;

    std::fs::remove_file(filler).unwrap();
    user.complete(&upload.id).await;
    user.assert_content("/chunks", &content).await;
    user.assert_content("/stored", &stored).await;
    user.stored("/chunks").await;
    user.put("/afterwards", &user.content("afterwards", MIB))
        .await;
    local.nothing_staged().await;
}

/// Fills the disk through the API, with smaller and smaller files, until nothing is accepted.
async fn fill_up(user: &User) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for size in [8 * MIB, MIB, 100_000, 4_000, 1] {
        loop {
            let path = format!("/fill/{}", files.len());
            let content = user.content(&path, size);
            let answer = user.try_put(&path, &content).await;
            if answer.status != 201 {
                answer.problem(507, "insufficient-storage");
                break;
            }
            files.push((path, content));
            assert!(files.len() < 100_000, "the disk never filled up");
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_filled_with_files_can_be_read_and_emptied() {
    let (_disk, local, user) = on_a_small_disk().await;
    let files = fill_up(&user).await;
    let total: usize = files.iter().map(|(_, content)| content.len()).sum();
    assert!(total > 20 * MIB, "{total} bytes of 48 MiB were used");
    for (path, content) in files.iter().take(5).chain(files.iter().rev().take(5)) {
        user.assert_content(path, content).await;
    }
    user.names("/fill", "?limit=1000").await;

    // Deleting works although there is no room, and makes some.
    user.remove(&files[0].0).await.status(204);
    user.try_stat(&files[0].0).await.problem(404, "not-found");
    user.remove(&files[1].0).await.status(204);
    let content = user.content("afterwards", 4 * MIB);
    eventually("there is room again without a restart", async || {
        let answer = user.try_put("/afterwards", &content).await;
        if answer.status == 201 || answer.status == 200 {
            return Some(());
        }
        answer.problem(507, "insufficient-storage");
        None
    })
    .await;
    user.assert_content("/afterwards", &content).await;
    user.stored("/afterwards").await;
    for (path, content) in files[2..].iter().step_by(7) {
        user.assert_content(path, content).await;
    }
    user.remove("/fill").await.status(204);
    user.usage_becomes(4 * MIB as u64, 0).await;
    eventually("only one object is left", async || {
        (local.objects().blobs.len() == 1 && local.staged().is_empty()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_batch_on_a_full_disk_reserves_nothing() {
    let (disk, _local, user) = on_a_small_disk().await;
    let filler = fill(&disk);
    let body = json!({ "path": "/a", "size": 9 * MIB });
    let answer = user.create(&body).await;
    if answer.status == 201 {
        // Without a byte sent it costs a row, for which there was room.
        let Created::Uploading { upload } = answer.json(201) else {
            panic!("upload")
        };
        let chunk = vec![1; 8 * MIB];
        user.put_chunk(&upload.id, 0, &chunk)
            .await
            .problem(507, "insufficient-storage");
        assert_eq!(user.usage().await, (0, 9 * MIB as u64));
        std::fs::remove_file(filler).unwrap();
        user.cancel(&upload.id).await.status(204);
    } else {
        answer.problem(507, "insufficient-storage");
        std::fs::remove_file(filler).unwrap();
    }
    user.usage_becomes(0, 0).await;
    user.put("/a", &user.content("a", 9 * MIB)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_filled_by_others_can_still_be_emptied() {
    let (disk, _local, user) = on_a_small_disk().await;
    let content = user.content("large", 9 * MIB);
    user.put("/large", &content).await;
    user.stored("/large").await;
    let upload = user.begin("/unfinished", 4 * MIB).await;
    fill(&disk);

    user.assert_content("/large", &content).await;
    user.api.login(&user.name, PASSWORD).await;
    user.cancel(&upload.id).await.status(204);
    user.remove("/large").await.status(204);
    user.usage_becomes(0, 0).await;
    let filler = fill(&disk);
    user.post("/api/v1/folders", &json!({ "path": "/folder" }))
        .await
        .status(201);

    std::fs::remove_file(filler).unwrap();
    user.put("/large", &content).await;
    user.assert_content("/large", &content).await;
}
