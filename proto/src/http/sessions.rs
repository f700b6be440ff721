//! JSON bodies about logins.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A login that has not ended, as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct Session {
    /// UUID.
    #[schema(format = Uuid)]
    pub id: String,
    /// What the client called itself (its `User-Agent`) when it logged in; may be empty.
    pub client: String,
    /// When it began.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it began or went on, which a client in use does every ten minutes.
    #[schema(format = DateTime)]
    pub last_used_at: String,
    /// When it ends unless it goes on before.
    #[schema(format = DateTime)]
    pub expires_at: String,
    /// It is the one that asks.
    pub current: bool,
}

/// `GET /api/v1/sessions`
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct SessionList {
    /// Last used first.
    pub sessions: Vec<Session>,
}
