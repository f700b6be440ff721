//! The only door: what it does not let through, and what it says when nobody is behind it.

use std::time::Duration;

use cloudstore_proto::{
    account::{ListKeysRequest, account_store_client::AccountStoreClient},
    http::{PROBLEM_JSON, Problem},
};
use cloudstore_stack_tests::{Stack, Writer, stack::INSTANCES};
use cloudstore_testkit::{client::attempt, eventually};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{Code, Request, transport::Endpoint};

/// The gateway writes its log every second.
const LOGGED: Duration = Duration::from_secs(10);

/// What services answer among themselves and to operators, and ways to ask for it that only look
/// like others.
const INTERNAL: [&str; 14] = [
    "/internal/v1/transfers",
    "/internal/v1/staging/00000000-0000-7000-8000-000000000000",
    "/internal/v1/staging/remove",
    "//internal/v1/transfers",
    "/%69nternal/v1/transfers",
    "/api/v1/../../internal/v1/transfers",
    "/api/v1/files/../../../internal/v1/transfers",
    "/api/v1/%2e%2e/%2e%2e/internal/v1/transfers",
    "/api/v1/uploads/%2e%2e/%2e%2e/%2e%2e/metrics",
    "/metrics",
    "/readyz",
    "/version",
    "/_content/download-1/planted",
    "/api/v1/../../_content/download-1/planted",
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_internal_passes() {
    let stack = Stack::up().await;
    let writer = Writer::new(&stack).await;
    // In the place where the gateway finds what a download-svc hands over to it.
    let planted = stack.dir().join("download-1/cache/planted");
    std::fs::write(&planted, "nobody may see this").unwrap();
    for path in INTERNAL {
        let answer = raw(&stack, path, writer.client.token()).await;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        // What leads to an internal place looks like content that has just left the cache; a path
        // with ".." in it is refused by the service that it names.
        assert!(matches!(status, "404" | "422" | "503"), "{path}: {answer}");
        assert!(answer.contains(PROBLEM_JSON), "{path}: {answer}");
        assert!(!answer.contains("nobody may see"), "{path}: {answer}");
    }
    std::fs::remove_file(planted).unwrap();
    writer.finish().await;
}

/// The path as it is: a client library would tidy it up.
async fn raw(stack: &Stack, path: &str, token: &str) -> String {
    let url = stack.url();
    let address = url.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Connection: close\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Each service, asked directly: the token of a user opens nothing that is for services.
#[tokio::test(flavor = "multi_thread")]
async fn users_are_nobody_among_services() {
    let stack = Stack::up().await;
    let writer = Writer::new(&stack).await;
    let token = writer.client.token();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for instance in INSTANCES {
        for path in &INTERNAL[..3] {
            let url = format!("http://{}{path}", stack.address(instance));
            for token in [None, Some(token)] {
                let post = path.ends_with("remove");
                let mut call = if post {
                    http.post(&url)
                } else {
                    http.get(&url)
                };
                if let Some(token) = token {
                    call = call.bearer_auth(token);
                }
                let status = call.send().await.unwrap().status().as_u16();
                let is_there = (instance.starts_with("upload") && path.contains("staging"))
                    || (instance.starts_with("worker") && path.contains("transfers"));
                let expected: &[u16] = if is_there { &[401, 403] } else { &[404] };
                assert!(expected.contains(&status), "{url} with {token:?}: {status}");
            }
        }
    }
    for database in ["127.0.0.11:7051", "127.0.0.12:7051"] {
        assert_eq!(keys(database, None).await, Code::Unauthenticated);
        assert_eq!(keys(database, Some(token)).await, Code::Unauthenticated);
    }
    writer.finish().await;
}

/// How dbproxy answers a call with that token.
async fn keys(database: &str, token: Option<&str>) -> Code {
    let endpoint = Endpoint::from_shared(format!("http://{database}")).unwrap();
    let mut client = AccountStoreClient::new(endpoint.connect().await.unwrap());
    let mut request = Request::new(ListKeysRequest::default());
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    match client.list_keys(request).await {
        Ok(_) => Code::Ok,
        Err(status) => status.code(),
    }
}

/// Without any instance of a service its part is refused as a problem; the others go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_instances() {
    let stack = Stack::up().await;
    let writer = Writer::new(&stack).await;
    let client = &writer.client;
    writer.put("/before", Writer::content(10_000)).await;
    for (service, probe) in [
        ("download", "/api/v1/files/before"),
        ("account", "/api/v1/me"),
        ("upload", "/api/v1/uploads"),
    ] {
        let instances = [format!("{service}-1"), format!("{service}-2")];
        let instances = [instances[0].as_str(), instances[1].as_str()];
        stack.stop(&instances).await;
        let refused = attempt(client.get(probe)).await;
        let refused = refused.expect_err("nobody answers");
        assert!(refused.well_formed, "{refused:#?}");
        let (status, body) = refused.why.split_once(' ').unwrap();
        assert_eq!(status, "503");
        let problem: Problem = serde_json::from_str(body).unwrap();
        assert_eq!((problem.status, problem.slug()), (503, "unavailable"));
        assert!(!problem.request_id.is_empty());
        if service == "upload" {
            let put = client.put("/large", &Writer::content(3_000_000));
            let refused = attempt(put).await.expect_err("nobody answers");
            assert!(refused.why.starts_with("503 "), "{refused:#?}");
        }
        let others = ["/api/v1/files/before", "/api/v1/me", "/api/v1/uploads"];
        for other in others.into_iter().filter(|other| *other != probe) {
            let answer = attempt(client.get(other)).await;
            let answer = answer.unwrap_or_else(|broken| panic!("{broken:#?}"));
            assert_eq!(answer.status, 200, "without {service}: {}", answer.text());
        }
        stack.start(&instances).await;
        let answer = attempt(client.get(probe)).await;
        assert_eq!(
            answer.map(|answer| answer.status).ok(),
            Some(200),
            "{service} is back"
        );
    }
    writer.finish().await;
}

/// What opens a share is in its address, and nginx repeats addresses wherever it can.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_shares_are_in_no_log() {
    const TOKEN: &str = "css_nobody-may-see-nobody-may-see-nobody-may-se";
    let stack = Stack::up().await;
    let writer = Writer::new(&stack).await;
    let instances = ["download-1", "download-2", "account-1", "account-2"];
    stack.stop(&instances).await;
    let read = |name: &str| std::fs::read_to_string(stack.dir().join("log").join(name)).unwrap();
    let control = format!("/api/v1/files/{}", uuid::Uuid::now_v7());
    let addresses = [
        format!("/s/{TOKEN}"),
        format!("{}/s/{TOKEN}", stack.url()),
        format!("//s/{TOKEN}"),
        format!("/%73/{TOKEN}"),
        format!("/api/v1/public/shares/{TOKEN}"),
        format!("/api/v1/public/shares/{TOKEN}/content/a?disposition=inline"),
        format!("/api/v1/public/shares/{TOKEN}/unlock"),
        control.clone(),
    ];
    for address in &addresses {
        let answer = raw(&stack, address, writer.client.token()).await;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(matches!(status, "404" | "503"), "{address}: {answer}");
    }
    // What the last one left is there, so is what the others did.
    eventually(LOGGED, async || {
        for log in ["gateway-access.log", "gateway-error.log"] {
            if !read(log).contains(&control) {
                return Err(format!("{log} says nothing of {control}"));
            }
        }
        Ok(())
    })
    .await;
    for log in ["gateway-access.log", "gateway-error.log"] {
        let lines = read(log);
        let told = lines.lines().find(|line| line.contains("nobody-may-see"));
        assert_eq!(told, None, "{log}");
    }
    stack.start(&instances).await;
    writer.finish().await;
}
