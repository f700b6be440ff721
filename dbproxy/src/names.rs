//! Rules about names that do not depend on the database: comparing without regard to case, and
//! finding a free name for `rename` conflicts.

use cloudstore_proto::path::MAX_SEGMENT_BYTES;
use unicode_normalization::UnicodeNormalization as _;

/// Names that a rename conflict may look through before it gives up.
pub const MAX_NUMBER: u32 = 999;
/// Longer endings are part of the name rather than an extension.
const MAX_EXTENSION_BYTES: usize = 32;

/// The form in which names are compared without regard to case.
#[must_use]
pub fn key(name: &str) -> String {
    name.nfkc().flat_map(char::to_lowercase).nfkc().collect()
}

/// `name (1).ext`, `name (2).ext`, and so on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered<'a> {
    stem: &'a str,
    extension: &'a str,
}

impl<'a> Numbered<'a> {
    /// Splits a name. A stem that leaves no room for a number is cut.
    #[must_use]
    pub fn new(name: &'a str) -> Self {
        let (stem, extension) = match name.rfind('.') {
            Some(at) if at > 0 && name.len() - at <= MAX_EXTENSION_BYTES => name.split_at(at),
            _ => (name, ""),
        };
        let room = MAX_SEGMENT_BYTES - extension.len() - format!(" ({MAX_NUMBER})").len();
        Self {
            stem: &stem[..stem.floor_char_boundary(room)],
            extension,
        }
    }

    /// What stands before the number.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("{} (", self.stem)
    }

    /// What stands after the number.
    #[must_use]
    pub fn suffix(&self) -> String {
        format!("){}", self.extension)
    }

    /// The name with a number.
    #[must_use]
    pub fn name(&self, number: u32) -> String {
        format!("{}{number}{}", self.prefix(), self.suffix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_before_the_extension() {
        for (name, first) in [
            ("a.txt", "a (1).txt"),
            ("README", "README (1)"),
            (".profile", ".profile (1)"),
            ("a.tar.gz", "a.tar (1).gz"),
        ] {
            assert_eq!(Numbered::new(name).name(1), first);
        }
    }

    #[test]
    fn long_names_stay_within_the_limit() {
        let names = [
            "x".repeat(255),
            format!("{}.txt", "\u{e9}".repeat(125)),
            "y.".repeat(127),
        ];
        for name in names {
            let longest = Numbered::new(&name).name(MAX_NUMBER);
            assert!(longest.len() <= MAX_SEGMENT_BYTES, "{}", longest.len());
            assert!(longest.contains(" (999)"));
        }
    }

    #[test]
    fn keys_ignore_case_and_form() {
        assert_eq!(key("\u{c9}mile"), key("e\u{301}mile"));
        assert_eq!(key("ALICE"), "alice");
        assert_ne!(key("alice"), key("alica"));
    }
}
