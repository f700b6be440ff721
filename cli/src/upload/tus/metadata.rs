//! `Upload-Metadata`: what the server is told of a file, in the words that clients and servers of
//! tus have agreed on.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use cloudstore_proto::path as remote_path;
use reqwest::header::HeaderValue;

use crate::error::{Error, Exit, Result};

/// The field for a file at `remote`, which is normalised: `filename` and `filetype` (tus-js-client,
/// Uppy, rclone), `relativePath` below the top (Uppy), `mtime` in Unix seconds (rclone).
pub(super) fn of(remote: &str, mtime_ms: Option<i64>) -> Result<HeaderValue> {
    let segments = remote_path::segments(remote).collect::<Vec<_>>();
    let name = segments.last().copied().unwrap_or_default();
    let mut pairs = vec![("filename", name.to_owned())];
    if let Some(kind) = mime_guess::from_path(name).first_raw() {
        pairs.push(("filetype", kind.to_owned()));
    }
    if segments.len() > 1 {
        pairs.push(("relativePath", segments.join("/")));
    }
    if let Some(mtime_ms) = mtime_ms {
        pairs.push(("mtime", mtime_ms.div_euclid(1_000).to_string()));
    }
    let pairs = pairs
        .into_iter()
        .map(|(key, value)| format!("{key} {}", BASE64.encode(value)));
    HeaderValue::from_str(&pairs.collect::<Vec<_>>().join(","))
        .map_err(|error| Error::new(Exit::Failed, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(remote: &str, mtime_ms: Option<i64>) -> Vec<(String, String)> {
        let field = of(remote, mtime_ms).unwrap();
        let pairs = field.to_str().unwrap().split(',').map(|pair| {
            let (key, value) = pair.split_once(' ').unwrap();
            let value = String::from_utf8(BASE64.decode(value).unwrap()).unwrap();
            (key.to_owned(), value)
        });
        pairs.collect()
    }

    #[test]
    fn names_types_and_paths() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            pairs("/grün, ✓.png", Some(-1)),
            [
                pair("filename", "grün, ✓.png"),
                pair("filetype", "image/png"),
                pair("mtime", "-1"),
            ]
        );
        assert_eq!(
            pairs("/a/b/no-type", None),
            [
                pair("filename", "no-type"),
                pair("relativePath", "a/b/no-type"),
            ]
        );
    }
}
