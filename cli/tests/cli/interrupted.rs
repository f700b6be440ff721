//! Killed in the middle, on either side: the same command goes on where it was.

use std::{
    fs,
    process::{Child, Command},
};

use serde_json::Value;

use crate::support::{Ran, Server, User, content, eventually};

const SIZE: usize = 48 << 20;
/// Slow enough to be caught in the middle, one chunk or piece after the other: with several at a
/// time the first would be complete when all are nearly through.
const SLOWLY: [&str; 4] = ["--bwlimit", "8M", "--transfers", "1"];

fn begin_upload(user: &User) -> Child {
    user.write("big", content("interrupted", SIZE));
    let args = ["upload", "big", "--json", "--retries", "20"];
    let child = user.command(&args).args(SLOWLY).spawn().unwrap();
    // At least one chunk is complete on the server.
    eventually(|| {
        let uploads = user.run(&["uploads", "--json"]).ok().lines();
        uploads
            .iter()
            .any(|upload| upload["received"].as_u64() > Some(0))
            .then_some(())
    });
    child
}

fn signal(child: &Child, name: &str) {
    let kill = format!("kill -{name} {}", child.id());
    assert!(
        Command::new("sh")
            .args(["-c", &kill])
            .status()
            .unwrap()
            .success()
    );
}

fn sent(summary: &Value) -> u64 {
    summary["bytes_sent"].as_u64().unwrap()
}

#[test]
fn a_killed_upload_resumes() {
    let server = Server::start();
    let user = User::at(&server);
    let mut child = begin_upload(&user);
    child.kill().unwrap();
    child.wait().unwrap();

    let resumed = user.run(&["upload", "big", "--json"]).ok().summary();
    assert_eq!(resumed["files"], 1);
    assert!(sent(&resumed) < SIZE as u64, "{resumed}");
    user.run(&["verify", "big", "/big"]).ok();
    assert_eq!(user.run(&["uploads"]).ok().text(), "");
    let state = user.home.path().join(".local/state/cloudstore/uploads");
    assert_eq!(fs::read_dir(state).unwrap().count(), 0);
}

#[test]
fn ctrl_c_keeps_what_arrived() {
    let server = Server::start();
    let user = User::at(&server);
    let child = begin_upload(&user);
    signal(&child, "INT");
    let ran = Ran::from(child.wait_with_output().unwrap()).fails_with(130);
    assert!(ran.stderr.contains("interrupted"), "{}", ran.stderr);
    let resumed = user.run(&["upload", "big", "--json"]).ok().summary();
    assert!(sent(&resumed) < SIZE as u64, "{resumed}");
    user.run(&["verify", "big", "/big"]).ok();
}

#[test]
fn an_upload_survives_the_death_of_the_server() {
    let mut server = Server::start();
    let user = User::at(&server);
    let child = begin_upload(&user);
    server.kill_and_restart();
    Ran::from(child.wait_with_output().unwrap()).ok();
    user.run(&["verify", "big", "/big"]).ok();
}

#[test]
fn a_server_that_stays_away_is_a_network_error() {
    let mut server = Server::start();
    let user = User::at(&server);
    user.write("a", "a");
    server.kill();
    let failed = user.run(&["--retries", "1", "upload", "a"]).fails_with(6);
    assert!(failed.stderr.contains("cannot reach"), "{}", failed.stderr);
    user.run(&["--retries", "0", "ls"]).fails_with(6);
}

#[test]
fn a_cancelled_upload_starts_over() {
    let server = Server::start();
    let user = User::at(&server);
    let mut child = begin_upload(&user);
    child.kill().unwrap();
    child.wait().unwrap();
    let upload = user
        .run(&["uploads", "list", "--json"])
        .ok()
        .lines()
        .remove(0);
    user.run(&["uploads", "cancel", upload["id"].as_str().unwrap()])
        .ok();
    assert_eq!(user.run(&["uploads"]).ok().text(), "");
    let again = user.run(&["upload", "big", "--json"]).ok().summary();
    assert_eq!(sent(&again), SIZE as u64);
    user.run(&["verify", "big", "/big"]).ok();
}

#[test]
fn a_file_that_changed_since_is_not_mixed_with_its_old_content() {
    let server = Server::start();
    let user = User::at(&server);
    let mut child = begin_upload(&user);
    child.kill().unwrap();
    child.wait().unwrap();
    let other = content("changed since", SIZE);
    user.write("big", &other);
    user.run(&["upload", "big"]).ok();
    assert!(user.run(&["cat", "/big"]).ok().stdout == other);
}

fn begin_download(user: &User) -> Child {
    user.write("big", content("download", SIZE));
    user.run(&["upload", "big"]).ok();
    fs::remove_file(user.path("big")).unwrap();
    let args = ["download", "/big"];
    let child = user.command(&args).args(SLOWLY).spawn().unwrap();
    eventually(|| {
        user.path(".big.cloudstore-part.json")
            .exists()
            .then_some(())
    });
    child
}

#[test]
fn a_killed_download_resumes() {
    let server = Server::start();
    let user = User::at(&server);
    let mut child = begin_download(&user);
    let second = user.run(&["download", "/big"]).fails_with(1);
    assert!(
        second.stderr.contains("another download"),
        "{}",
        second.stderr
    );
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!user.path("big").exists());

    let resumed = user.run(&["download", "/big", "--json"]).ok().summary();
    assert!(
        resumed["bytes_received"].as_u64() < Some(SIZE as u64),
        "{resumed}"
    );
    assert!(user.read("big") == content("download", SIZE));
    assert_eq!(
        fs::read_dir(user.dir.path()).unwrap().count(),
        1,
        "no partial files are left"
    );
}

#[test]
fn a_partial_file_that_was_damaged_meanwhile_is_fetched_again() {
    let server = Server::start();
    let user = User::at(&server);
    let mut child = begin_download(&user);
    child.kill().unwrap();
    child.wait().unwrap();
    let part = user.path(".big.cloudstore-part");
    let len = fs::metadata(&part).unwrap().len();
    fs::write(&part, vec![0; usize::try_from(len).unwrap()]).unwrap();
    user.run(&["download", "/big"]).ok();
    assert!(user.read("big") == content("download", SIZE));
}
