//! Paths of files and folders inside an account.
//!
//! User text never becomes a path of the server's file system; these rules keep names portable
//! and unambiguous for every client.

use unicode_normalization::UnicodeNormalization as _;

/// Bytes of one name, as in every common file system.
pub const MAX_SEGMENT_BYTES: usize = 255;
/// Bytes of a whole path, as `PATH_MAX` on Linux.
pub const MAX_PATH_BYTES: usize = 4_096;
/// Names in the path of a new entry. What is in a moved folder may hang deeper and stays reachable: the
/// whole path is never longer than [`MAX_PATH_BYTES`].
pub const MAX_DEPTH: usize = 64;

/// Why a path was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// Longer than [`MAX_PATH_BYTES`].
    #[error("the path is longer than {MAX_PATH_BYTES} bytes")]
    TooLong,
    /// A name is longer than [`MAX_SEGMENT_BYTES`].
    #[error("a name in the path is longer than {MAX_SEGMENT_BYTES} bytes")]
    SegmentTooLong,
    /// `.` or `..`.
    #[error("'.' and '..' are not allowed in a path")]
    Relative,
    /// NUL or another control character.
    #[error("control characters are not allowed in a path")]
    Control,
    /// More than [`MAX_DEPTH`] names.
    #[error("the path is more than {MAX_DEPTH} folders deep")]
    TooDeep,
    /// The root folder cannot be the target of this operation.
    #[error("the path must name something below the root folder")]
    Root,
}

/// Brings a path into its one form: NFC, a leading `/`, no empty names, no trailing `/`.
/// The root folder is `/`.
///
/// # Errors
/// [`InvalidPath`] for what no client could address again; never [`InvalidPath::Root`] and never
/// [`InvalidPath::TooDeep`], which only matter for new entries ([`normalize_new`]).
pub fn normalize(path: &str) -> Result<String, InvalidPath> {
    if path.len() > MAX_PATH_BYTES {
        return Err(InvalidPath::TooLong);
    }
    let mut out = String::with_capacity(path.len() + 1);
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        if segment == "." || segment == ".." {
            return Err(InvalidPath::Relative);
        }
        let start = out.len() + 1;
        out.push('/');
        out.extend(segment.nfc());
        if out.len() - start > MAX_SEGMENT_BYTES {
            return Err(InvalidPath::SegmentTooLong);
        }
        if out[start..].chars().any(char::is_control) {
            return Err(InvalidPath::Control);
        }
    }
    if out.is_empty() {
        out.push('/');
    }
    if out.len() > MAX_PATH_BYTES {
        return Err(InvalidPath::TooLong);
    }
    Ok(out)
}

/// [`normalize`] for an entry that is to be created or moved to: not the root, not too deep.
///
/// # Errors
/// As [`normalize`], and [`InvalidPath::Root`] and [`InvalidPath::TooDeep`].
pub fn normalize_new(path: &str) -> Result<String, InvalidPath> {
    let path = normalize(path)?;
    match segments(&path).count() {
        0 => Err(InvalidPath::Root),
        depth if depth > MAX_DEPTH => Err(InvalidPath::TooDeep),
        _ => Ok(path),
    }
}

/// The names of a normalised path, from the root down; none for `/`.
pub fn segments(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// The last name of a normalised path; empty for `/`.
#[must_use]
pub fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// The folder that holds a normalised path; `/` for the root itself.
#[must_use]
pub fn parent(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(at) => &path[..at],
    }
}

/// Is a path below a folder, at any depth?
#[must_use]
pub fn is_below(path: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
}

/// A child's path.
#[must_use]
pub fn join(folder: &str, name: &str) -> String {
    format!("{}/{name}", folder.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_for_every_spelling() {
        for spelling in ["a/b", "/a/b", "//a//b/", "/a/b/"] {
            assert_eq!(normalize(spelling).unwrap(), "/a/b");
        }
        assert_eq!(normalize("").unwrap(), "/");
        assert_eq!(normalize("/").unwrap(), "/");
        assert_eq!(
            normalize("/e\u{301}").unwrap(),
            "/\u{e9}",
            "NFD becomes NFC"
        );
    }

    #[test]
    fn refuses_what_cannot_be_addressed() {
        assert_eq!(normalize("/a/../b"), Err(InvalidPath::Relative));
        assert_eq!(normalize("./a"), Err(InvalidPath::Relative));
        assert_eq!(normalize("/a\0b"), Err(InvalidPath::Control));
        assert_eq!(normalize("/a\r\nb"), Err(InvalidPath::Control));
        assert_eq!(normalize("/a\u{85}"), Err(InvalidPath::Control));
        assert_eq!(
            normalize(&"x".repeat(256)),
            Err(InvalidPath::SegmentTooLong)
        );
        assert!(normalize(&"x".repeat(255)).is_ok());
        assert_eq!(normalize(&"x/".repeat(2_049)), Err(InvalidPath::TooLong));
    }

    #[test]
    fn new_entries_have_a_name_and_a_bounded_depth() {
        assert_eq!(normalize_new("/"), Err(InvalidPath::Root));
        assert!(normalize_new(&"d/".repeat(64)).is_ok());
        assert_eq!(normalize_new(&"d/".repeat(65)), Err(InvalidPath::TooDeep));
    }

    #[test]
    fn below() {
        for (path, folder, expected) in [
            ("/a/b", "/a", true),
            ("/a/b/c", "/a", true),
            ("/a", "/", true),
            ("/a", "/a", false),
            ("/", "/", false),
            ("/ab", "/a", false),
            ("/a", "/a/b", false),
        ] {
            assert_eq!(is_below(path, folder), expected, "{path} below {folder}");
        }
    }

    #[test]
    fn parts() {
        assert_eq!(segments("/a/b").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(segments("/").count(), 0);
        assert_eq!(
            (name("/a/b"), parent("/a/b"), parent("/a"), parent("/")),
            ("b", "/a", "/", "/")
        );
        assert_eq!(
            (join("/", "a"), join("/a", "b")),
            ("/a".into(), "/a/b".into())
        );
    }
}
