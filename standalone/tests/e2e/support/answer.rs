//! Answers, and what tests demand of them.

use bytes::Bytes;
use cloudstore_proto::http::{PROBLEM_JSON, Problem};
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Method and URL, for messages.
    pub(crate) what: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The connection broke off before the announced end of the body.
#[derive(Debug)]
pub(crate) struct CutOff;

impl Answer {
    /// Demands a status.
    #[track_caller]
    pub(crate) fn status(self, expected: u16) -> Self {
        assert_eq!(self.status, expected, "{}: {}", self.what, self.text());
        self
    }

    /// Demands a status and a JSON body.
    #[track_caller]
    pub(crate) fn json<T: DeserializeOwned>(self, expected: u16) -> T {
        let answer = self.status(expected);
        assert_eq!(
            answer.header("content-type"),
            "application/json",
            "{}",
            answer.what
        );
        match serde_json::from_slice(&answer.body) {
            Ok(value) => value,
            Err(error) => panic!("{}: {error} in {}", answer.what, answer.text()),
        }
    }

    /// Demands a problem that is as the documentation says.
    #[track_caller]
    pub(crate) fn problem(self, status: u16, slug: &str) -> Problem {
        let problem = self.any_problem();
        assert_eq!(
            (problem.status, problem.slug()),
            (status, slug),
            "{problem:?}"
        );
        problem
    }

    /// Demands a well-formed problem of any kind.
    #[track_caller]
    pub(crate) fn any_problem(&self) -> Problem {
        let Self { what, status, .. } = self;
        assert_eq!(
            self.header("content-type"),
            PROBLEM_JSON,
            "{what}: {status} {}",
            self.text()
        );
        let problem: Problem = match serde_json::from_slice(&self.body) {
            Ok(problem) => problem,
            Err(error) => panic!("{what}: {error} in {}", self.text()),
        };
        assert_eq!(
            problem.status, *status,
            "{what}: the body repeats the status"
        );
        assert!(
            problem.kind.starts_with("/problems/"),
            "{what}: {problem:?}"
        );
        assert!(
            !problem.title.is_empty() && !problem.detail.is_empty(),
            "{what}: {problem:?}"
        );
        assert!(!problem.request_id.is_empty(), "{what}: {problem:?}");
        assert_eq!(
            problem.request_id,
            self.header("x-request-id"),
            "{what}: one request id"
        );
        problem
    }

    /// The value of a header; empty when it is absent.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The body for a message: not more than fits on a screen.
    pub(crate) fn text(&self) -> String {
        let end = self.body.len().min(600);
        String::from_utf8_lossy(&self.body[..end]).into_owned()
    }
}
