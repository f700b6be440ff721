//! Asking people: names and passwords, the latter without echo.

use std::{
    fs,
    io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _},
    sync::Arc,
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::task::spawn_blocking;

use crate::error::{Error, Result};

/// The longest password the server takes, and then some; a longer line is a mistake.
const MAX_LINE_BYTES: u64 = 4_096;
const TERMINAL: &str = "/dev/tty";

/// Switches the echo off until dropped, also when the command is interrupted meanwhile.
struct Silence {
    terminal: Arc<fs::File>,
    before: Termios,
}

impl Silence {
    fn new(terminal: Arc<fs::File>) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO;
        silent.local_modes |= LocalModes::ECHONL;
        tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// Asks for a line; an error where there is no terminal to ask on.
pub(crate) async fn ask(question: &str, silent: bool, instead: &str) -> Result<String> {
    let impossible = |error: &io::Error| {
        Error::usage(format!("there is no terminal to ask on ({error})")).advise(instead)
    };
    if !io::stdin().is_terminal() {
        return Err(Error::usage("stdin is not a terminal to ask on").advise(instead));
    }
    let open = || fs::OpenOptions::new().read(true).write(true).open(TERMINAL);
    let terminal = Arc::new(open().map_err(|error| impossible(&error))?);
    (&*terminal)
        .write_all(question.as_bytes())
        .map_err(|error| impossible(&error))?;
    let silence = match silent {
        true => Some(Silence::new(terminal.clone()).map_err(|error| impossible(&error))?),
        false => None,
    };
    let line = spawn_blocking(move || line(&mut io::BufReader::new(&*terminal))).await;
    drop(silence);
    line.map_err(|error| Error::io(&error.into())).flatten()
}

/// A password: the first line of stdin, or asked for (twice if it is a new one).
pub(crate) async fn password(from_stdin: bool, new: bool) -> Result<String> {
    if from_stdin {
        let line = spawn_blocking(|| line(&mut io::stdin().lock())).await;
        return line.map_err(|error| Error::io(&error.into())).flatten();
    }
    let instead = "pass --password-stdin";
    let password = ask("Password: ", true, instead).await?;
    if new && ask("Again: ", true, instead).await? != password {
        return Err(Error::usage("the two passwords are not the same"));
    }
    Ok(password)
}

/// The username: given, or asked for.
pub(crate) async fn username(given: Option<&str>) -> Result<String> {
    match given {
        Some(given) => Ok(given.to_owned()),
        None => ask("Username: ", false, "name the user as an argument").await,
    }
}

/// A line without its end; not empty.
fn line(input: &mut impl io::BufRead) -> Result<String> {
    let mut line = String::new();
    let failed = |error: &io::Error| Error::usage(error.to_string()).during("cannot read a line");
    input
        .by_ref()
        .take(MAX_LINE_BYTES)
        .read_line(&mut line)
        .map_err(|error| failed(&error))?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(Error::usage("the input is empty"));
    }
    Ok(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_every_way() {
        for input in ["secret\n", "secret\r\n", "secret", "secret\nmore\n"] {
            assert_eq!(line(&mut input.as_bytes()).unwrap(), "secret");
        }
        assert_eq!(
            line(&mut " with spaces \n".as_bytes()).unwrap(),
            " with spaces "
        );
        assert!(line(&mut "".as_bytes()).is_err());
        assert!(line(&mut "\n".as_bytes()).is_err());
    }
}
