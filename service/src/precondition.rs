//! `If-Match` and `If-None-Match` of requests that change something (RFC 9110 section 13.1).
//!
//! The entity tag of a file is its BLAKE3 in quotes. Whether a precondition holds is decided in the
//! transaction that makes the change, so that of two writers with the same tag one fails.

use axum::extract::FromRequestParts;
use cloudstore_proto::file::{Precondition, precondition::Match};
use http::{HeaderMap, HeaderName, header, request::Parts};

use crate::{Kind, Problem, Result};

/// The precondition of a request; `None` when it has none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions(pub Option<Precondition>);

impl<S: Sync> FromRequestParts<S> for Conditions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let if_match = read(&parts.headers, &header::IF_MATCH)?;
        let if_none_match = read(&parts.headers, &header::IF_NONE_MATCH)?;
        let any = if_match.is_some() || if_none_match.is_some();
        Ok(Self(any.then_some(Precondition {
            if_match,
            if_none_match,
            locks: None,
        })))
    }
}

/// A tag that is none of ours, or a weak one, matches nothing.
fn read(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Match>> {
    if !headers.contains_key(name) {
        return Ok(None);
    }
    let mut found = Match::default();
    for value in headers.get_all(name) {
        let broken = || Problem::new(Kind::MalformedRequest, format!("{name} is malformed"));
        let value = value.to_str().map_err(|_| broken())?;
        for tag in value
            .split(',')
            .map(str::trim)
            .filter(|tag| !tag.is_empty())
        {
            let mut blake3 = [0; 32];
            let opaque = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            match opaque {
                None if tag == "*" => found.any = true,
                Some(text) if hex::decode_to_slice(text, &mut blake3).is_ok() => {
                    found.blake3.push(blake3.to_vec().into());
                }
                _ => {}
            }
        }
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn conditions(headers: &[(HeaderName, &str)]) -> Option<Precondition> {
        let mut request = http::Request::builder();
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        Conditions::from_request_parts(&mut parts, &())
            .await
            .unwrap()
            .0
    }

    #[tokio::test]
    async fn tags_are_read_as_the_rfc_has_it() {
        assert_eq!(conditions(&[]).await, None);
        let any = conditions(&[(header::IF_NONE_MATCH, "*")]).await.unwrap();
        assert!(any.if_none_match.unwrap().any && any.if_match.is_none());
        let tag = "ab".repeat(32);
        let list = format!("\"other\", W/\"{tag}\", \"{tag}\"");
        let found = conditions(&[(header::IF_MATCH, &list)])
            .await
            .unwrap()
            .if_match
            .unwrap();
        assert_eq!(
            (found.any, found.blake3),
            (false, vec![vec![0xab; 32].into()])
        );
        let none = conditions(&[(header::IF_MATCH, "nonsense")]).await.unwrap();
        assert_eq!(none.if_match, Some(Match::default()), "matches nothing");
    }
}
