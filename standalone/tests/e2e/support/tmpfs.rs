//! A small file system of the test's own.

use std::{path::Path, process::Command};

use tempfile::TempDir;

/// A mounted tmpfs; unmounted when dropped.
pub(crate) struct Tmpfs {
    dir: TempDir,
}

impl Tmpfs {
    /// Mounts one with room for `mib` MiB.
    ///
    /// Only root may mount. A test that needs it fails otherwise, rather than pass without having
    /// tested anything.
    pub(crate) fn mount(mib: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let output = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={mib}m,mode=0700"),
                "cloudstore-test",
            ])
            .arg(dir.path())
            .output()
            .expect("the program mount is needed");
        assert!(
            output.status.success(),
            "this test mounts a tmpfs and must run as root (or in a user namespace, see unshare -rm): {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Self { dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: files may still be open in tasks that end with the runtime.
        let unmounted = Command::new("umount")
            .arg("-l")
            .arg(self.dir.path())
            .status();
        if !unmounted.is_ok_and(|status| status.success()) && !std::thread::panicking() {
            panic!("cannot unmount {}", self.dir.path().display());
        }
    }
}
