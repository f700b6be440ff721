//! `register`, `login`, `logout`, `whoami`, profiles, tokens, and the exit codes around them.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _};

use serde_json::Value;

use crate::support::{PASSWORD, Server, User};

#[test]
fn an_account_from_registration_to_logout() {
    let server = Server::start();
    let user = User::new();
    user.run(&["whoami"]).fails_with(4);

    let at = ["--server", &server.url, "--json"];
    let register = [&at[..], &["register", "alice", "--password-stdin"]].concat();
    let account = user.with_input(&register, PASSWORD).ok().lines().remove(0);
    assert_eq!(account["username"], "alice");
    let again = user.with_input(&register, PASSWORD).fails_with(1);
    let error: Value = serde_json::from_str(again.stderr.trim()).unwrap();
    assert_eq!(error["exit"], 1);
    assert_eq!(error["problem"]["type"], "/problems/name-taken");

    let login = [&at[..], &["login", "alice", "--password-stdin"]].concat();
    let refused = user.with_input(&login, "a wrong password").fails_with(4);
    assert!(!refused.stderr.contains("a wrong password"));
    user.with_input(&login, PASSWORD).ok();

    let stored = user.home.path().join(".config/cloudstore/credentials.json");
    assert_eq!(
        fs::metadata(&stored).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(!fs::read_to_string(&stored).unwrap().contains(PASSWORD));

    let me = user.run(&["whoami", "--json"]).ok().lines().remove(0);
    assert_eq!(me["id"], account["id"]);
    assert!(user.run(&["whoami"]).ok().text().contains("alice"));

    user.run(&["logout"]).ok();
    user.run(&["whoami"]).fails_with(4);
    user.run(&["logout"]).fails_with(4);
}

#[test]
fn logins_are_listed_and_ended() {
    let server = Server::start();
    let user = User::at(&server);
    let command = ["--server", &server.url, "--profile", "second", "login"];
    let login = [&command[..], &["alice", "--password-stdin"]].concat();
    user.with_input(&login, PASSWORD).ok();
    let listed = user.run(&["--json", "sessions"]).ok().lines();
    assert_eq!(listed.len(), 2);
    let client = listed[0]["client"].as_str().unwrap();
    assert!(client.starts_with("cloudstore/"), "{client}");
    let other = listed.iter().find(|one| one["current"] == false).unwrap();
    let id = other["id"].as_str().unwrap();
    assert!(
        user.run(&["sessions", "ls"])
            .ok()
            .text()
            .contains("this one")
    );
    user.run(&["sessions", "revoke", id]).ok();
    user.run(&["--profile", "second", "whoami"]).fails_with(4);
    user.run(&["whoami"]).ok();
    user.run(&["sessions", "revoke", "x"]).fails_with(3);
    user.run(&["sessions", "revoke"]).fails_with(2);
}

#[test]
fn logging_out_everywhere_ends_every_session() {
    let server = Server::start();
    let user = User::at(&server);
    let login = [
        "--server",
        &server.url,
        "--profile",
        "second",
        "login",
        "alice",
        "--password-stdin",
    ];
    user.with_input(&login, PASSWORD).ok();
    user.run(&["--profile", "second", "whoami"]).ok();
    user.run(&["logout", "--all"]).ok();
    user.run(&["whoami"]).fails_with(4);
    let other = user.run(&["--profile", "second", "logout", "--all"]);
    assert_eq!(other.code, 4, "{}", other.stderr);
}

#[test]
fn a_token_in_the_environment_wins() {
    let server = Server::start();
    let user = User::at(&server);
    let stored = user.home.path().join(".config/cloudstore/credentials.json");
    let stored: Value = serde_json::from_slice(&fs::read(stored).unwrap()).unwrap();
    let token = stored["profiles"]["default"]["access_token"]
        .as_str()
        .unwrap();

    let stranger = User::new();
    let run = |token: &str| {
        let mut command = stranger.command(&["--server", &server.url, "whoami"]);
        command
            .env("CLOUDSTORE_TOKEN", token)
            .output()
            .unwrap()
            .status
            .code()
    };
    assert_eq!(run(token), Some(0));
    assert_eq!(run("nonsense"), Some(4));
}

#[test]
fn an_expired_token_is_refreshed_once_for_all() {
    let server = Server::start();
    let user = User::at(&server);
    let path = user.home.path().join(".config/cloudstore/credentials.json");
    let text = fs::read_to_string(&path).unwrap();
    let mut stored: Value = serde_json::from_str(&text).unwrap();
    // Not accepted by the server, and expired by this machine's clock in the second round.
    for expires_at_ms in [i64::MAX, 0] {
        let login = &mut stored["profiles"]["default"];
        login["access_token"] = "not.a.token".into();
        login["expires_at_ms"] = expires_at_ms.into();
        fs::write(&path, stored.to_string()).unwrap();
        // A refresh token can be used once: these commands must share the one refresh.
        let children = [(); 4].map(|()| user.command(&["whoami"]).spawn().unwrap());
        for child in children {
            assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
        }
        stored = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    }
}

#[test]
fn tokens_go_to_no_other_server() {
    let server = Server::start();
    let user = User::at(&server);
    let other = Server::start();
    user.run(&["--server", &other.url, "whoami"]).fails_with(4);
}

#[test]
fn exit_codes_tell_usage_from_network() {
    let user = User::new();
    user.run(&["no-such-command"]).fails_with(2);
    user.run(&["--server", "not a url", "login", "a", "--password-stdin"])
        .fails_with(2);
    user.run(&["login", "alice"]).fails_with(2);
    user.with_input(&["login", "alice", "--password-stdin"], "")
        .fails_with(2);
    user.run(&["upload"]).fails_with(2);
    user.run(&["--help"]).ok();

    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{closed}");
    let login = [
        "--server",
        &url,
        "--retries",
        "1",
        "login",
        "alice",
        "--password-stdin",
    ];
    let failed = user.with_input(&login, PASSWORD).fails_with(6);
    assert!(failed.stderr.contains("cannot reach"), "{}", failed.stderr);
}

#[test]
fn completions_for_every_shell() {
    let user = User::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            user.run(&["completions", shell])
                .ok()
                .text()
                .contains("upload")
        );
    }
    user.run(&["completions", "no-such-shell"]).fails_with(2);
}
