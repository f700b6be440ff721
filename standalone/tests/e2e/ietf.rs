//! The resumable uploads of the IETF, as clients of interop versions 3 to 8 speak it.

mod digests;
mod interim;
mod mixed;
mod rules;

use reqwest::{Method, RequestBuilder};
use uuid::Uuid;

use crate::support::{Answer, User, send};

/// Every interop version that is spoken.
const VERSIONS: std::ops::RangeInclusive<u8> = 3..=8;
const PROBLEMS: &str = "https://iana.org/assignments/http-problem-types#";

/// What a request says about the upload.
#[derive(Clone, Copy, Default)]
pub(crate) struct Said<'a> {
    complete: Option<bool>,
    offset: Option<usize>,
    length: Option<usize>,
    /// Further fields.
    fields: &'a [(&'a str, &'a str)],
}

impl Said<'_> {
    pub(crate) fn complete(complete: bool) -> Self {
        Self {
            complete: Some(complete),
            ..Self::default()
        }
    }

    pub(crate) fn at(self, offset: usize) -> Self {
        Self {
            offset: Some(offset),
            ..self
        }
    }

    fn of(self, length: usize) -> Self {
        Self {
            length: Some(length),
            ..self
        }
    }
}

/// The field for completeness, as the version has it.
fn completeness(version: u8, complete: bool) -> (&'static str, &'static str) {
    match (version, complete) {
        (3, true) => ("upload-incomplete", "?0"),
        (3, false) => ("upload-incomplete", "?1"),
        (_, true) => ("upload-complete", "?1"),
        (_, false) => ("upload-complete", "?0"),
    }
}

/// Does an answer say that the upload is complete?
#[track_caller]
fn is_complete(version: u8, answer: &Answer) -> bool {
    let (name, value) = completeness(version, true);
    let told = answer.header(name);
    assert!(["?0", "?1"].contains(&told), "{}: {told:?}", answer.what);
    told == value
}

impl User {
    fn ietf(&self, version: u8, method: Method, path: &str, said: Said<'_>) -> RequestBuilder {
        let is_append = method == Method::PATCH;
        let mut request = self.request(method, path);
        request = request.header("upload-draft-interop-version", version.to_string());
        if let Some(complete) = said.complete {
            let (name, value) = completeness(version, complete);
            request = request.header(name, value);
        }
        if let Some(offset) = said.offset {
            request = request.header("upload-offset", offset.to_string());
        }
        if let Some(length) = said.length {
            request = request.header("upload-length", length.to_string());
        }
        let told = said.fields.iter().any(|(name, _)| *name == "content-type");
        if is_append && version >= 6 && !told {
            request = request.header("content-type", "application/partial-upload");
        }
        for (name, value) in said.fields {
            request = request.header(*name, *value);
        }
        request
    }

    /// `POST /files/` with a name that nobody has.
    async fn ietf_create(&self, version: u8, said: Said<'_>, bytes: &[u8]) -> Answer {
        let name = format!("inline; filename=\"{}\"", Uuid::now_v7());
        let request = self.ietf(version, Method::POST, "/files/", said);
        let request = request.header("content-disposition", name);
        send(request.body(bytes.to_vec())).await
    }

    /// An upload with so much of its content; returns its path.
    pub(crate) async fn ietf_begin(
        &self,
        version: u8,
        length: Option<usize>,
        bytes: &[u8],
    ) -> String {
        let said = Said {
            length,
            ..Said::complete(false)
        };
        let answer = self.ietf_create(version, said, bytes).await.status(201);
        assert_eq!(answer.header("upload-offset"), bytes.len().to_string());
        assert!(!is_complete(version, &answer));
        self.ietf_location(&answer)
    }

    #[track_caller]
    fn ietf_location(&self, answer: &Answer) -> String {
        let location = answer.header("location");
        let path = location.strip_prefix(&self.api.base);
        let status = answer.status;
        path.unwrap_or_else(|| panic!("not an absolute address here: {location:?} of a {status}"))
            .to_owned()
    }

    pub(crate) async fn ietf_append(
        &self,
        version: u8,
        path: &str,
        said: Said<'_>,
        bytes: &[u8],
    ) -> Answer {
        let request = self.ietf(version, Method::PATCH, path, said);
        send(request.body(bytes.to_vec())).await
    }

    pub(crate) async fn ietf_head(&self, version: u8, path: &str) -> Answer {
        send(self.ietf(version, Method::HEAD, path, Said::default())).await
    }
}
