//! Accounts and sessions: registration, login, refresh, logout, profile, API tokens, shares, and the
//! keys that sign access tokens.
//!
//! [`router`] is everything a process needs. Routes and handlers are in `routes`; what is below
//! them (`accounts`, `sessions`, `tokens`, `shares`, `keys`, `password`) knows no HTTP.

mod accounts;
mod attempts;
mod config;
mod fields;
mod keys;
mod password;
mod routes;
mod sessions;
mod shares;
mod tokens;

use std::sync::Arc;

use axum::Router;
use cloudstore_service::{Result, auth::Verifier, rpc::Channel, settings::Settings};
use tokio_util::sync::CancellationToken;

pub use config::Config;

/// The description of the routes of [`router`].
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    <routes::Description as utoipa::OpenApi>::openapi()
}

/// The service's routes, to be merged and passed to `cloudstore_service::http::finish`.
///
/// Publishes a new signing key first, and goes on to replace it in the background until
/// `shutdown`. `channel` leads to dbproxy. What operators set at run time goes before `config`.
///
/// # Errors
/// When dbproxy does not take the key within half a minute.
pub async fn router(
    config: Config,
    channel: Channel,
    verifier: Verifier,
    settings: Settings,
    shutdown: CancellationToken,
) -> Result<Router> {
    let store =
        cloudstore_proto::account::account_store_client::AccountStoreClient::new(channel.clone());
    let rotation = config.key_rotation();
    let signer = keys::Signer::start(store.clone(), rotation, shutdown.clone()).await?;
    let concurrency = config.hash_concurrency();
    let passwords = password::Passwords::new(concurrency, config.hash_queue)?;
    let follow = passwords.clone().follow(settings.clone(), concurrency);
    tokio::spawn(async move { shutdown.run_until_cancelled(follow).await });
    // Passwords of accounts and of shares are guessed at the same pace, each by itself.
    let attempts = |settings, detail| {
        attempts::Attempts::new(config.login_attempts_per_minute, settings, detail)
    };
    let guesses = attempts(settings.clone(), "too many wrong passwords for this share");
    let logins = attempts(settings, "too many failed logins for this username");
    let app = routes::App {
        accounts: Arc::new(accounts::Accounts::new(
            store.clone(),
            passwords.clone(),
            config.quota_bytes,
        )),
        tokens: Arc::new(tokens::Tokens::new(store.clone())),
        shares: Arc::new(shares::Shares::new(
            channel,
            passwords.clone(),
            guesses,
            signer.clone(),
        )),
        sessions: Arc::new(sessions::Sessions::new(
            store,
            passwords,
            logins,
            signer,
            config.session_ttl(),
        )),
        verifier,
    };
    Ok(routes::routes(app))
}
