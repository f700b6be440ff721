//! Limits that operators change while the services run. Each getter takes what the service's own
//! configuration says, which counts while nothing (or nothing valid) is set.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
    ops::RangeInclusive,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use cloudstore_proto::upload::InstantPolicy;
use tokio::sync::watch;

type Values = BTreeMap<String, Vec<u8>>;

/// The settings in force. Clones share them.
#[derive(Clone, Default)]
pub struct Settings {
    values: Option<watch::Receiver<Values>>,
    /// Values that were complained about, by name: only names that a getter asks for.
    reported: Arc<Mutex<HashMap<&'static str, Vec<u8>>>>,
}

impl Settings {
    /// Nothing is ever set.
    #[must_use]
    pub fn fixed() -> Self {
        Self::default()
    }

    /// The values being watched, by name, such as `rate.login_per_minute`.
    #[must_use]
    pub fn watching(values: watch::Receiver<Values>) -> Self {
        Self {
            values: Some(values),
            ..Self::default()
        }
    }

    /// Returns when something was set since the last call on this clone; never for
    /// [`fixed`](Self::fixed) settings.
    pub async fn changed(&mut self) {
        if let Some(values) = &mut self.values
            && values.changed().await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }

    /// `rate.login_per_minute`: failed logins a minute for each username, 1 to 10,000.
    #[must_use]
    pub fn login_per_minute(&self, default: u32) -> u32 {
        self.number("rate.login_per_minute", 1..=10_000, default)
    }

    /// `argon2.concurrency`: passwords hashed at a time, 1 to 256.
    #[must_use]
    pub fn argon2_concurrency(&self, default: usize) -> usize {
        self.number("argon2.concurrency", 1..=256, default)
    }

    /// `upload.instant`: `off`, `account` or `everyone`.
    #[must_use]
    pub fn upload_instant(&self, default: InstantPolicy) -> InstantPolicy {
        let parse = |text: &str| match text {
            "off" => Ok(InstantPolicy::Off),
            "account" => Ok(InstantPolicy::Account),
            "everyone" => Ok(InstantPolicy::Everyone),
            _ => Err("must be off, account or everyone".to_owned()),
        };
        self.value("upload.instant", parse).unwrap_or(default)
    }

    /// `upload.probes_per_minute`: hashes an account may ask for in a minute, 1 to 10,000,000.
    #[must_use]
    pub fn upload_probes_per_minute(&self, default: u32) -> u32 {
        self.number("upload.probes_per_minute", 1..=10_000_000, default)
    }

    /// `transfer.large_at_once`: large files on their way to durable storage at a time, 1 to 64.
    #[must_use]
    pub fn transfer_large_at_once(&self, default: usize) -> usize {
        self.number("transfer.large_at_once", 1..=64, default)
    }

    /// `transfer.small_at_once`: the same for small files, 1 to 256.
    #[must_use]
    pub fn transfer_small_at_once(&self, default: usize) -> usize {
        self.number("transfer.small_at_once", 1..=256, default)
    }

    fn number<N>(&self, name: &'static str, range: RangeInclusive<N>, default: N) -> N
    where
        N: FromStr + PartialOrd + Display,
    {
        let parse = |text: &str| match text.parse() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => Err(format!("must be {} to {}", range.start(), range.end())),
        };
        self.value(name, parse).unwrap_or(default)
    }

    fn value<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let values = self.values.as_ref()?.borrow();
        let bytes = values.get(name)?;
        let text = std::str::from_utf8(bytes.trim_ascii()).unwrap_or_default();
        match parse(text) {
            Ok(value) => Some(value),
            Err(why) => {
                self.report(name, bytes, &why);
                None
            }
        }
    }

    /// Once for each value, not for each request that would have used it.
    fn report(&self, name: &'static str, bytes: &[u8], why: &str) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.get(name).is_some_and(|known| known == bytes) {
            return;
        }
        reported.insert(name, bytes.to_owned());
        tracing::warn!(setting = name, why, "setting ignored");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &watch::Sender<Values>, name: &str, value: &str) {
        values.send_modify(|values| {
            values.insert(name.to_owned(), value.as_bytes().to_vec());
        });
    }

    #[test]
    fn what_is_set_counts_if_it_is_valid() {
        let (values, receiver) = watch::channel(Values::new());
        let settings = Settings::watching(receiver);
        assert_eq!(settings.login_per_minute(10), 10);
        for (value, expected) in [("5", 5), (" 7\n", 7), ("0", 10), ("10001", 10), ("x", 10)] {
            set(&values, "rate.login_per_minute", value);
            assert_eq!(settings.login_per_minute(10), expected, "{value}");
        }
        for (value, expected) in [
            ("off", InstantPolicy::Off),
            ("account", InstantPolicy::Account),
            ("everyone", InstantPolicy::Everyone),
            ("Off", InstantPolicy::Account),
        ] {
            set(&values, "upload.instant", value);
            assert_eq!(settings.upload_instant(InstantPolicy::Account), expected);
        }
        // The last values stay when nobody watches any more.
        set(&values, "argon2.concurrency", "3");
        drop(values);
        assert_eq!(settings.argon2_concurrency(1), 3);
        assert_eq!(Settings::fixed().argon2_concurrency(1), 1);
    }

    #[test]
    fn a_bad_value_is_complained_about_once() {
        let (values, receiver) = watch::channel(Values::new());
        let settings = Settings::watching(receiver);
        set(&values, "transfer.large_at_once", "many");
        assert_eq!(settings.transfer_large_at_once(2), 2);
        let reported = || settings.reported.lock().unwrap().clone();
        let first = reported();
        assert_eq!(first["transfer.large_at_once"], b"many");
        assert_eq!(settings.clone().transfer_large_at_once(2), 2);
        assert_eq!(reported(), first);
        set(&values, "transfer.large_at_once", "none");
        assert_eq!(settings.transfer_large_at_once(2), 2);
        assert_eq!(reported()["transfer.large_at_once"], b"none");
    }

    #[tokio::test(start_paused = true)]
    async fn changes_are_announced() {
        let (values, receiver) = watch::channel(Values::new());
        let mut settings = Settings::watching(receiver);
        set(&values, "upload.instant", "off");
        settings.changed().await;
        drop(values);
        let minute = std::time::Duration::from_secs(60);
        let never = tokio::time::timeout(minute, settings.changed());
        assert!(never.await.is_err());
        let mut fixed = Settings::fixed();
        assert!(tokio::time::timeout(minute, fixed.changed()).await.is_err());
    }
}
