//! `ls`, `mkdir`, `mv`, `cp`, `rm`, `cat`, `stat`, `uploads`, `verify`.

use std::os::unix::ffi::OsStrExt as _;

use crate::support::{Server, User, content};

#[test]
fn folders_and_names() {
    let server = Server::start();
    let user = User::at(&server);
    user.run(&["mkdir", "/a"]).ok();
    user.run(&["mkdir", "/a"]).fails_with(1);
    user.run(&["mkdir", "-p", "/a"]).ok();
    user.run(&["mkdir", "/x/y/z"]).fails_with(3);
    user.run(&["mkdir", "-p", "/x/y/z"]).ok();
    user.run(&["mkdir", "/.."]).fails_with(2);

    user.write("grüße €.txt", "hello");
    user.run(&["upload", "grüße €.txt", "--to", "/x/y"]).ok();
    assert_eq!(
        user.listing("/"),
        ["a/", "x/", "x/y/", "x/y/grüße €.txt", "x/y/z/"]
    );
    user.run(&["mv", "/x/y", "/a/"]).ok();
    assert_eq!(user.listing("/a"), ["y/", "y/grüße €.txt", "y/z/"]);
    user.run(&["mv", "/a/y/grüße €.txt", "/plain"]).ok();
    user.run(&["mv", "/nothing", "/else"]).fails_with(3);
    user.run(&["mv", "/plain", "/a"]).fails_with(1);

    user.run(&["cp", "/a", "/copy"]).ok();
    user.run(&["cp", "/plain", "/copy/"]).ok();
    assert_eq!(user.listing("/copy"), ["plain", "y/", "y/z/"]);
    user.run(&["cp", "/plain", "/copy/"]).fails_with(1);
    user.run(&["cp", "/a", "/a/below"]).fails_with(1);
    user.run(&["cp", "/nothing", "/else"]).fails_with(3);
    user.run(&["cp", "/plain", "/nowhere/x"]).fails_with(3);
    let renamed = user.run(&[
        "cp",
        "/plain",
        "/plain",
        "--on-conflict",
        "rename",
        "--json",
    ]);
    assert_eq!(renamed.ok().lines()[0]["path"], "/plain (1)");
    user.run(&["cp", "/plain", "/copy/y", "--on-conflict", "replace"])
        .ok();
    assert_eq!(user.listing("/copy"), ["plain", "y"]);
    assert_eq!(user.run(&["cat", "/copy/y"]).ok().text(), "hello");
    user.run(&["rm", "-r", "/copy", "/plain (1)"]).ok();

    let long = user.run(&["ls", "-l", "/plain"]).ok();
    assert!(long.text().contains("5 B"), "{}", long.text());
    let entries = user.run(&["ls", "--json"]).ok().lines();
    assert_eq!(
        entries
            .iter()
            .filter(|entry| entry["kind"] == "folder")
            .count(),
        2
    );
    user.run(&["ls", "/nothing"]).fails_with(3);

    user.run(&["rm", "/a"]).fails_with(1);
    user.run(&["rm", "/nothing"]).fails_with(3);
    user.run(&["rm", "-r", "/a", "/plain", "/x"]).ok();
    assert!(user.listing("/").is_empty());
}

#[test]
fn reading_metadata_and_content() {
    let server = Server::start();
    let user = User::at(&server);
    let data = content("cat", 3_000_000);
    user.write("data.bin", &data);
    user.run(&["upload", "data.bin"]).ok();

    assert!(user.run(&["cat", "/data.bin"]).ok().stdout == data);
    let range = |range: &str| {
        user.run(&["cat", "/data.bin", "--range", range])
            .ok()
            .stdout
    };
    assert!(range("0-0") == data[..1]);
    assert!(range("1048570-1048580") == data[1_048_570..=1_048_580]);
    assert!(range("2999999-") == data[2_999_999..]);
    assert!(range("-10") == data[2_999_990..]);
    user.run(&["cat", "/data.bin", "--range", "3000000-"])
        .fails_with(1);
    user.run(&["cat", "/data.bin", "--range", "nonsense"])
        .fails_with(2);
    user.run(&["cat", "/nothing"]).fails_with(3);
    user.run(&["cat", "/"]).fails_with(1);
    user.run(&["mkdir", "/folder"]).ok();
    user.run(&["cat", "/folder"]).fails_with(1);

    let stat = user
        .run(&["stat", "/data.bin", "--json"])
        .ok()
        .lines()
        .remove(0);
    assert_eq!(stat["size"], 3_000_000);
    assert_eq!(stat["blake3"], blake3::hash(&data).to_hex().as_str());
    assert!(
        user.run(&["stat", "/data.bin"])
            .ok()
            .text()
            .contains("2.86 MiB")
    );
    assert_eq!(
        user.run(&["stat", "/", "--json"]).ok().lines()[0]["kind"],
        "folder"
    );
    user.run(&["stat", "/nothing"]).fails_with(3);
}

#[test]
fn verify_tells_same_from_different_and_missing() {
    let server = Server::start();
    let user = User::at(&server);
    user.write("tree/a", "a");
    user.write("tree/sub/b", "b");
    user.run(&["upload", "tree"]).ok();
    user.run(&["verify", "tree", "/tree"]).ok();
    user.run(&["verify", "tree/a", "/tree/a"]).ok();

    user.write("tree/new", "n");
    let missing = user
        .run(&["verify", "tree", "/tree", "--json"])
        .fails_with(1);
    assert_eq!(missing.summary()["only_here"], 1);
    user.write("tree/sub/b", "x");
    let different = user
        .run(&["verify", "tree", "/tree", "--json"])
        .fails_with(5);
    assert_eq!(different.summary()["different"], 1);
    assert_eq!(different.summary()["same"], 1);
    user.run(&["verify", "tree/sub/b", "/tree/sub/b"])
        .fails_with(5);
    let odd = std::ffi::OsStr::from_bytes(b"tree/odd\xff");
    std::fs::write(user.dir.path().join(odd), "odd").unwrap();
    let odd = user
        .run(&["verify", "tree", "/tree", "--json"])
        .fails_with(5);
    let summary = odd.summary();
    let counts = ["same", "different", "only_here", "failed"].map(|name| summary[name].as_u64());
    assert_eq!(counts, [Some(1); 4], "the others were compared");
    let told = user.run(&["verify", "tree", "/tree"]).fails_with(5);
    assert!(told.stderr.contains("cannot verify"), "{}", told.stderr);
    assert!(told.text().contains("1 failed"), "{}", told.text());
    user.run(&["verify", "tree", "/nothing"]).fails_with(3);
    user.run(&["verify", "nothing", "/tree"]).fails_with(3);
    user.run(&["verify", "tree", "/tree/a"]).fails_with(1);
}

#[test]
fn unknown_uploads_cannot_be_cancelled() {
    let server = Server::start();
    let user = User::at(&server);
    assert_eq!(user.run(&["uploads"]).ok().text(), "");
    assert_eq!(user.run(&["uploads", "list", "--json"]).ok().text(), "");
    let unknown = "01900000-0000-7000-8000-000000000000";
    user.run(&["uploads", "cancel", unknown]).fails_with(3);
}

#[test]
fn what_was_deleted_is_listed_and_restored() {
    let server = Server::start();
    let user = User::at(&server);
    user.write("tree/a.txt", b"content");
    user.write("tree/b.txt", b"other");
    user.run(&["upload", "tree", "--to", "/"]).ok();
    assert!(user.run(&["trash"]).ok().stderr.contains("empty"));

    user.run(&["rm", "/tree/a.txt"]).ok();
    user.run(&["rm", "-r", "/tree"]).ok();
    let listed = user.run(&["--json", "trash", "ls"]).ok().lines();
    let paths: Vec<_> = listed.iter().map(|one| &one["path"]).collect();
    assert_eq!(paths, ["/tree", "/tree/a.txt"]);
    let shown = user.run(&["trash"]).ok();
    assert!(shown.text().contains("/tree/\n"), "{}", shown.text());

    let restored = user.run(&["restore", "/tree"]).ok();
    assert!(restored.text().contains("restored /tree"));
    assert_eq!(user.run(&["cat", "/tree/b.txt"]).ok().text(), "other");
    let id = listed[1]["id"].as_str().unwrap();
    let elsewhere = user
        .run(&["--json", "restore", id, "--to", "/x/y.txt"])
        .ok();
    assert_eq!(elsewhere.lines()[0]["path"], "/x/y.txt");
    assert_eq!(user.run(&["cat", "/x/y.txt"]).ok().text(), "content");
    let absent = user.run(&["restore", "/tree", id]).fails_with(3);
    assert!(
        absent.stderr.contains("cloudstore trash"),
        "{}",
        absent.stderr
    );

    user.run(&["rm", "/x/y.txt"]).ok();
    user.write("y.txt", b"new");
    user.run(&["upload", "y.txt", "--to", "/x"]).ok();
    user.run(&["restore", "/x/y.txt"]).fails_with(1);
    user.run(&["restore", "/x/y.txt", "--rename"]).ok();
    assert_eq!(user.run(&["cat", "/x/y (1).txt"]).ok().text(), "content");

    user.run(&["rm", "--permanent", "/x/y.txt"]).ok();
    user.run(&["rm", "-r", "/x", "/tree"]).ok();
    let left = user.run(&["--json", "trash"]).ok().lines();
    assert_eq!(left.len(), 2);
    let id = left[0]["id"].as_str().unwrap();
    user.run(&["trash", "rm", id]).ok();
    user.run(&["trash", "rm", id]).fails_with(3);
    user.run(&["trash", "empty"]).ok();
    assert!(user.run(&["--json", "trash"]).ok().lines().is_empty());
    for wrong in [
        &["restore"][..],
        &["restore", "/a", "/b", "--to", "/c"],
        &["trash", "rm"],
    ] {
        user.run(wrong).fails_with(2);
    }
}
