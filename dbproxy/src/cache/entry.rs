//! The bytes that are kept in Redis.

use bytes::Bytes;
use cloudstore_service::position::is_covered;
use uuid::Uuid;

/// A version: never used twice, so that nothing old can be taken for new.
pub(super) type Version = [u8; 16];

/// Changes whenever the form of an entry does; other forms are not there.
const FORMAT: u8 = 1;
const FOUND: u8 = 1;
const ABSENT: u8 = 2;

/// A new version.
pub(super) fn new_version() -> Version {
    // 74 bits of it are random.
    Uuid::now_v7().into_bytes()
}

/// A subject's version, and the position of the write that made it, where that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) version: Version,
    pub(super) position: Option<String>,
}

impl Seen {
    /// The version, followed by the position. The scripts in `shared.rs` know this form, too.
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let (version, position) = value.split_first_chunk()?;
        let position = std::str::from_utf8(position).ok()?;
        Some(Self {
            version: *version,
            position: (!position.is_empty()).then(|| position.to_owned()),
        })
    }
}

/// What a load found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A message, encoded.
    Found(Bytes),
    /// Nothing, in these words.
    Absent(String),
}

/// An answer, and which state of the database it is true of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// The subject's version when the load began.
    pub(super) version: Version,
    /// What the load had to see.
    pub(super) position: Option<String>,
    pub(super) content: Content,
}

impl Stored {
    /// `None` when it cannot be kept.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let position = self.position.as_deref().unwrap_or_default();
        let (kind, content) = match &self.content {
            Content::Found(message) => (FOUND, &message[..]),
            Content::Absent(detail) => (ABSENT, detail.as_bytes()),
        };
        let length = u8::try_from(position.len()).ok()?;
        let mut value = vec![FORMAT, kind, length];
        value.extend_from_slice(&self.version);
        value.extend_from_slice(position.as_bytes());
        value.extend_from_slice(content);
        Some(value)
    }

    /// `None` for what this program did not write.
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let (&[format, kind, length], rest) = value.split_first_chunk()?;
        let (version, rest) = rest.split_first_chunk()?;
        let (position, content) = rest.split_at_checked(usize::from(length))?;
        let position = std::str::from_utf8(position).ok()?;
        let content = match (format, kind) {
            (FORMAT, FOUND) => Content::Found(Bytes::copy_from_slice(content)),
            (FORMAT, ABSENT) => Content::Absent(String::from_utf8(content.to_vec()).ok()?),
            _ => return None,
        };
        Some(Self {
            version: *version,
            position: (!position.is_empty()).then(|| position.to_owned()),
            content,
        })
    }

    /// May this be answered to a call that has to see `required`?
    pub(super) fn has_seen(&self, required: Option<&str>) -> bool {
        match (required, self.position.as_deref()) {
            (None, _) => true,
            (Some(required), Some(seen)) => is_covered(required, seen),
            (Some(_), None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(position: Option<&str>, content: Content) -> Stored {
        Stored {
            version: new_version(),
            position: position.map(ToOwned::to_owned),
            content,
        }
    }

    #[test]
    fn entries_come_back() {
        let found = Content::Found(Bytes::from_static(b"\x00\xff"));
        let absent = Content::Absent("there is no such thing".to_owned());
        for content in [found, absent, Content::Found(Bytes::new())] {
            for position in [None, Some("0-1-5")] {
                let entry = stored(position, content.clone());
                let value = entry.encode().unwrap();
                assert_eq!(Stored::decode(&value).as_ref(), Some(&entry));
                for cut in 0..3 + 16 + position.map_or(0, str::len) {
                    assert_eq!(Stored::decode(&value[..cut]), None);
                }
                let mut other = value;
                other[0] += 1;
                assert_eq!(Stored::decode(&other), None);
            }
        }
        let long = "1".repeat(256);
        assert_eq!(
            stored(Some(&long), Content::Absent(String::new())).encode(),
            None
        );
    }

    #[test]
    fn entries_serve_whom_they_can() {
        let entry = |position| stored(position, Content::Found(Bytes::new()));
        for (seen, required, serves) in [
            (None, None, true),
            (Some("0-1-5"), None, true),
            (None, Some("0-1-5"), false),
            (Some("0-1-5"), Some("0-1-5"), true),
            (Some("0-1-6"), Some("0-1-5"), true),
            (Some("0-1-5"), Some("0-1-6"), false),
            (Some("0-1-5"), Some("other"), false),
        ] {
            assert_eq!(
                entry(seen).has_seen(required),
                serves,
                "{seen:?} {required:?}"
            );
        }
    }
}
