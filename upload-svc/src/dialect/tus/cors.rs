//! Which web pages may upload: those whose origin was configured, compared exactly.

use ::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use std::sync::Arc;

/// What pages may read of answers, beyond the few fields that everybody may.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Location,Tus-Resumable,Tus-Version,Tus-Extension,Tus-Max-Size,Tus-Checksum-Algorithm,\
     Upload-Offset,Upload-Length,Upload-Defer-Length,Upload-Metadata,Upload-Concat,Upload-Expires,\
     Upload-Complete,Upload-Incomplete,Upload-Limit,\
     X-Request-ID,Cloudstore-Position",
);
/// What pages may send.
const ACCEPTED: HeaderValue = HeaderValue::from_static(
    "Authorization,Content-Type,Origin,X-Requested-With,X-Request-ID,X-HTTP-Method-Override,\
     Tus-Resumable,Upload-Offset,Upload-Length,Upload-Defer-Length,Upload-Metadata,Upload-Concat,\
     Upload-Checksum,Upload-Complete,Upload-Incomplete,Upload-Draft-Interop-Version,\
     Content-Disposition,Content-Digest,Repr-Digest,Cloudstore-Position,\
     Cloudstore-Share-Ticket",
);
const METHODS: HeaderValue = HeaderValue::from_static("POST,HEAD,PATCH,DELETE,GET,OPTIONS");
/// How long a browser may remember these answers, in seconds: a day, which is what none exceeds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");

/// The origins that were configured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(Arc<Vec<HeaderValue>>);

impl Origins {
    pub(crate) fn new(origins: &[String]) -> Self {
        let origins = origins.iter().map(|origin| origin.trim_end_matches('/'));
        let origins = origins.filter_map(|origin| HeaderValue::from_str(origin).ok());
        Self(Arc::new(origins.collect()))
    }

    /// The origin of a request, if it may be here.
    pub(super) fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        self.0.contains(origin).then(|| origin.clone())
    }

    /// Lets the page read the answer, which is also one to a browser's question whether it may send
    /// the request at all.
    pub(super) fn expose(&self, response: &mut Response, allowed: Option<HeaderValue>) {
        let headers = response.headers_mut();
        if !self.0.is_empty() {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        if let Some(origin) = allowed {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ACCEPTED);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        }
    }
}
