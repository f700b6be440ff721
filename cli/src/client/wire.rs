//! One request on the wire: built from a [`Request`], repeated while that can help, its failure
//! turned into a [`Trouble`]. Knows nothing of logins.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use cloudstore_proto::http::Problem;
use reqwest::{
    Method, Response,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde::Serialize;
use url::Url;

use super::{
    answer::{Answer, refusal},
    body::{Activity, RangeBody},
    position::Position,
    retry::{self, Backoff},
};
use crate::{
    error::{Error, Exit, Result},
    output::Out,
};

/// Connecting takes at most this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// No byte in either direction for this long: the connection counts as broken. Longer than the
/// server's own limits, so that its answer arrives first.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Shorter than the idle time after which servers and gateways usually close a connection.
const IDLE_CONNECTION: Duration = Duration::from_secs(20);
/// Connections besides those with content: metadata, batches, refreshes.
const SPARE_CONNECTIONS: usize = 8;

/// What is sent along.
#[derive(Debug)]
pub(crate) enum Payload {
    /// Nothing.
    None,
    /// A JSON document.
    Json(Bytes),
    /// Content that is in memory.
    Bytes(Bytes),
    /// A range of content; read anew for each attempt.
    Range(RangeBody),
    /// Content that can be sent once.
    Once(Option<reqwest::Body>),
}

/// Where a request goes.
#[derive(Clone, Debug)]
enum Target {
    /// An absolute and percent-encoded path below the server's URL.
    Path(String),
    /// Another address, also of another server: then nothing that is only for ours goes along.
    Url(Url),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.write_str(path),
            Self::Url(url) => url.fmt(f),
        }
    }
}

/// A request, which can be repeated unless its payload can be sent only once.
#[derive(Debug)]
pub(crate) struct Request {
    method: Method,
    target: Target,
    query: Vec<(&'static str, String)>,
    headers: HeaderMap,
    payload: Payload,
    repeatable: bool,
    attempts: Attempts,
    patience: Option<Duration>,
    settling: Option<Duration>,
}

/// Who repeats a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempts {
    /// The wire, while that can help.
    Several,
    /// Whoever asks.
    One,
}

impl Request {
    /// `path` is absolute and percent-encoded.
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self::to(method, Target::Path(path.into()))
    }

    /// To an address that need not be of this server.
    pub(crate) fn at(method: Method, url: Url) -> Self {
        Self::to(method, Target::Url(url))
    }

    fn to(method: Method, target: Target) -> Self {
        Self {
            method,
            target,
            query: Vec::new(),
            headers: HeaderMap::new(),
            payload: Payload::None,
            repeatable: true,
            attempts: Attempts::Several,
            patience: Some(PATIENCE),
            settling: None,
        }
    }

    /// A query parameter.
    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// A header.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// A JSON body.
    pub(crate) fn json(mut self, value: &impl Serialize) -> Result<Self> {
        let json = serde_json::to_vec(value)
            .map_err(|error| Error::new(Exit::Failed, format!("cannot write JSON: {error}")))?;
        self.payload = Payload::Json(json.into());
        Ok(self)
    }

    /// A body.
    pub(crate) fn payload(mut self, payload: Payload) -> Self {
        if matches!(payload, Payload::Once(_)) {
            self.repeatable = false;
            // Whoever fills the stream may take a rest.
            self.patience = None;
        }
        self.payload = payload;
        self
    }

    /// Doing it twice is not the same as doing it once: no repetition after a broken connection.
    pub(crate) fn once(mut self) -> Self {
        self.repeatable = false;
        self
    }

    /// Whoever asks decides what comes after a failure.
    pub(crate) fn unrepeated(mut self) -> Self {
        self.attempts = Attempts::One;
        self
    }

    /// How long the answer may take when nothing is being sent.
    pub(crate) fn patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// How long it may take once all of a range is on its way.
    pub(crate) fn settles_within(mut self, patience: Duration) -> Self {
        self.settling = Some(patience);
        self
    }

    /// How long to wait for a move when so many bytes are on their way.
    fn patience_after(&self, sent: u64) -> Option<Duration> {
        match &self.payload {
            Payload::Range(range) if sent >= range.len => self.settling.or(self.patience),
            _ => self.patience,
        }
    }

    /// The payload is still there for another attempt.
    pub(crate) fn can_be_sent(&self) -> bool {
        !matches!(self.payload, Payload::Once(None))
    }
}

/// Why there is no good answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The server said no.
    Problem {
        problem: Box<Problem>,
        retry_after: Option<Duration>,
    },
    /// The connection failed. `sent`: the request may have had its effect.
    Broken { why: String, sent: bool },
    /// The answer makes no sense.
    Garbled(String),
    /// A local failure.
    Local(Error),
}

impl Trouble {
    /// The server does not accept the token.
    pub(crate) fn is_unauthenticated(&self) -> bool {
        matches!(self, Self::Problem { problem, .. } if problem.status == 401)
    }

    fn is_worth_repeating(&self, repeatable: bool) -> bool {
        match self {
            Self::Problem { problem, .. } => retry::is_retryable(problem.status, problem.slug()),
            Self::Broken { sent, .. } => repeatable || !sent,
            Self::Garbled(_) | Self::Local(_) => false,
        }
    }

    /// How long the server asks to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Problem { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// For the user.
    pub(crate) fn into_error(self, base: &Url) -> Error {
        match self {
            Self::Problem { problem, .. } => Error::problem(*problem),
            Self::Broken { why, sent: false } => Error::new(Exit::Network, why)
                .during(format!("cannot reach {base}"))
                .advise("check the address (--server) and that the server is running"),
            Self::Broken { why, sent: true } => Error::new(Exit::Network, why)
                .during(format!("lost the connection to {base}"))
                .advise("run the same command again"),
            Self::Garbled(why) => Error::new(Exit::Failed, why)
                .during(format!("cannot understand the answer of {base}"))
                .advise("check that it is a cloudstore server of a compatible version"),
            Self::Local(error) => error,
        }
    }
}

impl From<reqwest::Error> for Trouble {
    fn from(error: reqwest::Error) -> Self {
        let sent = !error.is_connect() && !error.is_builder();
        Self::Broken {
            why: innermost(&error),
            sent,
        }
    }
}

/// The last cause says most: `connection refused`.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The way to one server.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    http: reqwest::Client,
    base: Url,
    position: Arc<Position>,
    retries: u32,
    out: Out,
}

impl Wire {
    /// Keeps connections for `transfers` requests with content at a time.
    pub(crate) fn new(base: Url, transfers: usize, retries: u32, out: Out) -> Result<Self> {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("cloudstore/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(transfers + SPARE_CONNECTIONS)
            .pool_idle_timeout(IDLE_CONNECTION)
            // A redirect would carry the token to a place that the user did not name.
            .redirect(reqwest::redirect::Policy::none());
        let builder = if is_loopback(&base) {
            builder.no_proxy()
        } else {
            builder
        };
        let http = builder.build().map_err(|error| {
            Error::new(Exit::Failed, innermost(&error)).during("cannot set up the HTTP client")
        })?;
        Ok(Self {
            http,
            position: Arc::new(Position::load(&base)),
            base,
            retries,
            out,
        })
    }

    /// The server's URL.
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// A fresh count of repetitions.
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.retries)
    }

    /// Whether a URL is of this server. No other gets tokens or positions.
    fn is_ours(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Whether a request goes to this server.
    pub(crate) fn is_for_us(&self, request: &Request) -> bool {
        match &request.target {
            Target::Path(_) => true,
            Target::Url(url) => self.is_ours(url),
        }
    }

    /// Sends and reads the answer, and repeats both while that can help.
    pub(crate) async fn run<T: Answer>(
        &self,
        request: &mut Request,
        token: Option<&str>,
    ) -> Result<T, Trouble> {
        let mut backoff = match request.attempts {
            Attempts::Several => self.backoff(),
            Attempts::One => Backoff::new(0),
        };
        loop {
            let trouble = match self.respond(request, token).await {
                Ok(response) => match T::read(response).await {
                    Ok(value) => return Ok(value),
                    Err(trouble) => trouble,
                },
                Err(trouble) => trouble,
            };
            if !trouble.is_worth_repeating(request.repeatable) || !request.can_be_sent() {
                return Err(trouble);
            }
            let Some(wait) = backoff.next(trouble.retry_after()) else {
                return Err(trouble);
            };
            self.out.detail(format_args!(
                "{} {} failed, next try in {:.1} s: {}",
                request.method,
                request.target,
                wait.as_secs_f64(),
                describe(&trouble),
            ));
            tokio::time::sleep(wait).await;
        }
    }

    /// One attempt: the head of a good answer, or the problem.
    async fn respond(
        &self,
        request: &mut Request,
        token: Option<&str>,
    ) -> Result<Response, Trouble> {
        let activity = Activity::default();
        let send = self.build(request, token, &activity)?.send();
        tokio::pin!(send);
        let response = loop {
            let seen = activity.bytes();
            let Some(patience) = request.patience_after(seen) else {
                break send.await?;
            };
            match tokio::time::timeout(patience, &mut send).await {
                Ok(response) => break response?,
                // Slow is not broken.
                Err(_) if activity.bytes() != seen => {}
                Err(_) => return Err(stalled(patience)),
            }
        };
        if self.is_ours(response.url()) {
            self.position.learn(response.headers());
        }
        if response.status().is_success() {
            return Ok(response);
        }
        Err(refusal(response).await)
    }

    fn build(
        &self,
        request: &mut Request,
        token: Option<&str>,
        activity: &Activity,
    ) -> Result<reqwest::RequestBuilder, Trouble> {
        let mut url = match &request.target {
            Target::Path(path) => {
                let mut url = self.base.clone();
                let base = self.base.path().trim_end_matches('/');
                url.set_path(&format!("{base}{path}"));
                url
            }
            Target::Url(url) => url.clone(),
        };
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        let ours = self.is_ours(&url);
        let mut builder = self.http.request(request.method.clone(), url);
        builder = builder.headers(request.headers.clone());
        if let Some(token) = token.filter(|_| ours) {
            builder = builder.bearer_auth(token);
        }
        if let Some((name, position)) = self.position.header().filter(|_| ours) {
            builder = builder.header(name, position);
        }
        Ok(match &mut request.payload {
            Payload::None => builder,
            Payload::Json(json) => builder
                .header(CONTENT_TYPE, "application/json")
                .body(json.clone()),
            Payload::Bytes(bytes) => builder.body(bytes.clone()),
            Payload::Range(range) => builder.body(range.open(activity)),
            Payload::Once(body) => match body.take() {
                Some(body) => builder.body(body),
                None => {
                    let error = Error::new(Exit::Failed, "the input was already consumed");
                    return Err(Trouble::Local(error));
                }
            },
        })
    }
}

pub(crate) fn describe(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Problem { problem, .. } if problem.kind.starts_with("/problems/") => {
            format!("{} {}", problem.status, problem.slug())
        }
        // Foreign servers and gateways have their own words.
        Trouble::Problem { problem, .. } => problem.title.clone(),
        Trouble::Broken { why, .. } | Trouble::Garbled(why) => why.clone(),
        Trouble::Local(error) => error.to_string(),
    }
}

/// Nothing moved for so long.
pub(super) fn stalled(patience: Duration) -> Trouble {
    let why = format!("nothing moved for {} s", patience.as_secs());
    Trouble::Broken { why, sent: true }
}

/// A proxy cannot reach this machine's own loopback.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_requests_are_repeated_after_they_were_sent() {
        let broken = |sent| Trouble::Broken {
            why: String::new(),
            sent,
        };
        assert!(broken(true).is_worth_repeating(true));
        assert!(!broken(true).is_worth_repeating(false));
        assert!(broken(false).is_worth_repeating(false), "it never arrived");
        assert!(!Trouble::Garbled(String::new()).is_worth_repeating(true));
    }

    #[test]
    fn other_origins_get_nothing_of_ours() {
        // Another test may have been faster.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let out = Out::new(false, true, false, false);
        let base = Url::parse("https://files.example.org/base/").unwrap();
        let wire = Wire::new(base, 1, 0, out).unwrap();
        for (url, expected) in [
            ("https://files.example.org/x", true),
            ("https://files.example.org:443/x", true),
            ("http://files.example.org/x", false),
            ("https://files.example.org:444/x", false),
            ("https://example.org/x", false),
            ("https://files.example.org.evil/x", false),
        ] {
            let mut request = Request::at(Method::GET, Url::parse(url).unwrap());
            assert_eq!(wire.is_for_us(&request), expected, "{url}");
            let built = wire.build(&mut request, Some("token"), &Activity::default());
            let built = built.unwrap().build().unwrap();
            assert_eq!(built.headers().contains_key("authorization"), expected);
        }
    }

    #[test]
    fn loopback_needs_no_proxy() {
        for (url, expected) in [
            ("http://127.0.0.1:8080", true),
            ("http://localhost", true),
            ("http://[::1]:1", true),
            ("https://files.example.org", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
