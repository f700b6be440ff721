//! The path of an entry, from the part of the URL that names it.

use axum::{
    extract::{FromRequestParts, RawPathParams, rejection::RawPathParamsRejection},
    http::request::Parts,
};
use cloudstore_proto::path;
use cloudstore_service::{Kind, Problem};

/// Normalised path of the entry that the URL names; `/` where the route has no `{*path}`.
pub(crate) struct EntryPath(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for EntryPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = match RawPathParams::from_request_parts(parts, state).await {
            Ok(params) => params,
            Err(RawPathParamsRejection::InvalidUtf8InPathParam(_)) => {
                return Err(Problem::new(Kind::InvalidPath, "the path is not UTF-8"));
            }
            Err(rejection) => return Err(Problem::internal(rejection)),
        };
        let text = params
            .iter()
            .find(|(name, _)| *name == "path")
            .map_or("", |(_, text)| text);
        Ok(Self(path::normalize(text)?))
    }
}
