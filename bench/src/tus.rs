//! A client of tus 1.0 (<https://tus.io/protocols/resumable-upload>), the same for every server.
//!
//! An upload is created by POST and sent in PATCH requests one after the other on one connection
//! that is kept. Neither the connection nor the bytes are made while the clock runs.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hyper::{
    Method, Request, Uri,
    header::{self, HeaderName, HeaderValue},
};
use tokio::task::JoinSet;

use crate::{
    client::{Answer, Connection, Payload},
    content::Content,
    error::{Context as _, Error, Result},
    servers::Target,
};

/// Where all servers here take uploads; some of them redirect nothing, so without a slash.
const COLLECTION: &str = "/files";

const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const VERSION: HeaderValue = HeaderValue::from_static("1.0.0");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const BYTES: HeaderValue = HeaderValue::from_static("application/offset+octet-stream");

/// A file to be.
#[derive(Clone)]
pub(crate) struct Stream {
    /// Its name, without folders.
    pub(crate) name: String,
    /// Its bytes.
    pub(crate) content: Content,
}

/// What was uploaded.
pub(crate) struct Uploaded {
    /// Time from the first byte of the first request to the last byte of the last answer.
    pub(crate) time: Duration,
    /// Path of each upload, in the order of the streams.
    pub(crate) locations: Vec<String>,
}

/// Uploads all streams at the same time, in requests of `request` bytes, and checks what the server
/// says about the offset after each.
pub(crate) async fn upload(target: &Target, streams: &[Stream], request: u64) -> Result<Uploaded> {
    let mut connections = Vec::new();
    for _ in streams {
        connections.push(Connection::open(target.address).await?);
    }
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for (index, (stream, mut connection)) in streams.iter().zip(connections).enumerate() {
        let (target, stream) = (target.clone(), stream.clone());
        tasks.spawn(async move {
            let location = send(&mut connection, &target, &stream, request).await;
            Result::Ok((index, location.context(&stream.name)?))
        });
    }
    let mut locations = vec![String::new(); streams.len()];
    while let Some(done) = tasks.join_next().await {
        let (index, location) = done.context("uploading")??;
        locations[index] = location;
    }
    let time = start.elapsed();
    Ok(Uploaded { time, locations })
}

/// Uploads one stream. Returns its path.
async fn send(
    connection: &mut Connection,
    target: &Target,
    stream: &Stream,
    request: u64,
) -> Result<String> {
    let size = stream.content.size();
    let mut creation = speak(target, Method::POST, COLLECTION, Payload::empty());
    let metadata = format!("filename {}", BASE64.encode(&stream.name));
    let metadata = HeaderValue::from_str(&metadata).context("a name")?;
    creation.headers_mut().insert(UPLOAD_LENGTH, size.into());
    creation.headers_mut().insert(UPLOAD_METADATA, metadata);
    let answer = connection.call(creation).await?;
    let location = path(answer.success()?.header(&header::LOCATION)?)?;
    let mut at = 0;
    while at < size {
        let end = (at + request).min(size);
        let body = Payload::new(stream.content.parts(at..end));
        let mut bytes = speak(target, Method::PATCH, &location, body);
        bytes.headers_mut().insert(UPLOAD_OFFSET, at.into());
        bytes.headers_mut().insert(header::CONTENT_TYPE, BYTES);
        check_offset(&connection.call(bytes).await?, end)?;
        at = end;
    }
    Ok(location)
}

/// Fails unless the server says that it has all `size` bytes of an upload.
pub(crate) async fn check(target: &Target, location: &str, size: u64) -> Result<()> {
    let mut connection = Connection::open(target.address).await?;
    let question = speak(target, Method::HEAD, location, Payload::empty());
    check_offset(&connection.call(question).await?, size).context(location)
}

/// Removes an upload with its bytes.
pub(crate) async fn terminate(target: &Target, location: &str) -> Result<()> {
    let mut connection = Connection::open(target.address).await?;
    let request = speak(target, Method::DELETE, location, Payload::empty());
    connection
        .call(request)
        .await?
        .success()
        .context(format_args!("deleting {location}"))?;
    Ok(())
}

fn speak(target: &Target, method: Method, url: &str, body: Payload) -> Request<Payload> {
    let mut request = target.request(method, url, body);
    request.headers_mut().insert(TUS_RESUMABLE, VERSION);
    request
}

fn check_offset(answer: &Answer, expected: u64) -> Result<()> {
    let offset = answer.success()?.header(&UPLOAD_OFFSET)?;
    if offset.parse() == Ok(expected) {
        return Ok(());
    }
    Err(Error::new(format!(
        "Upload-Offset is {offset}, it should be {expected}"
    )))
}

/// The path in a URL, which may be the path alone.
fn path(url: &str) -> Result<String> {
    let uri: Uri = url.parse().context(url)?;
    let path = uri.path_and_query();
    path.map(ToString::to_string)
        .ok_or_else(|| Error::new(format!("{url} has no path")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_may_be_absolute() {
        for url in ["http://127.0.0.1:1/files/a?b", "/files/a?b"] {
            assert_eq!(path(url).unwrap(), "/files/a?b");
        }
        assert!(path("").is_err());
    }
}
