//! Entries: looking, folders, moving, deleting, listing.

use super::*;

/// What a file is after it was put, replaced, moved and deleted; foreign entries are invisible.
pub async fn files(f: Fixture) {
    let owner = f.account(1 << 20).await;
    let stranger = f.account(1 << 20).await;
    let request = CommitUploadRequest {
        mtime_ms: 77,
        ..commit(&owner, "/a/b/c.txt", 1)
    };
    let put = f.store.commit_upload(request).await.unwrap();
    assert!(put.took_staged_copy && !put.replaced);
    let file = f.stat(&owner, "/a/b/c.txt").await.unwrap();
    assert_eq!(Some(&file), put.file.as_ref());
    assert_eq!((&*file.path, file.kind()), ("/a/b/c.txt", EntryKind::File));
    assert_eq!(
        (&*file.media_type, file.modified_at_ms, file.version),
        ("text/plain", 77, 1)
    );
    assert_eq!(
        (&file.owner, file.created_at_ms),
        (&owner, f.clock.now_ms())
    );
    let blob = file.blob.clone().unwrap();
    assert_eq!(
        (&blob.blake3, blob.size, &*blob.node),
        (&digests(1).blake3, SIZE, NODE)
    );
    assert_eq!(blob.state(), BlobState::Staged);
    assert_eq!(
        f.stat(&owner, "/a/b").await.unwrap().kind(),
        EntryKind::Folder
    );
    for path in ["/a/b/c", "/a/b/C.TXT", "/a/b/c.txt/d", "/x"] {
        assert_eq!(kind(f.stat(&owner, path).await), Kind::NotFound, "{path}");
    }
    assert_eq!(kind(f.stat(&stranger, "/a/b/c.txt").await), Kind::NotFound);
    assert_eq!(kind(f.rm(&stranger, "/a/b/c.txt").await), Kind::NotFound);
    assert_eq!(
        kind(f.stat(&id(), "/").await),
        Kind::NotFound,
        "no such account"
    );

    f.clock.advance(10);
    let request = CommitUploadRequest {
        on_conflict: OnConflict::Replace.into(),
        ..commit(&owner, "/a/b/c.txt", 2)
    };
    let replaced = f.store.commit_upload(request).await.unwrap();
    assert!(replaced.replaced);
    let after = replaced.file.unwrap();
    assert_eq!(
        (&after.id, after.created_at_ms),
        (&file.id, file.created_at_ms)
    );
    assert_eq!((after.version, after.modified_at_ms), (2, f.clock.now_ms()));
    assert_eq!(after.blob.as_ref().unwrap().blake3, digests(2).blake3);
    assert_eq!(f.stat(&owner, "/a/b/c.txt").await.unwrap(), after);

    let moved = f.mv(&owner, "/a/b/c.txt", "/a/d.txt").await.unwrap();
    assert_eq!(
        (&moved.id, &*moved.path, moved.version),
        (&file.id, "/a/d.txt", 3)
    );
    assert_eq!(
        moved.modified_at_ms, after.modified_at_ms,
        "the content did not change"
    );
    assert_eq!(f.stat(&owner, "/a/d.txt").await.unwrap(), moved);
    assert_eq!(kind(f.stat(&owner, "/a/b/c.txt").await), Kind::NotFound);

    f.rm(&owner, "/a/d.txt").await.unwrap();
    assert_eq!(kind(f.stat(&owner, "/a/d.txt").await), Kind::NotFound);
    assert_eq!(kind(f.rm(&owner, "/a/d.txt").await), Kind::NotFound);
    f.put(&owner, "/a/d.txt", 3).await.unwrap();
    f.rm(&owner, "/a/d.txt").await.unwrap();
    f.put(&owner, "/a/d.txt", 3).await.unwrap();
}

/// Creating and moving folders, and what must not happen.
pub async fn folders(f: Fixture) {
    let owner = f.account(1 << 20).await;
    assert_eq!(kind(f.mkdir(&owner, "/a/b", false).await), Kind::NotFound);
    let made = f.mkdir(&owner, "/a/b", true).await.unwrap();
    assert_eq!((&*made.path, made.kind()), ("/a/b", EntryKind::Folder));
    assert_eq!(f.mkdir(&owner, "/a/b", true).await.unwrap(), made);
    assert_eq!(
        kind(f.mkdir(&owner, "/a/b", false).await),
        Kind::NameConflict
    );
    assert_eq!(f.mkdir(&owner, "/", true).await.unwrap().path, "/");
    assert_eq!(kind(f.mkdir(&owner, "/", false).await), Kind::NameConflict);
    f.put(&owner, "/a/b/file", 1).await.unwrap();
    for parents in [false, true] {
        assert_eq!(
            kind(f.mkdir(&owner, "/a/b/file", parents).await),
            Kind::NameConflict
        );
        assert_eq!(
            kind(f.mkdir(&owner, "/a/b/file/x", parents).await),
            Kind::NotAFolder
        );
    }
    assert_eq!(
        kind(f.put(&owner, "/a/b/file/x", 1).await),
        Kind::NotAFolder
    );
    assert_eq!(kind(f.put(&owner, "/a/b", 1).await), Kind::IsAFolder);

    f.mkdir(&owner, "/c", false).await.unwrap();
    f.clock.advance(5);
    let moved = f.mv(&owner, "/a/b", "/c/d").await.unwrap();
    assert_eq!((&moved.id, &*moved.path), (&made.id, "/c/d"));
    assert_eq!(
        (moved.modified_at_ms, moved.version),
        (f.clock.now_ms(), made.version + 1)
    );
    assert_eq!(f.stat(&owner, "/c/d/file").await.unwrap().path, "/c/d/file");
    assert_eq!(kind(f.stat(&owner, "/a/b/file").await), Kind::NotFound);

    assert_eq!(
        f.mv(&owner, "/c/d", "/c/d").await.unwrap().version,
        moved.version,
        "no change"
    );
    for to in ["/c/x", "/c/d/x", "/c/d/x/y", "/c/d/file/x"] {
        assert_eq!(
            kind(f.mv(&owner, "/c", to).await),
            Kind::InvalidPath,
            "{to}"
        );
    }
    assert_eq!(
        kind(f.mv(&owner, "/c/d", "/nowhere/d").await),
        Kind::NotFound
    );
    assert_eq!(kind(f.mv(&owner, "/nothing", "/c/x").await), Kind::NotFound);
    assert_eq!(
        kind(f.mv(&owner, "/a", "/c/d/file/x").await),
        Kind::NotAFolder
    );
    assert_eq!(kind(f.mv(&owner, "/a", "/c").await), Kind::NameConflict);
    assert_eq!(
        kind(f.mv(&owner, "/c/d/file", "/c").await),
        Kind::NameConflict
    );

    f.rm(&owner, "/c").await.unwrap();
    assert_eq!(kind(f.stat(&owner, "/c/d/file").await), Kind::NotFound);
    f.put(&owner, "/c/d/file", 2).await.unwrap();
    let file = f.stat(&owner, "/c/d/file").await.unwrap();
    assert_eq!(
        file.blob.unwrap().blake3,
        digests(2).blake3,
        "the new folder is another one"
    );
    let deep = "/x".repeat(64);
    f.put(&owner, &deep, 3).await.unwrap();
    assert_eq!(f.stat(&owner, &deep).await.unwrap().path, deep);
}

async fn names(f: &Fixture, request: &ListRequest) -> Vec<String> {
    let mut request = request.clone();
    let mut names = Vec::new();
    loop {
        let page = f.store.list(request.clone()).await.unwrap();
        assert!(page.entries.len() <= request.limit as usize);
        names.extend(page.entries.into_iter().map(|entry| entry.path));
        if page.next_cursor.is_empty() {
            return names;
        }
        request.cursor = page.next_cursor;
    }
}

/// Order, direction, pages and search.
pub async fn listings(f: Fixture) {
    let owner = f.account(1 << 20).await;
    for (seed, (path, size, mtime_ms)) in (1u8..).zip([
        ("/d/b", 30, 9),
        ("/d/a", 30, 7),
        ("/d/C", 10, 8),
        ("/d/\u{e9}", 20, 6),
    ]) {
        let request = CommitUploadRequest {
            size,
            mtime_ms,
            ..commit(&owner, path, seed)
        };
        f.store.commit_upload(request).await.unwrap();
    }
    f.mkdir(&owner, "/d/sub", false).await.unwrap();
    f.put(&owner, "/d/sub/below", 9).await.unwrap();
    f.put(&owner, "/d/gone", 9).await.unwrap();
    f.rm(&owner, "/d/gone").await.unwrap();
    let by = |sort: SortKey, descending: bool, limit: u32| ListRequest {
        owner: owner.clone(),
        path: "/d".to_owned(),
        cursor: String::new(),
        limit,
        sort: sort.into(),
        descending,
        search: String::new(),
    };
    for limit in [1, 2, 5, 1_000] {
        for (sort, expected) in [
            (
                SortKey::Unspecified,
                ["/d/C", "/d/a", "/d/b", "/d/sub", "/d/\u{e9}"],
            ),
            (
                SortKey::Name,
                ["/d/C", "/d/a", "/d/b", "/d/sub", "/d/\u{e9}"],
            ),
            (
                SortKey::Size,
                ["/d/sub", "/d/C", "/d/\u{e9}", "/d/a", "/d/b"],
            ),
            (
                SortKey::Modified,
                ["/d/\u{e9}", "/d/a", "/d/C", "/d/b", "/d/sub"],
            ),
        ] {
            assert_eq!(
                names(&f, &by(sort, false, limit)).await,
                expected,
                "{sort:?} {limit}"
            );
            let reversed: Vec<_> = expected.into_iter().rev().collect();
            assert_eq!(
                names(&f, &by(sort, true, limit)).await,
                reversed,
                "{sort:?} {limit}"
            );
        }
    }
    let search = ListRequest {
        search: "\u{c9}".to_owned(),
        ..by(SortKey::Name, false, 1)
    };
    assert_eq!(
        names(&f, &search).await,
        ["/d/\u{e9}"],
        "without regard to case"
    );
    let page = f
        .store
        .list(ListRequest {
            limit: 0,
            ..search.clone()
        })
        .await
        .unwrap();
    assert_eq!(
        (page.entries.len(), page.folder.unwrap().path),
        (1, "/d".to_owned())
    );
    let root = ListRequest {
        path: "/".to_owned(),
        ..by(SortKey::Name, false, 10)
    };
    assert_eq!(names(&f, &root).await, ["/d"]);

    let list = |path: &str, cursor: &str| ListRequest {
        path: path.to_owned(),
        cursor: cursor.to_owned(),
        ..by(SortKey::Name, false, 1)
    };
    assert_eq!(kind(f.store.list(list("/d/a", "")).await), Kind::NotAFolder);
    assert_eq!(kind(f.store.list(list("/e", "")).await), Kind::NotFound);
    assert_eq!(
        kind(f.store.list(list("/d", "nonsense")).await),
        Kind::MalformedRequest
    );
    let cursor = f.store.list(list("/d", "")).await.unwrap().next_cursor;
    let other = ListRequest {
        sort: SortKey::Size.into(),
        ..list("/d", &cursor)
    };
    assert_eq!(
        kind(f.store.list(other).await),
        Kind::MalformedRequest,
        "cursor of another order"
    );
}
