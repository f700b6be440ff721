//! rclone over WebDAV.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use tempfile::tempdir;
use tokio::process::Command;

use super::{MIB, run, tools};
use crate::support::{Line, TestStack, User};

/// Files of the tree, at least.
const FILES: usize = 2_000;
/// Packages with more are left out: one alone would be most of the tree.
const MAX_PACKAGE_FILES: usize = 300;

/// A real tree: sources of packages that this workspace is built from, and large files that take more
/// than one request. Gives its bytes.
fn tree(root: &Path, user: &User) -> usize {
    let cargo = env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo = cargo.unwrap_or_else(|| PathBuf::from(env::var_os("HOME").unwrap()).join(".cargo"));
    let sources = sorted(&cargo.join("registry/src"));
    let mut packages = sources.iter().flat_map(|source| sorted(source));
    let (mut files, mut bytes) = (0, 0);
    while files < FILES {
        let package = packages.next().expect("sources of packages");
        if count(&package) > MAX_PACKAGE_FILES {
            continue;
        }
        copy(
            &package,
            &root.join(package.file_name().unwrap()),
            &mut files,
            &mut bytes,
        );
    }
    for (name, len) in [("large ü.bin", 20 * MIB + 1), ("empty", 0)] {
        fs::write(root.join(name), user.content(name, len)).unwrap();
        bytes += len;
    }
    bytes
}

fn sorted(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort_unstable();
    paths
}

fn count(path: &Path) -> usize {
    if path.is_dir() {
        sorted(path).iter().map(|path| count(path)).sum()
    } else {
        1
    }
}

fn copy(from: &Path, to: &Path, files: &mut usize, bytes: &mut usize) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for path in sorted(from) {
            copy(&path, &to.join(path.file_name().unwrap()), files, bytes);
        }
    } else {
        *files += 1;
        *bytes += usize::try_from(fs::copy(from, to).unwrap()).unwrap();
    }
}

fn rclone(user: &User, token: &str, base: &str, vendor: &str) -> Command {
    let mut command = Command::new(tools().join("bin/rclone"));
    command
        .args(["--config", "/dev/null", "--stats", "0"])
        .args(["--transfers", "8"])
        .args(["--webdav-vendor", vendor, "--webdav-url"])
        .arg(format!("{base}/dav"))
        .args(["--webdav-user", &user.name, "--webdav-pass", token]);
    command
}

async fn syncs(vendor: &str) {
    let (stack, user) = TestStack::with_user().await;
    let dir = tempdir().unwrap();
    let bytes = tree(dir.path(), &user);
    let mut obscure = Command::new(tools().join("bin/rclone"));
    obscure.arg("obscure").arg(user.api_token("full").await);
    let token = run(obscure).await.trim().to_owned();

    let line = Line::to(&stack.api().base, bytes / 2).await;
    let mut sync = rclone(&user, &token, &line.url, vendor);
    sync.arg("sync").arg(dir.path()).arg(":webdav:tree");
    run(sync).await;
    // What was on its way of eight files, and the heads of many requests.
    line.assert_resumed(bytes, 40 * MIB);
    let mut check = rclone(&user, &token, &stack.api().base, vendor);
    check
        .args(["check", "--download"])
        .arg(dir.path())
        .arg(":webdav:tree");
    run(check).await;

    // And what went away goes away.
    fs::remove_file(dir.path().join("empty")).unwrap();
    let mut sync = rclone(&user, &token, &stack.api().base, vendor);
    sync.arg("sync").arg(dir.path()).arg(":webdav:tree");
    run(sync).await;
    user.try_stat("/tree/empty").await.problem(404, "not-found");
    user.try_stat("/tree/large ü.bin").await.status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_any_server() {
    syncs("other").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_one_that_speaks_tus() {
    syncs("infinitescale").await;
}
