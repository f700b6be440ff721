//! Copies, and moves that take the place of something.

use super::*;

fn copy(owner: &Bytes, from: &str, to: &str) -> CopyRequest {
    CopyRequest {
        owner: owner.clone(),
        from: from.to_owned(),
        to: to.to_owned(),
        id: id(),
        ..CopyRequest::default()
    }
}

impl Fixture {
    async fn copy(&self, request: CopyRequest) -> Result<Entry> {
        request.check().unwrap();
        self.store.copy(request).await
    }

    async fn replace(&self, owner: &Bytes, from: &str, to: &str) -> Result<Entry> {
        let request = MoveRequest {
            owner: owner.clone(),
            from: from.to_owned(),
            to: to.to_owned(),
            replace: true,
            ..MoveRequest::default()
        };
        request.check().unwrap();
        self.store.move_entry(request).await
    }
}

/// A copy refers to the same content, takes room, and lives and dies by itself.
pub async fn copies(f: Fixture) {
    let owner = f.account(1 << 20).await;
    let request = CommitUploadRequest {
        mtime_ms: 77,
        ..commit(&owner, "/a/b/c.txt", 1)
    };
    let original = f.store.commit_upload(request).await.unwrap().file.unwrap();
    f.put(&owner, "/a/d", 1).await.unwrap();
    f.put(&owner, "/a/gone", 2).await.unwrap();
    f.rm(&owner, "/a/gone").await.unwrap();
    f.purge_all(0).await;
    assert_eq!(f.bytes(&owner).await, (2 * SIZE, 0));

    f.clock.advance(5);
    let one = copy(&owner, "/a/b/c.txt", "/x.txt");
    let made = f.copy(one.clone()).await.unwrap();
    assert_eq!(
        (&made.id, &*made.path, made.version),
        (&one.id, "/x.txt", 1)
    );
    assert_eq!(
        (made.modified_at_ms, made.created_at_ms),
        (77, f.clock.now_ms())
    );
    assert_eq!(
        (&made.blob, &made.media_type),
        (&original.blob, &original.media_type)
    );
    assert_eq!(f.copy(one).await.unwrap(), made, "repeated");
    assert_eq!(f.bytes(&owner).await, (3 * SIZE, 0));

    let tree = copy(&owner, "/a", "/t");
    let top = f.copy(tree.clone()).await.unwrap();
    assert_eq!((&*top.path, top.kind()), ("/t", EntryKind::Folder));
    assert_eq!(f.copy(tree).await.unwrap(), top, "repeated");
    assert_eq!(f.bytes(&owner).await, (5 * SIZE, 0));
    let below = f.stat(&owner, "/t/b/c.txt").await.unwrap();
    assert_ne!(below.id, original.id);
    assert_eq!(below.blob, original.blob);
    assert_eq!(kind(f.stat(&owner, "/t/gone").await), Kind::NotFound);
    let shallow = CopyRequest {
        shallow: true,
        ..copy(&owner, "/a", "/s")
    };
    f.copy(shallow).await.unwrap();
    assert_eq!(kind(f.stat(&owner, "/s/d").await), Kind::NotFound);

    f.rm(&owner, "/a").await.unwrap();
    f.purge_all(0).await;
    assert_eq!(f.bytes(&owner).await, (3 * SIZE, 0));
    assert_eq!(f.stat(&owner, "/t/b/c.txt").await.unwrap(), below);
    for path in ["/t", "/x.txt", "/s"] {
        f.rm(&owner, path).await.unwrap();
    }
    f.purge_all(0).await;
    assert_eq!(f.bytes(&owner).await, (0, 0));
    f.clock.advance(1);
    let garbage = f.claim_garbage(0).await;
    let mut blobs = garbage.iter().filter_map(|garbage| garbage.blob.as_ref());
    assert!(
        blobs.any(|blob| blob.blake3 == digests(1).blake3),
        "no reference is left"
    );
}

/// A copy beside what has its name, the original among it.
pub async fn renaming(f: Fixture) {
    let owner = f.account(1 << 20).await;
    f.put(&owner, "/a/file.txt", 1).await.unwrap();
    let renaming = |from: &str, to: &str| CopyRequest {
        rename: true,
        ..copy(&owner, from, to)
    };
    let first = renaming("/a/file.txt", "/a/file.txt");
    for (request, path) in [
        (first.clone(), "/a/file (1).txt"),
        (renaming("/a/file.txt", "/a/file.txt"), "/a/file (2).txt"),
        (first, "/a/file (1).txt"),
        (renaming("/a/file.txt", "/free"), "/free"),
        (renaming("/a", "/a"), "/a (1)"),
        (renaming("/free", "/a"), "/a (2)"),
    ] {
        assert_eq!(f.copy(request).await.unwrap().path, path);
    }
    assert!(f.stat(&owner, "/a (1)/file (2).txt").await.is_ok());
    for (to, expected) in [
        ("/a/x", Kind::InvalidPath),
        ("/nowhere/x", Kind::NotFound),
        ("/free/x", Kind::NotAFolder),
    ] {
        assert_eq!(kind(f.copy(renaming("/a", to)).await), expected, "{to}");
    }
    let both = CopyRequest {
        replace: true,
        ..renaming("/a", "/b")
    };
    assert_eq!(kind(both.check()), Kind::MalformedRequest);
}

/// What a copy or a move may take the place of, and what it must not.
pub async fn replacing(f: Fixture) {
    let owner = f.account(4 * SIZE).await;
    let stranger = f.account(1 << 20).await;
    f.put(&owner, "/a/b/file", 1).await.unwrap();
    f.put(&owner, "/c", 2).await.unwrap();
    for (from, to, expected) in [
        ("/a", "/c", Kind::NameConflict),
        ("/a", "/a/x", Kind::InvalidPath),
        ("/a", "/a/b/x", Kind::InvalidPath),
        ("/nothing", "/x", Kind::NotFound),
        ("/c", "/nowhere/x", Kind::NotFound),
        ("/c", "/a/b/file/x", Kind::NotAFolder),
    ] {
        let refused = f.copy(copy(&owner, from, to)).await;
        assert_eq!(kind(refused), expected, "{from} to {to}");
    }
    for (from, to) in [("/a/b", "/a"), ("/a/b/file", "/a"), ("/a", "/a/b")] {
        let request = CopyRequest {
            replace: true,
            ..copy(&owner, from, to)
        };
        assert_eq!(
            kind(f.copy(request).await),
            Kind::InvalidPath,
            "{from} to {to}"
        );
        assert_eq!(
            kind(f.replace(&owner, from, to).await),
            Kind::InvalidPath,
            "{from} to {to}"
        );
    }
    assert_eq!(
        kind(f.copy(copy(&stranger, "/c", "/x")).await),
        Kind::NotFound,
        "what is not the caller's is not there"
    );
    let unmet = CopyRequest {
        precondition: Some(Precondition {
            if_match: Some(precondition::Match {
                any: false,
                blake3: vec![digests(9).blake3],
            }),
            ..Precondition::default()
        }),
        ..copy(&owner, "/c", "/x")
    };
    assert_eq!(kind(f.copy(unmet).await), Kind::PreconditionFailed);

    let over = CopyRequest {
        replace: true,
        ..copy(&owner, "/a", "/c")
    };
    f.copy(over.clone()).await.unwrap();
    f.copy(over).await.unwrap();
    let copied = f.stat(&owner, "/c/b/file").await.unwrap();
    assert_eq!(copied.blob.unwrap().blake3, digests(1).blake3);
    f.purge_all(0).await;
    assert_eq!(f.bytes(&owner).await, (2 * SIZE, 0));
    f.replace(&owner, "/a/b", "/c").await.unwrap();
    assert!(f.stat(&owner, "/c/file").await.is_ok());
    assert_eq!(kind(f.stat(&owner, "/c/b").await), Kind::NotFound);
    f.purge_all(0).await;
    assert_eq!(f.bytes(&owner).await, (SIZE, 0));

    for n in 0..3 {
        f.copy(copy(&owner, "/c/file", &format!("/c/{n}")))
            .await
            .unwrap();
    }
    assert_eq!(
        kind(f.copy(copy(&owner, "/c", "/d")).await),
        Kind::QuotaExceeded
    );
    assert_eq!(
        kind(f.stat(&owner, "/d").await),
        Kind::NotFound,
        "all or nothing"
    );
    assert_eq!(f.bytes(&owner).await, (4 * SIZE, 0));
}

/// One call copies so many entries and no more.
pub async fn large_copies(f: Fixture) {
    let owner = f.account(1 << 20).await;
    let folder = |path: String| Change {
        change: Some(change::Change::CreateFolder(CreateFolderRequest {
            owner: owner.clone(),
            path,
            ..CreateFolderRequest::default()
        })),
    };
    f.mkdir(&owner, "/a", false).await.unwrap();
    for chunk in 0..10 {
        // With the one at the top: exactly as many as are copied.
        let last = if chunk == 9 { 999 } else { 1_000 };
        let changes = (0..last).map(|n| folder(format!("/a/{chunk}-{n}")));
        let request = ApplyRequest {
            owner: owner.clone(),
            changes: changes.collect(),
        };
        f.store.apply(request).await.unwrap();
    }
    f.copy(copy(&owner, "/a", "/b")).await.unwrap();
    assert!(f.stat(&owner, "/b/9-998").await.is_ok());
    f.mkdir(&owner, "/a/more", false).await.unwrap();
    assert_eq!(
        kind(f.copy(copy(&owner, "/a", "/c")).await),
        Kind::LimitReached
    );
    assert_eq!(kind(f.stat(&owner, "/c").await), Kind::NotFound);
}
