//! What this user has written and seen on a server, as the server names it (`Cloudstore-Position`).
//! Sent with every request, it makes each answer at least as new, whichever replica it comes from.
//! Commands hand it to each other in a file of the state directory.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use cloudstore_service::position::{HEADER, is_covered, is_valid};
use reqwest::header::{HeaderMap, HeaderValue};
use url::Url;

use crate::state;

/// A process that is killed forgets what it saw in the last such time.
const SAVE_EVERY: Duration = Duration::from_millis(200);
/// Replicas that are further behind get no requests, so older files are of no use.
const KEEP: Duration = Duration::from_secs(60 * 60);
/// Hex digits of the server's hash in the name of its file.
const NAME_DIGITS: usize = 16;

/// The position on one server.
#[derive(Debug)]
pub(super) struct Position {
    /// None when there is no place for it: then each command is on its own.
    file: Option<PathBuf>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    text: Option<String>,
    saved: Option<Instant>,
    unsaved: bool,
}

impl Position {
    /// What earlier commands saw on this server.
    pub(super) fn load(server: &Url) -> Self {
        let file = state::dir().ok().map(|dir| {
            let name = blake3::hash(server.as_str().as_bytes()).to_hex();
            dir.join(format!("position-{}", &name[..NAME_DIGITS]))
        });
        Self::at(file)
    }

    fn at(file: Option<PathBuf>) -> Self {
        let known = Known {
            text: file.as_deref().and_then(read),
            ..Known::default()
        };
        Self {
            file,
            known: Mutex::new(known),
        }
    }

    /// For the next request.
    pub(super) fn header(&self) -> Option<(&'static str, HeaderValue)> {
        let text = self.lock().text.clone()?;
        Some((HEADER, HeaderValue::from_str(&text).ok()?))
    }

    /// Takes what an answer says. Answers of concurrent requests come in any order.
    pub(super) fn learn(&self, headers: &HeaderMap) {
        let Some(new) = headers.get(HEADER).and_then(|value| value.to_str().ok()) else {
            return;
        };
        let mut known = self.lock();
        if !is_valid(new)
            || known
                .text
                .as_deref()
                .is_some_and(|old| is_covered(new, old))
        {
            return;
        }
        known.text = Some(new.to_owned());
        known.unsaved = true;
        if known
            .saved
            .is_none_or(|saved| saved.elapsed() >= SAVE_EVERY)
        {
            self.save(&mut known);
        }
    }

    /// For the commands after this one. Losing it costs them a look at an older state at worst, so
    /// it is not flushed and failing is not worth a word.
    fn save(&self, known: &mut Known) {
        known.saved = Some(Instant::now());
        known.unsaved = false;
        if let (Some(file), Some(text)) = (&self.file, &known.text) {
            let newer = read(file).is_some_and(|other| is_covered(text, &other));
            if !newer {
                let _lost = write(file, text);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Position {
    fn drop(&mut self) {
        let mut known = std::mem::take(&mut *self.lock());
        if known.unsaved {
            self.save(&mut known);
        }
    }
}

fn read(file: &Path) -> Option<String> {
    let age = fs::metadata(file).ok()?.modified().ok()?.elapsed();
    if age.is_ok_and(|age| age > KEEP) {
        return None;
    }
    let text = fs::read_to_string(file).ok()?;
    is_valid(&text).then_some(text)
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    let dir = file.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(dir)?;
    new.write_all(text.as_bytes())?;
    new.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(position: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HEADER.parse().unwrap(), HeaderValue::from_static(position))])
    }

    fn sent(position: &Position) -> Option<String> {
        let (_, value) = position.header()?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_newest_position_is_sent() {
        let position = Position::at(None);
        assert_eq!(sent(&position), None);
        for (told, expected) in [
            ("0-1-7", "0-1-7"),
            ("0-1-5", "0-1-7"),
            ("0-1-10", "0-1-10"),
            ("not valid;", "0-1-10"),
            ("0-2-3", "0-2-3"),
        ] {
            position.learn(&answer(told));
            position.learn(&HeaderMap::new());
            assert_eq!(sent(&position).as_deref(), Some(expected));
        }
    }

    #[test]
    fn commands_hand_it_on() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("position");
        let open = || Position::at(Some(file.clone()));
        let (first, other) = (open(), open());
        first.learn(&answer("0-1-7"));
        first.learn(&answer("0-1-8"));
        first.learn(&answer("0-1-9"));
        drop(first);
        assert_eq!(sent(&open()).as_deref(), Some("0-1-9"));
        // An older one of a command that ran meanwhile does not replace it.
        other.learn(&answer("0-1-8"));
        drop(other);
        assert_eq!(sent(&open()).as_deref(), Some("0-1-9"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "left over");
    }

    #[test]
    fn odd_and_old_files_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("position");
        for odd in ["", "a b", "0-1-7\n", &"1".repeat(10_000)] {
            fs::write(&file, odd).unwrap();
            assert_eq!(sent(&Position::at(Some(file.clone()))), None, "{odd}");
        }
        fs::write(&file, "0-1-7").unwrap();
        let old = std::time::SystemTime::now() - 2 * KEEP;
        let opened = fs::File::options().write(true).open(&file).unwrap();
        opened.set_modified(old).unwrap();
        assert_eq!(sent(&Position::at(Some(file))), None);
    }
}
