//! What the fields of an account may contain.

use cloudstore_service::{Result, json::invalid_fields};

/// Bytes of the shortest password.
pub(crate) const MIN_PASSWORD: usize = 8;
/// Bytes of the longest password: no limit for people, one for those who make us hash megabytes.
pub(crate) const MAX_PASSWORD: usize = 1024;
const USERNAME: std::ops::RangeInclusive<usize> = 2..=64;
/// Bytes of an address that SMTP can carry (RFC 5321 section 4.5.3.1.3).
const MAX_EMAIL: usize = 254;
/// Characters.
const MAX_DISPLAY_NAME: usize = 128;
/// Characters of what a token is for.
const MAX_TOKEN_NAME: usize = 128;

type Rule = fn(&str) -> Option<&'static str>;

/// Checks fields, all of them, so that a form can show every mistake at once.
///
/// # Errors
/// 422 `invalid-fields` with `errors`: a message for each wrong field.
pub(crate) fn check(fields: &[(&str, Option<&str>, Rule)]) -> Result<()> {
    let errors: Vec<_> = fields
        .iter()
        .filter_map(|(name, value, rule)| Some((*name, rule((*value)?)?)))
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(invalid_fields(errors))
    }
}

pub(crate) fn username(name: &str) -> Option<&'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (!USERNAME.contains(&name.len()) || !name.bytes().all(allowed))
        .then_some("must have 2 to 64 characters of a-z A-Z 0-9 . _ -")
}

pub(crate) fn password(password: &str) -> Option<&'static str> {
    (!(MIN_PASSWORD..=MAX_PASSWORD).contains(&password.len()))
        .then_some("must have 8 to 1024 bytes")
}

/// Plausible, not proven: only a mail that arrives proves an address. Empty means none.
pub(crate) fn email(email: &str) -> Option<&'static str> {
    let plausible = email.rsplit_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && !local.contains('@')
            && !domain.is_empty()
            && domain.split('.').all(|label| !label.is_empty())
            && !email.chars().any(|c| c.is_control() || c.is_whitespace())
    });
    (!email.is_empty() && (!plausible || email.len() > MAX_EMAIL))
        .then_some("must be a mail address of at most 254 bytes, or empty")
}

pub(crate) fn display_name(name: &str) -> Option<&'static str> {
    (name.chars().count() > MAX_DISPLAY_NAME || name.chars().any(char::is_control))
        .then_some("must have at most 128 characters and no control characters")
}

pub(crate) fn token_name(name: &str) -> Option<&'static str> {
    let blank = name.trim().is_empty();
    (blank || name.chars().count() > MAX_TOKEN_NAME || name.chars().any(char::is_control))
        .then_some("must have 1 to 128 characters and no control characters")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames() {
        for good in ["ab", "A.b_c-9", &"x".repeat(64)] {
            assert_eq!(username(good), None, "{good}");
        }
        for bad in [
            "",
            "a",
            &"x".repeat(65),
            "a b",
            "käse",
            "a/b",
            "a\0b",
            "a@b",
        ] {
            assert!(username(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn passwords_count_bytes() {
        assert!(password("1234567").is_some());
        assert_eq!(password("12345678"), None);
        assert_eq!(password("äöüß"), None);
        assert_eq!(password(&"x".repeat(1024)), None);
        assert!(password(&"x".repeat(1025)).is_some());
    }

    #[test]
    fn emails() {
        for good in ["", "a@b", "anna.müller@beispiel.de", "x+y@sub.example.org"] {
            assert_eq!(email(good), None, "{good}");
        }
        let long = format!("{}@example.org", "x".repeat(250));
        for bad in [
            "a",
            "@b",
            "a@",
            "a@b@c",
            "a b@c",
            "a@b\r\nBcc: d",
            "a@.b",
            "a@b.",
            &long,
        ] {
            assert!(email(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn display_names() {
        assert_eq!(display_name(&"ü".repeat(128)), None);
        assert!(display_name(&"ü".repeat(129)).is_some());
        assert!(display_name("a\u{7}").is_some());
    }

    #[test]
    fn every_wrong_field_is_named() {
        let fields: [(&str, Option<&str>, Rule); 3] = [
            ("username", Some("?"), username),
            ("password", Some("x"), password),
            ("email", None, email),
        ];
        let problem = check(&fields).unwrap_err();
        let errors = problem.extension("errors").unwrap().as_object().unwrap();
        assert_eq!(errors.keys().collect::<Vec<_>>(), ["password", "username"]);
    }
}
