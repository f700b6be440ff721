//! The requests of tus 1.0, each sent once with what its answer says; who asks decides what comes
//! after a failure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::{
    Method,
    header::{
        CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
    },
};
use url::Url;

use super::server::Server;
use crate::{
    client::{
        Backoff, Client,
        body::RangeBody,
        is_retryable,
        wire::{Payload, Request, Trouble},
    },
    error::{Error, Exit, Result},
};

pub(super) const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
pub(super) const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
pub(super) const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
pub(super) const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
pub(super) const TUS_CHECKSUM_ALGORITHM: HeaderName =
    HeaderName::from_static("tus-checksum-algorithm");
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const UPLOAD_CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");

/// What the HTTP library leaves out, and servers want to hear.
const NOTHING: HeaderValue = HeaderValue::from_static("0");
/// A server that has nothing to say of itself says nothing for so long.
const OPTIONS_PATIENCE: Duration = Duration::from_secs(10);
/// The last bytes make the server put the file where it belongs: flush many gigabytes, or put
/// parts together in an object store.
const COMPLETION_PATIENCE: Duration = Duration::from_secs(600);
/// Servers and gateways take no longer ones back: their limits for a whole head are about this.
const MAX_URL_BYTES: usize = 8 << 10;
/// What to do about a server that does not behave like one.
const CHECK_ADDRESS: &str = "check --server: with --protocol tus it is the URL at which a tus \
                             server creates uploads, such as https://host/files/";

/// Bytes for a place of an upload.
pub(super) struct Part {
    pub(super) body: RangeBody,
    /// Value of `Upload-Checksum`.
    pub(super) checksum: Option<HeaderValue>,
    /// The connection is not used again. A server may refuse it as too long before it has read it,
    /// and then some do not understand what else comes that way.
    pub(super) last_word: bool,
}

/// An upload as the server has just made it.
pub(super) struct Created {
    pub(super) url: Url,
    /// `None` if bytes went along and the server does not say what became of them.
    pub(super) offset: Option<u64>,
    /// Unix milliseconds.
    pub(super) expires_ms: Option<i64>,
}

/// What an answer says of an upload.
pub(super) struct Told {
    pub(super) offset: Option<u64>,
    pub(super) length: Option<u64>,
    /// Unix milliseconds.
    pub(super) expires_ms: Option<i64>,
}

/// Where a server creates uploads, and the way there.
pub(super) struct Endpoint {
    pub(super) client: Client,
    pub(super) url: Url,
}

impl Endpoint {
    /// Asks what the server can do. One that does not answer that may still create uploads.
    pub(super) async fn server(&self) -> Result<Server> {
        let request = Request::at(Method::OPTIONS, self.url.clone())
            .patience(OPTIONS_PATIENCE)
            .once();
        match self.client.ask::<HeaderMap>(request).await {
            Ok(headers) => Server::read(&headers).map_err(|error| error.during(self.cannot_use())),
            // Nobody is there, or not now.
            Err(trouble @ (Trouble::Local(_) | Trouble::Broken { sent: false, .. })) => {
                Err(self.error(trouble))
            }
            Err(Trouble::Problem {
                problem,
                retry_after,
            }) if problem.status != 500 && is_retryable(problem.status, problem.slug()) => {
                Err(self.error(Trouble::Problem {
                    problem,
                    retry_after,
                }))
            }
            Err(_) => Ok(Server::silent()),
        }
    }

    /// Creates an upload, with its first bytes if `part` is given; `length: None` is told later.
    /// Repeated while that can help: an upload nobody has the address of expires. A repetition
    /// after a lost answer can leave a small file there twice.
    pub(super) async fn create(
        &self,
        length: Option<u64>,
        metadata: &HeaderValue,
        part: Option<Part>,
    ) -> Result<Created, Trouble> {
        let mut request = tus(Method::POST, self.url.clone());
        request = match length {
            Some(length) => request.header(UPLOAD_LENGTH, length.into()),
            None => request.header(UPLOAD_DEFER_LENGTH, HeaderValue::from_static("1")),
        };
        request = request.header(UPLOAD_METADATA, metadata.clone());
        let empty = part.is_none();
        request = match part {
            Some(part) => with_bytes(request, part),
            None => request.header(CONTENT_LENGTH, NOTHING),
        };
        let headers = self.client.ask::<HeaderMap>(request).await?;
        let told = Told::read(&headers);
        Ok(Created {
            url: self.location(&headers)?,
            offset: told.offset.or(empty.then_some(0)),
            expires_ms: told.expires_ms,
        })
    }

    /// Asks where an upload goes on.
    pub(super) async fn ask(&self, upload: &Url) -> Result<Told, Trouble> {
        let request = tus(Method::HEAD, upload.clone()).unrepeated();
        let headers = self.client.ask::<HeaderMap>(request).await?;
        Ok(Told::read(&headers))
    }

    /// Sends bytes; `length` tells the length that was deferred.
    pub(super) async fn append(
        &self,
        upload: &Url,
        part: Part,
        length: Option<u64>,
    ) -> Result<Told, Trouble> {
        let mut request = tus(Method::PATCH, upload.clone())
            .unrepeated()
            .header(UPLOAD_OFFSET, part.body.offset.into());
        if let Some(length) = length {
            request = request.header(UPLOAD_LENGTH, length.into());
        }
        let headers = self
            .client
            .ask::<HeaderMap>(with_bytes(request, part))
            .await?;
        Ok(Told::read(&headers))
    }

    /// Removes an upload that will not be finished.
    pub(super) async fn terminate(&self, upload: &Url) {
        let request = tus(Method::DELETE, upload.clone()).unrepeated();
        if let Err(trouble) = self.client.ask::<HeaderMap>(request).await {
            // It expires by itself.
            tracing::debug!(?trouble, %upload, "cannot terminate an upload");
        }
    }

    /// A fresh count of repetitions.
    pub(super) fn backoff(&self) -> Backoff {
        self.client.backoff()
    }

    /// Whether an upload is where the credentials may go.
    fn is_near(&self, upload: &Url) -> bool {
        upload.origin() == self.url.origin()
    }

    /// The address of a new upload: absolute, or relative to where it was created.
    fn location(&self, headers: &HeaderMap) -> Result<Url, Trouble> {
        let told = headers.get(LOCATION).and_then(|told| told.to_str().ok());
        let told = told.filter(|told| !told.is_empty() && told.len() <= MAX_URL_BYTES);
        let Some(told) = told else {
            let why = "it tells no address (Location) of the upload it created";
            return Err(Trouble::Garbled(why.to_owned()));
        };
        let nonsense = || Trouble::Garbled(format!("{told} is no address of an upload"));
        let mut url = self.url.join(told).map_err(|_| nonsense())?;
        url.set_fragment(None);
        let has_login = !url.username().is_empty() || url.password().is_some();
        if !matches!(url.scheme(), "http" | "https") || has_login {
            return Err(nonsense());
        }
        if self.url.scheme() == "https" && url.scheme() == "http" {
            let why = format!("{url} is not encrypted, and --server is");
            let error = Error::new(Exit::Failed, why).during(self.cannot_use());
            let next =
                "tell the server's operator: behind a gateway it has to know its own https address";
            return Err(Trouble::Local(error.advise(next).hopeless()));
        }
        Ok(url)
    }

    /// A failure of anything but the creation of an upload, for the user.
    pub(super) fn error_at(&self, upload: &Url, trouble: Trouble) -> Error {
        if trouble.is_unauthenticated() && !self.is_near(upload) {
            let next = format!("credentials for {} do not go to {upload}", self.url);
            return self.error(trouble).advise(next);
        }
        self.error(trouble)
    }

    /// A failure to create an upload: if this is no such place, it is none for any file.
    pub(super) fn creation_error(&self, trouble: Trouble) -> Error {
        let status = match &trouble {
            Trouble::Problem { problem, .. } => problem.status,
            _ => 0,
        };
        let garbled = matches!(trouble, Trouble::Garbled(_));
        let error = self.error(trouble);
        match status {
            300..400 => error
                .during(self.cannot_use())
                .advise("pass the address that this one redirects to as --server")
                .hopeless(),
            404 | 405 | 501 => error
                .during(self.cannot_use())
                .advise(CHECK_ADDRESS)
                .hopeless(),
            _ if garbled => error.hopeless(),
            _ => error,
        }
    }

    /// For the user, naming the server.
    fn error(&self, trouble: Trouble) -> Error {
        match trouble {
            Trouble::Garbled(why) => Error::new(Exit::Failed, why)
                .during(format!("cannot understand the answer of {}", self.url))
                .advise(CHECK_ADDRESS),
            trouble if trouble.is_unauthenticated() => trouble
                .into_error(&self.url)
                .during(self.cannot_use())
                .advise(
                    "set CLOUDSTORE_TOKEN to a token for it; if it is a cloudstore server, \
                     `cloudstore login` with its address will do",
                ),
            trouble => trouble.into_error(&self.url),
        }
    }

    fn cannot_use(&self) -> String {
        format!("cannot upload to {}", self.url)
    }
}

fn tus(method: Method, url: Url) -> Request {
    Request::at(method, url).header(TUS_RESUMABLE, HeaderValue::from_static("1.0.0"))
}

fn with_bytes(request: Request, part: Part) -> Request {
    let octets = HeaderValue::from_static("application/offset+octet-stream");
    let mut request = request.header(CONTENT_TYPE, octets);
    if part.body.len == 0 {
        request = request.header(CONTENT_LENGTH, NOTHING);
    }
    if part.last_word {
        request = request.header(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(checksum) = part.checksum {
        request = request.header(UPLOAD_CHECKSUM, checksum);
    }
    request
        .payload(Payload::Range(part.body))
        .settles_within(COMPLETION_PATIENCE)
}

impl Told {
    fn read(headers: &HeaderMap) -> Self {
        Self {
            offset: number(headers, &UPLOAD_OFFSET),
            length: number(headers, &UPLOAD_LENGTH),
            expires_ms: date(headers, &UPLOAD_EXPIRES),
        }
    }
}

/// The one number in a field; what is no number says nothing.
pub(super) fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let text = single(headers, name)?;
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// An HTTP date in Unix milliseconds.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<i64> {
    let date: SystemTime = httpdate::parse_http_date(single(headers, name)?).ok()?;
    let since = date.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}

/// Of two values nobody knows which is meant.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().map(str::trim),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client::{Auth, wire::Wire},
        output::Out,
    };

    fn location(endpoint: &str, told: &str) -> Result<String, Trouble> {
        // Another test may have been faster.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = Url::parse(endpoint).unwrap();
        let wire = Wire::new(url.clone(), 1, 0, Out::new(false, true, false, false)).unwrap();
        let client = Client::new(wire, Auth::Anonymous);
        let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(told).unwrap())]);
        let url = Endpoint { client, url }.location(&headers)?;
        Ok(url.to_string())
    }

    #[test]
    fn addresses_are_resolved_and_checked() {
        for (endpoint, told, expected) in [
            ("https://h/files/", "1", "https://h/files/1"),
            ("https://h/files", "1", "https://h/1"),
            ("https://h/files?key=x", "/up/1?y#z", "https://h/up/1?y"),
            ("https://h/files/", "//other/1", "https://other/1"),
            ("http://h/files/", "https://other/1", "https://other/1"),
        ] {
            assert_eq!(location(endpoint, told).unwrap(), expected);
        }
        let long = format!("/{}", "x".repeat(MAX_URL_BYTES));
        for wrong in [
            "",
            "file:///etc/passwd",
            "https://u:p@h/1",
            "http://[",
            &long,
        ] {
            let refused = location("https://h/files/", wrong);
            assert!(matches!(refused, Err(Trouble::Garbled(_))), "{wrong}");
        }
        let refused = location("https://h/files/", "http://h/files/1").unwrap_err();
        let Trouble::Local(error) = refused else {
            panic!("content would travel in the clear");
        };
        assert!(error.ends_the_run());
    }

    #[test]
    fn fields_say_one_thing_or_nothing() {
        let told = |offsets: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for offset in offsets {
                headers.append(UPLOAD_OFFSET, HeaderValue::from_static(offset));
            }
            Told::read(&headers).offset
        };
        assert_eq!(told(&["7"]), Some(7));
        for wrong in [
            &[][..],
            &[""],
            &["-1"],
            &["+1"],
            &["0x1"],
            &["1", "1"],
            &["99999999999999999999"],
        ] {
            assert_eq!(told(wrong), None, "{wrong:?}");
        }
    }
}
