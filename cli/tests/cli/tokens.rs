//! API tokens: made with the command line, used by it, and never in anybody's log.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{PASSWORD, Ran, Server, User};

/// A token of the user's, and its id.
fn create(user: &User, args: &[&str]) -> (String, String) {
    let command = [&["--json", "tokens", "create"], args].concat();
    let created = user.run(&command).ok().lines().remove(0);
    let text = |name: &str| created[name].as_str().unwrap().to_owned();
    (text("token"), text("id"))
}

/// What a command does with a token in the environment, without any login.
fn with_token(user: &User, server: &Server, token: &str, args: &[&str]) -> Ran {
    let home = tempfile::tempdir().unwrap();
    let args = [&["--server", &server.url], args].concat();
    let mut command = user.command(&args);
    command
        .env("HOME", home.path())
        .env("CLOUDSTORE_TOKEN", token);
    command.output().unwrap().into()
}

#[test]
fn a_token_is_written_once_listed_and_revoked() {
    let server = Server::start();
    let user = User::at(&server);
    let talk = user.run(&["tokens", "create", "--scope", "read"]).ok();
    let token = talk.text().trim().to_owned();
    assert!(token.starts_with("cst_") && token.len() == 47, "{token}");
    assert!(talk.stderr.contains("once") && !talk.stderr.contains(&token));
    let quiet = ["-q", "tokens", "create", "--scope", "full"];
    assert_eq!(user.run(&quiet).ok().stderr, "");
    let named = ["--scope", "upload", "--expires", "30d", "--name", "camera"];
    let (_, id) = create(&user, &named);

    let listed = user.run(&["tokens", "ls", "--json"]).ok();
    assert!(!listed.text().contains("cst_"), "{}", listed.text());
    let listed = listed.lines();
    let names: Vec<_> = listed.iter().map(|token| &token["name"]).collect();
    assert_eq!(names, ["read", "full", "camera"]);
    assert_eq!(
        (&listed[2]["id"], &listed[2]["scope"]),
        (&id.clone().into(), &"upload".into())
    );
    let shown = user.run(&["tokens", "ls"]).ok();
    assert!(shown.text().contains(&id) && shown.text().contains("camera"));

    user.run(&["tokens", "revoke", &id]).ok();
    assert_eq!(user.run(&["--json", "tokens", "ls"]).ok().lines().len(), 2);
    let unknown = "01900000-0000-7000-8000-000000000001";
    let failed = user.run(&["tokens", "revoke", unknown]).fails_with(3);
    assert!(failed.stderr.contains("tokens ls"), "{}", failed.stderr);

    for wrong in [
        &["tokens"][..],
        &["tokens", "create"],
        &["tokens", "create", "--scope", "everything"],
        &["tokens", "create", "--scope", "read", "--expires", "30"],
        &["tokens", "revoke"],
    ] {
        user.run(wrong).fails_with(2);
    }
}

#[test]
fn commands_run_with_a_token_as_far_as_its_scope_goes() {
    let server = Server::start();
    let user = User::at(&server);
    user.write("tree/a.txt", b"content");
    fs::create_dir(user.path("tree/empty")).unwrap();
    let (full, _) = create(&user, &["--scope", "full"]);
    let (upload, _) = create(&user, &["--scope", "upload"]);
    let (read, id) = create(&user, &["--scope", "read"]);

    let send = ["upload", "tree", "--to", "/inbox"];
    with_token(&user, &server, &upload, &send).ok();
    with_token(&user, &server, &upload, &send).ok();
    let refused = with_token(&user, &server, &upload, &["ls", "/inbox"]).fails_with(1);
    assert!(refused.stderr.contains("scope"), "{}", refused.stderr);
    user.write("tree/a.txt", b"changed");
    let replace = [&send[..], &["--on-conflict", "replace"]].concat();
    with_token(&user, &server, &upload, &replace).fails_with(1);

    let fetch = ["download", "/inbox/tree/a.txt", "copy.txt"];
    with_token(&user, &server, &read, &fetch).ok();
    assert_eq!(user.read("copy.txt"), b"content");
    let listed = with_token(&user, &server, &read, &["ls", "-r", "/"]).ok();
    assert!(listed.text().contains("inbox/tree/empty"));
    with_token(&user, &server, &read, &send).fails_with(1);

    with_token(&user, &server, &full, &replace).ok();
    with_token(&user, &server, &full, &["rm", "/inbox/tree/a.txt"]).ok();
    for token in [&full, &upload, &read] {
        let me = with_token(&user, &server, token, &["whoami"]).ok();
        assert!(me.text().contains("alice"));
        with_token(&user, &server, token, &["tokens", "ls"]).fails_with(1);
        with_token(&user, &server, token, &["logout"]).fails_with(1);
    }

    user.run(&["tokens", "revoke", &id]).ok();
    // Starting the command takes longer than any pause would.
    let deadline = Instant::now() + Duration::from_secs(30);
    let refused = loop {
        let ran = with_token(&user, &server, &read, &["ls"]);
        if ran.code != 0 || Instant::now() > deadline {
            break ran.fails_with(4);
        }
    };
    assert!(
        refused.stderr.contains("CLOUDSTORE_TOKEN"),
        "{}",
        refused.stderr
    );
}

#[test]
fn secrets_are_in_no_log() {
    let server = Server::logging("debug");
    let user = User::at(&server);
    let (token, _) = create(&user, &["--scope", "full"]);
    let mut said = String::new();
    user.write("a", b"content");
    for (token, args) in [
        (&*token, &["-vv", "upload", "a", "--to", "/"][..]),
        (&*token, &["-vv", "ls"]),
        (&*token, &["-vv", "tokens", "ls"]),
        (&*token, &["-vv", "ls", "/absent"]),
        (&token[..20], &["-vv", "ls"]),
    ] {
        let ran = with_token(&user, &server, token, args);
        said += ran.text();
        said += &ran.stderr;
    }
    let stored = user.home.path().join(".config/cloudstore/credentials.json");
    let stored: Value = serde_json::from_slice(&fs::read(stored).unwrap()).unwrap();
    let login = &stored["profiles"]["default"];
    let log = server.log();
    assert!(log.contains("answered"), "it logs what it does");
    for secret in [
        &token["cst_".len()..][..16],
        PASSWORD,
        login["access_token"].as_str().unwrap(),
        login["refresh_token"].as_str().unwrap(),
    ] {
        assert!(!log.contains(secret), "the server logs a secret");
        assert!(!said.contains(secret), "the client says a secret");
    }
}
