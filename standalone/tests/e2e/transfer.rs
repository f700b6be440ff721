//! From staged to stored: every completed file gets there, and nothing is left on the way.

use cloudstore_proto::http::FileState;
use futures::future::join_all;

use crate::support::{Local, Objects, digests, eventually};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn every_completed_file_is_stored_once_and_its_staged_copy_goes() {
    let local = Local::with(|config| config.transfer.staged_grace = 0).await;
    let user = local.user().await;
    let sizes = [0, 1, 5_000, MIB - 1, MIB, MIB + 1, 3 * MIB + 7, 17 * MIB];
    let contents: Vec<_> = sizes
        .iter()
        .map(|size| user.content(&format!("{size}"), *size))
        .collect();
    let uploads = contents.iter().enumerate().map(|(i, content)| {
        let (user, path) = (&user, format!("/{i}"));
        async move {
            if i % 2 == 0 {
                user.put(&path, content).await
            } else {
                user.upload(&path, content).await
            }
        }
    });
    for file in join_all(uploads).await {
        assert!(file.sha256.is_none() || file.state == FileState::Stored);
    }
    for (i, content) in contents.iter().enumerate() {
        let file = user.stored(&format!("/{i}")).await;
        let expected = digests(content);
        assert_eq!(
            (file.sha256, file.sha1),
            (expected.sha256, expected.sha1),
            "known by now"
        );
    }
    local.nothing_staged().await;
    let hash = |content: &Vec<u8>| digests(content).blake3.unwrap();
    let mut expected = Objects {
        blobs: contents.iter().map(hash).collect(),
        outboards: contents
            .iter()
            .filter(|content| content.len() > MIB)
            .map(hash)
            .collect(),
    };
    expected.blobs.sort_unstable();
    expected.outboards.sort_unstable();
    assert_eq!(local.objects(), expected);
    assert!(local.temporary_files().is_empty());
    for (i, content) in contents.iter().enumerate() {
        user.assert_content(&format!("/{i}"), content).await;
        let stored = std::fs::read(local.object(&hash(content))).unwrap();
        assert!(stored == *content, "the object is the content itself");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn staged_copies_stay_for_the_grace_period() {
    let local = Local::with(|config| config.transfer.staged_grace = 3_600).await;
    let user = local.user().await;
    user.put("/kept", &user.content("kept", 10_000)).await;
    user.stored("/kept").await;
    assert_eq!(local.staged().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_refers_to_is_deleted() {
    let local = Local::with(|config| {
        config.transfer.staged_grace = 0;
        config.transfer.garbage_grace = 0;
    })
    .await;
    let user = local.user().await;
    let contents = [user.content("one", 2 * MIB), user.content("two", 3_000)];
    user.put("/one", &contents[0]).await;
    user.put("/two", &contents[1]).await;
    user.put("/dir/two-again", &contents[1]).await;
    user.stored("/one").await;
    user.remove("/one").await.status(204);
    user.remove("/dir").await.status(204);
    let left = Objects {
        blobs: vec![digests(&contents[1]).blake3.unwrap()],
        outboards: Vec::new(),
    };
    eventually("the content of the deleted file is gone", async || {
        (local.objects() == left).then_some(())
    })
    .await;
    user.assert_content("/two", &contents[1]).await;
    user.try_put("/two", &contents[0]).await.status(200);
    user.stored("/two").await;
    eventually("replaced content is gone too", async || {
        (local.objects().blobs == [digests(&contents[0]).blake3.unwrap()]).then_some(())
    })
    .await;
    user.assert_content("/two", &contents[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_changes_nothing() {
    let mut local = Local::with(|config| config.transfer.staged_grace = 0).await;
    let user = local.user().await;
    let contents: Vec<_> = (0..30)
        .map(|i| user.content(&format!("{i}"), 2 * MIB + i))
        .collect();
    let puts = contents.iter().enumerate().map(|(i, content)| {
        let user = &user;
        async move { user.put(&format!("/{i}"), content).await }
    });
    join_all(puts).await;
    local.restart_after(|_| {}).await;
    for (i, content) in contents.iter().enumerate() {
        user.assert_content(&format!("/{i}"), content).await;
        user.stored(&format!("/{i}")).await;
    }
    local.nothing_staged().await;
    assert_eq!(local.objects().blobs.len(), 30);
}
