//! Locks and properties of WebDAV.

use super::*;
use crate::dav::{MAX_COPIED_PROPERTY_BYTES, MAX_PROPERTY_BYTES};

fn ask(owner: &Bytes, path: &str, infinite: bool, shared: bool) -> LockRequest {
    LockRequest {
        owner: owner.clone(),
        token: id(),
        path: path.to_owned(),
        infinite,
        shared,
        owner_xml: "<owner/>".to_owned(),
        timeout_ms: LEASE,
    }
}

/// What a caller sends that holds these locks.
fn holding(tokens: &[&Bytes]) -> Option<Precondition> {
    Some(Precondition {
        locks: Some(Locks {
            tokens: tokens.iter().map(|token| (*token).clone()).collect(),
        }),
        ..Precondition::default()
    })
}

impl Fixture {
    async fn lock(&self, request: LockRequest) -> Result<Lock> {
        request.check().unwrap();
        self.store.lock(request).await
    }

    /// Locked paths, as another process sees them.
    async fn locked(&self, owner: &Bytes) -> Vec<String> {
        let request = ListLocksRequest {
            owner: owner.clone(),
        };
        let found = self.peer.list_locks(request).await.unwrap();
        found.locks.into_iter().map(|lock| lock.path).collect()
    }

    async fn unlock(&self, owner: &Bytes, token: &Bytes, path: &str) -> Result<UnlockResponse> {
        let request = UnlockRequest {
            owner: owner.clone(),
            token: token.clone(),
            path: path.to_owned(),
        };
        self.store.unlock(request).await
    }

    /// Name and value of the properties at a path, in order.
    async fn properties(&self, owner: &Bytes, path: &str) -> Vec<(String, String)> {
        let entry = self.stat(owner, path).await.unwrap();
        let request = ListPropertiesRequest {
            owner: owner.clone(),
            entries: vec![entry.id.clone()],
        };
        request.check().unwrap();
        let found = self
            .store
            .list_properties(request)
            .await
            .unwrap()
            .properties;
        let mut found: Vec<_> = found
            .into_iter()
            .map(|found| {
                assert_eq!(found.entry, entry.id);
                let property = found.property.unwrap();
                (property.name, property.xml)
            })
            .collect();
        found.sort();
        found
    }

    async fn patch(
        &self,
        owner: &Bytes,
        path: &str,
        changes: &[(&str, Option<&str>)],
    ) -> Result<()> {
        let changes = changes.iter().map(|(name, xml)| PropertyChange {
            property: Some(Property {
                namespace: "urn:x".to_owned(),
                name: (*name).to_owned(),
                xml: xml.unwrap_or_default().to_owned(),
            }),
            remove: xml.is_none(),
        });
        let request = PatchPropertiesRequest {
            owner: owner.clone(),
            path: path.to_owned(),
            changes: changes.collect(),
            lock_tokens: Vec::new(),
        };
        request.check()?;
        self.store.patch_properties(request).await.map(|_| ())
    }
}

/// From taking a lock to its end.
pub async fn locks(f: Fixture) {
    let owner = f.account(1 << 20).await;
    let stranger = f.account(1 << 20).await;
    let request = ask(&owner, "/a/b", false, false);
    let lock = f.lock(request.clone()).await.unwrap();
    assert_eq!((&lock.token, &*lock.path), (&request.token, "/a/b"));
    assert_eq!(
        (
            lock.infinite,
            lock.shared,
            &*lock.owner_xml,
            lock.remaining_ms
        ),
        (false, false, "<owner/>", LEASE)
    );
    assert_eq!(f.lock(request).await.unwrap().token, lock.token, "repeated");
    assert_eq!(f.locked(&owner).await, ["/a/b"]);
    assert!(f.locked(&stranger).await.is_empty());
    assert!(f.lock(ask(&stranger, "/a/b", true, false)).await.is_ok());
    assert_eq!(
        kind(f.lock(ask(&id(), "/a", false, false)).await),
        Kind::NotFound,
        "no such account"
    );
    for (path, infinite, expected) in [
        ("/a/b", false, Some(Kind::Locked)),
        ("/a", true, Some(Kind::Locked)),
        ("/a", false, None),
    ] {
        let found = f.lock(ask(&owner, path, infinite, true)).await;
        assert_eq!(
            found.err().map(|problem| problem.kind()),
            expected,
            "{path}"
        );
    }
    let refused = f.lock(ask(&owner, "/a/b", false, false)).await.unwrap_err();
    assert_eq!(refused.extension("locked").unwrap(), "/a/b");

    let refresh = |owner: &Bytes, path: &str| RefreshLockRequest {
        owner: owner.clone(),
        token: lock.token.clone(),
        path: path.to_owned(),
        timeout_ms: LEASE,
    };
    f.clock.advance(LEASE / 2);
    let refreshed = f.store.refresh_lock(refresh(&owner, "/a/b")).await.unwrap();
    assert_eq!(refreshed.remaining_ms, LEASE);
    for wrong in [refresh(&stranger, "/a/b"), refresh(&owner, "/a")] {
        assert_eq!(kind(f.store.refresh_lock(wrong).await), Kind::NotFound);
    }
    f.clock.advance(LEASE / 2);
    assert_eq!(f.locked(&owner).await, ["/a/b"], "the other has expired");
    assert_eq!(
        kind(f.unlock(&owner, &lock.token, "/a").await),
        Kind::NotFound
    );
    assert_eq!(kind(f.unlock(&owner, &id(), "/a/b").await), Kind::NotFound);
    f.unlock(&owner, &lock.token, "/a/b").await.unwrap();
    assert_eq!(
        kind(f.unlock(&owner, &lock.token, "/a/b").await),
        Kind::NotFound
    );

    let last = f.lock(ask(&owner, "/a", true, false)).await.unwrap();
    f.clock.advance(LEASE);
    assert!(f.locked(&owner).await.is_empty());
    let expired = RefreshLockRequest {
        token: last.token,
        ..refresh(&owner, "/a")
    };
    assert_eq!(kind(f.store.refresh_lock(expired).await), Kind::NotFound);
    assert!(
        f.lock(ask(&owner, "/a", true, false)).await.is_ok(),
        "in its place"
    );
}

/// Who asks about locks is stopped by those that others hold; who does not ask is not.
pub async fn locked_changes(f: Fixture) {
    let owner = f.account(1 << 20).await;
    f.put(&owner, "/a/b/file", 1).await.unwrap();
    f.put(&owner, "/other", 2).await.unwrap();
    let lock = f.lock(ask(&owner, "/a/b", true, false)).await.unwrap();
    let (none, held) = (holding(&[]), holding(&[&lock.token]));
    let write = |path: &str, precondition| CommitUploadRequest {
        on_conflict: OnConflict::Replace.into(),
        precondition,
        ..commit(&owner, path, 3)
    };
    let rename = |from: &str, to: &str, precondition| MoveRequest {
        owner: owner.clone(),
        from: from.to_owned(),
        to: to.to_owned(),
        precondition,
        replace: true,
    };
    let copy = |from: &str, to: &str, precondition| CopyRequest {
        owner: owner.clone(),
        from: from.to_owned(),
        to: to.to_owned(),
        precondition,
        replace: true,
        shallow: false,
        rename: false,
        id: id(),
    };
    let delete = |path: &str, precondition| DeleteRequest {
        keep_ms: 0,
        owner: owner.clone(),
        path: path.to_owned(),
        precondition,
    };
    let folder = |path: &str, precondition| CreateFolderRequest {
        owner: owner.clone(),
        path: path.to_owned(),
        parents: false,
        precondition,
    };
    for path in ["/a/b/file", "/a/b/new"] {
        let refused = f.store.commit_upload(write(path, none.clone())).await;
        assert_eq!(kind(refused), Kind::Locked, "{path}");
    }
    for path in ["/a/b/file", "/a/b", "/a"] {
        let refused = f.store.delete(delete(path, none.clone())).await;
        assert_eq!(kind(refused), Kind::Locked, "{path}");
        let refused = f.store.move_entry(rename(path, "/x", none.clone())).await;
        assert_eq!(kind(refused), Kind::Locked, "{path}");
        let refused = f.store.copy(copy("/other", path, none.clone())).await;
        assert_eq!(kind(refused), Kind::Locked, "{path}");
    }
    let refused = f
        .store
        .create_folder(folder("/a/b/new", none.clone()))
        .await;
    assert_eq!(kind(refused), Kind::Locked);
    assert_eq!(
        kind(f.patch(&owner, "/a/b/file", &[("p", Some("1"))]).await),
        Kind::Locked
    );
    f.store
        .copy(copy("/a/b", "/free", none.clone()))
        .await
        .unwrap();

    f.store
        .commit_upload(write("/a/b/file", held.clone()))
        .await
        .unwrap();
    f.store
        .create_folder(folder("/a/b/new", held.clone()))
        .await
        .unwrap();
    f.put(&owner, "/a/b/unasked", 4).await.unwrap();
    assert_eq!(f.locked(&owner).await, ["/a/b"]);
    f.store
        .move_entry(rename("/a/b", "/moved", held))
        .await
        .unwrap();
    assert!(f.locked(&owner).await.is_empty(), "a lock does not move");

    let lock = f
        .lock(ask(&owner, "/moved/file", false, false))
        .await
        .unwrap();
    f.store
        .delete(delete("/moved", holding(&[&lock.token])))
        .await
        .unwrap();
    assert!(
        f.locked(&owner).await.is_empty(),
        "nor outlives what it is on"
    );

    let flat = f.lock(ask(&owner, "/free", false, false)).await.unwrap();
    let refused = f
        .store
        .create_folder(folder("/free/new", none.clone()))
        .await;
    assert_eq!(
        kind(refused),
        Kind::Locked,
        "a folder's members are locked with it"
    );
    f.store
        .commit_upload(write("/free/file", none.clone()))
        .await
        .unwrap();
    let held = holding(&[&flat.token]);
    f.store
        .create_folder(folder("/free/new", held))
        .await
        .unwrap();
    f.clock.advance(LEASE);
    f.store.delete(delete("/free", none)).await.unwrap();
}

/// An account has only so many.
pub async fn many_locks(f: Fixture) {
    let owner = f.account(1 << 20).await;
    for n in 0..crate::dav::MAX_LOCKS {
        f.lock(ask(&owner, &format!("/{n}"), false, false))
            .await
            .unwrap();
    }
    let refused = f.lock(ask(&owner, "/one more", false, false)).await;
    assert_eq!(kind(refused), Kind::LimitReached);
    f.clock.advance(LEASE);
    f.lock(ask(&owner, "/one more", false, false))
        .await
        .unwrap();
    assert_eq!(f.locked(&owner).await, ["/one more"]);
}

/// Properties belong to the entry, wherever it goes.
pub async fn properties(f: Fixture) {
    let owner = f.account(1 << 20).await;
    let stranger = f.account(1 << 20).await;
    let pair = |name: &str, xml: &str| (name.to_owned(), xml.to_owned());
    f.put(&owner, "/a/file", 1).await.unwrap();
    f.patch(
        &owner,
        "/a/file",
        &[("p", Some("1")), ("q", Some("<\u{10000}>"))],
    )
    .await
    .unwrap();
    f.patch(&owner, "/a", &[("p", Some("folder"))])
        .await
        .unwrap();
    let both = [pair("p", "1"), pair("q", "<\u{10000}>")];
    assert_eq!(f.properties(&owner, "/a/file").await, both);
    f.patch(
        &owner,
        "/a/file",
        &[("p", None), ("none", None), ("p", Some("2"))],
    )
    .await
    .unwrap();
    let both = [pair("p", "2"), pair("q", "<\u{10000}>")];
    assert_eq!(f.properties(&owner, "/a/file").await, both);
    assert_eq!(
        kind(f.patch(&owner, "/x", &[("p", Some("1"))]).await),
        Kind::NotFound
    );
    assert_eq!(
        kind(f.patch(&stranger, "/a", &[("p", Some("1"))]).await),
        Kind::NotFound
    );
    let entry = f.stat(&owner, "/a/file").await.unwrap();
    let request = ListPropertiesRequest {
        owner: stranger.clone(),
        entries: vec![entry.id],
    };
    let foreign = f.store.list_properties(request).await.unwrap();
    assert!(foreign.properties.is_empty());

    let request = CommitUploadRequest {
        on_conflict: OnConflict::Replace.into(),
        ..commit(&owner, "/a/file", 2)
    };
    f.store.commit_upload(request).await.unwrap();
    assert_eq!(f.properties(&owner, "/a/file").await, both, "new content");
    f.mv(&owner, "/a", "/b").await.unwrap();
    assert_eq!(f.properties(&owner, "/b/file").await, both, "moved");
    let copy = CopyRequest {
        owner: owner.clone(),
        from: "/b".to_owned(),
        to: "/c".to_owned(),
        id: id(),
        ..CopyRequest::default()
    };
    f.store.copy(copy).await.unwrap();
    assert_eq!(f.properties(&owner, "/c/file").await, both, "copied");
    assert_eq!(f.properties(&owner, "/c").await, [pair("p", "folder")]);
    f.patch(&owner, "/c/file", &[("p", None)]).await.unwrap();
    assert_eq!(
        f.properties(&owner, "/b/file").await,
        both,
        "a copy is its own"
    );
    f.rm(&owner, "/b").await.unwrap();
    f.purge_all(0).await;
    f.put(&owner, "/b/file", 1).await.unwrap();
    assert!(f.properties(&owner, "/b/file").await.is_empty());

    let long = "x".repeat(crate::dav::MAX_PROPERTY_BYTES / 2);
    f.patch(&owner, "/b/file", &[("long", Some(&long))])
        .await
        .unwrap();
    let refused = f
        .patch(&owner, "/b/file", &[("a", Some("1")), ("b", Some(&long))])
        .await;
    assert_eq!(kind(refused), Kind::LimitReached);
    assert_eq!(
        f.properties(&owner, "/b/file").await,
        [pair("long", &long)],
        "all or none"
    );
}

/// One call copies so many bytes of properties and no more: no quota counts them.
pub async fn copied_properties(f: Fixture) {
    const DOUBLINGS: usize = 9;
    assert_eq!(MAX_PROPERTY_BYTES << DOUBLINGS, MAX_COPIED_PROPERTY_BYTES);
    let owner = f.account(1 << 20).await;
    let copy = async |from: String, to: String| {
        let request = CopyRequest {
            owner: owner.clone(),
            from,
            to,
            id: id(),
            ..CopyRequest::default()
        };
        request.check().unwrap();
        f.store.copy(request).await
    };
    f.mkdir(&owner, "/0", false).await.unwrap();
    // In bytes, not in characters; together with namespace and name as much as an entry may have.
    let xml = "\u{e9}".repeat((MAX_PROPERTY_BYTES - "urn:xp".len()) / 2);
    let changes = [("p", Some(&*xml))];
    f.patch(&owner, "/0", &changes).await.unwrap();
    // Each folder holds the one before it twice.
    for n in 1..=DOUBLINGS {
        f.mkdir(&owner, &format!("/{n}"), false).await.unwrap();
        for half in ["a", "b"] {
            let (from, to) = (format!("/{}", n - 1), format!("/{n}/{half}"));
            copy(from, to).await.unwrap();
        }
    }
    let all = format!("/{DOUBLINGS}");
    copy(all.clone(), "/exactly".to_owned()).await.unwrap();
    f.patch(&owner, &all, &[("q", Some(""))]).await.unwrap();
    let refused = copy(all.clone(), "/more".to_owned()).await;
    assert_eq!(kind(refused), Kind::LimitReached);
    assert_eq!(kind(f.stat(&owner, "/more").await), Kind::NotFound);
    f.mv(&owner, &all, "/moved").await.unwrap();
}
