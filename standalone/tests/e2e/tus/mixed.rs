//! An upload belongs to the server, not to a protocol: begun in one, finished in another.

use crate::support::TestStack;

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn begun_by_tus_finished_by_chunks() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("to-chunks", 20 * MIB);
    let path = user.tus_begin("to-chunks", content.len()).await;
    let at = 9 * MIB + 5;
    user.tus_patch(&path, 0, &content[..at]).await.status(204);
    let upload = user.unfinished(path.strip_prefix("/files/").unwrap()).await;
    assert_eq!(upload.received, at as u64);
    assert_eq!(upload.missing, [[1, 2]], "8 MiB are a chunk");
    user.finish(&upload, &content).await;
    user.assert_content("/to-chunks", &content).await;
    assert_eq!(user.tus_offset(&path).await, content.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn begun_by_chunks_finished_by_tus() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("to-tus", 20 * MIB);
    let upload = user.begin("/to-tus", content.len()).await;
    user.put_part(&upload, 1, &content).await;
    let path = format!("/files/{}", upload.id);
    assert_eq!(user.tus_offset(&path).await, 0);
    // The chunk ahead is not written again, and the offset is where something is missing.
    let answer = user
        .tus_patch(&path, 0, &content[..9 * MIB])
        .await
        .status(204);
    assert_eq!(answer.header("upload-offset"), (16 * MIB).to_string());
    user.tus_finish(&path, &content).await;
    user.assert_content("/to-tus", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_not_overwritten() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("kept", 16 * MIB);
    let upload = user.begin("/kept", content.len()).await;
    user.put_part(&upload, 1, &content).await;
    let path = format!("/files/{}", upload.id);
    let mut wrong = content.clone();
    wrong[8 * MIB + 3] ^= 1;
    user.tus_patch(&path, 0, &wrong)
        .await
        .problem(409, "chunk-conflict");
    // A chunk that contradicts the beginning of a group is refused as well.
    let at = user.tus_offset(&path).await;
    assert_eq!(at, 16 * MIB);
    user.complete(&upload.id).await;
    user.assert_content("/kept", &content).await;

    let path = user.tus_begin("tail", 2 * MIB).await;
    let id = path.strip_prefix("/files/").unwrap();
    user.tus_patch(&path, 0, &content[..MIB + 5])
        .await
        .status(204);
    for at in [0, MIB + 4] {
        let mut wrong = content[..2 * MIB].to_vec();
        wrong[at] ^= 1;
        user.put_chunk(id, 0, &wrong)
            .await
            .problem(409, "chunk-conflict");
        assert_eq!(user.tus_offset(&path).await, MIB + 5);
    }
    user.put_chunk(id, 0, &content[..2 * MIB]).await.status(204);
    assert_eq!(user.tus_offset(&path).await, 2 * MIB);
    user.assert_content("/tail", &content[..2 * MIB]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_without_a_length_has_no_chunks_yet() {
    let (_stack, user) = TestStack::with_user().await;
    let path = user.tus_create(&[("upload-defer-length", "1")]).await;
    let id = path.strip_prefix("/files/").unwrap();
    user.tus_patch(&path, 0, b"abc").await.status(204);
    let upload = user.unfinished(id).await;
    assert!(upload.length_unknown);
    assert_eq!(
        (upload.size, upload.received, upload.chunk_count),
        (0, 3, 0)
    );
    user.put_chunk(id, 0, b"abc")
        .await
        .problem(409, "length-unknown");
    user.try_complete(id).await.problem(409, "length-unknown");
    user.cancel(id).await.status(204);
    user.tus_head(&path).await.status(410);
}
