//! What is at a file's place already: nothing, the same content, something else, or something that
//! no download may replace.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use cloudstore_content::Root;

use crate::{
    args::Conflict,
    error::{Error, Exit, Result},
    state::{HashCache, Stamp},
};

/// Names that are tried before a download with `--on-conflict rename` gives up.
const MAX_NAMES: u32 = 1_000;

/// Where a file goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The same content is there.
    Same(PathBuf),
    /// To be fetched to there.
    Open(PathBuf),
}

/// What a path names now.
enum Here {
    Nothing,
    Same,
    Other,
}

/// Finds the place for content of this size and root. Blocks.
pub(super) fn place(
    hashes: &HashCache,
    policy: Conflict,
    local: &Path,
    size: u64,
    root: &Root,
) -> Result<Place> {
    match here(hashes, local, size, root)? {
        Here::Nothing => return Ok(Place::Open(local.to_owned())),
        Here::Same => return Ok(Place::Same(local.to_owned())),
        Here::Other => {}
    }
    match policy {
        Conflict::Fail => Err(taken(local)),
        Conflict::Replace => Ok(Place::Open(local.to_owned())),
        Conflict::Rename => other_name(hashes, local, size, root),
    }
}

/// The first `name (1).ext` that is free, or holds this content since an earlier run.
fn other_name(hashes: &HashCache, local: &Path, size: u64, root: &Root) -> Result<Place> {
    for number in 1..=MAX_NAMES {
        let other = local.with_file_name(numbered(local, number));
        match here(hashes, &other, size, root)? {
            Here::Nothing => return Ok(Place::Open(other)),
            Here::Same => return Ok(Place::Same(other)),
            Here::Other => {}
        }
    }
    Err(taken(local))
}

fn numbered(local: &Path, number: u32) -> OsString {
    let mut name = local.file_stem().unwrap_or(OsStr::new("file")).to_owned();
    name.push(format!(" ({number})"));
    if let Some(extension) = local.extension() {
        name.push(".");
        name.push(extension);
    }
    name
}

/// There is other content under this name.
pub(super) fn taken(local: &Path) -> Error {
    let why = format!("{} is there already, with other content", local.display());
    Error::new(Exit::Failed, why)
        .advise("choose another place, or pass --on-conflict replace or rename")
}

fn here(hashes: &HashCache, local: &Path, size: u64, root: &Root) -> Result<Here> {
    let failed = |error: &io::Error| Error::at(error, local);
    let metadata = match fs::symlink_metadata(local) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Here::Nothing),
        metadata => metadata.map_err(|error| failed(&error))?,
    };
    if metadata.is_dir() {
        let why = format!("{} is a folder", local.display());
        return Err(Error::new(Exit::Failed, why).advise("move it away"));
    }
    // A link is not followed when it is replaced, but a link to a device stands for the device.
    let target = fs::metadata(local).unwrap_or_else(|_| metadata.clone());
    let kind = special(target.file_type()).or_else(|| stream_link(local));
    if let Some(kind) = kind {
        let why = format!("{} is {kind}, not a regular file", local.display());
        return Err(Error::new(Exit::Failed, why)
            .advise("use `cloudstore cat` to write to a pipe or a device"));
    }
    if !metadata.is_file() || metadata.len() != size {
        return Ok(Here::Other);
    }
    // A file that cannot be read, or is being written, is not known to be the same.
    let same = hashes
        .root_of(local, &Stamp::of(&metadata))
        .is_ok_and(|here| here == *root);
    Ok(if same { Here::Same } else { Here::Other })
}

fn special(kind: fs::FileType) -> Option<&'static str> {
    if kind.is_fifo() {
        Some("a pipe")
    } else if kind.is_socket() {
        Some("a socket")
    } else if kind.is_char_device() || kind.is_block_device() {
        Some("a device")
    } else {
        None
    }
}

/// `/dev/stdout` and the like, whatever the stream is connected to at the moment.
fn stream_link(local: &Path) -> Option<&'static str> {
    let target = fs::read_link(local).ok()?;
    let is_stream = ["/proc", "/dev"].iter().any(|top| target.starts_with(top));
    is_stream.then_some("a link to a device or a stream")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const POLICIES: [Conflict; 3] = [Conflict::Fail, Conflict::Replace, Conflict::Rename];

    fn find(policy: Conflict, local: &Path, content: &str) -> Result<Place> {
        let state = tempfile::tempdir().unwrap();
        let hashes = HashCache::open(state.path());
        let root = *blake3::hash(content.as_bytes()).as_bytes();
        place(&hashes, policy, local, content.len() as u64, &root)
    }

    #[test]
    fn other_content_is_a_conflict_and_the_same_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let local = dir.path().join("a.txt");
        for policy in POLICIES {
            let open = Place::Open(local.clone());
            assert_eq!(find(policy, &local, "new").unwrap(), open);
        }
        fs::write(&local, "old").unwrap();
        for policy in POLICIES {
            let same = Place::Same(local.clone());
            assert_eq!(find(policy, &local, "old").unwrap(), same);
        }
        let error = find(Conflict::Fail, &local, "new").unwrap_err();
        assert_eq!(error.exit(), Exit::Failed);
        assert!(error.to_string().contains("--on-conflict"), "{error}");
        let open = Place::Open(local.clone());
        assert_eq!(find(Conflict::Replace, &local, "new").unwrap(), open);

        let first = dir.path().join("a (1).txt");
        let found = find(Conflict::Rename, &local, "new").unwrap();
        assert_eq!(found, Place::Open(first.clone()));
        fs::write(&first, "new").unwrap();
        let found = find(Conflict::Rename, &local, "new").unwrap();
        assert_eq!(found, Place::Same(first), "an earlier run's");
        let second = dir.path().join("a (2).txt");
        let found = find(Conflict::Rename, &local, "newer").unwrap();
        assert_eq!(found, Place::Open(second));
    }

    #[test]
    fn nothing_but_files_and_links_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let link = dir.path().join("link");
        symlink("/dev/null", &link).unwrap();
        let stream = dir.path().join("stream");
        symlink("/proc/self/fd/1000000", &stream).unwrap();
        let null = Path::new("/dev/null");
        for special in [null, &socket, &link, &stream, dir.path()] {
            for policy in POLICIES {
                let error = find(policy, special, "new").unwrap_err();
                assert_eq!(error.exit(), Exit::Failed, "{special:?}");
            }
        }
        let dangling = dir.path().join("dangling");
        symlink("nowhere", &dangling).unwrap();
        assert!(find(Conflict::Fail, &dangling, "new").is_err());
        let open = Place::Open(dangling.clone());
        assert_eq!(find(Conflict::Replace, &dangling, "new").unwrap(), open);
    }
}
