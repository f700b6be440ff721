//! stdout is data, stderr is talk. `--json` turns the data into JSON lines and a fatal error into
//! a JSON object on stderr; `-q` silences the talk, `-v` adds to it.

use std::{
    borrow::Cow,
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

    /// A line of data for people, [`escaped`]; nothing with `--json`.
    pub(crate) fn text(&self, line: impl fmt::Display) -> Result<()> {
        if self.json {
            Ok(())
        } else {
            let line = line.to_string();
            self.write(format!("{}\n", escaped(&line)).as_bytes())
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
            self.talk(line);
        }
    }

    /// Talk for `-v`.
    pub(crate) fn detail(&self, line: impl fmt::Display) {
        if self.verbose && !self.quiet {
            self.talk(line);
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
            // JSON has its own way to escape.
            self.talk_raw(&object.to_string());
        } else {
            self.talk(format_args!("cloudstore: {error}"));
        }
    }

    fn talk(&self, line: impl fmt::Display) {
        self.talk_raw(&escaped(&line.to_string()));
    }

    fn talk_raw(&self, line: &str) {
        let line = format!("{line}\n");
        // Nobody is left to be told when stderr is closed.
        let _ = self
            .bars
            .suspend(|| io::stderr().write_all(line.as_bytes()));
    }
}

/// Text of a server, or the name of a file, as it can be shown: what a terminal would act on, what
/// would look like a line of ours, and what changes the direction of writing becomes `\u{1b}`.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(acts_on_terminals) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if acts_on_terminals(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown.into()
}

/// C0, DEL and C1, line and paragraph separators, and the bidirectional controls.
fn acts_on_terminals(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
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
    fn text_cannot_fool_a_terminal() {
        assert_eq!(
            escaped("gpj.\u{202e}exe\u{1b}[2J\r\n\u{9b}\u{7f}\u{2066}"),
            "gpj.\\u{202e}exe\\u{1b}[2J\\r\\n\\u{9b}\\u{7f}\\u{2066}"
        );
        assert!(matches!(escaped("grün ✓ \\ \"q\""), Cow::Borrowed(_)));
    }

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
