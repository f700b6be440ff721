//! What other services get of a node: finished copies, and nothing else.

use std::sync::Arc;

use async_trait::async_trait;
use cloudstore_backends::staging::{
    HttpStaging, Layout, StagedBlobs,
    testing::{Site, contract, outboard, write},
};
use cloudstore_proto::{
    http::Upload as View,
    upload::{CommitUploadRequest, Digests, OnConflict, upload_store_client::UploadStoreClient},
};
use cloudstore_service::rpc;
use reqwest::{Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

use crate::cluster::{CHUNK, Cluster, content, id, problem};

const A: usize = 0;

fn staging(upload: &View) -> String {
    format!("/internal/v1/staging/{}", upload.id)
}

impl Cluster {
    fn internal(&self, method: Method, path: &str, service: &str) -> reqwest::RequestBuilder {
        let token = self.identity(service).token("upload-svc");
        let request = self.http.request(method, self.url(A, path));
        request.bearer_auth(token)
    }

    async fn get_internal(&self, path: &str) -> reqwest::Response {
        let request = self.internal(Method::GET, path, "transfer-worker");
        request.send().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_services_come_in() {
    let cluster = Cluster::new().await;
    let upload = cluster.completed(A, "/file", &content(10, 1)).await;
    let path = staging(&upload);
    let remove = "/internal/v1/staging/remove".to_owned();
    let outboard = format!("{path}/outboard");
    for (method, path) in [
        (Method::GET, &path),
        (Method::HEAD, &path),
        (Method::GET, &outboard),
        (Method::POST, &remove),
    ] {
        let url = cluster.url(A, path);
        let ask = async |token: Option<String>| {
            let request = cluster.http.request(method.clone(), &url);
            let request = match token {
                Some(token) => request.bearer_auth(token),
                None => request,
            };
            request.send().await.unwrap().status().as_u16()
        };
        assert_eq!(ask(None).await, 401);
        assert_eq!(ask(Some(cluster.user.token.clone())).await, 401);
        let other = cluster.identity("transfer-worker").token("dbproxy");
        assert_eq!(ask(Some(other)).await, 401, "for somebody else");
        let account_svc = cluster.identity("account-svc").token("upload-svc");
        assert_eq!(ask(Some(account_svc)).await, 403, "not its business");
    }
    for service in ["transfer-worker", "download-svc", "upload-svc"] {
        let answer = cluster.internal(Method::GET, &path, service);
        assert_eq!(answer.send().await.unwrap().status(), StatusCode::OK);
    }
    // A service is no user.
    let token = cluster.identity("upload-svc").token("upload-svc");
    let answer = cluster.http.get(cluster.url(A, "/api/v1/uploads"));
    let answer = answer.bearer_auth(token).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_copies_whole_and_in_parts() {
    let cluster = Cluster::new().await;
    let bytes = content((3 << 20) + 77, 2);
    let upload = cluster.completed(A, "/file", &bytes).await;
    let path = staging(&upload);
    let answer = cluster.get_internal(&path).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.content_length(), Some(bytes.len() as u64));
    assert!(answer.bytes().await.unwrap() == bytes);
    let part = cluster
        .internal(Method::GET, &path, "download-svc")
        .header("range", "bytes=1048570-2097160");
    let part = part.send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    let range = format!("bytes 1048570-2097160/{}", bytes.len());
    assert_eq!(part.headers()["content-range"], range.as_str());
    assert!(part.bytes().await.unwrap() == bytes[1_048_570..=2_097_160]);
    let outside = cluster
        .internal(Method::GET, &path, "download-svc")
        .header("range", "bytes=99999999-");
    let outside = outside.send().await.unwrap();
    assert_eq!(outside.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    let values = cluster.get_internal(&format!("{path}/outboard")).await;
    assert!(values.bytes().await.unwrap() == outboard(&bytes).encode());
    let nothing = cluster.completed(A, "/empty", b"").await;
    let answer = cluster.get_internal(&staging(&nothing)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.bytes().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_uploads_stay_inside() {
    let cluster = Cluster::new().await;
    let bytes = content(2 * CHUNK, 3);
    let upload = cluster.create(A, "/file", bytes.len()).await;
    for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
        let answer = cluster.put(A, &upload, index, chunk.to_vec()).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }
    let path = staging(&upload);
    for path in [path.clone(), format!("{path}/outboard")] {
        let answer = cluster.get_internal(&path).await;
        assert_eq!(problem(answer).await.1, "not-found");
    }
    // It is not removed either; what else was named is.
    let other = cluster.completed(A, "/other", &content(10, 4)).await;
    let ids = [&upload.id, &other.id];
    let remove = cluster
        .internal(
            Method::POST,
            "/internal/v1/staging/remove",
            "transfer-worker",
        )
        .json(&json!({ "ids": ids }));
    let answer = remove.send().await.unwrap();
    assert_eq!(problem(answer).await.0, 409);
    let layout = &cluster.nodes[A].layout;
    let file = |upload: &View| layout.data(Uuid::parse_str(&upload.id).unwrap());
    assert!(file(&upload).exists() && !file(&other).exists());
    let complete = format!("{}/complete", upload.location);
    let answer = cluster.send(A, Method::POST, &complete).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let answer = cluster.get_internal(&path).await;
    assert!(answer.bytes().await.unwrap() == bytes, "now it is finished");
}

#[tokio::test(flavor = "multi_thread")]
async fn removals_are_bounded() {
    let cluster = Cluster::new().await;
    let ids: Vec<_> = (0..1_001).map(|_| Uuid::now_v7()).collect();
    for (ids, status) in [(&ids[..], 422), (&ids[..1_000], 204), (&[], 204)] {
        let remove = cluster
            .internal(
                Method::POST,
                "/internal/v1/staging/remove",
                "transfer-worker",
            )
            .json(&json!({ "ids": ids }));
        assert_eq!(remove.send().await.unwrap().status(), status);
    }
}

/// Node `a`, as another machine reaches it.
struct Remote {
    cluster: Cluster,
    staged: Arc<dyn StagedBlobs>,
}

#[async_trait]
impl Site for Remote {
    fn staged(&self) -> Arc<dyn StagedBlobs> {
        self.staged.clone()
    }

    fn node(&self) -> &'static str {
        "a"
    }

    fn layout(&self) -> &Layout {
        &self.cluster.nodes[A].layout
    }

    async fn stage(&self, content: &[u8]) -> Uuid {
        let staging = Uuid::now_v7();
        write(self.layout(), staging, content);
        let root = outboard(content);
        let request = CommitUploadRequest {
            id: id(Uuid::now_v7()),
            account_id: id(self.cluster.user.account),
            path: format!("/{staging}"),
            size: i64::try_from(content.len()).unwrap(),
            on_conflict: OnConflict::Fail.into(),
            media_type: "text/plain".to_owned(),
            content: Some(Digests {
                blake3: root.root().to_vec().into(),
                ..Digests::default()
            }),
            node: "a".to_owned(),
            staging_id: id(staging),
            ..CommitUploadRequest::default()
        };
        let mut uploads = UploadStoreClient::new(self.cluster.channel.clone());
        let committed = uploads.commit_upload(rpc::deadline(request)).await.unwrap();
        assert!(committed.into_inner().took_staged_copy);
        staging
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_of_staged_copies_over_http() {
    let cluster = Cluster::new().await;
    let tokens = cluster.identity("transfer-worker").tokens();
    let instances = cluster.instances.subscribe();
    let staged = HttpStaging::new("worker-1".to_owned(), None, instances, tokens);
    let staged: Arc<dyn StagedBlobs> = Arc::new(staged);
    contract(&Remote { cluster, staged }).await;
}
