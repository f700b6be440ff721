//! What a request shows to prove who sends it: `Authorization`, and nothing else. Tokens in the
//! query string are not looked at: they would end up in logs.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, header};

use crate::{Kind, Problem, Result};

/// As RFC 7617 has it; clients that leave the padding out are understood, too.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Credentials as they were sent. Secrets, so there is no `Debug`.
pub(super) enum Credentials<'a> {
    /// `Bearer`: an access token, or an API token.
    Bearer(&'a str),
    /// `Basic` (RFC 7617), for programs that know nothing else.
    Basic {
        /// The account's.
        username: String,
        /// An API token. Never the account's password.
        password: String,
    },
}

impl<'a> Credentials<'a> {
    /// Those of a request.
    ///
    /// # Errors
    /// `unauthenticated` when there are none, more than one, or of another scheme.
    pub(super) fn of(headers: &'a HeaderMap) -> Result<Self> {
        let (scheme, value) = split(headers)?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(Self::Bearer(value));
        }
        if scheme.eq_ignore_ascii_case("basic") {
            return basic(value).ok_or_else(|| refused("the Basic credentials are malformed"));
        }
        Err(refused("only the schemes Bearer and Basic are accepted"))
    }
}

/// The token of `Authorization: Bearer`.
///
/// # Errors
/// `unauthenticated` when there is none, more than one, or another scheme.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str> {
    match split(headers)? {
        (scheme, token) if scheme.eq_ignore_ascii_case("bearer") => Ok(token),
        _ => Err(refused("only the Bearer scheme is accepted")),
    }
}

/// Scheme and value of the one `Authorization` header.
fn split(headers: &HeaderMap) -> Result<(&str, &str)> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(refused(
            "send an access token: Authorization: Bearer <token>",
        ));
    };
    let parts = value.to_str().ok().and_then(|value| value.split_once(' '));
    let (scheme, value) = parts.ok_or_else(|| refused("the Authorization header is malformed"))?;
    Ok((scheme, value.trim()))
}

/// The username ends at the first colon, so that it can have none; the password may.
fn basic(value: &str) -> Option<Credentials<'static>> {
    let text = String::from_utf8(BASE64.decode(value).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    Some(Credentials::Basic {
        username: username.to_owned(),
        password: password.to_owned(),
    })
}

fn refused(detail: &str) -> Problem {
    Problem::new(Kind::Unauthenticated, detail)
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;
    use http::HeaderValue;

    use super::*;

    fn parsed(values: &[&str]) -> Result<(String, String)> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(
                header::AUTHORIZATION,
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        Credentials::of(&headers).map(|credentials| match credentials {
            Credentials::Bearer(token) => ("bearer".to_owned(), token.to_owned()),
            Credentials::Basic { username, password } => (username, password),
        })
    }

    fn pair(first: &str, second: &str) -> Option<(String, String)> {
        Some((first.to_owned(), second.to_owned()))
    }

    #[test]
    fn both_schemes() {
        let encode = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        for (value, expected) in [
            ("Bearer abc".to_owned(), pair("bearer", "abc")),
            ("bEaReR  abc ".to_owned(), pair("bearer", "abc")),
            (encode("anna:cst_x"), pair("anna", "cst_x")),
            (encode("anna:a:b"), pair("anna", "a:b")),
            (encode(":"), pair("", "")),
            (encode("ännä:ü"), pair("ännä", "ü")),
            ("basic YTpi".to_owned(), pair("a", "b")),
            ("Basic YTpiYg".to_owned(), pair("a", "bb")),
            (encode("no colon"), None),
            ("Basic ???".to_owned(), None),
            ("Basic".to_owned(), None),
            ("Basic /w==".to_owned(), None),
            ("Digest username=\"a\"".to_owned(), None),
            ("abc".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(parsed(&[&value]).ok(), expected, "{value}");
        }
        assert!(parsed(&[]).is_err());
        assert!(parsed(&["Bearer a", "Bearer a"]).is_err());
        assert!(parsed(&["Bearer a", "Basic YTpi"]).is_err());
    }
}
