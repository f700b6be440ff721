//! Several changes in one call.

use super::*;

fn create(owner: &Bytes, path: &str, parents: bool) -> Change {
    Change {
        change: Some(change::Change::CreateFolder(CreateFolderRequest {
            owner: owner.clone(),
            path: path.to_owned(),
            parents,
            precondition: None,
        })),
    }
}

fn rename(owner: &Bytes, from: &str, to: &str) -> Change {
    Change {
        change: Some(change::Change::Move(MoveRequest {
            owner: owner.clone(),
            from: from.to_owned(),
            to: to.to_owned(),
            precondition: None,
            replace: false,
        })),
    }
}

fn remove(owner: &Bytes, path: &str, precondition: Option<Precondition>) -> Change {
    Change {
        change: Some(change::Change::Delete(DeleteRequest {
            keep_ms: 0,
            owner: owner.clone(),
            path: path.to_owned(),
            precondition,
        })),
    }
}

async fn apply(f: &Fixture, owner: &Bytes, changes: Vec<Change>) -> Result<Vec<Entry>> {
    let request = ApplyRequest {
        owner: owner.clone(),
        changes,
    };
    request.check().unwrap();
    Ok(f.store.apply(request).await?.entries)
}

/// Changes build on each other; all of them are made, or none and the first that fails is named.
pub async fn changes(f: Fixture) {
    let owner = f.account(1 << 20).await;
    f.put(&owner, "/a", 1).await.unwrap();
    f.put(&owner, "/b", 2).await.unwrap();
    let entries = apply(
        &f,
        &owner,
        vec![
            create(&owner, "/new/folder", true),
            rename(&owner, "/a", "/new/folder/a"),
            rename(&owner, "/new", "/moved"),
            remove(&owner, "/b", None),
            create(&owner, "/b", false),
        ],
    )
    .await
    .unwrap();
    let paths: Vec<&str> = entries.iter().map(|entry| &*entry.path).collect();
    assert_eq!(
        paths,
        ["/new/folder", "/new/folder/a", "/moved", "", "/b"],
        "one for each, as it was then"
    );
    assert!(entries[3].id.is_empty());
    assert_eq!(f.stat(&owner, "/moved/folder/a").await.unwrap().version, 2);
    let folder = f.stat(&owner, "/b").await.unwrap();
    assert_eq!((&folder, folder.kind()), (&entries[4], EntryKind::Folder));
    assert_eq!(kind(f.stat(&owner, "/new").await), Kind::NotFound);

    let if_match = |blake3: Bytes| {
        Some(Precondition {
            if_match: Some(precondition::Match {
                any: false,
                blake3: vec![blake3],
            }),
            ..Precondition::default()
        })
    };
    let moved = "/moved/folder/a";
    for (last, expected) in [
        (create(&owner, "/b", false), Kind::NameConflict),
        (remove(&owner, "/nothing", None), Kind::NotFound),
        (rename(&owner, "/moved", "/moved/x"), Kind::InvalidPath),
        (
            remove(&owner, moved, if_match(digests(9).blake3)),
            Kind::PreconditionFailed,
        ),
    ] {
        let changes = vec![
            create(&owner, "/left/behind", true),
            remove(&owner, "/b", None),
            create(&owner, "/b", false),
            last,
            create(&owner, "/never", false),
        ];
        let problem = apply(&f, &owner, changes).await.unwrap_err();
        assert_eq!(problem.kind(), expected);
        assert!(problem.detail().starts_with("change 3: "), "{problem:?}");
        assert_eq!(problem.extension("change").unwrap().as_u64(), Some(3));
        for path in ["/left", "/never"] {
            assert_eq!(kind(f.stat(&owner, path).await), Kind::NotFound, "{path}");
        }
        assert_eq!(f.stat(&owner, "/b").await.unwrap(), folder);
    }
    let met = remove(&owner, moved, if_match(digests(1).blake3));
    apply(&f, &owner, vec![met]).await.unwrap();
    assert_eq!(f.purge_all(0).await, 2, "what was undone is not deleted");
    assert_eq!(f.bytes(&owner).await, (0, 0));

    let stranger = f.account(0).await;
    let request = ApplyRequest {
        owner: stranger,
        changes: vec![create(&owner, "/x", false)],
    };
    assert_eq!(
        request.check().unwrap_err().kind(),
        Kind::MalformedRequest,
        "of one account only"
    );
    let unknown = id();
    let changes = vec![create(&unknown, "/x", true)];
    assert_eq!(kind(apply(&f, &unknown, changes).await), Kind::NotFound);
}
