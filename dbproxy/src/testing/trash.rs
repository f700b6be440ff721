//! The trash.

use super::*;

/// How long what is deleted here stays in the trash.
const KEEP: i64 = 1_000;

impl Fixture {
    /// Deletes into the trash.
    async fn bin(&self, owner: &Bytes, path: &str) {
        let request = DeleteRequest {
            precondition: None,
            owner: owner.clone(),
            path: path.to_owned(),
            keep_ms: KEEP,
        };
        request.check().unwrap();
        self.store.delete(request).await.unwrap();
    }

    async fn trash(&self, owner: &Bytes) -> Vec<Trashed> {
        let request = ListTrashRequest {
            owner: owner.clone(),
            ..ListTrashRequest::default()
        };
        self.store.list_trash(request).await.unwrap().entries
    }

    async fn trashed_paths(&self, owner: &Bytes) -> Vec<String> {
        let trash = self.trash(owner).await;
        trash
            .into_iter()
            .map(|trashed| trashed.entry.unwrap().path)
            .collect()
    }

    async fn restore(&self, owner: &Bytes, id: &Bytes, path: &str, rename: bool) -> Result<Entry> {
        let request = RestoreRequest {
            owner: owner.clone(),
            id: id.clone(),
            path: path.to_owned(),
            rename,
        };
        request.check().unwrap();
        self.store.restore(request).await
    }

    async fn empty(&self, owner: &Bytes, id: Option<&Bytes>, limit: u32) -> Result<bool> {
        let request = EmptyTrashRequest {
            owner: owner.clone(),
            id: id.cloned().unwrap_or_default(),
            limit,
        };
        request.check().unwrap();
        Ok(self.store.empty_trash(request).await?.more)
    }
}

/// What is in the trash is out of sight, keeps its room and its content, and comes back as it was.
pub async fn trash(f: Fixture) {
    let owner = f.account(1 << 20).await;
    f.put(&owner, "/a/b/c", 1).await.unwrap();
    f.put(&owner, "/a/d", 2).await.unwrap();
    let folder = f.stat(&owner, "/a").await.unwrap();
    let file = f.stat(&owner, "/a/b/c").await.unwrap();

    f.bin(&owner, "/a").await;
    for path in ["/a", "/a/b/c"] {
        assert_eq!(kind(f.stat(&owner, path).await), Kind::NotFound);
    }
    f.purge_all(0).await;
    assert_eq!(f.bytes(&owner).await, (2 * SIZE, 0), "it keeps its room");
    assert!(f.claim_garbage(0).await.is_empty(), "it keeps its content");
    let trash = f.trash(&owner).await;
    let [
        Trashed {
            entry: Some(entry),
            deleted_at_ms,
            expires_at_ms,
        },
    ] = &trash[..]
    else {
        panic!("what was below it is not listed: {trash:?}");
    };
    assert_eq!(
        (&entry.id, &*entry.path, entry.kind()),
        (&folder.id, "/a", EntryKind::Folder)
    );
    let now = f.clock.now_ms();
    assert_eq!((*deleted_at_ms, *expires_at_ms), (now, now + KEEP));

    let restored = f.restore(&owner, &folder.id, "", false).await.unwrap();
    assert_eq!((&restored.id, &*restored.path), (&folder.id, "/a"));
    assert!(restored.version > folder.version, "it has changed");
    assert_eq!(f.stat(&owner, "/a").await.unwrap(), restored);
    assert_eq!(f.stat(&owner, "/a/b/c").await.unwrap(), file);
    assert!(f.trash(&owner).await.is_empty());
    let again = f.restore(&owner, &folder.id, "", false).await;
    assert_eq!(again.unwrap(), restored, "repeated call");
    let other = f.account(1 << 20).await;
    let foreign = f.restore(&other, &folder.id, "", false).await;
    assert_eq!(kind(foreign), Kind::NotFound);
}

/// It comes back elsewhere, under another name, or not at all; never in the place of something.
pub async fn restoring(f: Fixture) {
    let owner = f.account(1 << 20).await;
    let file = f.put(&owner, "/a/x.txt", 1).await.unwrap().file.unwrap();
    f.bin(&owner, "/a/x.txt").await;
    // The folder it was in goes for good, and does not take it along.
    f.rm(&owner, "/a").await.unwrap();
    f.purge_all(1).await;
    assert_eq!(f.trashed_paths(&owner).await, ["/a/x.txt"]);
    assert_eq!(f.bytes(&owner).await, (SIZE, 0));

    f.put(&owner, "/a", 2).await.unwrap();
    let blocked = f.restore(&owner, &file.id, "", false).await;
    assert_eq!(kind(blocked), Kind::NotAFolder);
    f.put(&owner, "/y/x.txt", 3).await.unwrap();
    let taken = f.restore(&owner, &file.id, "/y/x.txt", false).await;
    assert_eq!(kind(taken), Kind::NameConflict);
    let other = f.account(1 << 20).await;
    let foreign = f.restore(&other, &file.id, "/z", false).await;
    assert_eq!(kind(foreign), Kind::NotFound);
    assert_eq!(f.trashed_paths(&owner).await, ["/a/x.txt"], "nothing moved");

    let renamed = f.restore(&owner, &file.id, "/y/x.txt", true).await.unwrap();
    assert_eq!(&*renamed.path, "/y/x (1).txt");
    f.bin(&owner, "/y/x (1).txt").await;
    let moved = f.restore(&owner, &file.id, "/new/way/x", true).await;
    assert_eq!(&*moved.unwrap().path, "/new/way/x");
    let found = f.stat(&owner, "/new/way/x").await.unwrap();
    assert_eq!((found.id, found.blob), (file.id, file.blob));
}

/// It ends by hand or by time, and then gives back what it held.
pub async fn emptying(f: Fixture) {
    let owner = f.account(1 << 20).await;
    for (seed, path) in (1..).zip(["/1", "/2", "/3/in", "/4", "/5"]) {
        f.put(&owner, path, seed).await.unwrap();
    }
    for path in ["/1", "/2", "/3", "/4", "/5"] {
        f.bin(&owner, path).await;
        f.clock.advance(1);
    }
    let listed = f.trashed_paths(&owner).await;
    assert_eq!(listed, ["/5", "/4", "/3", "/2", "/1"], "last deleted first");
    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let request = ListTrashRequest {
            owner: owner.clone(),
            cursor,
            limit: 2,
        };
        let page = f.store.list_trash(request).await.unwrap();
        pages.extend(page.entries.into_iter().map(|one| one.entry.unwrap().path));
        cursor = page.next_cursor;
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!(pages, listed, "in pages");
    let nonsense = ListTrashRequest {
        owner: owner.clone(),
        cursor: "x".to_owned(),
        limit: 0,
    };
    assert_eq!(
        kind(f.store.list_trash(nonsense).await),
        Kind::MalformedRequest
    );

    let first = f.trash(&owner).await.remove(0).entry.unwrap();
    let other = f.account(1 << 20).await;
    assert!(!f.empty(&other, None, 0).await.unwrap());
    let foreign = f.empty(&other, Some(&first.id), 0).await;
    assert_eq!(kind(foreign), Kind::NotFound);
    f.empty(&owner, Some(&first.id), 0).await.unwrap();
    let gone = f.restore(&owner, &first.id, "", false).await;
    assert_eq!(kind(gone), Kind::NotFound);
    f.purge_all(0).await;
    assert_eq!(f.bytes(&owner).await, (4 * SIZE, 0));

    // The oldest has had its time, before anybody cleans up.
    f.clock.advance(KEEP - 5);
    assert_eq!(f.trashed_paths(&owner).await, ["/4", "/3", "/2"]);
    assert_eq!(f.bytes(&owner).await, (4 * SIZE, 0));
    f.purge_all(1).await;
    assert_eq!(f.bytes(&owner).await, (3 * SIZE, 0));

    while f.empty(&owner, None, 1).await.unwrap() {}
    assert!(f.trash(&owner).await.is_empty());
    f.purge_all(1).await;
    assert_eq!(f.bytes(&owner).await, (0, 0));
    assert_eq!(f.claim_garbage(0).await.len(), 5);
}

/// What is shared opens nothing while it is in the trash.
pub async fn trashed_shares(f: Fixture) {
    let owner = f.account(1 << 20).await;
    f.put(&owner, "/a/b", 1).await.unwrap();
    let folder = f.stat(&owner, "/a").await.unwrap();
    let (shared, token) = (id(), vec![7; 32]);
    let request = CreateShareRequest {
        id: shared.clone(),
        account_id: owner.clone(),
        hash: token.clone().into(),
        path: "/a/b".to_owned(),
        max_shares: 10,
        ..CreateShareRequest::default()
    };
    f.store.create_share(request).await.unwrap();
    let find = || FindSharedRequest {
        hash: token.clone().into(),
        path: "/".to_owned(),
    };
    f.store.find_shared(find()).await.unwrap();
    f.bin(&owner, "/a").await;
    assert_eq!(kind(f.store.find_shared(find()).await), Kind::NotFound);
    f.restore(&owner, &folder.id, "/z", false).await.unwrap();
    let found = f.store.find_shared(find()).await.unwrap();
    assert_eq!(found.share.unwrap().path, "/z/b");
}
