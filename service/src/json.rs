//! JSON bodies: axum's extractor with strict media types and problems for rejections.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, header};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::error::Category;

use crate::{Kind, Problem, Result};

/// Bytes of a JSON body unless a route sets another `DefaultBodyLimit`.
pub const DEFAULT_LIMIT: usize = 1 << 20;

/// A JSON request body or response.
///
/// As an extractor it fails with 415 unless the request says `application/json` and has no
/// Content-Encoding, 413 `too-large`, 400 `malformed-request` for anything that is not JSON and
/// 422 `invalid-fields` for JSON of another shape.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T, S> FromRequest<S> for Json<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        check_headers(request.headers())?;
        let body = Bytes::from_request(request, state).await?;
        parse(&body).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => {
                let json = HeaderValue::from_static("application/json");
                ([(header::CONTENT_TYPE, json)], body).into_response()
            }
            Err(error) => Problem::internal(error).into_response(),
        }
    }
}

fn check_headers(headers: &HeaderMap) -> Result<()> {
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    if !media_type.trim().eq_ignore_ascii_case("application/json") {
        let detail = "the body must be sent as application/json";
        return Err(Problem::new(Kind::UnsupportedMediaType, detail));
    }
    match headers.get(header::CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => {
            let detail = "the body must not be compressed";
            Err(Problem::new(Kind::UnsupportedMediaType, detail))
        }
        _ => Ok(()),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let field = error.path().to_string();
        from_serde(&error.into_inner(), field)
    })?;
    json.end()
        .map_err(|error| from_serde(&error, String::new()))?;
    Ok(value)
}

fn from_serde(error: &serde_json::Error, mut field: String) -> Problem {
    let message = error.to_string();
    if error.classify() != Category::Data {
        return Problem::new(
            Kind::MalformedRequest,
            format!("the body is not JSON: {message}"),
        );
    }
    let message = message
        .rsplit_once(" at line ")
        .map_or(&*message, |(message, _)| message);
    // serde names a missing or unknown field in the message and its parent in the path.
    if let Some(named) = message.split('`').nth(1)
        && (message.starts_with("missing field") || message.starts_with("unknown field"))
    {
        field = match &*field {
            "." | "" => named.to_owned(),
            parent if parent.ends_with(named) => parent.to_owned(),
            parent => format!("{parent}.{named}"),
        };
    }
    invalid_fields([(field, message.to_owned())])
}

/// 422 with the `errors` member: a message for each wrong field.
pub fn invalid_fields<F, M>(errors: impl IntoIterator<Item = (F, M)>) -> Problem
where
    F: Into<String>,
    M: Into<String>,
{
    let errors: serde_json::Map<_, _> = errors
        .into_iter()
        .map(|(field, message)| (field.into(), message.into().into()))
        .collect();
    let detail = match errors.iter().next() {
        Some((field, message)) if errors.len() == 1 => {
            format!("{field}: {}", message.as_str().unwrap_or_default())
        }
        _ => format!("{} fields are invalid", errors.len()),
    };
    Problem::new(Kind::InvalidFields, detail).with("errors", errors)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its parsing matters")]
    struct Body {
        name: String,
        items: Vec<u32>,
    }

    fn errors(body: &str) -> (Kind, serde_json::Value) {
        let problem = parse::<Body>(body.as_bytes()).unwrap_err();
        (
            problem.kind(),
            problem.extension("errors").cloned().unwrap_or_default(),
        )
    }

    #[test]
    fn syntax_is_malformed() {
        for body in ["", "{", "{]", "nul", r#"{"name":"a","items":[]} x"#] {
            assert_eq!(errors(body).0, Kind::MalformedRequest, "{body}");
        }
    }

    #[test]
    fn shapes_name_the_field() {
        let (kind, error) = errors(r#"{"items":[]}"#);
        assert_eq!(
            (kind, error),
            (
                Kind::InvalidFields,
                serde_json::json!({"name": "missing field `name`"})
            )
        );
        let (_, error) = errors(r#"{"name":"a","items":[1,"x"]}"#);
        assert!(error.get("items[1]").is_some(), "{error}");
        let (_, error) = errors(r#"{"name":"a","items":[],"more":1}"#);
        assert!(error.get("more").is_some(), "{error}");
    }

    #[test]
    fn media_types() {
        let check = |content_type: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", HeaderValue::from_static(content_type));
            check_headers(&headers).is_ok()
        };
        assert!(check("application/json"));
        assert!(check("Application/JSON; charset=utf-8"));
        assert!(!check("text/plain"));
        assert!(check_headers(&HeaderMap::new()).is_err());
    }
}
