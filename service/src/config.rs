//! Helpers for configuration parsed by clap: flags over environment over defaults.

use std::{fmt, io, path::Path, str::FromStr};

use serde::{Serialize, Serializer};

/// What is shown instead of a secret.
const REDACTED: &str = "[redacted]";

/// A password, key or the like. It never shows in logs, `--help` or the effective configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a secret could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Both the variable and its `_FILE` twin are set.
    #[error("{0} and {0}_FILE are both set: use one of them")]
    Ambiguous(String),
    /// The file cannot be read.
    #[error("cannot read the file named by {0}_FILE")]
    Unreadable(String, #[source] io::Error),
}

impl Secret {
    /// Wraps a value.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The value of the environment variable `name`, or the content of the file that `<name>_FILE`
    /// names, without its final line break. `None` when neither is set.
    ///
    /// # Errors
    /// [`SecretError`] when both are set or the file cannot be read.
    pub fn from_env_or_file(name: &str) -> Result<Option<Self>, SecretError> {
        let value = std::env::var(name).ok();
        let file = std::env::var_os(format!("{name}_FILE"));
        Self::resolve(name, value, file.as_deref().map(Path::new))
    }

    /// As [`Secret::from_env_or_file`], for a value and a file that were parsed elsewhere.
    ///
    /// # Errors
    /// [`SecretError`] when both are given or the file cannot be read.
    pub fn resolve(
        name: &str,
        value: Option<String>,
        file: Option<&Path>,
    ) -> Result<Option<Self>, SecretError> {
        match (value, file) {
            (Some(_), Some(_)) => Err(SecretError::Ambiguous(name.to_owned())),
            (Some(value), None) => Ok(Some(Self(value))),
            (None, Some(file)) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|error| SecretError::Unreadable(name.to_owned(), error))?;
                let text = text.strip_suffix('\n').unwrap_or(&text);
                Ok(Some(Self(
                    text.strip_suffix('\r').unwrap_or(text).to_owned(),
                )))
            }
            (None, None) => Ok(None),
        }
    }
}

/// For clap. Use it with `env` and `hide_env_values`, not as a flag: arguments are world-readable.
impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(value))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

/// The configuration in force, as JSON, secrets redacted: the output of `--print-config`.
///
/// # Errors
/// When `config` does not serialize, which a derived `Serialize` always does.
pub fn print_effective(config: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(config)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn secrets_do_not_show() {
        #[derive(Debug, Serialize)]
        struct Config {
            url: &'static str,
            password: Secret,
        }
        let config = Config {
            url: "mysql://db",
            password: Secret::new("hunter2"),
        };
        for text in [
            print_effective(&config).unwrap(),
            format!("{config:?}"),
            config.password.to_string(),
        ] {
            assert!(
                !text.contains("hunter2") && text.contains(REDACTED),
                "{text}"
            );
        }
        assert!(print_effective(&config).unwrap().contains("mysql://db"));
        assert_eq!(config.password.expose(), "hunter2");
    }

    #[test]
    fn value_or_file_but_not_both() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"from file\n").unwrap();
        let path = Some(file.path());
        let secret = Secret::resolve("X", None, path).unwrap().unwrap();
        assert_eq!(secret.expose(), "from file");
        let secret = Secret::resolve("X", Some("value".into()), None)
            .unwrap()
            .unwrap();
        assert_eq!(secret.expose(), "value");
        assert!(Secret::resolve("X", None, None).unwrap().is_none());
        assert!(Secret::resolve("X", Some("value".into()), path).is_err());
        assert!(Secret::resolve("X", None, Some(Path::new("/nonexistent/file"))).is_err());
    }
}
