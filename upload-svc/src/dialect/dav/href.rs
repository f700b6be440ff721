//! Addresses: from URLs to paths of entries and back.

use axum::http::{HeaderMap, Uri};
use cloudstore_proto::path;
use cloudstore_service::{Kind, Problem, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::super::malformed;

/// Where files and folders begin.
const PREFIX: &str = "/dav";
/// Everything but the unreserved characters of RFC 3986 and what separates names.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// The path that the path of a URL names.
///
/// # Errors
/// `InvalidPath` for names that no entry can have, `MalformedRequest` for another place.
pub(super) fn path(url_path: &str) -> Result<String> {
    let inside = url_path.strip_prefix(PREFIX);
    let inside = inside.filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let inside = inside.ok_or_else(|| malformed("the address is not below /dav/"))?;
    let decoded = percent_decode_str(inside).decode_utf8();
    let decoded = decoded.map_err(|_| Problem::new(Kind::InvalidPath, "the path is not UTF-8"))?;
    Ok(path::normalize(&decoded)?)
}

/// The path that a URL names. Scheme and host are not compared: a gateway that ends TLS, or serves
/// several names, makes them what we do not know.
///
/// # Errors
/// As [`path()`].
pub(super) fn of_url(url: &str) -> Result<String> {
    let url: Uri = url
        .trim()
        .parse()
        .map_err(|_| malformed("this is no address"))?;
    path(url.path())
}

/// The path in the field `Destination` (RFC 4918 section 10.3).
///
/// # Errors
/// As [`path()`], and when there is none.
pub(super) fn destination(headers: &HeaderMap) -> Result<String> {
    let url = headers.get("destination");
    let url = url.and_then(|url| std::str::from_utf8(url.as_bytes()).ok());
    let url = url.ok_or_else(|| malformed("Destination is missing"))?;
    of_url(url)
}

/// The address of an entry; that of a folder ends with a slash.
pub(super) fn href(path: &str, is_folder: bool) -> String {
    let slash = if is_folder && path != "/" { "/" } else { "" };
    format!("{PREFIX}{}{slash}", utf8_percent_encode(path, KEPT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_paths() {
        for (url, expected) in [
            ("/dav", "/"),
            ("/dav/", "/"),
            ("/dav/a/", "/a"),
            ("/dav//a%20b", "/a b"),
            ("http://other:1/dav/a?x", "/a"),
            ("https://h/dav/%C3%A9", "/\u{e9}"),
            ("/dav/a%2Fb", "/a/b"),
        ] {
            assert_eq!(of_url(url).unwrap(), expected, "{url}");
        }
        for (url, kind) in [
            ("/davs/a", Kind::MalformedRequest),
            ("/api/v1/content/a", Kind::MalformedRequest),
            ("http://h/", Kind::MalformedRequest),
            ("no address", Kind::MalformedRequest),
            ("/dav/a/../b", Kind::InvalidPath),
            ("/dav/%2e%2E/b", Kind::InvalidPath),
            ("/dav/a%00b", Kind::InvalidPath),
            ("/dav/a%0Ab", Kind::InvalidPath),
            ("/dav/%FF", Kind::InvalidPath),
        ] {
            assert_eq!(of_url(url).unwrap_err().kind(), kind, "{url}");
        }
    }

    #[test]
    fn paths_become_addresses() {
        for (path, is_folder, expected) in [
            ("/", true, "/dav/"),
            ("/a b", false, "/dav/a%20b"),
            ("/\u{e9}/#?%", true, "/dav/%C3%A9/%23%3F%25/"),
        ] {
            let href = href(path, is_folder);
            assert_eq!(href, expected);
            assert_eq!(of_url(&href).unwrap(), path);
        }
    }
}
