//! What can go wrong on the command line: one sentence that says what failed, why and what to do
//! next, and the exit code that scripts look at.

use std::{fmt, io, path::Path};

use cloudstore_proto::http::Problem;

/// Exit codes besides 0, as documented in `cloudstore --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Something was refused or failed; with several files, at least one did.
    Failed = 1,
    /// The command line itself makes no sense.
    Usage = 2,
    /// A local or remote path does not exist.
    NotFound = 3,
    /// Log in (again).
    AuthRequired = 4,
    /// Content is not what its digest says.
    Checksum = 5,
    /// No connection, or the server is overloaded: the same command may work later.
    Network = 6,
    /// Ctrl-C or SIGTERM.
    Interrupted = 130,
}

/// The result of everything in this crate that can fail.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// An error on its way to the user. Boxed, because it travels through every signature.
#[derive(Debug)]
pub(crate) struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    exit: Exit,
    what: Option<String>,
    why: String,
    next: Option<String>,
    slug: Option<String>,
    problem: Option<Problem>,
    silent: bool,
    hopeless: bool,
}

impl Error {
    /// `why` is a lower-case clause without a full stop.
    pub(crate) fn new(exit: Exit, why: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            exit,
            what: None,
            why: why.into(),
            next: None,
            slug: None,
            problem: None,
            silent: false,
            hopeless: false,
        }))
    }

    /// A command line that makes no sense.
    pub(crate) fn usage(why: impl Into<String>) -> Self {
        Self::new(Exit::Usage, why)
    }

    /// A failure of the local file system.
    pub(crate) fn io(error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }

    /// A failure of the local file system at `path`.
    pub(crate) fn at(error: &io::Error, path: &Path) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                Self::io(error).advise(format!("check the permissions of {}", path.display()))
            }
            _ => Self::io(error),
        }
    }

    /// A failure in a directory of our own, which the user never named: whatever went wrong there,
    /// it is not that something was not found.
    pub(crate) fn own_dir(error: &io::Error, dir: &Path, variable: &str) -> Self {
        Self::new(Exit::Failed, error.to_string()).advise(format!(
            "make {} a folder that you can write to, or set {variable} to another place",
            dir.display()
        ))
    }

    /// Whoever read our stdout has gone; that ends the command without a word.
    pub(crate) fn reader_gone() -> Self {
        let mut error = Self::new(Exit::Interrupted, "nobody reads the output any more");
        error.0.silent = true;
        error
    }

    /// Only an exit code: what failed has been told, file by file.
    pub(crate) fn told(exit: Exit) -> Self {
        let mut error = Self::new(exit, "some files failed");
        error.0.silent = true;
        error
    }

    /// An answer of the server.
    pub(crate) fn problem(problem: Problem) -> Self {
        let slug = problem.slug().to_owned();
        let why = [&problem.detail, &problem.title]
            .into_iter()
            .find(|text| !text.is_empty())
            .cloned()
            .unwrap_or_else(|| format!("the server answered with status {}", problem.status));
        let mut error = Self::new(exit_for(problem.status, &slug), why);
        error.0.next = advice(&slug).map(str::to_owned);
        error.0.slug = Some(slug);
        error.0.problem = Some(problem);
        error
    }

    /// Says what was being done: `cannot upload a.txt`. The innermost `what` wins.
    pub(crate) fn during(mut self, what: impl Into<String>) -> Self {
        self.0.what.get_or_insert_with(|| what.into());
        self
    }

    /// Says what the user can do about it.
    pub(crate) fn advise(mut self, next: impl Into<String>) -> Self {
        self.0.next = Some(next.into());
        self
    }

    /// It says what the user can do.
    pub(crate) fn has_advice(&self) -> bool {
        self.0.next.is_some()
    }

    /// Every other file would fail in the same way.
    pub(crate) fn hopeless(mut self) -> Self {
        self.0.hopeless = true;
        self
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        self.0.exit
    }

    /// The problem type's slug, if the server sent one.
    pub(crate) fn slug(&self) -> Option<&str> {
        self.0.slug.as_deref()
    }

    /// The server's problem document.
    pub(crate) fn document(&self) -> Option<&Problem> {
        self.0.problem.as_ref()
    }

    /// Nothing is to be printed.
    pub(crate) fn is_silent(&self) -> bool {
        self.0.silent
    }

    /// Trying the next file would fail in the same way.
    pub(crate) fn ends_the_run(&self) -> bool {
        let hopeless = matches!(
            self.0.exit,
            Exit::AuthRequired | Exit::Network | Exit::Interrupted
        );
        hopeless || self.0.hopeless
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            what, why, next, ..
        } = &*self.0;
        if let Some(what) = what {
            write!(f, "{what}: ")?;
        }
        f.write_str(why.trim_end_matches('.'))?;
        match next {
            Some(next) => write!(f, "; {next}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

fn exit_for(status: u16, slug: &str) -> Exit {
    match (status, slug) {
        (_, "digest-mismatch") => Exit::Checksum,
        (401, _) => Exit::AuthRequired,
        (404 | 410, _) => Exit::NotFound,
        // Neither gets better by waiting.
        (501 | 507, _) => Exit::Failed,
        (408 | 425 | 429 | 500.., _) => Exit::Network,
        _ => Exit::Failed,
    }
}

fn advice(slug: &str) -> Option<&'static str> {
    Some(match slug {
        "unauthenticated" | "token-expired" => "run `cloudstore login`",
        "name-conflict" => "choose another name, or pass --on-conflict replace or rename",
        "name-taken" => "choose another username",
        "quota-exceeded" => "delete files you no longer need, or ask the operator for more room",
        "insufficient-storage" => "the server's disk is full; tell its operator",
        "too-many-uploads" => "finish or cancel some: `cloudstore uploads`",
        "upload-gone" | "upload-lost" => "run the same command again",
        "too-many-tokens" => "`cloudstore tokens ls` shows them, `tokens revoke` ends them",
        "insufficient-scope" => {
            "use a token with another scope, or log in and unset CLOUDSTORE_TOKEN"
        }
        "rate-limited" | "overloaded" | "unavailable" => "try again later",
        "not-found" => "`cloudstore ls` shows what is there",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, slug: &str) -> Error {
        Error::problem(Problem {
            kind: format!("/problems/{slug}"),
            title: "Title".into(),
            status,
            detail: "what happened".into(),
            request_id: String::new(),
            extensions: serde_json::Map::new(),
        })
    }

    #[test]
    fn every_kind_of_answer_has_its_exit_code() {
        for (status, slug, exit) in [
            (401, "unauthenticated", Exit::AuthRequired),
            (404, "not-found", Exit::NotFound),
            (410, "upload-gone", Exit::NotFound),
            (422, "digest-mismatch", Exit::Checksum),
            (409, "name-conflict", Exit::Failed),
            (413, "quota-exceeded", Exit::Failed),
            (507, "insufficient-storage", Exit::Failed),
            (429, "rate-limited", Exit::Network),
            (503, "unavailable", Exit::Network),
        ] {
            assert_eq!(answer(status, slug).exit(), exit, "{slug}");
        }
        assert_eq!(Exit::Interrupted as u8, 130);
    }

    #[test]
    fn local_failures_say_where_to_look() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = Error::at(&denied, Path::new("/secret"));
        assert!(
            error
                .to_string()
                .ends_with("; check the permissions of /secret")
        );
        let missing = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(Error::at(&missing, Path::new("/x")).exit(), Exit::NotFound);
        let error = Error::own_dir(&missing, Path::new("/proc/x"), "XDG_STATE_HOME");
        assert_eq!(error.exit(), Exit::Failed);
        let text = error.to_string();
        assert!(
            text.contains("/proc/x") && text.contains("XDG_STATE_HOME"),
            "{text}"
        );
    }

    #[test]
    fn one_sentence_says_what_why_and_what_next() {
        let error = answer(409, "name-conflict")
            .during("cannot upload a.txt")
            .during("cannot run");
        assert_eq!(
            error.to_string(),
            "cannot upload a.txt: what happened; choose another name, or pass --on-conflict \
             replace or rename"
        );
    }

    #[test]
    fn only_what_would_repeat_ends_the_run() {
        assert!(answer(503, "unavailable").ends_the_run());
        assert!(answer(401, "unauthenticated").ends_the_run());
        assert!(!answer(409, "name-conflict").ends_the_run());
    }
}
