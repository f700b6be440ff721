//! What every request goes through.

use axum::{
    Router,
    body::Bytes,
    extract::DefaultBodyLimit,
    routing::{get, post},
};
use cloudstore_service::{
    Kind, Problem, Result, context, health::Health, http::request_id, json::Json, listener::Limits,
    path::Path, query::Query,
};
use reqwest::{Client, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::server::Server;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Body {
    number: u32,
}

async fn double(Json(body): Json<Body>) -> Json<Body> {
    Json(Body {
        number: body.number * 2,
    })
}

async fn panics() -> &'static str {
    panic!("the secret is 42");
}

async fn refuses() -> Result<()> {
    Err(Problem::new(Kind::Busy, "later")
        .with("holder", "me")
        .caused_by("the secret is 42"))
}

fn app() -> Router {
    Router::new()
        .route("/double", post(double))
        .route("/panics", get(panics))
        .route("/refuses", get(refuses))
        .route(
            "/ids/{id}",
            get(async |Path(id): Path<Uuid>| id.to_string()),
        )
        .route(
            "/query",
            get(async |Query(body): Query<Body>| body.number.to_string()),
        )
        .route(
            "/large",
            post(async |body: Bytes| body.len().to_string()).layer(DefaultBodyLimit::disable()),
        )
}

async fn problem(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    let id = response.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let text = response.text().await.unwrap();
    assert!(!text.contains("secret"), "{text}");
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["request_id"], id);
    assert_eq!(body["status"], status.as_u16());
    (status, body)
}

#[tokio::test]
async fn every_error_is_a_problem() {
    let server = Server::start(app(), Limits::default()).await;
    for (path, status, slug) in [
        ("/nothing", 404, "not-found"),
        ("/double", 405, "method-not-allowed"),
        ("/panics", 500, "internal"),
        ("/refuses", 409, "busy"),
        ("/ids/7", 404, "not-found"),
        ("/query?number=x", 400, "malformed-request"),
    ] {
        let response = reqwest::get(server.url(path)).await.unwrap();
        if status == 405 {
            assert_eq!(response.headers()["allow"], "POST");
        }
        let (got, body) = problem(response).await;
        assert_eq!(
            (got.as_u16(), body["type"].as_str()),
            (status, Some(&*format!("/problems/{slug}")))
        );
    }
    // A panic ends its request, not the connection or the server.
    let id = Uuid::now_v7();
    let answer = reqwest::get(server.url(&format!("/ids/{id}")))
        .await
        .unwrap();
    assert_eq!(answer.text().await.unwrap(), id.to_string());
}

#[tokio::test]
async fn request_ids_are_taken_over_when_harmless() {
    let server = Server::start(app(), Limits::default()).await;
    let client = Client::new();
    for (sent, kept) in [("abc-1", true), ("a b", false)] {
        let request = client
            .get(server.url("/refuses"))
            .header("x-request-id", sent);
        let (_, body) = problem(request.send().await.unwrap()).await;
        assert_eq!(body["request_id"] == sent, kept);
    }
}

/// The position comes in, reaches the tasks of the request and goes out when it was advanced.
#[tokio::test]
async fn positions_travel_with_the_request() {
    let advance = get(async || {
        let seen = context::position().unwrap_or_default();
        context::spawn(async { context::advance("0-1-9") })
            .await
            .unwrap();
        (StatusCode::CONFLICT, seen)
    });
    let read = get(async || context::position().unwrap_or_default());
    let id = get(async || context::spawn(async { request_id() }).await.unwrap());
    let app = Router::new()
        .route("/advance", advance)
        .route("/read", read)
        .route("/id", id);
    let server = Server::start(app, Limits::default()).await;
    let client = Client::new();
    let ask = async |path: &str, position: &str| {
        let request = client
            .get(server.url(path))
            .header("cloudstore-position", position)
            .header("x-request-id", "id-7");
        let answer = request.send().await.unwrap();
        let told = answer.headers().get("cloudstore-position").cloned();
        let told = told.map(|value| value.to_str().unwrap().to_owned());
        (answer.text().await.unwrap(), told)
    };
    assert_eq!(
        ask("/advance", "0-1-5").await,
        ("0-1-5".into(), Some("0-1-9".into()))
    );
    assert_eq!(ask("/read", "0-1-5").await, ("0-1-5".into(), None));
    assert_eq!(ask("/read", "not valid").await, (String::new(), None));
    assert_eq!(ask("/id", "0-1-5").await.0, "id-7");
}

#[tokio::test]
async fn json_bodies() {
    let server = Server::start(app(), Limits::default()).await;
    let client = Client::new();
    let post = |body: &str| client.post(server.url("/double")).body(body.to_owned());
    let json = |body: &str| post(body).header("content-type", "application/json");
    let answer = json(r#"{"number":21}"#).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.text().await.unwrap(), r#"{"number":42}"#);
    let long = format!(r#"{{"number":{}1}}"#, " ".repeat(1 << 20));
    for (request, slug) in [
        (post("{}"), "unsupported-media-type"),
        (
            json("{}").header("content-encoding", "gzip"),
            "unsupported-media-type",
        ),
        (json("{"), "malformed-request"),
        (json("{}"), "invalid-fields"),
        (json(r#"{"number":-1}"#), "invalid-fields"),
        (json(&long), "too-large"),
    ] {
        let (_, body) = problem(request.send().await.unwrap()).await;
        assert_eq!(body["type"], format!("/problems/{slug}"), "{body}");
    }
    let body = vec![0; 3 << 20];
    let answer = client
        .post(server.url("/large"))
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(
        answer.text().await.unwrap(),
        (3 << 20).to_string(),
        "routes set their own limit"
    );
}

#[tokio::test]
async fn health_and_metrics() {
    let health = Health::new("test-svc", "1.2.3");
    let (send, broken) = tokio::sync::watch::channel(false);
    health.add("dbproxy", move || {
        let broken = *broken.borrow();
        async move {
            if broken {
                Err("the secret is 42".to_owned())
            } else {
                Ok(())
            }
        }
    });
    let server = Server::start(app().merge(health.router()), Limits::default()).await;
    let get = async |path: &str| reqwest::get(server.url(path)).await.unwrap();
    assert_eq!(get("/healthz").await.status(), 200);
    assert_eq!(get("/readyz").await.status(), 200);
    let version: Value =
        serde_json::from_str(&get("/version").await.text().await.unwrap()).unwrap();
    assert_eq!(
        version,
        serde_json::json!({"service": "test-svc", "version": "1.2.3"})
    );

    send.send(true).unwrap();
    let (status, body) = problem(get("/readyz").await).await;
    assert_eq!(
        (status.as_u16(), &body["failing"]),
        (503, &serde_json::json!(["dbproxy"]))
    );
    send.send(false).unwrap();
    assert_eq!(get("/readyz").await.status(), 200);
    health.set_not_ready();
    assert_eq!(get("/readyz").await.status(), 503);
    assert_eq!(get("/healthz").await.status(), 200);

    get("/ids/a-path-that-is-no-label").await;
    let metrics = get("/metrics").await.text().await.unwrap();
    assert!(
        metrics.contains(
            r#"cloudstore_http_requests_total{method="GET",route="/ids/{id}",status="404"}"#
        ),
        "{metrics}"
    );
    assert!(
        metrics.contains("cloudstore_http_request_duration_seconds_bucket"),
        "{metrics}"
    );
    assert!(!metrics.contains("a-path-that-is-no-label"), "{metrics}");
}
