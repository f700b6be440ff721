//! What a channel adds to calls, which of them it repeats, and which instance gets them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use cloudstore_proto::account::ListKeysRequest;
use cloudstore_service::{
    Kind, Problem,
    context::{self, Context},
    rpc::{self, Channel},
    trust::{Identity, Trusted},
};
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
    time::{Instant, timeout},
};
use tonic::{Code, Status, transport::Server};

use crate::store::{Answer, Instance, Script, call, call_with, nowhere};

/// Far longer than anything here takes; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(20);
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A channel through a pipe to a script.
fn pipe(script: &Script) -> Channel {
    let (channel, incoming) = rpc::in_memory();
    let server = Server::builder().add_routes(script.routes());
    tokio::spawn(server.serve_with_incoming(incoming));
    channel
}

fn balanced(addresses: &[SocketAddr]) -> (Channel, watch::Sender<Vec<SocketAddr>>) {
    let (sender, receiver) = watch::channel(addresses.to_vec());
    let identity = Identity::ephemeral("upload-svc");
    (rpc::connect(receiver, identity, "dbproxy"), sender)
}

#[tokio::test]
async fn unavailable_is_repeated_and_nothing_else() {
    let unavailable = || Answer::Status(Status::unavailable("away"));
    for (answers, calls, code) in [
        (vec![unavailable(), unavailable()], 3, Code::Ok),
        (vec![Answer::Broken], 2, Code::Ok),
        (
            vec![Answer::Problem(Problem::new(Kind::Unavailable, "away"))],
            2,
            Code::Ok,
        ),
        (
            vec![unavailable(), unavailable(), unavailable()],
            3,
            Code::Unavailable,
        ),
        (
            vec![Answer::Status(Status::aborted("no"))],
            1,
            Code::Aborted,
        ),
        (
            vec![Answer::Status(Status::internal("no"))],
            1,
            Code::Internal,
        ),
        (
            vec![Answer::Problem(Problem::new(Kind::Overloaded, "later"))],
            1,
            Code::Unavailable,
        ),
    ] {
        let script = Script::new(answers);
        let answer = call(&pipe(&script)).await;
        let found = answer.map_or_else(|status| status.code(), |()| Code::Ok);
        assert_eq!((script.seen().len(), found), (calls, code));
    }
}

#[tokio::test]
async fn a_call_says_who_calls_and_for_whom() {
    let script = Script::new([Answer::At("0-1-8"), Answer::At("not valid; "), Answer::Good]);
    let identity = Identity::ephemeral("upload-svc");
    let channel = pipe(&script).with_identity(identity.clone(), "dbproxy");
    let request = Context::new("request-1", Some(TRACE), Some("0-1-7"));
    context::scope(request.clone(), async {
        for _ in 0..3 {
            // Also from a task of the request.
            let channel = channel.clone();
            let task = context::spawn(async move { call(&channel).await });
            task.await.unwrap().unwrap();
        }
    })
    .await;
    assert_eq!(request.advanced().as_deref(), Some("0-1-8"));
    let seen = script.seen();
    assert_eq!(seen[0]["x-request-id"], "request-1");
    assert_eq!(seen[0]["traceparent"], TRACE);
    assert_eq!(seen[0]["x-cloudstore-position"], "0-1-7");
    assert_eq!(seen[1]["x-cloudstore-position"], "0-1-8");
    assert_eq!(seen[2]["x-cloudstore-position"], "0-1-8");
    let bearer = seen[0]["authorization"].to_str().unwrap();
    let token = bearer.strip_prefix("Bearer ").unwrap();
    let trusted = Trusted::fixed(vec![identity.published()]);
    let caller = trusted.verify(token, "dbproxy", &["upload-svc"]).await;
    assert_eq!(&*caller.unwrap().service, "upload-svc");
}

#[tokio::test]
async fn without_a_request_nothing_is_said() {
    let script = Script::default();
    call(&pipe(&script)).await.unwrap();
    let seen = &script.seen()[0];
    for name in [
        "authorization",
        "x-request-id",
        "traceparent",
        "x-cloudstore-position",
    ] {
        assert!(!seen.contains_key(name), "{name}");
    }
    assert!(seen.contains_key("grpc-timeout"));
}

#[tokio::test]
async fn attempts_end_with_the_deadline() {
    let never = Arc::new(Notify::new());
    let script = Script::new([
        Answer::Status(Status::unavailable("away")),
        Answer::When(never),
    ]);
    let channel = pipe(&script);
    let mut request = tonic::Request::new(ListKeysRequest {});
    request.set_timeout(Duration::from_millis(600));
    let start = Instant::now();
    let status = call_with(&channel, request).await.unwrap_err();
    // What is left is told in whole milliseconds, so an attempt may end one before.
    assert!((590..5_000).contains(&start.elapsed().as_millis()));
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let left = script.seen()[1]["grpc-timeout"]
        .to_str()
        .unwrap()
        .to_owned();
    let left: u64 = left.strip_suffix('m').unwrap().parse().unwrap();
    assert!((1..600).contains(&left), "{left}");
}

#[tokio::test]
async fn dead_instances_are_avoided() {
    let (one, two) = (
        Instance::start(Script::default()).await,
        Instance::start(Script::default()).await,
    );
    let (channel, _sender) = balanced(&[nowhere().await, one.address, two.address]);
    for _ in 0..50 {
        call(&channel).await.unwrap();
    }
    let (first, second) = (one.script.seen().len(), two.script.seen().len());
    assert_eq!(first + second, 50);
    assert!(first > 5 && second > 5, "{first} and {second}");
    // One more goes, while its connection is in use.
    one.stop().await;
    for _ in 0..50 {
        call(&channel).await.unwrap();
    }
    assert_eq!(two.script.seen().len(), second + 50);
}

#[tokio::test]
async fn an_instance_that_comes_back_is_used_again() {
    let address = nowhere().await;
    let (channel, _sender) = balanced(&[address]);
    assert_eq!(call(&channel).await.unwrap_err().code(), Code::Unavailable);
    let socket = TcpListener::bind(address).await.unwrap();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(socket);
    let routes = Script::default().routes();
    tokio::spawn(
        Server::builder()
            .add_routes(routes)
            .serve_with_incoming(incoming),
    );
    call(&channel).await.unwrap();
}

#[tokio::test]
async fn vanished_instances_finish_what_they_have() {
    let go_on = Arc::new(Notify::new());
    let old = Instance::start(Script::new([Answer::When(Arc::clone(&go_on))])).await;
    let new = Instance::start(Script::default()).await;
    let (channel, sender) = balanced(&[old.address]);
    let in_hand = tokio::spawn({
        let channel = channel.clone();
        async move { call(&channel).await }
    });
    old.script.entered.notified().await;
    sender.send_replace(vec![new.address]);
    for _ in 0..10 {
        call(&channel).await.unwrap();
    }
    assert_eq!((old.script.seen().len(), new.script.seen().len()), (1, 10));
    go_on.notify_one();
    timeout(PATIENCE, in_hand).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn without_instances_calls_fail_soon_and_not_at_once() {
    let (channel, sender) = balanced(&[]);
    let start = Instant::now();
    assert_eq!(call(&channel).await.unwrap_err().code(), Code::Unavailable);
    assert!((900..5_000).contains(&start.elapsed().as_millis()));
    let start = Instant::now();
    assert_eq!(call(&channel).await.unwrap_err().code(), Code::Unavailable);
    assert!(start.elapsed().as_millis() < 900, "waited again");
    // A first instance ends the waiting.
    let instance = Instance::start(Script::default()).await;
    sender.send_replace(vec![instance.address]);
    call(&channel).await.unwrap();
    sender.send_replace(Vec::new());
    let waiting = call(&channel);
    let appears = async {
        tokio::task::yield_now().await;
        sender.send_replace(vec![instance.address]);
    };
    let (answer, ()) = tokio::join!(waiting, appears);
    answer.unwrap();
}

/// A process that is stopped, or a host that is gone: connections stand and nothing moves.
#[tokio::test]
async fn an_instance_that_hangs_is_given_up_before_the_deadline() {
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let good = Instance::start(Script::default()).await;
    let (channel, sender) = balanced(&[hanging.local_addr().unwrap()]);
    let waiting = tokio::spawn({
        let channel = channel.clone();
        async move { call(&channel).await }
    });
    let _accepted = hanging.accept().await.unwrap();
    sender.send_replace(vec![hanging.local_addr().unwrap(), good.address]);
    timeout(rpc::DEADLINE, waiting)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(good.script.seen().len(), 1);
}
