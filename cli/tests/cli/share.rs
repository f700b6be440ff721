//! Shares: made, listed and ended with the command line.

use crate::support::{Server, User};

#[test]
fn a_share_is_written_once_listed_and_revoked() {
    let server = Server::start();
    let user = User::at(&server);
    user.write("tree/a.txt", b"content");
    user.run(&["upload", "tree", "--to", "/"]).ok();

    let talk = user.run(&["share", "create", "/tree/a.txt"]).ok();
    let url = talk.text().trim().to_owned();
    let token = url.strip_prefix(&format!("{}/s/", server.url)).unwrap();
    assert!(token.starts_with("css_") && token.len() == 47, "{url}");
    assert!(talk.stderr.contains("once") && !talk.stderr.contains(token));
    let quiet = user.run(&["-q", "share", "create", "/tree"]).ok();
    assert_eq!(quiet.stderr, "");

    let limited = [
        "--expires",
        "7d",
        "--max-downloads",
        "3",
        "--password-stdin",
    ];
    let command = [&["--json", "share", "create", "tree"][..], &limited].concat();
    let created = user.with_input(&command, "a good password\n").ok();
    let created = created.lines().remove(0);
    assert_eq!(created["path"], "/tree");
    assert_eq!(created["kind"], "folder");
    assert_eq!(created["max_downloads"], 3);
    assert_eq!(created["has_password"], true);
    assert!(created["expires_at"].is_string());
    let id = created["id"].as_str().unwrap();

    let listed = user.run(&["share", "ls", "--json"]).ok();
    assert!(!listed.text().contains("css_"), "{}", listed.text());
    let listed = listed.lines();
    let paths: Vec<_> = listed.iter().map(|share| &share["path"]).collect();
    assert_eq!(paths, ["/tree/a.txt", "/tree", "/tree"]);
    let shown = user.run(&["share", "ls"]).ok();
    assert!(shown.text().contains(id) && shown.text().contains("0 of 3 downloads"));

    user.run(&["share", "revoke", id]).ok();
    assert_eq!(user.run(&["--json", "share", "ls"]).ok().lines().len(), 2);
    let failed = user.run(&["share", "revoke", id]).fails_with(3);
    assert!(failed.stderr.contains("share ls"), "{}", failed.stderr);
    user.run(&["share", "create", "/absent"]).fails_with(3);
    let short = ["share", "create", "/tree", "--password-stdin"];
    user.with_input(&short, "short\n").fails_with(1);

    for wrong in [
        &["share"][..],
        &["share", "create"],
        &["share", "create", "/tree", "--expires", "7"],
        &["share", "create", "/tree", "--max-downloads", "0"],
        &[
            "share",
            "create",
            "/tree",
            "--max-downloads",
            "1",
            "--uploads",
        ],
        &["share", "create", "/../tree"],
        &["share", "revoke"],
    ] {
        user.run(wrong).fails_with(2);
    }
}
