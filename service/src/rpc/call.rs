//! One call: sent, and sent again while that can help and there is time.

use std::{error::Error, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header, request};
use http_body_util::{BodyExt as _, Collected, Full, LengthLimitError, Limited};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status, TimeoutExpired, body::Body, transport};
use tower::ServiceExt as _;

use super::{Channel, DEADLINE, MAX_MESSAGE, Way, deadline, instances::Busy};
use crate::{Kind, context::Context, position};

/// How often a call is sent at most.
const MAX_ATTEMPTS: u32 = 3;
/// Shortest and longest pause before another attempt: those who failed together come back apart.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));
/// Largest body: a message and the five bytes before it.
const MAX_BODY: usize = MAX_MESSAGE + 5;

/// A call that is being made.
pub(super) struct Call {
    channel: Channel,
    context: Option<Context>,
}

/// What came of an attempt.
enum Outcome {
    /// An answer, good or bad.
    Final(Result<Response<Body>, Status>),
    /// Nothing that counts: another attempt may do better.
    Unavailable(Result<Response<Body>, Status>),
}

impl Call {
    pub(super) fn new(channel: Channel, context: Option<Context>) -> Self {
        Self { channel, context }
    }

    /// The answer, or why there is none, within the time that the request gives.
    pub(super) async fn run(self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let begin = Instant::now();
        let until = begin + deadline::get(request.headers()).unwrap_or(DEADLINE);
        let method = request.uri().path().to_owned();
        let result = match timeout_at(until, self.attempts(request, until, &method)).await {
            Ok(result) => result,
            Err(_) => Err(Status::deadline_exceeded("no answer in time")),
        };
        let status = format!("{:?}", code(&result));
        let labels = [("method", method), ("status", status)];
        metrics::histogram!("cloudstore_rpc_duration_seconds", &labels)
            .record(begin.elapsed().as_secs_f64());
        result
    }

    async fn attempts(
        &self,
        request: Request<Body>,
        until: Instant,
        method: &str,
    ) -> Result<Response<Body>, Status> {
        let (mut head, body) = request.into_parts();
        self.introduce(&mut head.headers);
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(Status::from_error)?.to_bytes();
        let mut tried = Vec::new();
        let mut attempt = 1;
        loop {
            let failure = match self.attempt(&head, &body, until, &mut tried).await {
                Outcome::Final(result) => return result,
                Outcome::Unavailable(failure) => failure,
            };
            let pause = PAUSE.0 + (PAUSE.1 - PAUSE.0).mul_f64(random_part());
            if attempt == MAX_ATTEMPTS || Instant::now() + pause >= until {
                return failure;
            }
            metrics::counter!("cloudstore_rpc_retries_total").increment(1);
            tracing::debug!(method, attempt, "call is repeated");
            sleep(pause).await;
            attempt += 1;
        }
    }

    /// Says who calls and for which request.
    fn introduce(&self, headers: &mut HeaderMap) {
        let Some(context) = &self.context else {
            return;
        };
        let mut set = |name: &'static str, value: Option<&str>| {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.entry(name).or_insert(value);
            }
        };
        set("x-request-id", Some(context.id()));
        set("traceparent", context.traceparent());
        set(position::METADATA, context.position().as_deref());
    }

    async fn attempt(
        &self,
        head: &request::Parts,
        body: &Bytes,
        until: Instant,
        tried: &mut Vec<SocketAddr>,
    ) -> Outcome {
        let (channel, busy) = match &self.channel.way {
            Way::One(channel) => (channel.clone(), None),
            Way::Instances(balance) => match balance.choose(tried).await {
                Ok(link) => {
                    let (channel, busy) = link.begin();
                    (channel, Some(busy))
                }
                Err(nobody) => return Outcome::Final(Err(nobody)),
            },
        };
        let mut head = head.clone();
        deadline::set(&mut head.headers, until - Instant::now());
        self.authorize(&mut head.headers);
        let request = Request::from_parts(head, Body::new(Full::new(body.clone())));
        match exchange(channel, request).await {
            Ok(response) => {
                if let Some(Busy(link)) = &busy {
                    link.answered();
                }
                self.judge(response, busy.as_ref(), tried)
            }
            Err(error) => {
                if has::<TimeoutExpired>(&*error) {
                    return Outcome::Final(Err(Status::deadline_exceeded("no answer in time")));
                }
                if has::<LengthLimitError>(&*error) {
                    return Outcome::Final(Err(Status::out_of_range("the answer is too large")));
                }
                if let Some(Busy(link)) = &busy {
                    link.failed();
                    tried.push(link.address);
                }
                Outcome::Unavailable(Err(Status::unavailable(describe(&*error))))
            }
        }
    }

    /// New for each attempt: a call may outlive a token.
    fn authorize(&self, headers: &mut HeaderMap) {
        let Some((identity, audience)) = &self.channel.identity else {
            return;
        };
        let value = format!("Bearer {}", identity.token(audience));
        if let Ok(mut value) = HeaderValue::from_str(&value) {
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
    }

    fn judge(
        &self,
        response: Response<Collected<Bytes>>,
        busy: Option<&Busy>,
        tried: &mut Vec<SocketAddr>,
    ) -> Outcome {
        let position = response.headers().get(position::METADATA);
        if let (Some(context), Some(position)) = (&self.context, position)
            && let Ok(position) = position.to_str()
        {
            context.advance(position);
        }
        let unavailable = status_of(&response) == Code::Unavailable;
        // Asking again would only add to it.
        let overloaded = response
            .headers()
            .get("x-problem")
            .is_some_and(|slug| slug.as_bytes() == Kind::Overloaded.slug().as_bytes());
        let response = response.map(Body::new);
        if !unavailable || overloaded {
            return Outcome::Final(Ok(response));
        }
        if let Some(Busy(link)) = busy {
            tried.push(link.address);
        }
        Outcome::Unavailable(Ok(response))
    }
}

/// Sends a request and reads the whole answer, so that one that breaks off can be asked for again.
async fn exchange(
    channel: transport::Channel,
    request: Request<Body>,
) -> Result<Response<Collected<Bytes>>, Box<dyn Error + Send + Sync>> {
    let (head, body) = channel.oneshot(request).await?.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await?;
    Ok(Response::from_parts(head, body))
}

/// The status of an answer: in its head if it is nothing but a status, else after its message.
fn status_of(response: &Response<Collected<Bytes>>) -> Code {
    let trailers = response.body().trailers();
    let in_trailers = trailers.and_then(|trailers| trailers.get(Status::GRPC_STATUS));
    let status = response.headers().get(Status::GRPC_STATUS).or(in_trailers);
    status.map_or(Code::Unknown, |status| Code::from_bytes(status.as_bytes()))
}

fn code(result: &Result<Response<Body>, Status>) -> Code {
    match result {
        // A message without a status in the head is followed by a good one, or our clients say so.
        Ok(response) => response
            .headers()
            .get(Status::GRPC_STATUS)
            .map_or(Code::Ok, |status| Code::from_bytes(status.as_bytes())),
        Err(status) => status.code(),
    }
}

/// Is there such an error among the causes?
fn has<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(current) = next {
        if current.is::<E>() {
            return true;
        }
        next = current.source();
    }
    false
}

/// An error and its causes, for the log.
fn describe(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// Any index below `len`; `None` if there is none. Evenness matters, secrecy does not.
pub(super) fn random(len: usize) -> Option<usize> {
    let bits = getrandom::u32().unwrap_or_default();
    (len > 0).then(|| bits as usize % len)
}

/// From 0 to 1.
fn random_part() -> f64 {
    f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX)
}
