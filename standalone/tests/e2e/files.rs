//! Files and folders: listing, making, moving, deleting, and names of every kind.

use std::time::{Duration, Instant};

use cloudstore_proto::http::{Entry, Listing};
use reqwest::Method;
use serde_json::json;

use crate::support::{TestStack, encode, names, send};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_account_has_an_empty_root_folder() {
    let (_stack, user) = TestStack::with_user().await;
    for path in ["/api/v1/files", "/api/v1/files/"] {
        let listing: Listing = user.get(path).await.json(200);
        let Entry::Folder(root) = &listing.entry else {
            panic!("{listing:?}")
        };
        assert_eq!((&*root.path, root.id == user.me().await.id), ("/", true));
        assert!(names(&listing).is_empty() && listing.next_cursor.is_none());
    }
    user.delete("/api/v1/files/")
        .await
        .problem(422, "invalid-path");
    user.patch("/api/v1/files/", &json!({ "path": "/x" }))
        .await
        .problem(422, "invalid-path");
    user.mkdir("/").await.problem(422, "invalid-path");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_metadata_and_no_entries() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("meta", 1_234);
    let created = user.put("/dir/meta.txt", &content).await;
    let listing: Listing = user.try_stat("/dir/meta.txt").await.json(200);
    assert!(listing.entries.is_none() && listing.next_cursor.is_none());
    let Entry::File(file) = listing.entry else {
        panic!("a file")
    };
    assert_eq!(
        (&file.id, &file.blake3, file.size),
        (&created.id, &created.blake3, 1_234)
    );
    assert_eq!(
        (&*file.path, &*file.media_type),
        ("/dir/meta.txt", "text/plain")
    );
    assert!(!file.instant);
    let raw: serde_json::Value = user.try_stat("/dir/meta.txt").await.json(200);
    assert_eq!(raw["kind"], "file");
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_come_in_pages() {
    let (_stack, user) = TestStack::with_user().await;
    for i in 0..7 {
        user.mkdirs(&format!("/p/folder-{i}")).await.status(201);
        user.put(&format!("/p/file-{i}"), &vec![0; (i * 37) % 5 * 100])
            .await;
    }
    for query in [
        "sort=name",
        "sort=name&order=desc",
        "sort=size",
        "sort=size&order=desc",
        "sort=modified",
    ] {
        let whole = user.names("/p", &format!("?{query}")).await;
        assert_eq!(whole.len(), 14);
        for limit in [1, 3, 14, 1_000] {
            let mut found = Vec::new();
            let mut cursor = String::new();
            loop {
                let query = format!("?{query}&limit={limit}&cursor={cursor}");
                let page = user.list("/p", &query).await;
                assert!(names(&page).len() <= limit);
                found.extend(names(&page));
                match page.next_cursor {
                    Some(next) => cursor = next,
                    None => break,
                }
            }
            assert_eq!(found, whole, "{query} by {limit}");
        }
    }
    let ascending = user.names("/p", "?sort=name").await;
    let mut descending = user.names("/p", "?sort=name&order=desc").await;
    descending.reverse();
    assert_eq!(ascending, descending);
    assert!(ascending.is_sorted());
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_stay_right_while_entries_come_and_go() {
    let (_stack, user) = TestStack::with_user().await;
    for i in 0..6 {
        user.put(&format!("/moving/{i}"), b"").await;
    }
    let page = user.list("/moving", "?limit=3").await;
    assert_eq!(names(&page), ["0", "1", "2"]);
    user.remove("/moving/2").await.status(204);
    user.remove("/moving/3").await.status(204);
    user.put("/moving/00", b"").await;
    let cursor = page.next_cursor.unwrap();
    let page = user
        .list("/moving", &format!("?limit=3&cursor={cursor}"))
        .await;
    assert_eq!(names(&page), ["4", "5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_are_sorted_and_searched() {
    let (_stack, user) = TestStack::with_user().await;
    let files = [
        ("Über-Blick.txt", 30, 2003),
        ("beta.txt", 10, 2001),
        ("alpha.bin", 20, 2002),
    ];
    for (name, size, year) in files {
        let path = format!(
            "/api/v1/content/s/{}?mtime={year}-01-01T00:00:00Z",
            encode(name)
        );
        send(user.request(Method::PUT, &path).body(vec![1; size]))
            .await
            .status(201);
    }
    let by_size = ["beta.txt", "alpha.bin", "Über-Blick.txt"];
    assert_eq!(user.names("/s", "?sort=size").await, by_size);
    assert_eq!(user.names("/s", "?sort=modified").await, by_size);
    let mut reversed = by_size;
    reversed.reverse();
    assert_eq!(user.names("/s", "?sort=size&order=desc").await, reversed);
    assert_eq!(
        user.names("/s", "?search=TXT&sort=size").await,
        ["beta.txt", "Über-Blick.txt"]
    );
    assert_eq!(
        user.names("/s", "?search=%C3%BCBER").await,
        ["Über-Blick.txt"]
    );
    for wildcard in ["%25", "*", "_", "b.*a", "'", "nothing"] {
        assert!(
            user.names("/s", &format!("?search={wildcard}"))
                .await
                .is_empty(),
            "{wildcard}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_that_make_no_sense_are_refused() {
    let (_stack, user) = TestStack::with_user().await;
    for i in 0..3 {
        user.put(&format!("/q/{i}"), b"").await;
    }
    let cursor = user.list("/q", "?limit=1").await.next_cursor.unwrap();
    let long = format!("search={}", "x".repeat(256));
    let rows = [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=x",
        "limit=99999999999999999999",
        "sort=colour",
        "sort=",
        "order=up",
        "cursor=x",
        "cursor=00",
        "other=1",
        "limit=1&limit=2",
        &long,
        &format!("cursor={cursor}&sort=size"),
        &format!("cursor={cursor}&order=desc"),
    ];
    for query in rows {
        let answer = user.get(&format!("/api/v1/files/q?{query}")).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
        answer.problem(400, "malformed-request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_are_made_one_by_one_or_with_their_parents() {
    let (_stack, user) = TestStack::with_user().await;
    let made: Entry = user.mkdir("/a").await.json(201);
    let Entry::Folder(made) = made else {
        panic!("a folder")
    };
    assert_eq!(made.path, "/a");
    user.mkdir("/a").await.problem(409, "name-conflict");
    user.mkdir("/x/y").await.problem(404, "not-found");
    user.mkdirs("/x/y/z").await.status(201);
    let again: Entry = user.mkdirs("/a").await.json(201);
    assert!(matches!(again, Entry::Folder(folder) if folder.id == made.id));
    user.put("/file", b"x").await;
    user.mkdir("/file").await.problem(409, "name-conflict");
    user.mkdirs("/file").await.problem(409, "name-conflict");
    user.mkdir("/file/below").await.problem(409, "not-a-folder");
    user.mkdirs("/file/below")
        .await
        .problem(409, "not-a-folder");
    assert_eq!(user.names("/", "").await, ["a", "file", "x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_renamed_and_moved() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("moved", 5_000);
    let before = user.put("/from/a.txt", &content).await;
    user.mkdir("/to").await.status(201);
    let after: Entry = user.rename("/from/a.txt", "/to/b.txt").await.json(200);
    let Entry::File(after) = after else {
        panic!("a file")
    };
    assert_eq!((&after.id, &*after.path), (&before.id, "/to/b.txt"));
    user.try_stat("/from/a.txt").await.problem(404, "not-found");
    user.assert_content("/to/b.txt", &content).await;
    user.rename("/to/b.txt", "/to/b.txt").await.status(200);

    user.put("/to/taken", b"taken").await;
    user.rename("/to/b.txt", "/to/taken")
        .await
        .problem(409, "name-conflict");
    user.rename("/to/b.txt", "/from")
        .await
        .problem(409, "name-conflict");
    user.rename("/to/b.txt", "/absent/b.txt")
        .await
        .problem(404, "not-found");
    user.rename("/to/b.txt", "/to/taken/b.txt")
        .await
        .problem(409, "not-a-folder");
    user.rename("/absent", "/to/c")
        .await
        .problem(404, "not-found");
    user.rename("/to/b.txt", "/")
        .await
        .problem(422, "invalid-path");
    user.rename("/to/b.txt", "/to/../c")
        .await
        .problem(422, "invalid-path");
    let path = "/api/v1/files/to/b.txt";
    user.patch(path, &json!({}))
        .await
        .problem(422, "invalid-fields");
    user.patch(path, &json!({ "path": 5 }))
        .await
        .problem(422, "invalid-fields");
    user.patch(path, &json!({ "path": "/c", "copy": true }))
        .await
        .problem(422, "invalid-fields");
    user.assert_content("/to/b.txt", &content).await;
    user.assert_content("/to/taken", b"taken").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_moves_with_everything_in_it_at_once() {
    let (_stack, user) = TestStack::with_user().await;
    let contents: Vec<_> = (0..200)
        .map(|i| user.content(&format!("{i}"), 100))
        .collect();
    let puts = contents.iter().enumerate().map(|(i, content)| {
        let user = &user;
        async move {
            user.put(&format!("/tree/{}/{}/{i}", i % 10, i % 7), content)
                .await
        }
    });
    futures::future::join_all(puts).await;
    user.mkdir("/small").await.status(201);
    user.mkdir("/other").await.status(201);
    let mut quickest = [Duration::MAX; 2];
    for back_first in [false, true, true] {
        for (quickest, name) in quickest.iter_mut().zip(["small", "tree"]) {
            let (here, there) = (format!("/{name}"), format!("/other/{name}"));
            if back_first {
                user.rename(&there, &here).await.status(200);
            }
            let start = Instant::now();
            let moved: Entry = user.rename(&here, &there).await.json(200);
            *quickest = start.elapsed().min(*quickest);
            assert!(matches!(moved, Entry::Folder(folder) if folder.path == there));
        }
    }
    let [small, large] = quickest;
    assert!(
        large < small * 20 + Duration::from_millis(200),
        "{large:?}, {small:?}"
    );
    user.try_stat("/tree").await.problem(404, "not-found");
    for (i, content) in contents.iter().enumerate().step_by(37) {
        user.assert_content(&format!("/other/tree/{}/{}/{i}", i % 10, i % 7), content)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_cannot_be_moved_into_itself() {
    let (_stack, user) = TestStack::with_user().await;
    user.mkdirs("/a/b/c").await.status(201);
    for to in ["/a/x", "/a/b/x", "/a/b/c/x"] {
        user.rename("/a", to).await.problem(422, "invalid-path");
    }
    user.rename("/a", "/a").await.status(200);
    user.rename("/a", "/a/b")
        .await
        .problem(409, "name-conflict");
    // Its own name as a prefix of another one is no cycle.
    user.mkdir("/ab").await.status(201);
    user.rename("/a", "/ab/a").await.status(200);
    assert_eq!(user.names("/ab/a/b", "").await, ["c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_that_move_into_each_other_at_once_make_no_cycle() {
    let (_stack, user) = TestStack::with_user().await;
    for round in 0..10 {
        let (a, b) = (format!("/{round}/a"), format!("/{round}/b"));
        user.mkdirs(&a).await.status(201);
        user.mkdirs(&b).await.status(201);
        let (into_a, into_b) = (format!("{a}/b"), format!("{b}/a"));
        let (one, two) = tokio::join!(user.rename(&a, &into_b), user.rename(&b, &into_a));
        assert_eq!(
            [one.status, two.status]
                .iter()
                .filter(|status| **status == 200)
                .count(),
            1
        );
        let names = user.names(&format!("/{round}"), "").await;
        assert_eq!(names.len(), 1, "one holds the other");
        assert_eq!(
            user.names(&format!("/{round}/{}", names[0]), "")
                .await
                .len(),
            1
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_folder_deletes_what_is_in_it() {
    let (_stack, user) = TestStack::with_user().await;
    for i in 0..60 {
        user.put(
            &format!("/tree/{}/{i}", i % 5),
            &user.content(&format!("{i}"), 1_000),
        )
        .await;
    }
    user.put("/kept", b"kept").await;
    assert_eq!(user.usage().await, (60_004, 0));
    user.remove("/tree").await.status(204);
    user.try_stat("/tree").await.problem(404, "not-found");
    user.download("/tree/0/0").await.problem(404, "not-found");
    user.remove("/tree").await.problem(404, "not-found");
    user.remove("/tree/0/0").await.problem(404, "not-found");
    assert_eq!(user.names("/", "").await, ["kept"]);
    user.usage_becomes(4, 0).await;
    user.put("/tree/0/0", b"new").await;
    assert_eq!(user.names("/tree/0", "").await, ["0"]);
    user.remove("/kept").await.status(204);
    user.remove("/kept").await.problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_into_a_deleted_folder_makes_it_again() {
    let (_stack, user) = TestStack::with_user().await;
    user.mkdir("/gone").await.status(201);
    let content = user.content("x", 1_000);
    let upload = user.begin("/gone/file", content.len()).await;
    user.remove("/gone").await.status(204);
    user.finish(&upload, &content).await;
    user.assert_content("/gone/file", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_others_look_as_if_they_were_not_there() {
    let (stack, owner) = TestStack::with_user().await;
    let stranger = stack.user().await;
    owner.put("/private/file", b"x").await;
    stranger
        .try_stat("/private/file")
        .await
        .problem(404, "not-found");
    stranger
        .try_stat("/private")
        .await
        .problem(404, "not-found");
    stranger
        .remove("/private/file")
        .await
        .problem(404, "not-found");
    stranger
        .rename("/private/file", "/mine")
        .await
        .problem(404, "not-found");
    assert!(stranger.names("/", "").await.is_empty());
    stranger.put("/private/file", b"y").await;
    owner.assert_content("/private/file", b"x").await;
}
