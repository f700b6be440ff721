//! Single files up and down: instant, conflicts, stdin, what goes where.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use crate::support::{Server, User, content};

#[test]
fn content_goes_up_once_and_comes_back_the_same() {
    let server = Server::start();
    let user = User::at(&server);
    // Around every border: empty, one group, direct, one chunk, several chunks and pieces.
    for (name, len) in [
        ("empty", 0),
        ("byte", 1),
        ("group", 1 << 20),
        ("group1", (1 << 20) + 1),
        ("chunk", 8 << 20),
        ("large", (20 << 20) + 7),
    ] {
        let data = content(name, len);
        user.write(name, &data);
        let mtime = SystemTime::UNIX_EPOCH + Duration::from_millis(1_600_000_000_123);
        fs::File::options()
            .write(true)
            .open(user.path(name))
            .unwrap()
            .set_modified(mtime)
            .unwrap();

        let sent = user.run(&["upload", name, "--json"]).ok();
        assert_eq!(sent.lines()[0]["status"], "uploaded", "{name}");
        assert_eq!(sent.lines()[0]["path"], format!("/{name}"));
        assert_eq!(sent.summary()["bytes_sent"], len, "{name}");

        let again = user.run(&["upload", name, "--to", "/again"]).ok();
        assert!(
            again.text().contains("already on server, 0 B sent"),
            "{}",
            again.text()
        );

        let back = format!("back/{name}");
        let received = user
            .run(&["download", &format!("/{name}"), "back/", "--json"])
            .ok();
        assert_eq!(received.summary()["bytes_received"], len, "{name}");
        assert!(user.read(&back) == data, "{name}");
        assert_eq!(
            fs::metadata(user.path(&back)).unwrap().modified().unwrap(),
            mtime
        );
        let unchanged = user
            .run(&["download", &format!("/{name}"), "back/", "--json"])
            .ok();
        assert_eq!(unchanged.summary()["unchanged"], 1);
        assert_eq!(unchanged.summary()["bytes_received"], 0);
    }
    assert_eq!(
        fs::read_dir(user.path("back")).unwrap().count(),
        6,
        "no partial files are left"
    );
}

#[test]
fn other_accounts_prove_possession_instead_of_sending() {
    let server = Server::start();
    let alice = User::at(&server);
    let bob = User::new();
    for command in ["register", "login"] {
        let args = ["--server", &server.url, command, "bob", "--password-stdin"];
        bob.with_input(&args, "another password").ok();
    }
    for (name, len) in [("small", 5_000), ("large", 20 << 20)] {
        let data = content(name, len);
        alice.write(name, &data);
        bob.write(name, &data);
        alice.run(&["upload", name]).ok();
        let proved = bob.run(&["upload", name, "--json"]).ok().summary();
        assert_eq!(
            (&proved["instant"], &proved["bytes_sent"]),
            (&1.into(), &0.into()),
            "{name}"
        );
    }
}

#[test]
fn a_taken_name_fails_is_replaced_or_evaded() {
    let server = Server::start();
    let user = User::at(&server);
    let cat = |path: &str| user.run(&["cat", path]).ok().text().to_owned();
    user.write("a.txt", "one");
    user.run(&["upload", "a.txt"]).ok();
    user.write("a.txt", "two");
    let failed = user.run(&["upload", "a.txt", "--json"]).fails_with(1);
    assert_eq!(failed.lines()[0]["status"], "failed");
    assert_eq!(failed.lines()[0]["problem"], "name-conflict");
    assert_eq!(failed.summary()["failed"], 1);
    let told = user.run(&["upload", "a.txt"]).fails_with(1).stderr;
    assert!(told.contains("--on-conflict"), "{told}");
    assert_eq!(cat("/a.txt"), "one");

    user.run(&["upload", "a.txt", "--on-conflict", "rename"])
        .ok();
    assert_eq!(
        (cat("/a.txt"), cat("/a (1).txt")),
        ("one".into(), "two".into())
    );
    user.write("a.txt", "three");
    user.run(&["upload", "a.txt", "--on-conflict", "replace"])
        .ok();
    assert_eq!(cat("/a.txt"), "three");
    user.run(&["upload", "a.txt", "--on-conflict", "nonsense"])
        .fails_with(2);
}

#[test]
fn one_failure_does_not_stop_the_others() {
    let server = Server::start();
    let user = User::at(&server);
    user.write("a", "one");
    user.run(&["upload", "a"]).ok();
    user.write("a", "two");
    user.write("b", "b");
    user.write("c", content("c", 9 << 20));
    let ran = user.run(&["upload", "a", "b", "c", "--json"]).fails_with(1);
    assert_eq!(
        (&ran.summary()["files"], &ran.summary()["failed"]),
        (&2.into(), &1.into())
    );
    assert_eq!(user.listing("/"), ["a", "b", "c"]);
}

#[test]
fn stdin_becomes_a_file() {
    let server = Server::start();
    let user = User::at(&server);
    let data = content("stdin", 5_000_000);
    let sent = user
        .with_input(&["upload", "-", "--to", "/logs/today", "--json"], &data)
        .ok();
    assert_eq!(sent.summary()["bytes_sent"], data.len());
    assert!(user.run(&["cat", "/logs/today"]).ok().stdout == data);
    user.with_input(&["upload", "-", "--to", "/logs/today"], "other")
        .fails_with(1);
    let replace = [
        "upload",
        "-",
        "--to",
        "/logs/today",
        "--on-conflict",
        "replace",
    ];
    user.with_input(&replace, "").ok();
    assert_eq!(user.run(&["cat", "/logs/today"]).ok().text(), "");
    user.with_input(&["upload", "-"], "x").fails_with(2);
    user.with_input(&["upload", "-", "--to", "/logs/"], "x")
        .fails_with(2);
    user.write("a", "a");
    user.with_input(&["upload", "-", "a", "--to", "/x"], "x")
        .fails_with(2);
}

#[test]
fn downloads_replace_other_content_only_when_told_to() {
    let server = Server::start();
    let user = User::at(&server);
    user.write("a", "remote");
    user.run(&["upload", "a"]).ok();
    user.write("b", "local, longer than the remote one");
    let failed = user.run(&["download", "/a", "b"]).fails_with(1);
    assert!(failed.stderr.contains("--on-conflict"), "{}", failed.stderr);
    assert_eq!(user.read("b"), b"local, longer than the remote one");
    for status in ["downloaded", "unchanged"] {
        let renamed = user
            .run(&["download", "/a", "b", "--on-conflict", "rename", "--json"])
            .ok();
        assert_eq!(renamed.lines()[0]["status"], status);
        assert_eq!(renamed.lines()[0]["local"], "./b (1)");
    }
    assert_eq!(user.read("b (1)"), b"remote");
    user.run(&["download", "/a", "b", "--on-conflict", "replace"])
        .ok();
    assert_eq!(user.read("b"), b"remote");
    user.run(&["download", "/a", "b"]).ok();
    assert_eq!(
        fs::read_dir(user.dir.path()).unwrap().count(),
        3,
        "no partial files"
    );
    fs::create_dir(user.path("folder")).unwrap();
    user.run(&["download", "/a", "folder"]).ok();
    assert_eq!(user.read("folder/a"), b"remote");
    fs::create_dir_all(user.path("blocked/a")).unwrap();
    user.run(&["download", "/a", "blocked"]).fails_with(1);
    user.run(&["download", "/nothing"]).fails_with(3);
    user.run(&["download", "/a/"]).fails_with(2);
}

#[test]
fn local_files_that_are_not_there() {
    let server = Server::start();
    let user = User::at(&server);
    user.write("there", "x");
    user.run(&["upload", "there", "not-there"]).fails_with(3);
    assert!(user.listing("/").is_empty(), "nothing was begun");
    user.run(&["upload", "there", "--to", "/../x"])
        .fails_with(2);
    user.run(&["upload", "there", "--include", "["])
        .fails_with(2);
}

#[test]
fn quiet_says_nothing_about_success() {
    let server = Server::start();
    let user = User::at(&server);
    user.write("a", "a");
    let ran = user.run(&["-q", "upload", "a"]).ok();
    assert_eq!((ran.text(), ran.stderr.as_str()), ("", ""));
}
