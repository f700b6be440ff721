//! What a server says of itself when it is asked by OPTIONS.

use reqwest::header::HeaderMap;

use super::call::{
    TUS_CHECKSUM_ALGORITHM, TUS_EXTENSION, TUS_MAX_SIZE, TUS_RESUMABLE, TUS_VERSION,
};
use crate::{
    error::{Error, Exit, Result},
    output::human_bytes,
};

/// The version that is spoken here.
const VERSION: &str = "1.0.0";
/// The algorithm that every server with the extension `checksum` has to know.
const ALGORITHM: &str = "sha1";

/// What a server can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// Nothing longer is taken.
    pub(super) max_size: Option<u64>,
    /// Bytes may come with the creation.
    pub(super) with_upload: bool,
    /// The length may be told later.
    pub(super) defer_length: bool,
    /// Checks a SHA-1 of each request.
    pub(super) checksum: bool,
    /// Uploads can be removed.
    pub(super) termination: bool,
}

impl Server {
    /// One that does not say. Creation can be tried; nothing else is relied on.
    pub(super) fn silent() -> Self {
        Self {
            max_size: None,
            with_upload: false,
            defer_length: false,
            checksum: false,
            termination: false,
        }
    }

    /// Takes the answer to OPTIONS.
    ///
    /// # Errors
    /// When the server does not speak this version, or does not let clients create uploads.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self> {
        let versions = list(headers, &TUS_VERSION);
        if versions.is_empty() && !list(headers, &TUS_RESUMABLE).contains(&VERSION) {
            // Something else answered, such as a gateway to browsers.
            return Ok(Self::silent());
        }
        if !versions.is_empty() && !versions.contains(&VERSION) {
            let why = format!("the server speaks tus {}", versions.join(", "));
            return Err(Error::new(Exit::Failed, why)
                .advise("this client speaks tus 1.0.0 only: ask for a server that does"));
        }
        let extensions = list(headers, &TUS_EXTENSION);
        let has = |name| extensions.contains(&name);
        if !has("creation") {
            let why = "the server does not let clients create uploads \
                       (it lacks the tus extension `creation`)";
            return Err(Error::new(Exit::Failed, why)
                .advise("ask its operator to turn it on, or use another server"));
        }
        let algorithms = list(headers, &TUS_CHECKSUM_ALGORITHM);
        Ok(Self {
            // Some say 0 for no limit. A server that takes nothing is none.
            max_size: super::call::number(headers, &TUS_MAX_SIZE).filter(|max| *max > 0),
            with_upload: has("creation-with-upload"),
            defer_length: has("creation-defer-length"),
            checksum: has("checksum") && (algorithms.is_empty() || algorithms.contains(&ALGORITHM)),
            termination: has("termination"),
        })
    }

    /// Refuses what the server would refuse, before anything is sent.
    pub(super) fn check_size(&self, size: u64) -> Result<()> {
        match self.max_size {
            Some(max) if size > max => {
                let why = format!(
                    "it has {}, and the server takes {} at most",
                    human_bytes(size),
                    human_bytes(max)
                );
                Err(Error::new(Exit::Failed, why)
                    .advise("ask the server's operator for a higher limit (Tus-Max-Size)"))
            }
            _ => Ok(()),
        }
    }
}

/// The words of a list, which may come in several fields.
fn list<'a>(headers: &'a HeaderMap, name: &reqwest::header::HeaderName) -> Vec<&'a str> {
    let fields = headers.get_all(name).iter();
    fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','))
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_static(name);
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_is_announced_counts_and_nothing_else() {
        let server = Server::read(&headers(&[
            ("tus-version", "1.0.0,0.2.2"),
            ("tus-extension", "creation, checksum"),
            ("tus-extension", "termination"),
            ("tus-checksum-algorithm", "md5,sha1"),
            ("tus-max-size", "100"),
        ]));
        let server = server.unwrap();
        assert!(server.checksum && server.termination);
        assert!(!server.with_upload && !server.defer_length);
        server.check_size(100).unwrap();
        assert!(server.check_size(101).is_err());

        let other = [
            ("tus-resumable", "1.0.0"),
            ("tus-extension", "creation,checksum,creation-with-upload"),
            ("tus-checksum-algorithm", "crc32"),
            ("tus-max-size", "0"),
        ];
        let server = Server::read(&headers(&other)).unwrap();
        assert!(server.with_upload && !server.checksum);
        assert_eq!(server.max_size, None, "0 is no limit");
    }

    #[test]
    fn servers_that_cannot_be_used_and_those_that_do_not_say() {
        assert_eq!(Server::read(&HeaderMap::new()).unwrap(), Server::silent());
        for wrong in [
            &[("tus-version", "0.2.2"), ("tus-extension", "creation")][..],
            &[("tus-version", "1.0.0")],
            &[
                ("tus-version", "1.0.0"),
                ("tus-extension", "creation-with-upload"),
            ],
        ] {
            let error = Server::read(&headers(wrong)).unwrap_err();
            assert_eq!(error.exit(), Exit::Failed, "{wrong:?}");
        }
    }
}
