//! The rules of the protocol, row by row, each with where it is written.

mod core;
mod creation;
mod extensions;

use reqwest::Method;

use super::{BYTES, metadata};
use crate::support::{Answer, TestStack, User, send};

/// What a row is asked of. Each row gets its own.
#[derive(Clone, Copy)]
enum Target {
    /// `/files/`
    Collection,
    /// 10 bytes of which 4 are there.
    Begun,
    /// Its length is not told, 4 bytes are there.
    Deferred,
    /// A partial upload of 10 bytes of which 4 are there.
    Partial,
    /// Made of one part that is not complete.
    Waiting,
    /// Made of one part of 10 bytes.
    Final,
    /// 10 bytes, and a file.
    Done,
    /// Terminated.
    Gone,
    /// Terminated when it was a file.
    GoneFile,
    /// Never was.
    Unknown,
    /// Somebody else's.
    Foreign,
}

impl Target {
    async fn path(self, user: &User, other: &User) -> String {
        let created = async |fields: &[(&str, &str)]| user.tus_create(fields).await;
        let sent = async |path: String, bytes: &[u8]| {
            user.tus_patch(&path, 0, bytes).await.status(204);
            path
        };
        match self {
            Self::Collection => "/files/".to_owned(),
            Self::Begun => sent(user.tus_begin("begun", 10).await, b"0123").await,
            Self::Deferred => sent(created(&[("upload-defer-length", "1")]).await, b"0123").await,
            Self::Partial => sent(created(&PARTIAL).await, b"0123").await,
            Self::Waiting => {
                let part = created(&PARTIAL).await;
                created(&[("upload-concat", &format!("final;{part}"))]).await
            }
            Self::Final => {
                let part = sent(created(&PARTIAL).await, b"0123456789").await;
                created(&[("upload-concat", &format!("final;{part}"))]).await
            }
            Self::Done => sent(user.tus_begin("done", 10).await, b"0123456789").await,
            Self::Gone | Self::GoneFile => {
                let path = match self {
                    Self::Gone => user.tus_begin("gone", 10).await,
                    _ => sent(user.tus_begin("gone", 10).await, b"0123456789").await,
                };
                send(user.tus(Method::DELETE, &path)).await.status(204);
                path
            }
            Self::Unknown => format!("/files/{}", uuid::Uuid::now_v7()),
            Self::Foreign => other.tus_begin("foreign", 10).await,
        }
    }
}

const PARTIAL: [(&str, &str); 2] = [("upload-concat", "partial"), ("upload-length", "10")];

/// What an answer has, besides its status.
enum Has {
    /// A field with this value.
    Is(&'static str, &'static str),
    /// A field with any value.
    Any(&'static str),
    /// No such field.
    No(&'static str),
}

struct Row {
    /// The rule, and the section of the specification ("ours": a choice that it leaves open).
    rule: (&'static str, &'static str),
    method: Method,
    target: Target,
    /// `None`: `1.0.0`, `Some("")`: no version at all.
    version: Option<&'static str>,
    fields: Vec<(&'static str, String)>,
    body: &'static [u8],
    status: u16,
    has: Vec<Has>,
}

fn row(
    rule: (&'static str, &'static str),
    method: Method,
    target: Target,
    fields: &[(&'static str, &str)],
    body: &'static [u8],
    status: u16,
    has: Vec<Has>,
) -> Row {
    let fields = fields
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    Row {
        rule,
        method,
        target,
        version: None,
        fields: fields.collect(),
        body,
        status,
        has,
    }
}

const TYPE: (&str, &str) = ("content-type", BYTES);
const FOUR: (&str, &str) = ("upload-offset", "4");
const TEN: (&str, &str) = ("upload-length", "10");

fn check(row: &Row, answer: &Answer) -> Result<(), String> {
    if answer.status != row.status {
        return Err(format!(
            "{} instead of {}: {}",
            answer.status,
            row.status,
            answer.text()
        ));
    }
    for has in &row.has {
        let (name, fine) = match has {
            Has::Is(name, value) => (name, answer.header(name) == *value),
            Has::Any(name) => (name, !answer.header(name).is_empty()),
            Has::No(name) => (name, !answer.headers.contains_key(*name)),
        };
        if !fine {
            return Err(format!("{name}: {:?}", answer.header(name)));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_is_kept() {
    let stack = TestStack::start().await;
    let (user, other) = (stack.user().await, stack.user().await);
    let mut failures = Vec::new();
    for row in core::rows()
        .into_iter()
        .chain(creation::rows())
        .chain(extensions::rows())
    {
        let path = row.target.path(&user, &other).await;
        // What files use shrinks by and by after some have gone.
        let (_, reserved) = user.usage().await;
        let mut request = match row.version {
            None => user.tus(row.method.clone(), &path),
            Some("") => user.request(row.method.clone(), &path),
            Some(version) => user
                .request(row.method.clone(), &path)
                .header("tus-resumable", version),
        };
        for (name, value) in &row.fields {
            request = request.header(*name, value);
        }
        if !row.body.is_empty() {
            request = request.body(row.body);
        }
        let answer = send(request).await;
        let mut outcome = check(&row, &answer);
        // Nothing of what is refused stays: no reservation, no byte.
        if outcome.is_ok() && row.status >= 400 {
            if matches!(row.target, Target::Begun) && user.tus_offset(&path).await != 4 {
                outcome = Err("something was written".to_owned());
            }
            let (_, now) = user.usage().await;
            if now != reserved {
                outcome = Err(format!("{reserved} bytes reserved became {now}"));
            }
        }
        if let Err(failure) = outcome {
            let (rule, source) = row.rule;
            let fields = &row.fields;
            failures.push(format!(
                "{rule} ({source}): {} {fields:?}: {failure}",
                row.method
            ));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_uploads_without_a_login() {
    let (stack, user) = TestStack::with_user().await;
    let path = user.tus_begin("mine", 10).await;
    for (method, path) in [
        (Method::POST, "/files/"),
        (Method::HEAD, &*path),
        (Method::PATCH, &path),
        (Method::DELETE, &path),
        (Method::GET, &path),
    ] {
        let request = stack.api().request(method, path);
        let request = request.header("tus-resumable", "1.0.0");
        let request = request
            .header("content-type", BYTES)
            .header("upload-offset", "0");
        send(request.header("upload-length", "1")).await.status(401);
    }
    let options = stack.api().request(Method::OPTIONS, "/files/");
    send(options).await.status(204);
}
