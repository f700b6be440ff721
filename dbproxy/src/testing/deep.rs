//! Trees as deep as a path can be long, and no deeper.

use cloudstore_proto::path::MAX_PATH_BYTES;

use super::*;

/// A path with so many names of one letter.
fn levels(count: usize) -> String {
    "/d".repeat(count)
}

/// What the longest path leads to is found on the way down and on the way up.
pub async fn deep_trees(f: Fixture) {
    const LEVELS: usize = MAX_PATH_BYTES / 2;
    let owner = f.account(1 << 20).await;
    let made = f.mkdir(&owner, &levels(LEVELS), true).await.unwrap();
    assert_eq!(f.stat(&owner, &levels(LEVELS)).await.unwrap(), made);
    let request = CreateShareRequest {
        id: id(),
        account_id: owner.clone(),
        hash: vec![7; 32].into(),
        path: made.path.clone(),
        max_shares: 10,
        ..CreateShareRequest::default()
    };
    let share = f.store.create_share(request).await.unwrap();
    let request = ListSharesRequest {
        account_id: owner.clone(),
    };
    let listed = f.store.list_shares(request).await.unwrap().shares;
    assert_eq!(listed[0].path, made.path);
    let request = GetShareRequest {
        account_id: owner.clone(),
        id: share.id,
    };
    let found = f.store.get_share(request).await.unwrap();
    assert_eq!(found.path, made.path);
}

/// No move, copy or return from the trash makes a path that nobody could say any more.
pub async fn long_paths(f: Fixture) {
    let owner = f.account(1 << 20).await;
    // Below /a: 6 names of 255 bytes, in 2 bytes for each character, and one of 5 bytes.
    let long = format!("/{}x", "é".repeat(127));
    let (deep, last) = (long.repeat(6), "/12345");
    f.put(&owner, &format!("/a{deep}{last}"), 1).await.unwrap();
    f.put(&owner, "/file", 2).await.unwrap();
    // So long a place that the file below it has the longest path there is.
    let exact = MAX_PATH_BYTES - deep.len() - last.len();
    let (rest, last_long) = (long.repeat(9), exact - 9 * long.len() - 1);
    let place = |more: usize| format!("{rest}/{}", "p".repeat(last_long + more));
    f.mkdir(&owner, &rest, true).await.unwrap();
    let copy = |to: String| CopyRequest {
        owner: owner.clone(),
        from: "/a".to_owned(),
        to,
        id: id(),
        ..CopyRequest::default()
    };
    let too_long = place(1);
    for refused in [
        f.mv(&owner, "/a", &too_long).await,
        f.store.copy(copy(too_long.clone())).await,
    ] {
        assert_eq!(kind(refused), Kind::InvalidPath);
    }
    assert_eq!(kind(f.stat(&owner, &too_long).await), Kind::NotFound);
    let shallow = CopyRequest {
        shallow: true,
        ..copy(too_long.clone())
    };
    f.store.copy(shallow).await.unwrap();
    f.rm(&owner, &too_long).await.unwrap();
    f.mv(&owner, "/file", &too_long).await.unwrap();
    f.rm(&owner, &too_long).await.unwrap();

    f.store.copy(copy(place(0))).await.unwrap();
    let longest = format!("{}{deep}{last}", place(0));
    assert_eq!(longest.len(), MAX_PATH_BYTES);
    assert!(f.stat(&owner, &longest).await.is_ok());
    f.rm(&owner, &place(0)).await.unwrap();
    let moved = f.mv(&owner, "/a", &place(0)).await.unwrap();
    assert!(f.stat(&owner, &longest).await.is_ok());

    let delete = DeleteRequest {
        precondition: None,
        owner: owner.clone(),
        path: place(0),
        keep_ms: 1_000,
    };
    f.store.delete(delete).await.unwrap();
    let restore = |path: String| RestoreRequest {
        owner: owner.clone(),
        id: moved.id.clone(),
        path,
        rename: false,
    };
    let refused = f.store.restore(restore(too_long)).await;
    assert_eq!(kind(refused), Kind::InvalidPath);
    f.store.restore(restore(String::new())).await.unwrap();
    assert!(f.stat(&owner, &longest).await.is_ok());
}
