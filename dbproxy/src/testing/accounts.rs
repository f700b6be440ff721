//! Accounts, sessions, refresh tokens and signing keys.

use super::*;

fn create(username: &str) -> CreateAccountRequest {
    CreateAccountRequest {
        id: id(),
        username: username.to_owned(),
        password_hash: format!("hash of {username}"),
        email: "a@example.org".to_owned(),
        display_name: "A".to_owned(),
        quota_bytes: 5_000,
    }
}

/// Usernames are unique without regard to case; profile and password change as asked.
pub async fn accounts(f: Fixture) {
    let request = create("\u{c9}mile");
    let account = f.store.create_account(request.clone()).await.unwrap();
    assert_eq!(
        (account.id.clone(), account.quota_bytes),
        (request.id.clone(), 5_000)
    );
    assert_eq!((account.used_bytes, account.reserved_bytes), (0, 0));
    assert_eq!(
        f.store.create_account(request).await.unwrap(),
        account,
        "repeated call"
    );
    assert_eq!(
        kind(f.store.create_account(create("e\u{301}MILE")).await),
        Kind::NameTaken
    );

    let find = |username: &str| FindCredentialsRequest {
        username: username.to_owned(),
    };
    let found = f.store.find_credentials(find("\u{e9}MILE")).await.unwrap();
    assert_eq!(found.password_hash, "hash of \u{c9}mile");
    assert_eq!(found.account.unwrap(), account);
    assert_eq!(
        kind(f.store.find_credentials(find("nobody")).await),
        Kind::NotFound
    );
    assert_eq!(
        kind(f.store.get_account(GetAccountRequest { id: id() }).await),
        Kind::NotFound
    );

    let root = f.stat(&account.id, "/").await.unwrap();
    assert_eq!(
        (root.id, root.kind),
        (account.id.clone(), EntryKind::Folder.into())
    );

    let update = UpdateAccountRequest {
        id: account.id.clone(),
        email: None,
        display_name: Some("B".to_owned()),
    };
    let updated = f.store.update_account(update).await.unwrap();
    assert_eq!(
        (&*updated.email, &*updated.display_name),
        ("a@example.org", "B")
    );
    let update = UpdateAccountRequest {
        id: id(),
        ..UpdateAccountRequest::default()
    };
    assert_eq!(kind(f.store.update_account(update).await), Kind::NotFound);
}

async fn login(f: &Fixture, account: &Bytes, token: u8) -> Session {
    let request = CreateSessionRequest {
        id: id(),
        account_id: account.clone(),
        refresh_hash: vec![token; 32].into(),
        lifetime_ms: 10_000,
        client: format!("client {token}"),
    };
    f.store.create_session(request).await.unwrap()
}

async fn rotate(f: &Fixture, old: u8, new: u8) -> Result<Session> {
    let request = RotateSessionRequest {
        old_refresh_hash: vec![old; 32].into(),
        new_refresh_hash: vec![new; 32].into(),
        lifetime_ms: 10_000,
    };
    f.store.rotate_session(request).await
}

async fn is_usable(f: &Fixture, session: &Session) -> bool {
    f.store
        .get_session(GetSessionRequest {
            id: session.id.clone(),
        })
        .await
        .is_ok()
}

async fn revoked_since(f: &Fixture, since_ms: i64) -> (Vec<Bytes>, i64) {
    let answer = f
        .store
        .list_revocations(ListRevocationsRequest { since_ms })
        .await
        .unwrap();
    (answer.session_ids, answer.next_since_ms)
}

/// Rotation, reuse of refresh tokens, expiry, and every way to revoke.
pub async fn sessions(f: Fixture) {
    let account = f.account(0).await;
    let start = f.clock.now_ms();
    let first = login(&f, &account, 1).await;
    assert_eq!(first.account_id, account);
    f.clock.advance(5_000);
    let rotated = rotate(&f, 1, 2).await.unwrap();
    assert_eq!(
        (&rotated.id, rotated.expires_at_ms),
        (&first.id, first.expires_at_ms + 5_000)
    );
    assert_eq!(
        rotate(&f, 1, 2).await.unwrap(),
        rotated,
        "the same exchange again is no reuse"
    );
    assert_eq!(
        kind(rotate(&f, 9, 10).await),
        Kind::Unauthenticated,
        "unknown token"
    );
    assert!(is_usable(&f, &first).await);
    assert_eq!(kind(rotate(&f, 1, 3).await), Kind::Unauthenticated, "reuse");
    assert!(!is_usable(&f, &first).await, "reuse ends the session");
    assert_eq!(
        kind(rotate(&f, 2, 4).await),
        Kind::Unauthenticated,
        "of whoever is in it"
    );
    assert_eq!(
        revoked_since(&f, start).await.0,
        std::slice::from_ref(&first.id)
    );

    let second = login(&f, &account, 11).await;
    let third = login(&f, &account, 12).await;
    let (_, next) = revoked_since(&f, start).await;
    assert!(
        next <= f.clock.now_ms(),
        "the next question covers commits in flight"
    );
    f.clock.advance(1);
    for _ in 0..2 {
        f.store
            .revoke_session(RevokeSessionRequest {
                account_id: Bytes::new(),
                id: second.id.clone(),
            })
            .await
            .unwrap();
    }
    assert!(!is_usable(&f, &second).await);
    assert!(revoked_since(&f, next).await.0.contains(&second.id));
    let change = |old: &str, new: &str| SetPasswordRequest {
        id: account.clone(),
        old_password_hash: old.to_owned(),
        new_password_hash: new.to_owned(),
        keep_session_id: third.id.clone(),
    };
    let fourth = login(&f, &account, 13).await;
    assert_eq!(
        kind(f.store.set_password(change("x", "y")).await),
        Kind::PreconditionFailed
    );
    assert!(is_usable(&f, &fourth).await);
    f.store.set_password(change("hash", "new")).await.unwrap();
    assert_eq!(
        (is_usable(&f, &third).await, is_usable(&f, &fourth).await),
        (true, false)
    );
    f.store
        .revoke_all_sessions(RevokeAllSessionsRequest {
            account_id: account.clone(),
        })
        .await
        .unwrap();
    assert!(!is_usable(&f, &third).await);

    let last = login(&f, &account, 14).await;
    f.clock.advance(10_000);
    assert!(!is_usable(&f, &last).await, "expired");
    assert_eq!(kind(rotate(&f, 14, 15).await), Kind::Unauthenticated);
    let request = CreateSessionRequest {
        id: id(),
        account_id: account.clone(),
        refresh_hash: vec![19; 32].into(),
        lifetime_ms: 10_000,
        client: String::new(),
    };
    let begun = f.store.create_session(request.clone()).await.unwrap();
    assert_eq!(
        f.store.create_session(request.clone()).await.unwrap(),
        begun,
        "repeated call"
    );
    let other = CreateSessionRequest {
        refresh_hash: vec![18; 32].into(),
        ..request
    };
    assert_eq!(
        kind(f.store.create_session(other).await),
        Kind::NameConflict
    );
    let request = CreateSessionRequest {
        id: id(),
        account_id: id(),
        refresh_hash: vec![20; 32].into(),
        lifetime_ms: 1,
        client: String::new(),
    };
    assert_eq!(kind(f.store.create_session(request).await), Kind::NotFound);
}

/// People see where they are logged in, and end one of these sessions.
pub async fn session_lists(f: Fixture) {
    let list = async |account: &Bytes| {
        let account_id = account.clone();
        let request = ListSessionsRequest { account_id };
        request.check().unwrap();
        f.store.list_sessions(request).await.unwrap().sessions
    };
    let revoke = async |account: &Bytes, session: &Session| {
        let request = RevokeSessionRequest {
            id: session.id.clone(),
            account_id: account.clone(),
        };
        request.check().unwrap();
        f.store.revoke_session(request).await
    };
    let (account, other) = (f.account(0).await, f.account(0).await);
    assert!(list(&account).await.is_empty());
    let start = f.clock.now_ms();
    let first = login(&f, &account, 1).await;
    f.clock.advance(10);
    let second = login(&f, &account, 2).await;
    let foreign = login(&f, &other, 3).await;
    let listed = list(&account).await;
    assert_eq!(listed, [second.clone(), first.clone()], "last used first");
    assert_eq!(
        (&*first.client, first.created_at_ms, first.used_at_ms),
        ("client 1", start, start)
    );
    f.clock.advance(10);
    let first = rotate(&f, 1, 4).await.unwrap();
    assert_eq!((first.created_at_ms, first.used_at_ms), (start, start + 20));
    assert_eq!(list(&account).await, [first.clone(), second.clone()]);

    assert_eq!(kind(revoke(&account, &foreign).await), Kind::NotFound);
    assert!(is_usable(&f, &foreign).await);
    revoke(&account, &second).await.unwrap();
    revoke(&account, &second).await.unwrap();
    assert!(!is_usable(&f, &second).await);
    assert_eq!(list(&account).await, [first]);
    f.clock.advance(20_000);
    assert!(list(&account).await.is_empty(), "expired");
}

/// Keys appear, are extended, and disappear when they expire.
pub async fn keys(f: Fixture) {
    let publish = |kid: &str, byte: u8, lifetime: i64| PublishKeyRequest {
        key: Some(PublicKey {
            kid: kid.to_owned(),
            public_key: vec![byte; 32].into(),
            expires_at_ms: f.clock.now_ms() + lifetime,
        }),
    };
    let kids = async || -> Vec<String> {
        let keys = f.store.list_keys(ListKeysRequest {}).await.unwrap().keys;
        keys.into_iter().map(|key| key.kid).collect()
    };
    f.store.publish_key(publish("a", 1, 1_000)).await.unwrap();
    f.store.publish_key(publish("b", 2, 5_000)).await.unwrap();
    f.store.publish_key(publish("a", 1, 2_000)).await.unwrap();
    f.store.publish_key(publish("a", 1, 1_500)).await.unwrap();
    assert_eq!(
        kind(f.store.publish_key(publish("a", 3, 9_000)).await),
        Kind::NameConflict
    );
    f.clock.advance(1_999);
    assert_eq!(kids().await, ["a", "b"], "extended, never shortened");
    f.clock.advance(1);
    assert_eq!(kids().await, ["b"]);
    f.store.publish_key(publish("c", 4, 1_000)).await.unwrap();
    assert_eq!(kids().await, ["c", "b"]);
}
