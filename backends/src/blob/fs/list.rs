//! Lists the objects in a directory.

use std::{
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use crate::blob::{Key, Listed};

/// Which objects to list.
pub(super) struct Walk<'a> {
    pub(super) prefix: &'a str,
    pub(super) after: &'a str,
    pub(super) limit: usize,
}

impl Walk<'_> {
    /// Appends what is in `dir`, whose objects' names begin with `above`, in order; never more
    /// than the limit. In memory there is one directory of each level at a time.
    pub(super) fn enter(
        &self,
        dir: &Path,
        above: &str,
        listed: &mut Vec<(Key, Listed)>,
    ) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in unless_gone(std::fs::read_dir(dir))?.into_iter().flatten() {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                // As part of an object's name a directory ends with a slash.
                let slash = if entry.file_type()?.is_dir() { "/" } else { "" };
                names.push(format!("{name}{slash}"));
            }
        }
        names.sort_unstable();
        for name in names {
            if listed.len() >= self.limit {
                break;
            }
            let full = format!("{above}{name}");
            if let Some(directory) = name.strip_suffix('/') {
                if self.may_hold(&full) {
                    self.enter(&dir.join(directory), &full, listed)?;
                }
            } else if full.starts_with(self.prefix)
                && full.as_str() > self.after
                && let Some(key) = Key::parse(&full)
                && let Some(meta) = unless_gone(std::fs::metadata(dir.join(&name)))?
            {
                let (len, modified) = (meta.len(), put_at(&meta)?);
                listed.push((key, Listed { len, modified }));
            }
        }
        Ok(())
    }

    /// Can there be objects to be listed whose names begin with this?
    fn may_hold(&self, above: &str) -> bool {
        let wanted = above.starts_with(self.prefix) || self.prefix.starts_with(above);
        wanted && (above > self.after || self.after.starts_with(above))
    }
}

/// When an object was put. A linked file was written long before that; making the link changed its
/// inode.
fn put_at(meta: &std::fs::Metadata) -> io::Result<SystemTime> {
    let changed = u64::try_from(meta.ctime()).ok();
    let changed = changed.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    let modified = meta.modified()?;
    Ok(changed.map_or(modified, |changed| changed.max(modified)))
}

/// What is removed meanwhile is not there.
pub(super) fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}
