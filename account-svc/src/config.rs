//! Configuration of the service: flags over environment over defaults.

use std::{num::NonZeroU32, thread::available_parallelism, time::Duration};

use serde::Serialize;

const GIB: u64 = 1 << 30;
const DAY_SECS: u64 = 24 * 60 * 60;

/// Settings of account-svc.
#[derive(Clone, Debug, clap::Args, Serialize)]
// Several services have a `Config`; flattened into one command line they need group names.
#[group(id = "account_config")]
#[command(next_help_heading = "Accounts")]
pub struct Config {
    /// Bytes that a new account may hold.
    #[arg(
        id = "account_quota", long = "account-quota",
        env = "CLOUDSTORE_ACCOUNT_QUOTA", default_value_t = 100 * GIB,
        value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64),
    )]
    pub quota_bytes: u64,

    /// Seconds until a login that is not refreshed ends.
    #[arg(
        id = "account_session_secs", long = "account-session-secs",
        env = "CLOUDSTORE_ACCOUNT_SESSION_SECS", default_value_t = 30 * DAY_SECS,
        value_parser = clap::value_parser!(u64).range(60..=10 * 365 * DAY_SECS),
    )]
    pub session_secs: u64,

    /// Seconds between two signing keys. Tokens of the old key stay valid until they expire.
    #[arg(
        id = "account_key_rotation_secs", long = "account-key-rotation-secs",
        env = "CLOUDSTORE_ACCOUNT_KEY_ROTATION_SECS", default_value_t = DAY_SECS,
        value_parser = clap::value_parser!(u64).range(60..=365 * DAY_SECS),
    )]
    pub key_rotation_secs: u64,

    /// Failed logins a minute for one username before it has to wait.
    #[arg(
        id = "account_login_attempts",
        long = "account-login-attempts",
        env = "CLOUDSTORE_ACCOUNT_LOGIN_ATTEMPTS",
        default_value = "10"
    )]
    pub login_attempts_per_minute: NonZeroU32,

    /// Passwords hashed at once, each with 19 MiB of memory; 0 means one for each core.
    #[arg(
        id = "account_hash_concurrency", long = "account-hash-concurrency",
        env = "CLOUDSTORE_ACCOUNT_HASH_CONCURRENCY", default_value_t = 0,
        value_parser = clap::value_parser!(u16).range(..=1024),
    )]
    pub hash_concurrency: u16,

    /// Requests that may wait for a password to be hashed; further ones are answered with 503.
    #[arg(
        id = "account_hash_queue",
        long = "account-hash-queue",
        env = "CLOUDSTORE_ACCOUNT_HASH_QUEUE",
        default_value_t = 64
    )]
    pub hash_queue: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            quota_bytes: 100 * GIB,
            session_secs: 30 * DAY_SECS,
            key_rotation_secs: DAY_SECS,
            login_attempts_per_minute: const { NonZeroU32::new(10).expect("10 is not 0") },
            hash_concurrency: 0,
            hash_queue: 64,
        }
    }
}

impl Config {
    pub(crate) fn session_ttl(&self) -> Duration {
        Duration::from_secs(self.session_secs)
    }

    pub(crate) fn key_rotation(&self) -> Duration {
        Duration::from_secs(self.key_rotation_secs)
    }

    pub(crate) fn hash_concurrency(&self) -> usize {
        match self.hash_concurrency {
            0 => available_parallelism().map_or(1, usize::from),
            fixed => usize::from(fixed),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        config: Config,
    }

    #[test]
    fn the_defaults_of_the_command_line_are_the_defaults() {
        let parsed = Cli::parse_from(["test"]).config;
        let text = |config: &Config| serde_json::to_string(config).unwrap();
        assert_eq!(text(&parsed), text(&Config::default()));
        assert!(Cli::try_parse_from(["test", "--account-key-rotation-secs", "0"]).is_err());
    }
}
