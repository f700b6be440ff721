//! Who is let in: services with a valid token, and nobody else.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{Extension, Router, routing::get};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use cloudstore_service::{
    Kind, Result,
    auth::{AUDIENCE, Claims, ISSUER, Verifier},
    clock,
    jwt::KeyPair,
    listener::Limits,
    rpc,
    trust::{self, Caller, Identity, Refresh, Trusted},
};
use futures::FutureExt as _;
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Code, transport::Server as GrpcServer};
use uuid::Uuid;

use crate::{
    server::Server,
    store::{Script, call},
};

type Published = BTreeMap<String, Vec<u8>>;

/// A call that comes so much later than another is not answered by the other's refresh.
const A_MOMENT: Duration = Duration::from_millis(100);
const ALLOWED: &[&str] = &["upload-svc"];

async fn kind(trusted: &Trusted, token: &str) -> Option<Kind> {
    let verified = trusted.verify(token, "dbproxy", ALLOWED).await;
    verified.err().map(|problem| problem.kind())
}

/// A key of our own making, and how it is published for a service.
fn pair(service: &str, kid: &str) -> (KeyPair, (String, Vec<u8>)) {
    let pair = KeyPair::from_seed(kid, &[7; 32]);
    let public = hex::encode(pair.public()).into_bytes();
    (pair, (format!("keys/{service}/{kid}"), public))
}

fn claims() -> Value {
    let now = clock::now_s();
    json!({ "iss": "upload-svc", "aud": "dbproxy", "iat": now, "nbf": now, "exp": now + 60 })
}

#[tokio::test]
async fn a_token_is_for_one_audience_and_some_callers() {
    let (upload, download) = (
        Identity::ephemeral("upload-svc"),
        Identity::ephemeral("download-svc"),
    );
    let trusted = Trusted::fixed(vec![upload.published(), download.published()]);
    let good = upload.token("dbproxy");
    let caller = trusted.verify(&good, "dbproxy", ALLOWED).await.unwrap();
    assert_eq!(&*caller.service, "upload-svc");
    // Again, from memory.
    assert_eq!(kind(&trusted, &good).await, None);
    let elsewhere = trusted.verify(&good, "upload-svc", ALLOWED).await;
    assert_eq!(elsewhere.unwrap_err().kind(), Kind::Unauthenticated);
    for (token, expected) in [
        (upload.token("upload-svc"), Kind::Unauthenticated),
        (download.token("dbproxy"), Kind::Forbidden),
        (
            Identity::ephemeral("upload-svc").token("dbproxy"),
            Kind::Unauthenticated,
        ),
        (String::new(), Kind::Unauthenticated),
        ("x".repeat(5_000), Kind::Unauthenticated),
    ] {
        assert_eq!(kind(&trusted, &token).await, Some(expected));
    }
}

#[tokio::test]
async fn every_claim_is_required_and_checked() {
    let (pair, published) = pair("upload-svc", "k1");
    let trusted = Trusted::fixed(vec![published]);
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.into(), value),
        };
        pair.sign(&claims).unwrap()
    };
    let now = clock::now_s();
    assert_eq!(kind(&trusted, &with("x", json!(1))).await, None);
    for (name, value) in [
        ("iss", Value::Null),
        ("aud", Value::Null),
        ("iat", Value::Null),
        ("nbf", Value::Null),
        ("exp", Value::Null),
        ("iss", json!("download-svc")),
        ("aud", json!("download-svc")),
        ("exp", json!(now - 40)),
        ("exp", json!(now + 3_600)),
        ("nbf", json!(now + 40)),
    ] {
        let refused = kind(&trusted, &with(name, value.clone())).await;
        assert_eq!(refused, Some(Kind::Unauthenticated), "{name} {value}");
    }
}

/// A service that puts its key under the name that another's key has does not become the other.
#[tokio::test]
async fn a_key_counts_only_for_the_service_it_was_published_under() {
    let (pair, published) = pair("download-svc", "k1");
    let other = Identity::ephemeral("upload-svc");
    let (_, public) = other.published();
    let trusted = Trusted::fixed(vec![published, ("upload-svc/k1".into(), public)]);
    let forged = pair.sign(&claims()).unwrap();
    assert_eq!(kind(&trusted, &forged).await, Some(Kind::Unauthenticated));
    let mut own = claims();
    own["iss"] = json!("download-svc");
    let own = pair.sign(&own).unwrap();
    let caller = trusted.verify(&own, "dbproxy", &["download-svc"]).await;
    assert_eq!(&*caller.unwrap().service, "download-svc");
}

#[tokio::test]
async fn odd_keys_are_left_out() {
    let identity = Identity::ephemeral("upload-svc");
    let (name, public) = identity.published();
    let trusted = Trusted::fixed(vec![
        ("keys/upload-svc".into(), public.clone()),
        ("keys//k".into(), public.clone()),
        ("keys/a/b/c".into(), public.clone()),
        ("keys/upload-svc/short".into(), b"abcd".to_vec()),
        ("keys/upload-svc/text".into(), vec![b'x'; 64]),
        (name, public),
    ]);
    assert_eq!(kind(&trusted, &identity.token("dbproxy")).await, None);
}

fn refresh(asked: &Arc<AtomicUsize>, answer: &watch::Receiver<Option<Published>>) -> Refresh {
    let (asked, answer) = (Arc::clone(asked), answer.clone());
    Arc::new(move || {
        asked.fetch_add(1, SeqCst);
        let answer = answer.borrow().clone();
        async move { answer }.boxed()
    })
}

#[tokio::test(start_paused = true)]
async fn unknown_keys_are_asked_for_once_a_second() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (published, answer) = watch::channel(None);
    let (sender, watched) = watch::channel(Published::new());
    let trusted = Trusted::watching(watched, refresh(&asked, &answer));
    let identity = Identity::ephemeral("upload-svc");
    let token = identity.token("dbproxy");

    // Nobody answers: that says nothing about the token.
    assert_eq!(kind(&trusted, &token).await, Some(Kind::Unavailable));
    tokio::time::advance(A_MOMENT).await;
    let start = Instant::now();
    published.send_replace(Some(Published::from([identity.published()])));
    let many = (0..100).map(|_| kind(&trusted, &token));
    let answers = futures::future::join_all(many).await;
    assert!(answers.iter().all(Option::is_none), "{answers:?}");
    assert_eq!(asked.load(SeqCst), 2, "once for all of them");
    assert_eq!(start.elapsed().as_millis(), 900);

    // Known ones are not asked for; those nobody knows are refused.
    assert_eq!(kind(&trusted, &token).await, None);
    tokio::time::advance(A_MOMENT).await;
    let stranger = Identity::ephemeral("upload-svc").token("dbproxy");
    assert_eq!(kind(&trusted, &stranger).await, Some(Kind::Unauthenticated));
    assert_eq!(asked.load(SeqCst), 3);

    // What is watched replaces what was asked for, and a key that was withdrawn is forgotten.
    published.send_replace(Some(Published::new()));
    sender.send_replace(Published::new());
    tokio::time::advance(A_MOMENT).await;
    assert_eq!(kind(&trusted, &token).await, Some(Kind::Unauthenticated));
    sender.send_replace(Published::from([identity.published()]));
    assert_eq!(kind(&trusted, &token).await, None);
    assert_eq!(asked.load(SeqCst), 4);

    // A store that came back empty, and has been told by one process only, takes nobody's key away.
    let first = Identity::ephemeral("download-svc");
    published.send_replace(Some(Published::from([first.published()])));
    tokio::time::advance(A_MOMENT).await;
    let first = first.token("dbproxy");
    assert_ne!(kind(&trusted, &first).await, Some(Kind::Unauthenticated));
    assert_eq!(asked.load(SeqCst), 5);
    assert_eq!(kind(&trusted, &token).await, None);
    assert_eq!(asked.load(SeqCst), 5, "still known");
}

#[tokio::test(start_paused = true)]
async fn tokens_are_renewed_well_before_they_end() {
    let identity = Identity::ephemeral("upload-svc");
    let first = identity.token("dbproxy");
    assert_ne!(first, identity.token("upload-svc"));
    assert_eq!(first, (identity.tokens())("dbproxy"));
    let claims = first.split('.').nth(1).unwrap();
    let claims: Value =
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert!(life <= 60);
    tokio::time::advance(Duration::from_secs(29)).await;
    assert_eq!(first, identity.token("dbproxy"));
}

#[tokio::test]
async fn users_and_services_are_not_mixed_up() {
    let (pair, published) = pair("upload-svc", "k1");
    let trusted = Trusted::fixed(vec![published]);
    let now = clock::now_s();
    let user = Claims {
        iss: ISSUER.to_owned(),
        aud: AUDIENCE.to_owned(),
        sub: Uuid::now_v7(),
        sid: Uuid::now_v7(),
        iat: now,
        nbf: now,
        exp: now + 60,
    };
    // Even if somebody used one key for both.
    let user = pair.sign(&user).unwrap();
    assert_eq!(kind(&trusted, &user).await, Some(Kind::Unauthenticated));

    let (channel, incoming) = rpc::in_memory();
    tokio::spawn(
        GrpcServer::builder()
            .add_routes(Script::default().routes())
            .serve_with_incoming(incoming),
    );
    let verifier = Verifier::new(channel, CancellationToken::new());
    let service = Identity::ephemeral("upload-svc").token("upload-svc");
    let refused = verifier.verify(&service).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Unauthenticated);
}

#[test]
fn a_key_file_is_private_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("identity.key");
    let first = Identity::create_or_load("upload-svc", &file).unwrap();
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "left over");
    let second = Identity::create_or_load("upload-svc", &file).unwrap();
    assert_eq!(first.published(), second.published());
    assert_ne!(
        first.published(),
        Identity::ephemeral("upload-svc").published()
    );
    let secret = fs::read_to_string(&file).unwrap();
    assert!(!format!("{first:?}").contains(secret.trim()));
}

#[test]
fn a_damaged_key_file_is_said_to_be_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("identity.key");
    for bad in ["", "abcd", &"x".repeat(64), &"a".repeat(66)] {
        fs::write(&file, bad).unwrap();
        let error = Identity::create_or_load("upload-svc", &file).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("identity.key"), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), bad, "kept as it is");
    }
    let missing = directory.path().join("missing/identity.key");
    assert!(Identity::create_or_load("upload-svc", &missing).is_err());
}

#[tokio::test]
async fn grpc_is_closed_to_strangers_but_for_health() {
    let (upload, download) = (
        Identity::ephemeral("upload-svc"),
        Identity::ephemeral("download-svc"),
    );
    let trusted = Trusted::fixed(vec![upload.published(), download.published()]);
    let script = Script::default();
    let (channel, incoming) = rpc::in_memory();
    tokio::spawn(
        GrpcServer::builder()
            .layer(trust::require(trusted, "dbproxy", ALLOWED))
            .add_routes(script.routes())
            .serve_with_incoming(incoming),
    );
    let code = async |channel| call(&channel).await.err().map(|status| status.code());
    let as_service = |identity: &Identity, audience| {
        let channel = channel.clone();
        channel.with_identity(identity.clone(), audience)
    };
    assert_eq!(code(channel.clone()).await, Some(Code::Unauthenticated));
    let other_audience = code(as_service(&upload, "download-svc")).await;
    assert_eq!(other_audience, Some(Code::Unauthenticated));
    let other_service = code(as_service(&download, "dbproxy")).await;
    assert_eq!(other_service, Some(Code::PermissionDenied));
    assert_eq!(script.seen().len(), 0);
    assert_eq!(code(as_service(&upload, "dbproxy")).await, None);
    assert_eq!(script.seen().len(), 1);

    let mut client = tonic::client::Grpc::new(channel);
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    client.ready().await.unwrap();
    let health = client.unary(tonic::Request::new(()), path, codec).await;
    health.unwrap();
}

#[tokio::test]
async fn internal_routes_are_closed_to_strangers() {
    let identity = Identity::ephemeral("upload-svc");
    let trusted = Trusted::fixed(vec![identity.published()]);
    let whoami = get(async |Extension(caller): Extension<Caller>| caller.service.to_string());
    let internal = Router::new()
        .route("/internal/v1/whoami", whoami)
        .route_layer(trust::require(trusted, "dbproxy", ALLOWED));
    let public = Router::new().route("/public", get(async || "hello"));
    let server = Server::start(internal.merge(public), Limits::default()).await;
    let http = reqwest::Client::new();
    let ask = async |token: Option<String>| -> Result<String, u16> {
        let request = http.get(server.url("/internal/v1/whoami"));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let response = request.send().await.unwrap();
        match response.status().as_u16() {
            200 => Ok(response.text().await.unwrap()),
            status => {
                let kind = &response.headers()["content-type"];
                assert_eq!(kind, "application/problem+json");
                Err(status)
            }
        }
    };
    assert_eq!(ask(None).await, Err(401));
    assert_eq!(ask(Some("nonsense".into())).await, Err(401));
    assert_eq!(ask(Some(identity.token("upload-svc"))).await, Err(401));
    let caller = ask(Some(identity.token("dbproxy"))).await;
    assert_eq!(caller.as_deref(), Ok("upload-svc"));
    let public = reqwest::get(server.url("/public")).await.unwrap();
    assert_eq!(public.status(), 200);
}
