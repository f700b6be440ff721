//! stdout is data, stderr is talk. `--json` turns the data into JSON lines and a fatal error into
//! a JSON object on stderr; `-q` silences the talk, `-v` adds to it.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
};

use indicatif::{MultiProgress, ProgressDrawTarget};
use serde::Serialize;

use crate::error::{Error, Exit, Result};

/// How to speak. Cheap to clone; all clones share the progress display.
#[derive(Clone, Debug)]
pub(crate) struct Out {
    json: bool,
    quiet: bool,
    verbose: bool,
    bars: MultiProgress,
}

impl Out {
    /// `progress`: draw bars if stderr is a terminal.
    pub(crate) fn new(json: bool, quiet: bool, verbose: bool, progress: bool) -> Self {
        let visible = progress && !quiet && io::stderr().is_terminal();
        let target = if visible {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            json,
            quiet,
            verbose,
            bars: MultiProgress::with_draw_target(target),
        }
    }

    /// JSON lines instead of text.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// `-v` was given.
    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Where progress bars hang; hidden unless stderr is a terminal.
    pub(crate) fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// A line of data for people; nothing with `--json`.
    pub(crate) fn text(&self, line: impl fmt::Display) -> Result<()> {
        if self.json {
            Ok(())
        } else {
            self.write(format!("{line}\n").as_bytes())
        }
    }

    /// A line about work done, for people who did not ask for quiet.
    pub(crate) fn report(&self, line: impl fmt::Display) -> Result<()> {
        if self.quiet { Ok(()) } else { self.text(line) }
    }

    /// A line of data for programs; nothing without `--json`.
    pub(crate) fn record(&self, value: &impl Serialize) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        let mut line = serde_json::to_vec(value)
            .map_err(|error| Error::new(Exit::Failed, format!("cannot write JSON: {error}")))?;
        line.push(b'\n');
        self.write(&line)
    }

    /// Raw bytes to stdout.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<()> {
        let written = self.bars.suspend(|| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(bytes).and_then(|()| stdout.flush())
        });
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Error::reader_gone(),
            _ => Error::io(&error).during("cannot write to stdout"),
        })
    }

    /// Talk, unless `-q`.
    pub(crate) fn note(&self, line: impl fmt::Display) {
        if !self.quiet {
            self.talk(format_args!("{line}\n"));
        }
    }

    /// Talk for `-v`.
    pub(crate) fn detail(&self, line: impl fmt::Display) {
        if self.verbose && !self.quiet {
            self.talk(format_args!("{line}\n"));
        }
    }

    /// Something that was not done, also with `-q`.
    pub(crate) fn complain(&self, error: &Error) {
        if error.is_silent() {
            return;
        }
        if self.json {
            let problem = error.document();
            let object = serde_json::json!({
                "type": "error",
                "exit": error.exit() as u8,
                "message": error.to_string(),
                "problem": problem,
            });
            self.talk(format_args!("{object}\n"));
        } else {
            self.talk(format_args!("cloudstore: {error}\n"));
        }
    }

    fn talk(&self, text: fmt::Arguments<'_>) {
        // Nobody is left to be told when stderr is closed.
        let _ = self.bars.suspend(|| io::stderr().write_fmt(text));
    }
}

/// Bytes for people: `1.50 KiB`, `0 B`.
pub(crate) fn human_bytes(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_units_and_plurals() {
        assert_eq!(human_bytes(0), "0 B");
        assert_eq!(human_bytes(1536), "1.50 KiB");
        assert_eq!(
            (count(1, "file"), count(2, "file")),
            ("1 file".into(), "2 files".into())
        );
    }
}
