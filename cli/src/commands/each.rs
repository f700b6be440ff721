//! The same for several things, one after the other.

use std::fmt::Display;

use super::Context;
use crate::error::{Error, Result};

/// How it is talked about.
pub(super) struct Deed {
    /// Field of the record that names the thing.
    pub(super) key: &'static str,
    /// As in "cannot revoke".
    pub(super) verb: &'static str,
    /// As in "revoked".
    pub(super) done: &'static str,
    /// What may help when it fails.
    pub(super) advice: Option<&'static str>,
}

impl Deed {
    /// Does what it can; the exit code is that of the first failure.
    pub(super) async fn each<T: Display>(
        &self,
        context: &Context,
        things: &[T],
        act: impl AsyncFn(&T) -> Result<()>,
    ) -> Result<()> {
        let mut failure = None;
        for thing in things {
            match act(thing).await {
                Ok(()) => {
                    let name = thing.to_string();
                    let record = serde_json::json!({ self.key: name, "status": self.done });
                    context.out.record(&record)?;
                    context.out.report(format_args!("{} {name}", self.done))?;
                }
                Err(error) if error.ends_the_run() => return Err(error),
                Err(mut error) => {
                    if let Some(advice) = self.advice {
                        error = error.advise(advice);
                    }
                    let error = error.during(format!("cannot {} {thing}", self.verb));
                    context.out.complain(&error);
                    failure.get_or_insert(Error::told(error.exit()));
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }
}
