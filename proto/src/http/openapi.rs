//! What only the description of the HTTP API needs.

use utoipa::ToSchema;

/// Bytes as they are.
#[derive(Clone, Debug, ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct Binary(pub Vec<u8>);
