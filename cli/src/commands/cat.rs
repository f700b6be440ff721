//! `cloudstore cat`

use cloudstore_content::tree::TreeHasher;
use reqwest::{
    Response, StatusCode,
    header::{CONTENT_RANGE, ETAG},
};

use super::{Context, remote};
use crate::{
    args::CatArgs,
    client::{Client, wire::Trouble, within},
    error::{Error, Exit, Result},
};

/// Writes while reading; a whole file is verified at its end, when it is too late to hold it back,
/// so the exit code tells.
pub(super) async fn run(context: &Context, args: &CatArgs) -> Result<()> {
    let path = remote(&args.path)?;
    let what = || format!("cannot read {path}");
    if path == "/" {
        return Err(Error::new(Exit::Failed, "it is a folder").during(what()));
    }
    let client = context.connect()?;
    let range = args.range.as_deref();
    let written = write(context, &client, &path, range).await;
    let (root, expected) = written.map_err(|error| error.during(what()))?;
    if range.is_some() || expected.is_none_or(|expected| expected == root) {
        return Ok(());
    }
    let why = "what arrived does not have the digest of the file";
    Err(Error::new(Exit::Checksum, why)
        .during(what())
        .advise("discard it and try again"))
}

/// Writes the content, each byte once, whatever becomes of the connections; returns the root of
/// what was written and, if the server tells it, the root of the file.
async fn write(
    context: &Context,
    client: &Client,
    path: &str,
    range: Option<&str>,
) -> Result<(String, Option<String>)> {
    let mut response = client.content(path, range, None).await?;
    let mut place = Place::of(&response, range.is_some()).map_err(|why| client.error(why))?;
    let mut hasher = TreeHasher::new();
    let mut backoff = client.backoff();
    loop {
        let trouble = match within(response.chunk()).await {
            Ok(Some(frame)) => {
                place.take(frame.len()).map_err(|why| client.error(why))?;
                context.out.write(&frame)?;
                hasher.update(&frame);
                backoff.reset();
                continue;
            }
            Ok(None) if place.is_complete() => break,
            Ok(None) => Trouble::Broken {
                why: "the content ended early".into(),
                sent: true,
            },
            Err(trouble) => trouble,
        };
        // All bytes are here; only the end of the answer was not.
        if place.is_at_end() {
            break;
        }
        let rest = place
            .rest()
            .filter(|_| matches!(trouble, Trouble::Broken { .. }));
        let again = rest.and_then(|rest| Some((rest, backoff.next(None)?)));
        let Some((rest, wait)) = again else {
            return Err(client.error(trouble));
        };
        context
            .out
            .detail(format_args!("going on with {path} at byte {}", place.at));
        tokio::time::sleep(wait).await;
        response = go_on(client, path, &place, &rest).await?;
    }
    Ok((hex::encode(hasher.finish().root()), place.root))
}

/// Asks for the rest, of the same content only.
async fn go_on(client: &Client, path: &str, place: &Place, rest: &str) -> Result<Response> {
    let opened = client.content(path, Some(rest), place.root.as_deref());
    let response = opened.await.map_err(|error| match error.slug() {
        Some("precondition-failed") => {
            Error::new(Exit::Failed, "the file changed on the server meanwhile")
                .advise("discard what was written and try again")
        }
        _ => error,
    })?;
    let again = Place::of(&response, true).map_err(|why| client.error(why))?;
    if again.at == place.at && again.end == place.end {
        return Ok(response);
    }
    let why = format!("it sent another range than {rest}");
    Err(client.error(Trouble::Garbled(why)))
}

/// How far the content has been written.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// The next byte of the file.
    at: u64,
    /// Behind the last byte, if the server tells it.
    end: Option<u64>,
    /// BLAKE3 root of the file, from its entity tag.
    root: Option<String>,
}

impl Place {
    /// From the head of the first answer.
    fn of(response: &Response, ranged: bool) -> Result<Self, Trouble> {
        let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
        let root = header(ETAG).map(|etag| etag.trim_matches('"').to_owned());
        let (at, end) = match response.status() {
            StatusCode::OK if !ranged => (0, response.content_length()),
            StatusCode::PARTIAL_CONTENT if ranged => {
                let range = header(CONTENT_RANGE).and_then(content_range);
                let (at, end) = range.ok_or_else(|| {
                    Trouble::Garbled("it does not say which range it sends".to_owned())
                })?;
                (at, Some(end))
            }
            status => {
                let why = format!("it answered {status} to a request for content");
                return Err(Trouble::Garbled(why));
            }
        };
        Ok(Self { at, end, root })
    }

    /// Bytes are about to be written.
    fn take(&mut self, bytes: usize) -> Result<(), Trouble> {
        self.at = self.at.saturating_add(bytes as u64);
        if self.end.is_some_and(|end| self.at > end) {
            let why = "it sent more content than it announced".to_owned();
            return Err(Trouble::Garbled(why));
        }
        Ok(())
    }

    fn is_at_end(&self) -> bool {
        self.end == Some(self.at)
    }

    /// The answer may end here.
    fn is_complete(&self) -> bool {
        self.end.is_none_or(|end| end == self.at)
    }

    /// The range that is still to come, if it can be asked for of the same content.
    fn rest(&self) -> Option<String> {
        let end = self.end.filter(|&end| self.at < end)?;
        self.root.as_ref()?;
        Some(format!("{}-{}", self.at, end - 1))
    }
}

/// `bytes 5-9/20`: the first byte and the one behind the last.
fn content_range(value: &str) -> Option<(u64, u64)> {
    let (range, _) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
    (first <= last).then_some((first, last.checked_add(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(content_range("bytes 5-9/20"), Some((5, 10)));
        assert_eq!(content_range("bytes 0-0/*"), Some((0, 1)));
        for wrong in ["bytes */20", "bytes 9-5/20", "items 0-1/2", "bytes 0-1", ""] {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
        assert_eq!(content_range(&format!("bytes 0-{}/*", u64::MAX)), None);
    }

    #[test]
    fn no_more_is_written_than_was_announced() {
        let mut place = Place {
            at: 3,
            end: Some(5),
            root: Some("r".into()),
        };
        place.take(1).unwrap();
        assert_eq!(place.rest().as_deref(), Some("4-4"));
        assert!(!place.is_complete());
        place.take(1).unwrap();
        assert!(place.is_complete() && place.rest().is_none());
        assert!(place.take(1).is_err());
    }
}
