//! tus 1.0 at `/files/`, as its clients speak it.

mod checksum;
mod concat;
mod conformance;
mod core;
mod drop_box;
mod lifetime;
mod links;
mod mixed;

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use reqwest::{Method, RequestBuilder};

use crate::support::{Answer, User, send};

const BYTES: &str = "application/offset+octet-stream";

/// The value of `Upload-Metadata`.
fn metadata(pairs: &[(&str, &str)]) -> String {
    let mut field = String::new();
    for (key, value) in pairs {
        let comma = if field.is_empty() { "" } else { "," };
        write!(field, "{comma}{key} {}", BASE64.encode(value)).unwrap();
    }
    field
}

impl User {
    /// A request of the protocol's version.
    fn tus(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path).header("tus-resumable", "1.0.0")
    }

    /// Creates an upload; returns its path, after a look at the address that was answered.
    async fn tus_create(&self, fields: &[(&str, &str)]) -> String {
        let mut request = self.tus(Method::POST, "/files/");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        self.tus_created(&send(request).await.status(201))
    }

    /// The path of an upload that was created.
    #[track_caller]
    pub(crate) fn tus_created(&self, answer: &Answer) -> String {
        assert_eq!(answer.header("tus-resumable"), "1.0.0");
        let location = answer.header("location");
        let path = location.strip_prefix(&self.api.base);
        let path = path.unwrap_or_else(|| panic!("not an absolute address here: {location:?}"));
        assert!(path.starts_with("/files/"), "{path}");
        path.to_owned()
    }

    /// An upload of a named file of this length.
    pub(crate) async fn tus_begin(&self, name: &str, len: usize) -> String {
        let metadata = metadata(&[("filename", name)]);
        let len = len.to_string();
        self.tus_create(&[("upload-length", &len), ("upload-metadata", &metadata)])
            .await
    }

    async fn tus_head(&self, path: &str) -> Answer {
        send(self.tus(Method::HEAD, path)).await
    }

    pub(crate) async fn tus_offset(&self, path: &str) -> usize {
        let answer = self.tus_head(path).await.status(200);
        answer.header("upload-offset").parse().unwrap()
    }

    fn tus_bytes(&self, path: &str, at: usize, bytes: &[u8]) -> RequestBuilder {
        self.tus(Method::PATCH, path)
            .header("content-type", BYTES)
            .header("upload-offset", at.to_string())
            .body(bytes.to_vec())
    }

    pub(crate) async fn tus_patch(&self, path: &str, at: usize, bytes: &[u8]) -> Answer {
        send(self.tus_bytes(path, at, bytes)).await
    }

    /// Sends everything from the offset on.
    pub(crate) async fn tus_finish(&self, path: &str, content: &[u8]) {
        let at = self.tus_offset(path).await;
        let answer = self.tus_patch(path, at, &content[at..]).await.status(204);
        assert_eq!(answer.header("upload-offset"), content.len().to_string());
    }
}
