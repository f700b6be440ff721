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
