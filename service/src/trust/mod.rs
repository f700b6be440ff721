//! Which service is calling. Each service has a key pair of its own ([`Identity`]), publishes the
//! public half, and shows a token that it signed for whoever it calls. The called one knows the
//! published keys ([`Trusted`]) and lets in whom it has business with ([`require()`]).
//!
//! A key counts for the service below whose name it was published, and for no other. So no service
//! can speak in another's name as long as each may only write its own part of `keys/`.

mod identity;
mod require;
mod trusted;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

pub use identity::Identity;
pub use require::{RefusalBody, Require, Required, require};
pub use trusted::{Refresh, Trusted};

/// Tokens by audience: what a client of a service's HTTP calls needs.
pub type Tokens = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// Where keys are published: `keys/<service>/<kid>`.
pub const KEYS_PREFIX: &str = "keys/";
/// Life of a service's token.
const TOKEN_TTL: Duration = Duration::from_secs(60);
/// A token is used for so long, then there is a new one: it has half of its life left on arrival.
const TOKEN_REUSE: Duration = Duration::from_secs(30);

/// The service that calls, as its token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its name.
    pub service: Arc<str>,
}

/// Times are seconds since 1970; all are required.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    iat: u64,
    nbf: u64,
    exp: u64,
}
