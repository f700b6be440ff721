//! `Upload-Checksum`, before or behind the bytes.

use ::http::{HeaderMap, header};
use axum::body::{Body, Bytes, HttpBody as _};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use cloudstore_service::Result;
use futures::{StreamExt as _, stream, stream::BoxStream};
use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, OnceLock},
};

use super::{UPLOAD_CHECKSUM, fields};
use crate::{
    dialect::malformed,
    engine::{
        Check, Error,
        body::BodyError,
        checksum::{Algorithm, Checksum},
    },
};

type Frames = BoxStream<'static, Result<Bytes, BodyError>>;

/// The body of a request and what it is compared with.
pub(super) fn body(headers: &HeaderMap, body: Body) -> Result<(Frames, Option<Check>)> {
    if let Some(field) = fields::single(headers, &UPLOAD_CHECKSUM)? {
        let checksum = parse(field).map_err(malformed)?;
        let check: Check = Box::new(move || Ok(checksum));
        return Ok((crate::dialect::stream(body).boxed(), Some(check)));
    }
    if !is_announced(headers) {
        return Ok((crate::dialect::stream(body).boxed(), None));
    }
    let trailers = Arc::new(OnceLock::new());
    let check: Check = {
        let trailers = trailers.clone();
        Box::new(move || from_trailers(trailers.get()))
    };
    Ok((with_trailers(body, trailers), Some(check)))
}

fn is_announced(headers: &HeaderMap) -> bool {
    let announced = headers.get_all(header::TRAILER).iter();
    announced
        .filter_map(|names| names.to_str().ok())
        .flat_map(|names| names.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case(UPLOAD_CHECKSUM.as_str()))
}

/// Data as it comes; the trailers are put aside before the end.
fn with_trailers(body: Body, trailers: Arc<OnceLock<HeaderMap>>) -> Frames {
    let frames = stream::unfold((body, trailers), async |(mut body, trailers)| {
        loop {
            let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await?;
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => {
                    let error = BodyError(Box::new(error));
                    return Some((Err(error), (body, trailers)));
                }
            };
            match frame.into_data() {
                Ok(data) => return Some((Ok(data), (body, trailers))),
                Err(frame) => {
                    if let Ok(fields) = frame.into_trailers() {
                        // There is one block of trailers in a message.
                        let _ = trailers.set(fields);
                    }
                }
            }
        }
    });
    frames.boxed()
}

fn from_trailers(trailers: Option<&HeaderMap>) -> Result<Checksum, Error> {
    let none = Error::Checksum("the checksum that was announced did not come");
    let field = trailers.and_then(|trailers| trailers.get(UPLOAD_CHECKSUM));
    let field = field.and_then(|field| field.to_str().ok()).ok_or(none)?;
    parse(field).map_err(Error::Checksum)
}

/// `<algorithm> <base64>`
fn parse(field: &str) -> Result<Checksum, &'static str> {
    let (name, value) = field
        .split_once(' ')
        .ok_or("Upload-Checksum is not an algorithm and a value")?;
    let algorithm = Algorithm::ALL
        .into_iter()
        .find(|known| known.name() == name);
    let algorithm = algorithm.ok_or("the algorithm of Upload-Checksum is not known")?;
    let value = BASE64.decode(value).ok();
    value
        .and_then(|value| Checksum::new(algorithm, value))
        .ok_or("the value of Upload-Checksum is not a checksum of its algorithm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums() {
        assert!(parse("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=").is_ok());
        for wrong in [
            "",
            "sha1",
            "sha1 ",
            "sha1 ****",
            "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu",
            "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
            "sha256 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
            "sha3 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn announcements() {
        let announced = |value: &str| {
            is_announced(&HeaderMap::from_iter([(
                header::TRAILER,
                value.parse().unwrap(),
            )]))
        };
        assert!(announced("Upload-Checksum") && announced("x, upload-checksum"));
        assert!(!announced("x-upload-checksum") && !announced(""));
    }
}
