//! The API for operators.

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use cloudstore_proto::{
    http::admin::{Park, Parked, Replay, Replayed, TransferState, Transfers},
    transfer,
};
use cloudstore_service::trust::{Identity, Trusted};
use cloudstore_transfer::{Config, router};
use http_body_util::BodyExt as _;
use serde::{Serialize, de::DeserializeOwned};
use tower::ServiceExt as _;

use crate::site::{Site, config, content, eventually};

/// An operator, or somebody else, who calls.
struct Caller {
    router: Router,
    token: String,
}

impl Caller {
    fn new(site: &Site, service: &str) -> Self {
        let identity = Identity::ephemeral(service);
        let trusted = Trusted::fixed(vec![identity.published()]);
        Self {
            router: router(site.channel.clone(), trusted),
            token: identity.token("transfer-worker"),
        }
    }

    async fn call(&self, method: &str, url: &str, body: Body) -> (StatusCode, Vec<u8>) {
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap();
        (status, body.to_bytes().to_vec())
    }

    async fn list(&self, query: &str) -> Transfers {
        let url = format!("/internal/v1/transfers{query}");
        let (status, body) = self.call("GET", &url, Body::empty()).await;
        assert_eq!(status, StatusCode::OK);
        serde_json::from_slice(&body).unwrap()
    }

    async fn post<T: DeserializeOwned>(&self, what: &str, body: &impl Serialize) -> T {
        let body = Body::from(serde_json::to_vec(body).unwrap());
        let url = format!("/internal/v1/transfers/{what}");
        let (status, body) = self.call("POST", &url, body).await;
        assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }
}

#[tokio::test]
async fn transfers_are_listed_parked_and_replayed() {
    let site = Site::new().await;
    let admin = Caller::new(&site, "admin");
    let first = site.upload("/first", content(3_000_000, 1)).await;
    let second = site.upload("/second", content(100, 2)).await;
    let waiting = admin.list("?state=waiting").await.transfers;
    assert_eq!(waiting.len(), 2);
    assert_eq!(waiting[0].blake3, hex::encode(first.root));
    assert_eq!(waiting[0].size, 3_000_000);
    assert_eq!(waiting[0].state, TransferState::Waiting);
    assert_eq!(waiting[0].staging_id, first.staging_id.to_string());
    assert_eq!(admin.list("?limit=1").await.transfers.len(), 1);

    let park = Park {
        blake3: vec![hex::encode(first.root)],
        reason: "the disk is being looked at".to_owned(),
    };
    let parked: Parked = admin.post("park", &park).await;
    assert_eq!(parked.parked, 1);
    let worker = site.worker(Config::default());
    site.stored(&second).await;
    let parked = admin.list("?state=parked").await.transfers;
    assert_eq!(parked.len(), 1);
    assert_eq!(parked[0].last_error, park.reason);
    worker.stop().await;

    let replay = Replay { blake3: Vec::new() };
    let replayed: Replayed = admin.post("replay", &replay).await;
    assert_eq!(replayed.replayed, 1);
    let worker = site.worker(config());
    site.stored(&first).await;
    eventually(async || admin.list("").await.transfers.is_empty()).await;
    worker.stop().await;
}

#[tokio::test]
async fn nonsense_is_refused() {
    let site = Site::new().await;
    let admin = Caller::new(&site, "admin");
    for query in ["?limit=0", "?limit=1001", "?state=lost", "?colour=red"] {
        let url = format!("/internal/v1/transfers{query}");
        let (status, _) = admin.call("GET", &url, Body::empty()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
    }
    let name = "00".repeat(32);
    for (what, body) in [
        ("park", r#"{"blake3":[],"reason":"x"}"#.to_owned()),
        ("park", r#"{"blake3":["00"],"reason":"x"}"#.to_owned()),
        ("replay", r#"{"blake3":["x"]}"#.to_owned()),
        ("replay", "{}".to_owned()),
        (
            "park",
            format!(
                r#"{{"blake3":["{name}"],"reason":"{}"}}"#,
                "x".repeat(1_001)
            ),
        ),
    ] {
        let url = format!("/internal/v1/transfers/{what}");
        let (status, _) = admin.call("POST", &url, Body::from(body.clone())).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
    let all = site.transfers(transfer::TransferState::Unspecified).await;
    assert!(all.is_empty());
}

#[tokio::test]
async fn only_operators_are_let_in() {
    let site = Site::new().await;
    let other = Caller::new(&site, "download-svc");
    let url = "/internal/v1/transfers";
    let (status, _) = other.call("GET", url, Body::empty()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let nobody = Caller {
        token: String::new(),
        ..Caller::new(&site, "admin")
    };
    let (status, _) = nobody.call("GET", url, Body::empty()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}
