//! Folders up and down.

use std::{fs, os::unix::fs::symlink};

use crate::support::{Server, User, content, snapshot};

/// A little of everything: 300 small files, one in several chunks, empty things, odd names.
fn plant(user: &User) {
    for n in 0..300 {
        let data = content(&format!("file {n}"), n * 37);
        user.write(&format!("tree/d{}/f{n}.txt", n % 7), data);
    }
    user.write("tree/large.bin", content("large", 18 << 20));
    user.write("tree/spaces and ünïcode/%41?#&+.txt", "odd");
    user.write("tree/-dash", "dash");
    fs::create_dir_all(user.path("tree/empty/inside")).unwrap();
}

#[test]
fn a_tree_comes_back_byte_identical() {
    let server = Server::start();
    let user = User::at(&server);
    plant(&user);
    let files = snapshot(&user.path("tree"))
        .iter()
        .filter(|(name, _)| !name.ends_with('/'))
        .count();

    let sent = user.run(&["upload", "tree", "--to", "/x", "--json"]).ok();
    assert_eq!(sent.summary()["files"], files);
    assert_eq!(sent.summary()["failed"], 0);
    assert_eq!(sent.lines().len(), files + 1);

    let second = user
        .run(&["upload", "tree/", "--to", "/y", "--json"])
        .ok()
        .summary();
    assert_eq!(
        (&second["instant"], &second["bytes_sent"]),
        (&files.into(), &0.into())
    );

    user.run(&["download", "/x/tree", "out"]).ok();
    assert!(snapshot(&user.path("out/tree")) == snapshot(&user.path("tree")));
    user.run(&["download", "/y/", "contents"]).ok();
    assert!(snapshot(&user.path("contents")) == snapshot(&user.path("tree")));
    let unchanged = user
        .run(&["download", "/x/tree", "out", "--json"])
        .ok()
        .summary();
    assert_eq!(
        (&unchanged["unchanged"], &unchanged["bytes_received"]),
        (&files.into(), &0.into())
    );
    user.run(&["verify", "out/tree", "/x/tree"]).ok();
}

#[test]
fn patterns_choose_and_dry_runs_only_tell() {
    let server = Server::start();
    let user = User::at(&server);
    for name in [
        "src/main.rs",
        "src/deep/lib.rs",
        "target/main.o",
        "notes.md",
        ".git/config",
    ] {
        user.write(&format!("p/{name}"), name);
    }
    let planned = user
        .run(&["upload", "p", "--dry-run", "--exclude", ".git", "--json"])
        .ok();
    assert_eq!(planned.lines().len(), 4);
    assert!(user.listing("/").is_empty());

    user.run(&["upload", "p", "--exclude", ".git", "--exclude", "/target"])
        .ok();
    assert_eq!(
        user.listing("/"),
        [
            "p/",
            "p/notes.md",
            "p/src/",
            "p/src/deep/",
            "p/src/deep/lib.rs",
            "p/src/main.rs"
        ]
    );
    user.run(&["upload", "p/", "--to", "/rust", "--include", "*.rs"])
        .ok();
    assert_eq!(
        user.listing("/rust"),
        ["src/", "src/deep/", "src/deep/lib.rs", "src/main.rs"]
    );
}

#[test]
fn links_are_skipped_unless_asked_for() {
    let server = Server::start();
    let user = User::at(&server);
    user.write("t/file", "content");
    symlink("file", user.path("t/link")).unwrap();
    symlink(".", user.path("t/loop")).unwrap();
    let ran = user.run(&["upload", "t"]).ok();
    assert!(ran.stderr.contains("symbolic link"), "{}", ran.stderr);
    assert_eq!(user.listing("/t"), ["file"]);
    user.run(&["upload", "t/", "--to", "/f", "--follow-symlinks"])
        .ok();
    assert_eq!(user.listing("/f"), ["file", "link"]);
}

#[test]
fn downloads_never_leave_their_folder() {
    let server = Server::start();
    let user = User::at(&server);
    user.write("t/sub/file", "content");
    user.run(&["upload", "t"]).ok();
    fs::create_dir_all(user.path("outside")).unwrap();
    fs::create_dir_all(user.path("out/t")).unwrap();
    symlink(user.path("outside"), user.path("out/t/sub")).unwrap();
    user.run(&["download", "/t", "out"]).fails_with(1);
    assert_eq!(fs::read_dir(user.path("outside")).unwrap().count(), 0);
}
