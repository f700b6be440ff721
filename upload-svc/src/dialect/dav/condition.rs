//! The field `If` (RFC 4918 section 10.4): states that must hold, and tokens of locks that the
//! client holds.

use axum::http::HeaderMap;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use bytes::Bytes;
use cloudstore_proto::{
    dav::Lock,
    file::{Entry, Locks, Precondition},
    lock::covers,
};
use cloudstore_service::{Kind, Problem};

use super::{
    super::malformed,
    href,
    refusal::Result,
    store::{Store, etag},
};

/// Of a token: it is a UUID.
const TOKEN_BYTES: usize = 16;
/// Lists in a field. Real clients send one or two.
const MAX_LISTS: usize = 64;

/// Tokens are URIs of any scheme (RFC 4918 section 6.5). Shorter than the UUID in its own form: there
/// are clients (litmus is one) that write a token and two of our entity tags into 200 bytes.
const SCHEME: &str = "cloudstore:";

/// The field of a request.
#[derive(Debug, Default, PartialEq)]
pub(super) struct If {
    lists: Vec<List>,
}

/// States that must all hold for the list to hold.
#[derive(Debug, PartialEq)]
struct List {
    /// The address whose states these are; else that of the request.
    resource: Option<String>,
    conditions: Vec<Condition>,
}

#[derive(Debug, PartialEq)]
struct Condition {
    not: bool,
    state: State,
}

#[derive(Debug, PartialEq)]
enum State {
    Token(String),
    Tag(String),
}

impl If {
    /// Reads the field; without one, nothing is demanded.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self> {
        let mut lines = headers.get_all("if").iter();
        let Some(line) = lines.next() else {
            return Ok(Self::default());
        };
        let text = line.to_str().ok().filter(|_| lines.next().is_none());
        let parsed = text.and_then(parse);
        Ok(parsed.ok_or_else(|| malformed("the field If is malformed"))?)
    }

    /// Is there no such field?
    pub(super) fn is_absent(&self) -> bool {
        self.lists.is_empty()
    }

    /// The tokens in it. Those that no lock of ours can have are left out.
    pub(super) fn tokens(&self) -> Vec<Bytes> {
        let conditions = self.lists.iter().flat_map(|list| &list.conditions);
        conditions
            .filter_map(|condition| match &condition.state {
                State::Token(token) => parse_token(token),
                State::Tag(_) => None,
            })
            .collect()
    }

    /// Demands that one of the lists holds, and gives what the change has to be made under.
    ///
    /// # Errors
    /// `PreconditionFailed`.
    pub(super) async fn require(&self, store: &Store, path: &str) -> Result<()> {
        if self.lists.is_empty() {
            return Ok(());
        }
        let locks = store.locks().await?;
        for list in &self.lists {
            let path = match &list.resource {
                None => Some(path.to_owned()),
                // States of what is not here do not hold.
                Some(url) => href::of_url(url).ok(),
            };
            if holds(store, &locks, path.as_deref(), &list.conditions).await? {
                return Ok(());
            }
        }
        let detail = "no list of the field If holds";
        Err(Problem::new(Kind::PreconditionFailed, detail).into())
    }
}

async fn holds(
    store: &Store,
    locks: &[Lock],
    path: Option<&str>,
    conditions: &[Condition],
) -> Result<bool> {
    for condition in conditions {
        let is_state = match (&condition.state, path) {
            (_, None) => false,
            (State::Token(token), Some(path)) => parse_token(token).is_some_and(|token| {
                let mut locks = locks.iter();
                locks.any(|lock| lock.token == token && covers(lock, path))
            }),
            (State::Tag(tag), Some(path)) => {
                let there = store.find(path).await?;
                there.as_ref().and_then(etag).as_ref() == Some(tag)
            }
        };
        if is_state == condition.not {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The token of a lock as its URI.
pub(super) fn token_uri(token: &[u8]) -> String {
    format!("{SCHEME}{}", BASE64.encode(token))
}

/// The reverse of [`token_uri`].
pub(super) fn parse_token(uri: &str) -> Option<Bytes> {
    let token = BASE64.decode(uri.strip_prefix(SCHEME)?).ok()?;
    (token.len() == TOKEN_BYTES).then(|| token.into())
}

/// `If-Match` and `If-None-Match`, and the tokens of locks: decided together with the change.
pub(super) fn precondition(conditions: Option<Precondition>, tokens: Vec<Bytes>) -> Precondition {
    Precondition {
        locks: Some(Locks { tokens }),
        ..conditions.unwrap_or_default()
    }
}

/// For the changes that have no such precondition of their own.
///
/// # Errors
/// `PreconditionFailed`.
pub(super) fn check(conditions: Option<&Precondition>, there: Option<&Entry>) -> Result<()> {
    let Some(conditions) = conditions else {
        return Ok(());
    };
    let blake3 = there.and_then(|there| Some(&there.blob.as_ref()?.blake3));
    let matches = |of: &cloudstore_proto::file::precondition::Match| {
        there.is_some() && (of.any || blake3.is_some_and(|blake3| of.blake3.contains(blake3)))
    };
    let refused = conditions.if_match.as_ref().is_some_and(|of| !matches(of))
        || conditions.if_none_match.as_ref().is_some_and(matches);
    if refused {
        let detail = "what is at this path does not meet If-Match or If-None-Match";
        return Err(Problem::new(Kind::PreconditionFailed, detail).into());
    }
    Ok(())
}

fn parse(text: &str) -> Option<If> {
    let mut rest = text.trim_start();
    let mut resource = None;
    let mut lists = Vec::new();
    while !rest.is_empty() {
        if let Some(tagged) = rest.strip_prefix('<') {
            let (url, after) = tagged.split_once('>')?;
            resource = Some(url.to_owned());
            rest = after.trim_start();
            // A tag without a list.
            if !rest.starts_with('(') {
                return None;
            }
            continue;
        }
        let (conditions, after) = parse_list(rest.strip_prefix('(')?)?;
        lists.push(List {
            resource: resource.clone(),
            conditions,
        });
        if lists.len() > MAX_LISTS {
            return None;
        }
        rest = after.trim_start();
    }
    (!lists.is_empty()).then_some(If { lists })
}

fn parse_list(text: &str) -> Option<(Vec<Condition>, &str)> {
    let mut rest = text.trim_start();
    let mut conditions = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix(')') {
            return (!conditions.is_empty()).then_some((conditions, after));
        }
        let not = rest
            .get(..3)
            .is_some_and(|not| not.eq_ignore_ascii_case("not"));
        if not {
            rest = rest[3..].trim_start();
        }
        let (state, after) = if let Some(token) = rest.strip_prefix('<') {
            let (token, after) = token.split_once('>')?;
            (State::Token(token.to_owned()), after)
        } else {
            let (tag, after) = rest.strip_prefix('[')?.split_once(']')?;
            (State::Tag(tag.trim().to_owned()), after)
        };
        conditions.push(Condition { not, state });
        rest = after.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(not: bool, token: &str) -> Condition {
        Condition {
            not,
            state: State::Token(token.to_owned()),
        }
    }

    fn tag(not: bool, tag: &str) -> Condition {
        Condition {
            not,
            state: State::Tag(tag.to_owned()),
        }
    }

    #[test]
    fn fields_are_read_as_the_rfc_has_them() {
        let list = |resource: Option<&str>, conditions| List {
            resource: resource.map(str::to_owned),
            conditions,
        };
        let found = parse("(<urn:a> [\"x\"]) (Not <DAV:no-lock>)").unwrap();
        let expected = [
            list(None, vec![token(false, "urn:a"), tag(false, "\"x\"")]),
            list(None, vec![token(true, "DAV:no-lock")]),
        ];
        assert_eq!(found.lists, expected);
        let found = parse("</a> (<urn:a>)([W/\"y\"]) <http://h/b>(not [\"z\"])").unwrap();
        let expected = [
            list(Some("/a"), vec![token(false, "urn:a")]),
            list(Some("/a"), vec![tag(false, "W/\"y\"")]),
            list(Some("http://h/b"), vec![tag(true, "\"z\"")]),
        ];
        assert_eq!(found.lists, expected);
        for broken in [
            "",
            "()",
            "(",
            "(<urn:a>",
            "<a>",
            "(urn:a)",
            "x",
            "<a> <b> (<c>)",
        ] {
            assert_eq!(parse(broken), None, "{broken:?}");
        }
        assert_eq!(parse(&"(<urn:a>)".repeat(MAX_LISTS + 1)), None);
    }

    #[test]
    fn tokens_round_trip() {
        let id = Bytes::from_static(&[7; 16]);
        assert_eq!(parse_token(&token_uri(&id)), Some(id.clone()), "{id:?}");
        assert!(token_uri(&id).len() <= 37, "what is left of 200 bytes");
        for other in [
            "DAV:no-lock",
            "cloudstore:",
            "cloudstore:AAAA",
            "urn:uuid:7",
        ] {
            assert_eq!(parse_token(other), None, "{other}");
        }
    }
}
