//! API tokens.

use super::*;

const LIFETIME: i64 = 10_000;
const MAX: u32 = 3;

fn create(account: &Bytes, hash: u8) -> CreateApiTokenRequest {
    let request = CreateApiTokenRequest {
        id: id(),
        account_id: account.clone(),
        hash: vec![hash; 32].into(),
        name: format!("token \u{e9} {hash}"),
        scope: TokenScope::Upload.into(),
        lifetime_ms: LIFETIME,
        max_tokens: MAX,
    };
    request.check().unwrap();
    request
}

async fn find(f: &Fixture, hash: u8) -> Result<ApiToken> {
    let hash = vec![hash; 32].into();
    f.peer.find_api_token(FindApiTokenRequest { hash }).await
}

async fn revoke(f: &Fixture, account: &Bytes, id: &Bytes) -> Result<RevokeApiTokenResponse> {
    let (account_id, id) = (account.clone(), id.clone());
    let request = RevokeApiTokenRequest { account_id, id };
    f.store.revoke_api_token(request).await
}

async fn list(f: &Fixture, account: &Bytes) -> Vec<ApiToken> {
    let account_id = account.clone();
    let request = ListApiTokensRequest { account_id };
    f.store.list_api_tokens(request).await.unwrap().tokens
}

async fn revoked_since(f: &Fixture, since_ms: i64) -> Vec<Bytes> {
    let request = ListRevocationsRequest { since_ms };
    f.store.list_revocations(request).await.unwrap().session_ids
}

/// Tokens are found by their hash until they expire or are revoked, which everybody hears of.
pub async fn api_tokens(f: Fixture) {
    let (account, other) = (f.account(0).await, f.account(0).await);
    let request = create(&account, 1);
    let token = f.store.create_api_token(request.clone()).await.unwrap();
    let now = f.clock.now_ms();
    assert_eq!(
        token,
        ApiToken {
            id: request.id.clone(),
            account_id: account.clone(),
            username: hex::encode(&account),
            name: request.name.clone(),
            scope: TokenScope::Upload.into(),
            created_at_ms: now,
            expires_at_ms: now + LIFETIME,
        }
    );
    f.clock.advance(1);
    let again = f.store.create_api_token(request.clone()).await;
    assert_eq!(again.unwrap(), token, "repeated call");
    assert_eq!(find(&f, 1).await.unwrap(), token);
    assert_eq!(kind(find(&f, 2).await), Kind::NotFound);
    for taken in [
        CreateApiTokenRequest {
            hash: vec![9; 32].into(),
            ..request.clone()
        },
        CreateApiTokenRequest {
            id: id(),
            ..request.clone()
        },
        CreateApiTokenRequest {
            account_id: other.clone(),
            ..request
        },
    ] {
        let refused = f.store.create_api_token(taken).await;
        assert_eq!(kind(refused), Kind::NameConflict);
    }
    let nobody = f.store.create_api_token(create(&id(), 3)).await;
    assert_eq!(kind(nobody), Kind::NotFound);
    assert_eq!(list(&f, &account).await, std::slice::from_ref(&token));
    assert_eq!(list(&f, &other).await, []);

    let begin = f.clock.now_ms();
    let foreign = revoke(&f, &other, &token.id).await;
    assert_eq!(kind(foreign), Kind::NotFound);
    assert_eq!(kind(revoke(&f, &account, &id()).await), Kind::NotFound);
    assert_eq!(find(&f, 1).await.unwrap(), token);
    revoke(&f, &account, &token.id).await.unwrap();
    f.clock.advance(1_000);
    revoke(&f, &account, &token.id).await.unwrap();
    assert_eq!(kind(find(&f, 1).await), Kind::NotFound);
    assert_eq!(list(&f, &account).await, []);
    assert_eq!(
        revoked_since(&f, begin).await,
        std::slice::from_ref(&token.id)
    );
    assert!(
        revoked_since(&f, begin + 1).await.is_empty(),
        "the first revocation counts"
    );

    let last = f.store.create_api_token(create(&other, 4)).await.unwrap();
    f.clock.advance(LIFETIME - 1);
    assert_eq!(find(&f, 4).await.unwrap(), last);
    f.clock.advance(1);
    assert_eq!(kind(find(&f, 4).await), Kind::NotFound, "expired");
    assert_eq!(list(&f, &other).await, []);
}

/// An account has a bounded number of tokens, and of revoked ones that are still remembered.
pub async fn token_bounds(f: Fixture) {
    let account = f.account(0).await;
    let add = async |hash: u8| f.store.create_api_token(create(&account, hash)).await;
    let mut tokens = Vec::new();
    for hash in 1..=3 {
        tokens.push(add(hash).await.unwrap());
    }
    assert_eq!(list(&f, &account).await, tokens, "oldest first");
    assert_eq!(kind(add(4).await), Kind::TooManyTokens);
    let again = CreateApiTokenRequest {
        id: tokens[0].id.clone(),
        ..create(&account, 1)
    };
    let again = f.store.create_api_token(again).await.unwrap();
    assert_eq!(again, tokens[0], "a repeated call needs no room");
    for (token, hash) in tokens.iter().zip(4..) {
        revoke(&f, &account, &token.id).await.unwrap();
        // The last one finds three that were revoked.
        assert_eq!(add(hash).await.is_ok(), hash < 6);
    }
    assert_eq!(list(&f, &account).await.len(), 2);
    f.clock.advance(LIFETIME);
    assert!(list(&f, &account).await.is_empty());
    for hash in 11..=13 {
        add(hash).await.unwrap();
    }
    assert_eq!(kind(add(14).await), Kind::TooManyTokens);
}
