//! Finds what is to be uploaded, streaming: memory depends on the depth of the tree, not on the
//! number of files in it.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf, absolute},
};

use cloudstore_proto::path as remote_path;

use super::filter::Filter;
use crate::{
    error::{Error, Exit, Result},
    state::Stamp,
};

/// A local file and where it goes.
#[derive(Clone, Debug)]
pub(crate) struct LocalFile {
    /// Absolute.
    pub(crate) path: PathBuf,
    /// Normalised.
    pub(crate) remote: String,
    /// As it was when it was found.
    pub(crate) stamp: Stamp,
}

impl LocalFile {
    /// For messages.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// What the walk comes across.
#[derive(Debug)]
pub(crate) enum Found {
    /// Something to send.
    File(LocalFile),
    /// A folder that no file would bring about.
    EmptyFolder {
        /// Absolute.
        path: PathBuf,
        /// Normalised.
        remote: String,
    },
    /// Neither file nor folder.
    Skipped {
        /// What.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// Something that cannot be sent.
    Failed {
        /// What.
        path: PathBuf,
        /// Where it would have gone.
        remote: String,
        /// Why; whoever walks says what for.
        error: Error,
    },
}

/// One PATH of the command line.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    /// Where it goes: a file's own path, or the folder that its contents go into.
    remote: String,
    is_dir: bool,
}

impl Source {
    /// Whether it is a single file.
    pub(crate) fn is_file(&self) -> bool {
        !self.is_dir
    }

    /// Looks at a PATH; `to` is the remote folder it goes into.
    pub(crate) fn new(path: &Path, to: &str) -> Result<Self> {
        let what = || format!("cannot upload {}", path.display());
        let failed = |error: io::Error| Error::at(&error, path).during(what());
        let metadata = fs::metadata(path).map_err(failed)?;
        let bytes = path.as_os_str().as_bytes();
        let contents = bytes.ends_with(b"/") || bytes.ends_with(b"/.");
        let is_dir = metadata.is_dir();
        if !is_dir && !metadata.is_file() {
            let why = "it is neither a file nor a folder";
            return Err(Error::usage(why).during(what()));
        }
        let absolute = absolute(path).map_err(failed)?;
        if is_dir && contents {
            return Ok(Self {
                path: absolute,
                remote: to.to_owned(),
                is_dir,
            });
        }
        // `.` and `..` have a name only once they are resolved.
        let resolved = match path.file_name() {
            Some(name) => PathBuf::from(name),
            None => fs::canonicalize(path).map_err(failed)?,
        };
        let remote = match resolved.file_name() {
            Some(name) => {
                let name = utf8(name.as_bytes()).map_err(|error| error.during(what()))?;
                remote_path::join(to, name)
            }
            None => to.to_owned(),
        };
        Ok(Self {
            path: absolute,
            remote,
            is_dir,
        })
    }

    /// The contents of a local folder, to be compared with a remote one, or one file with one.
    pub(crate) fn same(path: &Path, remote: &str, is_dir: bool) -> Self {
        Self {
            path: path.to_owned(),
            remote: remote.to_owned(),
            is_dir,
        }
    }

    /// Reports everything found until `found` says that nobody listens. Blocks.
    pub(crate) fn walk(&self, walk: &Walk, found: &mut impl FnMut(Found) -> bool) {
        if self.is_dir {
            walk.tree(self, found);
        } else {
            let relative = self.path.file_name().map(PathBuf::from).unwrap_or_default();
            if walk.filter.takes_file(&relative) {
                found(file(
                    self.path.clone(),
                    &self.remote,
                    fs::metadata(&self.path),
                ));
            }
        }
    }
}

/// How to walk.
pub(crate) struct Walk {
    /// What to leave out.
    pub(crate) filter: Filter,
    /// Send what symbolic links point to.
    pub(crate) follow_symlinks: bool,
}

/// A folder on the way from the top to where the walk is.
struct Frame {
    entries: fs::ReadDir,
    path: PathBuf,
    relative: PathBuf,
    remote: String,
    identity: Option<(u64, u64)>,
    /// Nothing was reported that makes this folder appear on the server.
    barren: bool,
}

impl Walk {
    fn tree(&self, source: &Source, found: &mut impl FnMut(Found) -> bool) {
        let mut stack = Vec::new();
        let top = enter(source.path.clone(), PathBuf::new(), source.remote.clone());
        if !push(&mut stack, top, found) {
            return;
        }
        while let Some(frame) = stack.last_mut() {
            let go_on = match frame.entries.next() {
                Some(Ok(entry)) => self.entry(&mut stack, &entry, found),
                Some(Err(error)) => {
                    let (path, remote) = (frame.path.clone(), frame.remote.clone());
                    let error = Error::at(&error, &path);
                    found(failed(path, remote, error))
                }
                None => self.leave(&mut stack, found),
            };
            if !go_on {
                return;
            }
        }
    }

    /// The last folder on the stack is done.
    fn leave(&self, stack: &mut Vec<Frame>, found: &mut impl FnMut(Found) -> bool) -> bool {
        let Some(Frame {
            barren: true,
            path,
            remote,
            ..
        }) = stack.pop()
        else {
            return true;
        };
        if remote == "/" || !self.filter.keeps_empty_folders() {
            return true;
        }
        match remote_path::normalize_new(&remote) {
            Ok(remote) => found(Found::EmptyFolder { path, remote }),
            Err(error) => found(failed(
                path,
                remote,
                Error::new(Exit::Failed, error.to_string()),
            )),
        }
    }

    fn entry(
        &self,
        stack: &mut Vec<Frame>,
        entry: &fs::DirEntry,
        found: &mut impl FnMut(Found) -> bool,
    ) -> bool {
        let frame = stack
            .last_mut()
            .expect("invariant: called for the last folder on the stack");
        let name = entry.file_name();
        let path = frame.path.join(&name);
        let relative = frame.relative.join(&name);
        let remote = match utf8(name.as_bytes()) {
            Ok(name) => remote_path::join(&frame.remote, name),
            Err(error) => {
                let remote = remote_path::join(&frame.remote, &name.to_string_lossy());
                return found(failed(path, remote, error));
            }
        };
        let mut metadata = entry.metadata();
        if metadata.as_ref().is_ok_and(fs::Metadata::is_symlink) {
            if !self.follow_symlinks {
                return found(Found::Skipped {
                    path,
                    why: "symbolic link (--follow-symlinks)",
                });
            }
            metadata = fs::metadata(&path);
        }
        let kind = match &metadata {
            Ok(metadata) => metadata.file_type(),
            Err(error) => {
                let error = Error::at(error, &path);
                return found(failed(path, remote, error));
            }
        };
        if kind.is_file() {
            if !self.filter.takes_file(&relative) {
                return true;
            }
            frame.barren = false;
            return found(file(path, &remote, metadata));
        }
        if !kind.is_dir() {
            return found(Found::Skipped {
                path,
                why: "neither a file nor a folder",
            });
        }
        if !self.filter.enters_folder(&relative) {
            return true;
        }
        let next = enter(path, relative, remote);
        if let Ok(next) = &next
            && stack.iter().any(|frame| frame.identity == next.identity)
        {
            let path = next.path.clone();
            return found(Found::Skipped {
                path,
                why: "symbolic link to a folder around it",
            });
        }
        if let Some(frame) = stack.last_mut() {
            frame.barren = false;
        }
        push(stack, next, found)
    }
}

fn enter(path: PathBuf, relative: PathBuf, remote: String) -> Result<Frame, Box<Found>> {
    use std::os::unix::fs::MetadataExt as _;
    let opened = fs::read_dir(&path).and_then(|entries| Ok((entries, fs::metadata(&path)?)));
    match opened {
        Ok((entries, metadata)) => {
            let identity = Some((metadata.dev(), metadata.ino()));
            Ok(Frame {
                entries,
                path,
                relative,
                remote,
                identity,
                barren: true,
            })
        }
        Err(error) => {
            let error = Error::at(&error, &path);
            Err(Box::new(failed(path, remote, error)))
        }
    }
}

fn push(
    stack: &mut Vec<Frame>,
    frame: Result<Frame, Box<Found>>,
    found: &mut impl FnMut(Found) -> bool,
) -> bool {
    match frame {
        Ok(frame) => {
            stack.push(frame);
            true
        }
        Err(failed) => found(*failed),
    }
}

fn file(path: PathBuf, remote: &str, metadata: io::Result<fs::Metadata>) -> Found {
    match (metadata, remote_path::normalize_new(remote)) {
        (Ok(metadata), Ok(remote)) => Found::File(LocalFile {
            path,
            remote,
            stamp: Stamp::of(&metadata),
        }),
        (Err(error), _) => {
            let error = Error::at(&error, &path);
            failed(path, remote.to_owned(), error)
        }
        (_, Err(error)) => {
            let error = Error::new(Exit::Failed, error.to_string()).advise("rename it");
            failed(path, remote.to_owned(), error)
        }
    }
}

fn failed(path: PathBuf, remote: String, error: Error) -> Found {
    Found::Failed {
        path,
        remote,
        error,
    }
}

fn utf8(name: &[u8]) -> Result<&str> {
    std::str::from_utf8(name)
        .map_err(|_| Error::new(Exit::Failed, "the name is not valid UTF-8").advise("rename it"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::{ffi::OsStringExt as _, fs::symlink};

    use super::*;

    fn walk(dir: &Path, to: &str, exclude: &[String], follow_symlinks: bool) -> Vec<String> {
        let walk = Walk {
            filter: Filter::new(&[], exclude).unwrap(),
            follow_symlinks,
        };
        let mut lines = Vec::new();
        Source::new(dir, to).unwrap().walk(&walk, &mut |found| {
            lines.push(match found {
                Found::File(file) => file.remote,
                Found::EmptyFolder { remote, .. } => format!("{remote}/"),
                Found::Skipped { path, .. } => {
                    format!("skipped {}", path.file_name().unwrap().display())
                }
                Found::Failed { error, .. } => format!("failed {}", error.exit() as u8),
            });
            true
        });
        lines.sort();
        lines
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::create_dir_all(top.join("only/excluded")).unwrap();
        fs::write(top.join("a/one.txt"), "1").unwrap();
        fs::write(top.join("two.o"), "2").unwrap();
        symlink("two.o", top.join("link")).unwrap();
        symlink("..", top.join("a/loop")).unwrap();
        dir
    }

    #[test]
    fn a_folder_keeps_its_name_and_a_slash_means_its_contents() {
        let dir = tree();
        let top = dir.path().join("top");
        assert_eq!(
            walk(&top, "/x", &["excluded".into()], false),
            [
                "/x/top/a/b/",
                "/x/top/a/one.txt",
                "/x/top/only/",
                "/x/top/two.o",
                "skipped link",
                "skipped loop"
            ]
        );
        let contents = PathBuf::from(format!("{}/", top.display()));
        let found = walk(&contents, "/x", &["*.o".into()], false);
        assert!(found.contains(&"/x/a/one.txt".into()), "{found:?}");
        assert!(!found.contains(&"/x/two.o".into()), "{found:?}");
    }

    #[test]
    fn followed_links_never_lead_in_circles() {
        let dir = tree();
        let found = walk(&dir.path().join("top"), "/", &[], true);
        assert!(found.contains(&"/top/link".into()), "{found:?}");
        assert!(found.contains(&"skipped loop".into()), "{found:?}");
    }

    #[test]
    fn bad_names_fail_alone() {
        let dir = tree();
        let name = std::ffi::OsString::from_vec(vec![b'x', 0xff]);
        fs::write(dir.path().join("top").join(name), "").unwrap();
        fs::write(dir.path().join("top/tab\t"), "").unwrap();
        let found = walk(&dir.path().join("top"), "/", &[], false);
        assert_eq!(
            found.iter().filter(|line| *line == "failed 1").count(),
            2,
            "{found:?}"
        );
        assert!(found.contains(&"/top/two.o".into()));
    }

    #[test]
    fn a_missing_path_is_not_found() {
        let error = Source::new(Path::new("/no/such/path"), "/").unwrap_err();
        assert_eq!(error.exit(), Exit::NotFound);
    }
}
