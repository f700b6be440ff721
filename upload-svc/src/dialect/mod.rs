//! The ways of speaking to the engine. Each dialect is a thin translation: headers and JSON into
//! engine calls, engine errors into problems.
//!
//! - [`native`] indexed chunks in any order, instant upload with proof, batches
//! - [`direct`] one PUT of the whole content
//! - [`dav`] WebDAV: that PUT, and everything else a file manager does
//! - [`tus`] tus 1.0 at `/files/`
//! - [`staging`] finished copies, for the other services
//!
//! An upload belongs to the engine, not to a dialect: one begun here can be finished there.

pub(crate) mod dav;
pub(crate) mod direct;
pub(crate) mod native;
mod problem;
pub(crate) mod staging;
pub(crate) mod tus;

use ::http::{HeaderMap, HeaderName, header};
use axum::body::{Body, Bytes};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use cloudstore_proto::{convert, http};
use cloudstore_service::{Kind, Problem, Result};
use futures::{Stream, TryStreamExt as _};

use crate::engine::{
    body::BodyError,
    session::{Declared, Facts, Session},
};

fn stream(body: Body) -> impl Stream<Item = Result<Bytes, BodyError>> + Unpin {
    body.into_data_stream()
        .map_err(|error| BodyError(Box::new(error)))
}

/// Uploads are stored as they come: a compressed body would be stored compressed.
fn refuse_encodings(headers: &HeaderMap) -> Result<()> {
    match headers.get(header::CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => Err(Problem::new(
            Kind::UnsupportedMediaType,
            "send the content as it is, without Content-Encoding",
        )),
        _ => Ok(()),
    }
}

fn content_length(headers: &HeaderMap) -> Result<Option<u64>> {
    let Some(value) = headers.get(header::CONTENT_LENGTH) else {
        return Ok(None);
    };
    let length = value.to_str().ok().and_then(|value| value.parse().ok());
    length
        .map(Some)
        .ok_or_else(|| malformed("Content-Length is not a number"))
}

fn malformed(detail: &str) -> Problem {
    Problem::new(Kind::MalformedRequest, detail)
}

/// The SHA-256 in `Content-Digest` or `Repr-Digest` (RFC 9530); other algorithms are ignored, as
/// the RFC has it.
fn sha256_field(headers: &HeaderMap, name: &HeaderName) -> Result<Option<[u8; 32]>> {
    let broken = || malformed(&format!("{name} is not a dictionary of digests"));
    for value in headers.get_all(name) {
        for member in value.to_str().map_err(|_| broken())?.split(',') {
            let (algorithm, digest) = member.split_once('=').ok_or_else(broken)?;
            if !algorithm.trim().eq_ignore_ascii_case("sha-256") {
                continue;
            }
            let digest = digest
                .trim()
                .strip_prefix(':')
                .and_then(|rest| rest.strip_suffix(':'));
            let digest = digest.and_then(|digest| BASE64.decode(digest).ok());
            let digest = digest.and_then(|digest| digest.try_into().ok());
            return digest.map(Some).ok_or_else(broken);
        }
    }
    Ok(None)
}

fn declared(digests: Option<&http::Digests>) -> Result<Declared> {
    fn parse<const N: usize>(name: &str, text: Option<&String>) -> Result<Option<[u8; N]>> {
        let Some(text) = text else { return Ok(None) };
        let mut digest = [0; N];
        hex::decode_to_slice(text, &mut digest).map_err(|_| {
            let field = format!("digests.{name}");
            cloudstore_service::json::invalid_fields([(
                field,
                format!("must be {} hexadecimal digits", 2 * N),
            )])
        })?;
        Ok(Some(digest))
    }
    let Some(digests) = digests else {
        return Ok(Declared::default());
    };
    Ok(Declared {
        blake3: parse("blake3", digests.blake3.as_ref())?,
        sha256: parse("sha256", digests.sha256.as_ref())?,
        sha1: parse("sha1", digests.sha1.as_ref())?,
    })
}

fn mtime(text: Option<&str>) -> Result<i64> {
    let Some(text) = text else { return Ok(0) };
    convert::parse_rfc3339(text).ok_or_else(|| {
        cloudstore_service::json::invalid_fields([("mtime", "must be an RFC 3339 time")])
    })
}

fn media_type(path: &str) -> String {
    mime_guess::from_path(path)
        .first_or_octet_stream()
        .to_string()
}

/// An unfinished upload as clients see it.
fn view(session: &Session) -> http::Upload {
    http::Upload {
        received: session.received(),
        missing: session.missing(),
        unreachable: false,
        ..unreachable_view(&session.facts())
    }
}

/// The same of an upload whose node does not answer.
pub(crate) fn unreachable_view(facts: &Facts) -> http::Upload {
    let chunk_count = facts.chunk_count();
    let all = chunk_count.checked_sub(1).map(|last| [0, last]);
    http::Upload {
        id: facts.id.to_string(),
        path: facts.path.clone(),
        size: facts.size.unwrap_or(0),
        length_unknown: facts.size.is_none(),
        chunk_size: facts.chunk_size,
        chunk_count,
        received: 0,
        missing: all.into_iter().collect(),
        unreachable: true,
        expires_at: convert::rfc3339(facts.expires_at_ms),
        location: format!("/api/v1/uploads/{}", facts.id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(value: &str) -> Result<Option<[u8; 32]>> {
        let name = HeaderName::from_static("content-digest");
        let headers = HeaderMap::from_iter([(name.clone(), value.parse().unwrap())]);
        sha256_field(&headers, &name)
    }

    #[test]
    fn digest_fields() {
        let zeros = format!("sha-256=:{}:", BASE64.encode([0; 32]));
        assert_eq!(field(&zeros).unwrap(), Some([0; 32]));
        assert_eq!(
            field(&format!("md5=:AAAA:, {zeros}")).unwrap(),
            Some([0; 32])
        );
        assert_eq!(
            field("md5=:AAAA:").unwrap(),
            None,
            "unknown algorithms are ignored"
        );
        for broken in ["sha-256", "sha-256=AAAA", "sha-256=:AAAA:", "sha-256=:?:"] {
            assert_eq!(
                field(broken).unwrap_err().kind(),
                Kind::MalformedRequest,
                "{broken}"
            );
        }
    }

    #[test]
    fn declared_digests() {
        let digests = |sha1: &str| http::Digests {
            sha1: Some(sha1.into()),
            ..Default::default()
        };
        assert_eq!(
            declared(Some(&digests(&"00".repeat(20)))).unwrap().sha1,
            Some([0; 20])
        );
        for wrong in ["", "00", &"0".repeat(41), &"zz".repeat(20)] {
            assert_eq!(
                declared(Some(&digests(wrong))).unwrap_err().kind(),
                Kind::InvalidFields
            );
        }
    }
}
