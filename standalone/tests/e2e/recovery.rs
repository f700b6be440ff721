//! Stopping, damaging, starting again: what was acknowledged is there, what is damaged is asked
//! for again, and wrong bytes are never taken for right ones.

use std::{fs::File, os::unix::fs::FileExt as _, path::Path};

use cloudstore_proto::http::{Completed, Created, Tokens, Upload};
use serde_json::json;

use crate::support::{Local, User, digests, prove};

const MIB: usize = 1 << 20;
const CHUNK: usize = 8 * MIB;

fn open(path: &Path) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}

/// An upload of three chunks of which the first two are received.
async fn two_of_three(local: &Local) -> (User, Upload, Vec<u8>) {
    let user = local.user().await;
    let content = user.content("recovered", 2 * CHUNK + 100_000);
    let upload = user.begin("/recovered", content.len()).await;
    user.put_parts(&upload, [0, 1], &content).await;
    (user, upload, content)
}

/// Damages the files of an upload while the server is down. Then these chunks must be missing,
/// and after they were sent again, the file must be right.
async fn survives(damage: impl FnOnce(&Path, &Path), missing: &[[u64; 2]]) {
    let mut local = Local::start().await;
    let (user, upload, content) = two_of_three(&local).await;
    let (data, side) = (local.data_file(&upload.id), local.side_file(&upload.id));
    local.restart_after(|_| damage(&data, &side)).await;
    let found = user.unfinished(&upload.id).await;
    assert_eq!(found.missing, missing);
    user.try_complete(&upload.id)
        .await
        .problem(409, "incomplete");
    user.finish(&found, &content).await;
    user.assert_content("/recovered", &content).await;
    user.stored("/recovered").await;
    user.assert_content("/recovered", &content).await;
    assert_eq!(user.usage().await, (content.len() as u64, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn received_chunks_survive() {
    survives(|_, _| {}, &[[2, 2]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_flipped_bit_of_the_data() {
    let flip = |data: &Path, _: &Path| {
        let data = open(data);
        let mut byte = [0];
        data.read_exact_at(&mut byte, 3 * MIB as u64 + 17).unwrap();
        byte[0] ^= 0x10;
        data.write_all_at(&byte, 3 * MIB as u64 + 17).unwrap();
    };
    survives(flip, &[[0, 0], [2, 2]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zeroed_tail_of_the_data() {
    let zero = |data: &Path, _: &Path| {
        open(data)
            .write_all_at(&vec![0; CHUNK + 100_000], CHUNK as u64)
            .unwrap();
    };
    survives(zero, &[[1, 2]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_data() {
    let cut = |data: &Path, _: &Path| open(data).set_len((CHUNK + 5 * MIB + 1) as u64).unwrap();
    survives(cut, &[[1, 2]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_is_gone() {
    survives(|data, _| std::fs::remove_file(data).unwrap(), &[[0, 2]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_is_longer_than_it_should_be() {
    survives(|data, _| open(data).set_len(1 << 30).unwrap(), &[[2, 2]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_is_gone() {
    survives(|_, side| std::fs::remove_file(side).unwrap(), &[[0, 2]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_cut_short() {
    survives(|_, side| open(side).set_len(200).unwrap(), &[[0, 2]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_sidecar() {
    survives(|_, side| open(side).set_len(0).unwrap(), &[[0, 2]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_with_garbage_for_a_header() {
    survives(
        |_, side| open(side).write_all_at(b"garbage!", 0).unwrap(),
        &[[0, 2]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_claims_what_was_never_received() {
    // Values for every group, the last ones invented.
    let invent = |_: &Path, side: &Path| {
        let side = open(side);
        let end = side.metadata().unwrap().len();
        side.write_all_at(&[0xAB; 32], end - 32).unwrap();
    };
    survives(invent, &[[2, 2]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_with_a_torn_value() {
    let tear = |_: &Path, side: &Path| open(side).write_all_at(&[0; 16], 128 + 9 * 32).unwrap();
    survives(tear, &[[1, 2]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_overwritten_with_noise() {
    let noise = |data: &Path, side: &Path| {
        open(data)
            .write_all_at(&vec![0x5A; 2 * CHUNK + 100_000], 0)
            .unwrap();
        let side = open(side);
        let len = usize::try_from(side.metadata().unwrap().len()).unwrap();
        side.write_all_at(&vec![0xA5; len - 128], 128).unwrap();
    };
    survives(noise, &[[0, 2]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_settings_survive() {
    let mut local = Local::start().await;
    let user = local.user().await;
    user.patch("/api/v1/me", &json!({ "display_name": "Name" }))
        .await
        .status(200);
    user.mkdirs("/a/b").await.status(201);
    let before = user.me().await;
    local.restart_after(|_| {}).await;
    let after = user.me().await;
    assert_eq!((after.id, &*after.display_name), (before.id, "Name"));
    user.try_stat("/a/b").await.status(200);
    let refresh = json!({ "refresh_token": user.refresh });
    let tokens: Tokens = local
        .api()
        .post("/api/v1/sessions/refresh", &refresh)
        .await
        .json(200);
    let renewed = User {
        token: tokens.access_token,
        ..user.clone()
    };
    renewed.me().await;
    user.delete("/api/v1/sessions/current").await.status(204);
    local.restart_after(|_| {}).await;
    for ended in [&user, &renewed] {
        ended
            .get("/api/v1/me")
            .await
            .problem(401, "unauthenticated");
        ended.try_stat("/").await.problem(401, "unauthenticated");
        ended
            .get("/api/v1/uploads")
            .await
            .problem(401, "unauthenticated");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_survives_whatever_its_state() {
    let mut local = Local::start().await;
    let user = local.user().await;
    let contents: Vec<_> = (0..12)
        .map(|i| user.content(&format!("{i}"), i * 300_001))
        .collect();
    for (i, content) in contents.iter().enumerate() {
        user.put(&format!("/{i}"), content).await;
    }
    user.remove("/3").await.status(204);
    for _ in 0..3 {
        local.restart_after(|_| {}).await;
        user.try_stat("/3").await.problem(404, "not-found");
        for (i, content) in contents.iter().enumerate().filter(|(i, _)| *i != 3) {
            user.assert_content(&format!("/{i}"), content).await;
        }
    }
    for i in (0..12).filter(|i| *i != 3) {
        user.stored(&format!("/{i}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_does_not_survive_and_the_upload_does() {
    let mut local = Local::start().await;
    let (owner, user) = (local.user().await, local.user().await);
    let content = owner.content("challenged", 2 * MIB);
    owner.put("/x", &content).await;
    let body = json!({ "path": "/x", "size": content.len(), "digests": digests(&content) });
    let Created::Challenge { challenge, upload } = user.create(&body).await.json(201) else {
        panic!("a challenge")
    };
    local.restart_after(|_| {}).await;
    let proof = prove(&challenge, &content);
    user.prove(&upload.id, &proof)
        .await
        .problem(403, "proof-failed");
    user.finish(&upload, &content).await;
    user.assert_content("/x", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_proof_can_be_asked_for_again() {
    let mut local = Local::start().await;
    let (owner, user) = (local.user().await, local.user().await);
    let content = owner.content("proven", 2 * MIB);
    owner.put("/x", &content).await;
    let body = json!({ "path": "/x", "size": content.len(), "digests": digests(&content) });
    let Created::Challenge { challenge, upload } = user.create(&body).await.json(201) else {
        panic!("a challenge")
    };
    let proof = prove(&challenge, &content);
    let file = user
        .prove(&upload.id, &proof)
        .await
        .json::<Completed>(201)
        .file;
    local.restart_after(|_| {}).await;
    let again = user
        .prove(&upload.id, &proof)
        .await
        .json::<Completed>(201)
        .file;
    assert_eq!(again.id, file.id);
    let again = user.complete(&upload.id).await;
    assert_eq!(again.id, file.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_can_be_asked_for_again() {
    let mut local = Local::start().await;
    let (user, upload, content) = two_of_three(&local).await;
    let file = user.finish(&upload, &content).await;
    local.restart_after(|_| {}).await;
    let again = user.complete(&upload.id).await;
    assert_eq!((again.id, again.blake3), (file.id, file.blake3));
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_uploads_stay_cancelled() {
    let mut local = Local::start().await;
    let (user, upload, _) = two_of_three(&local).await;
    user.cancel(&upload.id).await.status(204);
    local.restart_after(|_| {}).await;
    user.try_complete(&upload.id)
        .await
        .problem(410, "upload-gone");
    assert_eq!(user.usage().await, (0, 0));
    assert!(local.staged().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_knows_is_swept_and_what_is_foreign_stays() {
    let mut local = Local::start().await;
    let (user, upload, content) = two_of_three(&local).await;
    local
        .restart_after(|data| {
            let staging = data.join("staging");
            let id = uuid::Uuid::now_v7().simple().to_string();
            std::fs::write(staging.join(format!("{id}.data")), "orphan").unwrap();
            std::fs::write(staging.join(format!("{id}.side")), "orphan").unwrap();
            std::fs::write(staging.join("README"), "not ours").unwrap();
        })
        .await;
    let id = upload.id.replace('-', "");
    let left = [
        format!("{id}.data"),
        format!("{id}.side"),
        "README".to_owned(),
    ];
    assert_eq!(local.staged(), left);
    user.finish(&upload, &content).await;
    user.assert_content("/recovered", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_uploads_are_removed_with_their_reservation() {
    let mut local = Local::with(|config| config.upload.upload_lifetime = 5).await;
    let user = local.user().await;
    let content = user.content("expires", CHUNK + 1);
    let upload = user.begin("/expires", content.len()).await;
    user.put_part(&upload, 0, &content).await;
    // The sweep runs once a minute, and at the start for what ran out while the server was down.
    crate::support::eventually("its time is over", async || {
        let expires = &upload.expires_at;
        let format = &time::format_description::well_known::Rfc3339;
        let expires = time::OffsetDateTime::parse(expires, format).unwrap();
        (time::OffsetDateTime::now_utc() > expires).then_some(())
    })
    .await;
    local.restart_after(|_| {}).await;
    user.usage_becomes(0, 0).await;
    user.try_complete(&upload.id)
        .await
        .problem(410, "upload-gone");
    user.put_chunk(&upload.id, 1, b"x")
        .await
        .problem(410, "upload-gone");
    local.nothing_staged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_data_directory_has_one_server() {
    let local = Local::start().await;
    let config = cloudstore_standalone::Config::new(local.data());
    let refused = cloudstore_standalone::Stack::start(config).await;
    assert!(refused.is_err(), "it is in use");
    local.user().await.me().await;
}
