//! Where files land. Names come from the server, so no name may lead out of the target folder:
//! neither `..` nor a symbolic link that lies in the way.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::error::{Error, Exit, Result};

/// The folder that everything goes into.
pub(super) struct Target {
    root: PathBuf,
    /// Known to be real folders.
    checked: Mutex<HashSet<PathBuf>>,
}

impl Target {
    /// Creates the folder. The user named it, so links on the way to it are followed.
    pub(super) fn create(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).map_err(|error| {
            let why = Error::new(Exit::Failed, error.to_string());
            let why = match error.kind() {
                io::ErrorKind::PermissionDenied => why.advise(format!(
                    "check the permissions of the folder around {}",
                    root.display()
                )),
                _ => why,
            };
            why.during(format!("cannot create the folder {}", root.display()))
        })?;
        Ok(Self {
            root: root.to_owned(),
            checked: Mutex::default(),
        })
    }

    /// The folder itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Creates a folder below, and those above it. Blocks.
    pub(super) fn folder(&self, relative: &str) -> Result<PathBuf> {
        let mut path = self.root.clone();
        for name in names(relative)? {
            path.push(name);
            self.real_folder(&path)?;
        }
        Ok(path)
    }

    /// The place of a file below; its folder is created. Blocks.
    pub(super) fn file(&self, relative: &str) -> Result<PathBuf> {
        let (folder, name) = relative.rsplit_once('/').unwrap_or(("", relative));
        let name = names(name)?
            .next()
            .ok_or_else(|| Error::new(Exit::Failed, "it has no name"))?;
        Ok(self.folder(folder)?.join(name))
    }

    fn real_folder(&self, path: &Path) -> Result<()> {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.contains(path) {
            return Ok(());
        }
        match fs::create_dir(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let metadata =
                    fs::symlink_metadata(path).map_err(|error| Error::at(&error, path))?;
                if !metadata.is_dir() {
                    let why = format!("{} is in the way and is not a folder", path.display());
                    return Err(Error::new(Exit::Failed, why).advise("move it away"));
                }
            }
            Err(error) => return Err(Error::at(&error, path.parent().unwrap_or(path))),
        }
        checked.insert(path.to_owned());
        Ok(())
    }
}

/// The names in a relative path, if a file system can have each of them.
fn names(relative: &str) -> Result<impl Iterator<Item = &str>> {
    let names = relative.split('/').filter(|name| !name.is_empty());
    if names
        .clone()
        .any(|name| matches!(name, "." | "..") || name.contains('\0'))
    {
        return Err(Error::new(
            Exit::Failed,
            "its name is not a name for a local file",
        ));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_the_target() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let root = dir.path().join("root");
        let target = Target::create(&root).unwrap();
        assert_eq!(target.file("/a/b/c").unwrap(), root.join("a/b/c"));
        assert!(root.join("a/b").is_dir());
        for wrong in ["../x", "a/../../x", "..", "a/./b", "nul\0", "/"] {
            assert!(target.file(wrong).is_err(), "{wrong}");
        }
        std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
        assert!(target.file("link/x").is_err());
        assert!(target.folder("link").is_err());
        fs::write(root.join("file"), "").unwrap();
        assert!(target.file("file/x").is_err());
    }
}
