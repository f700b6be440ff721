//! Shares.

use super::*;

const LIFETIME: i64 = 10_000;
const MAX: u32 = 3;

fn share(account: &Bytes, path: &str, hash: u8) -> CreateShareRequest {
    let request = CreateShareRequest {
        id: id(),
        account_id: account.clone(),
        hash: vec![hash; 32].into(),
        path: path.to_owned(),
        lifetime_ms: 0,
        password_hash: String::new(),
        max_downloads: 0,
        max_shares: MAX,
        uploads: false,
    };
    request.check().unwrap();
    request
}

async fn find(f: &Fixture, hash: u8, path: &str) -> Result<SharedEntry> {
    let request = FindSharedRequest {
        hash: vec![hash; 32].into(),
        path: path.to_owned(),
    };
    request.check().unwrap();
    f.peer.find_shared(request).await
}

/// Paths of a page, and the cursor of the next one.
async fn page(f: &Fixture, hash: u8, path: &str, cursor: &str) -> Result<(Vec<String>, String)> {
    let request = ListSharedRequest {
        hash: vec![hash; 32].into(),
        path: path.to_owned(),
        cursor: cursor.to_owned(),
        limit: 2,
        ..ListSharedRequest::default()
    };
    request.check().unwrap();
    let page = f.peer.list_shared(request).await?.page.unwrap();
    let paths = page.entries.into_iter().map(|entry| entry.path);
    Ok((paths.collect(), page.next_cursor))
}

async fn get(f: &Fixture, account: &Bytes, id: &Bytes) -> Result<Share> {
    let (account_id, id) = (account.clone(), id.clone());
    f.store.get_share(GetShareRequest { account_id, id }).await
}

async fn revoke(f: &Fixture, account: &Bytes, id: &Bytes) -> Result<RevokeShareResponse> {
    let (account_id, id) = (account.clone(), id.clone());
    let request = RevokeShareRequest { account_id, id };
    f.store.revoke_share(request).await
}

async fn list(f: &Fixture, account: &Bytes) -> Vec<Share> {
    let account_id = account.clone();
    let request = ListSharesRequest { account_id };
    f.store.list_shares(request).await.unwrap().shares
}

/// Shares are made, seen and ended by their owner alone, and their number is bounded.
pub async fn shares(f: Fixture) {
    let (account, other) = (f.account(10_000).await, f.account(10_000).await);
    f.put(&account, "/a", 1).await.unwrap();
    let file = f.stat(&account, "/a").await.unwrap();
    let folder = f.mkdir(&account, "/f/g", true).await.unwrap();
    let request = CreateShareRequest {
        lifetime_ms: LIFETIME,
        password_hash: "hash".to_owned(),
        max_downloads: 7,
        ..share(&account, "/a", 1)
    };
    let first = f.store.create_share(request.clone()).await.unwrap();
    let now = f.clock.now_ms();
    assert_eq!(
        first,
        Share {
            id: request.id.clone(),
            account_id: account.clone(),
            entry_id: file.id.clone(),
            path: "/a".to_owned(),
            kind: EntryKind::File.into(),
            created_at_ms: now,
            expires_at_ms: now + LIFETIME,
            max_downloads: 7,
            downloads: 0,
            has_password: true,
            uploads: false,
        }
    );
    let again = f.store.create_share(request.clone()).await;
    assert_eq!(again.unwrap(), first, "repeated call");
    let second = f.store.create_share(share(&account, "/f/g", 2)).await;
    let second = second.unwrap();
    assert_eq!((&second.entry_id, second.expires_at_ms), (&folder.id, 0));
    assert!(!second.has_password);
    for (taken, expected) in [
        (
            CreateShareRequest {
                id: id(),
                ..request.clone()
            },
            Kind::NameConflict,
        ),
        (share(&account, "/absent", 3), Kind::NotFound),
        (share(&other, "/a", 3), Kind::NotFound),
        (share(&id(), "/a", 3), Kind::NotFound),
    ] {
        assert_eq!(kind(f.store.create_share(taken).await), expected);
    }
    assert_eq!(list(&f, &account).await, [first.clone(), second.clone()]);
    assert_eq!(list(&f, &other).await, []);
    assert_eq!(get(&f, &account, &first.id).await.unwrap(), first);
    assert_eq!(kind(get(&f, &other, &first.id).await), Kind::NotFound);
    assert_eq!(kind(revoke(&f, &other, &first.id).await), Kind::NotFound);

    f.store
        .create_share(share(&account, "/f", 3))
        .await
        .unwrap();
    let refused = f.store.create_share(share(&account, "/f", 4)).await;
    assert_eq!(kind(refused), Kind::LimitReached);
    let again = f.store.create_share(request).await.unwrap();
    assert_eq!(again, first, "a repeated call needs no room");

    f.clock.advance(LIFETIME - 1);
    assert_eq!(find(&f, 1, "/").await.unwrap().password_hash, "hash");
    f.clock.advance(1);
    assert_eq!(kind(find(&f, 1, "/").await), Kind::NotFound, "expired");
    assert_eq!(kind(get(&f, &account, &first.id).await), Kind::NotFound);
    assert_eq!(list(&f, &account).await.len(), 2);
    f.store
        .create_share(share(&account, "/f", 4))
        .await
        .unwrap();

    revoke(&f, &account, &second.id).await.unwrap();
    assert_eq!(kind(find(&f, 2, "/").await), Kind::NotFound);
    assert_eq!(kind(revoke(&f, &account, &second.id).await), Kind::NotFound);
}

/// A share is of an entry wherever that goes, of what is below it, and of nothing else.
pub async fn shared_entries(f: Fixture) {
    let account = f.account(100_000).await;
    f.mkdir(&account, "/top/f/sub", true).await.unwrap();
    for (path, seed) in [
        ("/top/f/a", 1),
        ("/top/f/b", 2),
        ("/top/f/sub/c", 3),
        ("/top/d", 4),
    ] {
        f.put(&account, path, seed).await.unwrap();
    }
    f.store
        .create_share(share(&account, "/top/f", 1))
        .await
        .unwrap();
    f.store
        .create_share(share(&account, "/top/f/a", 2))
        .await
        .unwrap();
    let path_of = async |hash, path| {
        let shared = find(&f, hash, path).await?;
        let (share, entry) = (shared.share.unwrap(), shared.entry.unwrap());
        let kind = entry.kind();
        Ok::<_, cloudstore_service::Problem>((share.path, entry.path, kind))
    };
    let (file, folder) = (EntryKind::File, EntryKind::Folder);
    let at = |share: &str, path: &str, kind| (share.to_owned(), path.to_owned(), kind);
    assert_eq!(path_of(1, "/").await.unwrap(), at("/top/f", "/", folder));
    assert_eq!(
        path_of(1, "/sub/c").await.unwrap(),
        at("/top/f", "/sub/c", file)
    );
    assert_eq!(path_of(2, "/").await.unwrap(), at("/top/f/a", "/", file));
    for (hash, path) in [
        (1, "/d"),
        (1, "/top/f/a"),
        (1, "/f"),
        (2, "/a"),
        (2, "/b"),
        (9, "/"),
    ] {
        assert_eq!(
            kind(find(&f, hash, path).await),
            Kind::NotFound,
            "{hash} {path}"
        );
    }
    let (paths, cursor) = page(&f, 1, "/", "").await.unwrap();
    assert_eq!(paths, ["/a", "/b"]);
    let (paths, cursor) = page(&f, 1, "/", &cursor).await.unwrap();
    assert_eq!((paths, &*cursor), (vec!["/sub".to_owned()], ""));
    assert_eq!(page(&f, 1, "/sub", "").await.unwrap().0, ["/sub/c"]);
    assert_eq!(kind(page(&f, 1, "/a", "").await), Kind::NotAFolder);
    assert_eq!(kind(page(&f, 2, "/", "").await), Kind::NotAFolder);
    assert_eq!(kind(page(&f, 9, "/", "").await), Kind::NotFound);

    // It follows, and what takes its place is not shared.
    f.mv(&account, "/top/f/a", "/moved").await.unwrap();
    f.put(&account, "/top/f/a", 5).await.unwrap();
    let shared = find(&f, 2, "/").await.unwrap();
    assert_eq!(shared.share.unwrap().path, "/moved");
    assert_eq!(
        shared.entry.unwrap().blob.unwrap().blake3,
        digests(1).blake3
    );
    f.mv(&account, "/top/f", "/elsewhere").await.unwrap();
    assert_eq!(
        path_of(1, "/sub/c").await.unwrap(),
        at("/elsewhere", "/sub/c", file)
    );
    let listed = list(&f, &account).await;
    let paths: Vec<_> = listed.iter().map(|share| &*share.path).collect();
    assert_eq!(paths, ["/elsewhere", "/moved"]);

    // With a folder above it, it is gone at once, and for good when that is purged.
    f.mv(&account, "/elsewhere", "/top/f").await.unwrap();
    f.rm(&account, "/top").await.unwrap();
    assert_eq!(kind(find(&f, 1, "/").await), Kind::NotFound);
    assert_eq!(kind(find(&f, 1, "/sub/c").await), Kind::NotFound);
    assert_eq!(kind(page(&f, 1, "/", "").await), Kind::NotFound);
    assert_eq!(kind(get(&f, &account, &listed[0].id).await), Kind::NotFound);
    assert_eq!(list(&f, &account).await.len(), 1);
    f.purge_all(0).await;
    f.rm(&account, "/moved").await.unwrap();
    assert_eq!(kind(find(&f, 2, "/").await), Kind::NotFound);
    f.purge_all(0).await;
    assert_eq!(
        kind(revoke(&f, &account, &listed[1].id).await),
        Kind::NotFound
    );
}

fn download(share: &Share, bytes: i64, continues: &Bytes) -> BeginDownloadRequest {
    let request = BeginDownloadRequest {
        share_id: share.id.clone(),
        blake3: digests(1).blake3,
        bytes,
        continues: continues.clone(),
        id: id(),
        allowance: 2 * SIZE,
        lifetime_ms: LIFETIME,
    };
    request.check().unwrap();
    request
}

/// As many downloads begin as may, each carries what it may, and no more.
pub async fn downloads(f: Fixture) {
    const PARALLEL: usize = 20;
    let account = f.account(10_000).await;
    f.put(&account, "/a", 1).await.unwrap();
    let create = async |hash, max_downloads| {
        let request = CreateShareRequest {
            max_downloads,
            ..share(&account, "/a", hash)
        };
        f.store.create_share(request).await.unwrap()
    };
    let (limited, unlimited, once) = (create(1, 5).await, create(2, 0).await, create(3, 1).await);
    let none = Bytes::new();
    let begin = async |share: &Share, bytes, continues: &Bytes| {
        let request = download(share, bytes, continues);
        let id = request.id.clone();
        let begun = f.store.begin_download(request).await?;
        Ok::<_, cloudstore_service::Problem>(begun.counted.then_some(id))
    };
    let all = (0..PARALLEL).map(|_| begin(&limited, SIZE, &none));
    let begun = futures::future::join_all(all).await;
    let counted = begun.iter().filter(|begun| begun.is_ok()).count();
    assert_eq!(counted, 5, "{begun:?}");
    for refused in begun.into_iter().filter_map(Result::err) {
        assert_eq!(refused.kind(), Kind::ShareExhausted);
    }
    assert_eq!(get(&f, &account, &limited.id).await.unwrap().downloads, 5);
    assert_eq!(find(&f, 1, "/").await.unwrap().share.unwrap().downloads, 5);
    for _ in 0..7 {
        begin(&unlimited, SIZE, &none).await.unwrap();
    }
    assert_eq!(get(&f, &account, &unlimited.id).await.unwrap().downloads, 7);

    let request = download(&once, SIZE, &none);
    for _ in 0..2 {
        let begun = f.store.begin_download(request.clone()).await.unwrap();
        assert!(begun.counted, "a repeated call counts once");
    }
    let first = &request.id;
    assert_eq!(begin(&once, SIZE - 1, first).await.unwrap(), None);
    let more = begin(&once, 2, first).await;
    assert_eq!(kind(more), Kind::ShareExhausted, "1 byte was left");
    assert_eq!(begin(&once, 1, first).await.unwrap(), None);
    assert_eq!(kind(begin(&once, 0, &id()).await), Kind::ShareExhausted);
    let other_share = begin(&limited, 0, first).await;
    assert_eq!(kind(other_share), Kind::ShareExhausted);
    let other_content = BeginDownloadRequest {
        blake3: digests(2).blake3,
        ..download(&once, 0, first)
    };
    let other_content = f.store.begin_download(other_content).await;
    assert_eq!(kind(other_content), Kind::ShareExhausted);
    f.clock.advance(LIFETIME);
    assert_eq!(kind(begin(&once, 0, first).await), Kind::ShareExhausted);
    assert_eq!(get(&f, &account, &once.id).await.unwrap().downloads, 1);

    revoke(&f, &account, &once.id).await.unwrap();
    assert_eq!(kind(begin(&once, 0, first).await), Kind::NotFound);
    assert_eq!(kind(begin(&once, 0, &none).await), Kind::NotFound);
}

/// One that collects uploads shows its folder, and nothing of what is in it.
pub async fn upload_links(f: Fixture) {
    let account = f.account(10_000).await;
    f.put(&account, "/in/secret", 1).await.unwrap();
    let collecting = |path: &str, hash| CreateShareRequest {
        uploads: true,
        ..share(&account, path, hash)
    };
    let of_file = f.store.create_share(collecting("/in/secret", 1)).await;
    assert_eq!(kind(of_file), Kind::NotAFolder);
    let limited = CreateShareRequest {
        max_downloads: 1,
        ..collecting("/in", 1)
    };
    assert!(limited.check().is_err());

    let made = f.store.create_share(collecting("/in", 2)).await.unwrap();
    assert!(made.uploads);
    let again = f.store.create_share(share(&account, "/in", 3)).await;
    let both = [made.clone(), again.unwrap()];
    assert_eq!(list(&f, &account).await, both, "of the same folder");
    let found = find(&f, 2, "/").await.unwrap();
    assert_eq!(found.share, Some(made));
    for path in ["/secret", "/none"] {
        assert_eq!(kind(find(&f, 2, path).await), Kind::NotFound, "{path}");
    }
    assert_eq!(kind(page(&f, 2, "/", "").await), Kind::NotFound);
    assert!(
        find(&f, 2, "/")
            .await
            .unwrap()
            .entry
            .unwrap()
            .blob
            .is_none()
    );

    f.mv(&account, "/in", "/moved").await.unwrap();
    let moved = find(&f, 2, "/").await.unwrap().share.unwrap();
    assert_eq!(moved.path, "/moved");
}
