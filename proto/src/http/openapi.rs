//! The description of the HTTP API, and content in it.

use utoipa::ToSchema;

/// Bytes as they are.
#[derive(Clone, Debug, ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct Binary(pub Vec<u8>);

/// The description of the HTTP API (OpenAPI 3.1), of all services together. `make openapi` makes it out
/// of the handlers.
pub const OPENAPI: &str = include_str!("../../openapi.json");
