//! Bodies of answers: bounded in length and in time, whatever the server sends.

use std::time::{Duration, SystemTime};

use cloudstore_proto::http::Problem;
use reqwest::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
};
use serde::de::DeserializeOwned;

use super::{
    retry,
    wire::{PATIENCE, Trouble, innermost, stalled},
};
use crate::{error::Result, output::human_bytes};

/// The longest JSON document that is read into memory. Beyond the longest there is: a page of
/// 1,000 entries whose paths have 4 KiB, and the answer to a batch of as many.
const MAX_ANSWER_BYTES: usize = 32 << 20;
/// Values of a JSON document: each takes up to 72 bytes of memory, also when it has 2 on the wire.
/// A page of 1,000 entries has 15,000.
const MAX_VALUES: usize = 1 << 20;
/// The longest refusal; its extensions take many times as much memory as on the wire.
const MAX_PROBLEM_BYTES: usize = 1 << 20;
/// A refusal in plain text is shown if it is a sentence, not if it is a page.
const MAX_TEXT_BYTES: usize = 300;
/// A document that takes longer never ends.
const ANSWER_PATIENCE: Duration = Duration::from_secs(300);

/// Waits for a piece of an answer's body, but not for ever.
pub(crate) async fn within<T>(
    step: impl Future<Output = reqwest::Result<T>>,
) -> Result<T, Trouble> {
    match tokio::time::timeout(PATIENCE, step).await {
        Ok(result) => Ok(result.map_err(|error| Trouble::Broken {
            why: innermost(&error),
            sent: true,
        })?),
        Err(_) => Err(stalled(PATIENCE)),
    }
}

/// A body in memory: at most `limit` bytes of it, in [`ANSWER_PATIENCE`].
async fn whole(mut response: Response, limit: usize) -> Result<Vec<u8>, Trouble> {
    let read = async {
        let mut body = Vec::new();
        while let Some(frame) = within(response.chunk()).await? {
            if body.len() + frame.len() > limit {
                let limit = human_bytes(limit as u64);
                return Err(Trouble::Garbled(format!("it is longer than {limit}")));
            }
            body.extend_from_slice(&frame);
        }
        Ok(body)
    };
    match tokio::time::timeout(ANSWER_PATIENCE, read).await {
        Ok(read) => read,
        Err(_) => Err(Trouble::Broken {
            why: format!("it did not end within {} s", ANSWER_PATIENCE.as_secs()),
            sent: true,
        }),
    }
}

/// How the body of a good answer is taken.
pub(crate) trait Answer: Sized + Send {
    /// Reads it, or not.
    fn read(response: Response) -> impl Future<Output = Result<Self, Trouble>> + Send;
}

/// A JSON document.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> Answer for Json<T> {
    async fn read(response: Response) -> Result<Self, Trouble> {
        let body = whole(response, MAX_ANSWER_BYTES).await?;
        if values(&body) > MAX_VALUES {
            let why = format!("it has more than {MAX_VALUES} values");
            return Err(Trouble::Garbled(why));
        }
        serde_json::from_slice(&body)
            .map(Self)
            .map_err(|error| Trouble::Garbled(error.to_string()))
    }
}

/// Values of a JSON document, or a few more: what follows a comma, a colon or a bracket.
fn values(document: &[u8]) -> usize {
    let (mut count, mut quoted, mut escaped) = (1, false, false);
    for &byte in document {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' | b':' | b'[' | b'{' if !quoted => count += 1,
            _ => {}
        }
    }
    count
}

/// An answer that says nothing; read to its end, so that its connection can be used again.
impl Answer for () {
    async fn read(response: Response) -> Result<Self, Trouble> {
        whole(response, MAX_ANSWER_BYTES).await.map(drop)
    }
}

/// An answer that says everything in its head; read to its end like one that says nothing.
impl Answer for HeaderMap {
    async fn read(mut response: Response) -> Result<Self, Trouble> {
        let headers = std::mem::take(response.headers_mut());
        whole(response, MAX_ANSWER_BYTES).await.map(|_| headers)
    }
}

/// Read by whoever asked.
impl Answer for Response {
    async fn read(response: Response) -> Result<Self, Trouble> {
        Ok(response)
    }
}

/// A refusal as a problem, also if something between us and the server wrote it.
pub(super) async fn refusal(response: Response) -> Trouble {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| retry::retry_after(value, SystemTime::now()));
    let content_type = response.headers().get(CONTENT_TYPE);
    let is_text = content_type.is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let body = match whole(response, MAX_PROBLEM_BYTES).await {
        Ok(body) => body,
        Err(trouble) => return trouble,
    };
    let text = str::from_utf8(&body).ok().filter(|_| is_text);
    let problem = serde_json::from_slice(&body).unwrap_or_else(|_| plain_problem(status, text));
    Trouble::Problem {
        problem: Box::new(problem),
        retry_after,
    }
}

/// Of a server or gateway that does not speak of problems; `text` is what it says instead.
fn plain_problem(status: StatusCode, text: Option<&str>) -> Problem {
    let title = format!("the server answered with status {status}");
    let text = text
        .map(str::trim)
        .filter(|text| (1..=MAX_TEXT_BYTES).contains(&text.len()));
    Problem {
        kind: "about:blank".to_owned(),
        status: status.as_u16(),
        detail: text
            .map(|text| format!("{title}: {text}"))
            .unwrap_or_default(),
        title,
        request_id: String::new(),
        extensions: serde_json::Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_outside_of_strings_only() {
        assert_eq!(values(b"null"), 1);
        assert_eq!(values(br#"{"a":"x,[{:","b":[1,2]}"#), 7);
        assert_eq!(values(br#"["\\",",\",,,"]"#), 3);
    }
}
