//! How the length of a request's body is told, and what must not be believed about it.

use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};

/// How the length of a request's body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Not at all, by Content-Length, or by HTTP/2.
    Plain,
    /// By the chunked coding.
    Chunked,
    /// In two ways at once, which is how requests are smuggled past gateways.
    Ambiguous,
}

impl Framing {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let chunked = headers.contains_key(header::TRANSFER_ENCODING);
        match (chunked, headers.contains_key(header::CONTENT_LENGTH)) {
            (false, _) => Self::Plain,
            (true, false) => Self::Chunked,
            (true, true) => Self::Ambiguous,
        }
    }

    /// hyper goes by the chunked coding when both are there, and hides a Content-Length that comes
    /// second. So every connection ends after a chunked body (RFC 9112 section 6.1): whatever
    /// somebody else took for the end of it, nothing behind it becomes a request.
    pub(super) fn conclude(self, mut response: Response) -> Response {
        if self != Self::Plain {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lengths_are_ambiguous() {
        let framing = |names: &[header::HeaderName]| {
            let value = HeaderValue::from_static("x");
            Framing::of(&names.iter().cloned().map(|name| (name, value.clone())).collect())
        };
        assert_eq!(framing(&[]), Framing::Plain);
        assert_eq!(framing(&[header::CONTENT_LENGTH]), Framing::Plain);
        assert_eq!(framing(&[header::TRANSFER_ENCODING]), Framing::Chunked);
        let both = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
        assert_eq!(framing(&both), Framing::Ambiguous);
    }
}
