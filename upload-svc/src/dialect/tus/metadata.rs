//! `Upload-Metadata`: what the client says about the file.

use ::http::HeaderMap;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use cloudstore_proto::path::{self, InvalidPath};
use cloudstore_service::{Kind, Problem, Result};
use uuid::Uuid;

use super::{UPLOAD_METADATA, fields};
use crate::dialect::{malformed, media_type};

/// Longest media type that is believed.
const MAX_TYPE_BYTES: usize = 255;
/// What browsers make of a path that is not there.
const NO_PATH: [&[u8]; 3] = [b"", b"null", b"undefined"];

/// Pairs of a key and its decoded value.
#[derive(Debug, Default)]
pub(crate) struct Metadata(Vec<(String, Vec<u8>)>);

impl Metadata {
    /// What a request says, if anything.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self> {
        Self::parse(fields::single(headers, &UPLOAD_METADATA)?)
    }

    /// Comma separated pairs of a key and a base64 value, which may be missing. Keys are neither
    /// empty nor repeated (tus 1.0, extension creation).
    pub(super) fn parse(field: Option<&str>) -> Result<Self> {
        let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
        // Of an empty field there is nothing to understand.
        let field = field.filter(|field| !field.trim().is_empty());
        for pair in field.into_iter().flat_map(|field| field.split(',')) {
            let mut words = pair.split(' ').filter(|word| !word.is_empty());
            let (key, value, rest) = (words.next(), words.next(), words.next());
            let (Some(key), None) = (key, rest) else {
                return Err(malformed(
                    "Upload-Metadata is not a list of keys and values",
                ));
            };
            if pairs.iter().any(|(known, _)| known == key) {
                return Err(malformed("Upload-Metadata has a key twice"));
            }
            let value = BASE64.decode(value.unwrap_or_default());
            let value = value.map_err(|_| malformed("a value in Upload-Metadata is not base64"))?;
            pairs.push((key.to_owned(), value));
        }
        Ok(Self(pairs))
    }

    fn get(&self, key: &str) -> Option<&[u8]> {
        let pair = self.0.iter().find(|(known, _)| known == key);
        pair.map(|(_, value)| &value[..])
    }

    fn first(&self, keys: [&str; 2]) -> Option<&[u8]> {
        keys.into_iter().find_map(|key| self.get(key))
    }

    /// Path of the file to be, below the root folder: `relativePath`, else `filename` or `name`,
    /// else the upload's id.
    pub(crate) fn path(&self, id: Uuid) -> Result<String> {
        let there = |value: &&[u8]| !NO_PATH.contains(value);
        if let Some(relative) = self.get("relativePath").filter(there) {
            let relative = utf8(relative)?;
            if relative.starts_with('/') {
                return Err(Problem::new(
                    Kind::InvalidPath,
                    "relativePath begins at a root",
                ));
            }
            return Ok(path::normalize_new(relative)?);
        }
        let Some(name) = self.first(["filename", "name"]).filter(there) else {
            return Ok(format!("/{id}"));
        };
        let name = utf8(name)?;
        if name.contains('/') {
            return Err(Problem::new(
                Kind::InvalidPath,
                "the name has a '/'; a path goes into relativePath",
            ));
        }
        Ok(path::normalize_new(name)?)
    }

    /// What the client says the content is, or what the name of the file lets suppose.
    pub(super) fn media_type(&self, path: &str) -> String {
        let told = self.first(["filetype", "type"]);
        let told = told.and_then(|told| std::str::from_utf8(told).ok());
        let is_type = |told: &&str| {
            let printable = told.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            printable && told.contains('/') && told.len() <= MAX_TYPE_BYTES
        };
        told.filter(is_type)
            .map_or_else(|| media_type(path), str::to_owned)
    }
}

fn utf8(value: &[u8]) -> Result<&str> {
    if value.contains(&0) {
        return Err(InvalidPath::Control.into());
    }
    std::str::from_utf8(value).map_err(|_| Problem::new(Kind::InvalidPath, "the name is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(pairs: &[(&str, &str)]) -> String {
        let pairs = pairs
            .iter()
            .map(|(key, value)| format!("{key} {}", BASE64.encode(value)));
        pairs.collect::<Vec<_>>().join(",")
    }

    fn path(pairs: &[(&str, &str)]) -> Result<String> {
        Metadata::parse(Some(&encode(pairs)))?.path(Uuid::nil())
    }

    #[test]
    fn what_is_no_list_of_pairs_is_refused() {
        for wrong in [
            ",",
            "a,",
            "a b",
            "a YQ== x",
            "a YQ,b",
            "a YQ==,a Yg==",
            "a YQ==,a",
            "a ****",
            "a,,b",
        ] {
            let refused = Metadata::parse(Some(wrong)).unwrap_err();
            assert_eq!(refused.kind(), Kind::MalformedRequest, "{wrong:?}");
        }
        for fine in [
            "",
            "a",
            "a ",
            "a,b",
            "a YQ==, b Yg==",
            "is_secret,name YQ==",
        ] {
            Metadata::parse(Some(fine)).unwrap();
        }
    }

    #[test]
    fn the_path_comes_from_the_most_exact_name() {
        let id = "/00000000-0000-0000-0000-000000000000";
        for (pairs, expected) in [
            (&[("filename", "ä b.txt")][..], "/ä b.txt"),
            (&[("name", "n"), ("filename", "f")], "/f"),
            (&[("name", "n"), ("relativePath", "a/b/c")], "/a/b/c"),
            (&[("name", "n"), ("relativePath", "null")], "/n"),
            (&[("name", "")], id),
            (&[("other", "x")], id),
        ] {
            assert_eq!(path(pairs).unwrap(), expected, "{pairs:?}");
        }
        let long = "x".repeat(256);
        for hostile in [
            "..",
            ".",
            "../a",
            "a/../b",
            "/etc/passwd",
            "a\0b",
            "a\nb",
            "a/\u{7f}",
            &long,
        ] {
            for key in ["relativePath", "filename", "name"] {
                let refused = path(&[(key, hostile)]).unwrap_err();
                assert_eq!(refused.kind(), Kind::InvalidPath, "{key} {hostile:?}");
            }
        }
        let latin1 = format!("filename {}", BASE64.encode([0xe4]));
        let refused = Metadata::parse(Some(&latin1)).unwrap().path(Uuid::nil());
        assert_eq!(refused.unwrap_err().kind(), Kind::InvalidPath);
    }

    #[test]
    fn media_types() {
        let told = |value: &str| {
            let metadata = Metadata::parse(Some(&encode(&[("filetype", value)]))).unwrap();
            metadata.media_type("/a.png")
        };
        assert_eq!(told("text/x-own"), "text/x-own");
        for useless in ["", "text", "text/\r\nx: y", &"a/".repeat(200)] {
            assert_eq!(told(useless), "image/png", "{useless:?}");
        }
    }
}
