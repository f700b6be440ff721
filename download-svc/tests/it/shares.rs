//! `/api/v1/public/shares`: what made-up tokens cost. What shares show the tests of
//! `cloudstore-standalone` see.

use std::net::{IpAddr, Ipv4Addr};

use axum::{
    body::Body,
    http::{Method, Request},
};
use cloudstore_proto::share::{CreateShareRequest, share_store_client::ShareStoreClient};
use cloudstore_service::{auth::ShareToken, listener::ClientAddress, rpc::deadline};
use uuid::Uuid;

use crate::app::{Answer, App};

/// Tokens that open nothing which one client may ask for in a minute.
const GUESSES: usize = 60;

/// A token that opens a file.
async fn share(app: &App, path: &str) -> ShareToken {
    let token = ShareToken::generate().unwrap();
    let id = |id: Uuid| id.into_bytes().to_vec().into();
    let request = CreateShareRequest {
        id: id(Uuid::now_v7()),
        account_id: id(app.account),
        hash: token.hash().to_vec().into(),
        path: path.to_owned(),
        max_shares: 10,
        ..CreateShareRequest::default()
    };
    let mut shares = ShareStoreClient::new(app.channel.clone());
    shares.create_share(deadline(request)).await.unwrap();
    token
}

async fn look(app: &App, client: u8, token: &ShareToken, rest: &str) -> Answer {
    let client = ClientAddress(IpAddr::V4(Ipv4Addr::new(192, 0, 2, client)));
    let uri = format!("/api/v1/public/shares/{}{rest}", token.text());
    let request = Request::builder().method(Method::GET).uri(uri);
    let request = request.header("host", "here").extension(client);
    app.request(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn made_up_tokens_are_bounded_and_shares_stay_open() {
    let app = App::new().await;
    app.put("/a", "", b"content").await;
    let (known, other) = (share(&app, "/a").await, share(&app, "/a").await);
    assert_eq!(look(&app, 1, &known, "").await.status, 200);
    let mut guesses = 0;
    for rest in ["", "/content"] {
        // A slow machine has some of them free again.
        let refused = loop {
            let made_up = ShareToken::generate().unwrap();
            let answer = look(&app, 1, &made_up, rest).await;
            if answer.status != 404 {
                break answer;
            }
            guesses += 1;
            assert!(guesses < 10 * GUESSES);
        };
        assert!(guesses >= GUESSES, "{guesses}");
        assert_eq!(refused.problem(), (429, "rate-limited".to_owned()));
        assert!(!refused.header("retry-after").is_empty());
    }
    // What is not below a share that is there is no guess.
    for _ in 0..GUESSES {
        let missing = look(&app, 1, &known, "/files/missing").await;
        assert_eq!(missing.status, 404);
    }
    assert_eq!(look(&app, 1, &known, "/content").await.body, "content");
    assert_eq!(look(&app, 2, &other, "/content").await.body, "content");
}
