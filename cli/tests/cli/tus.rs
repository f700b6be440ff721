//! `--protocol tus` against a cloudstore server: what goes up is what was there, whatever happens on
//! the way.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    process::Child,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
};

use crate::support::{Ran, Server, User, content, eventually, snapshot};

const SIZE: usize = 48 << 20;
/// Slow enough to be caught in the middle.
const RATE: &str = "24M";

fn args<'a>(endpoint: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    let tus = [
        "--server",
        endpoint,
        "upload",
        "--protocol",
        "tus",
        "--json",
    ];
    [&tus[..], rest].concat()
}

fn endpoint(server: &Server) -> String {
    format!("{}/files/", server.url)
}

fn hash(data: &[u8]) -> String {
    blake3::hash(data).to_hex().to_string()
}

/// The file on the server is this one.
#[track_caller]
fn holds(user: &User, path: &str, data: &[u8]) {
    let there = user.run(&["cat", path]).ok().stdout;
    assert_eq!(hash(&there), hash(data), "{path}");
}

/// A way to a server that breaks off once after so many bytes of requests.
struct Cutter {
    url: String,
    passed: Arc<AtomicU64>,
}

impl Cutter {
    fn start(server: &Server, after: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let to = server.url.strip_prefix("http://").unwrap().to_owned();
        let passed = Arc::new(AtomicU64::new(0));
        let cut = Arc::new(AtomicBool::new(false));
        let count = passed.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, to) = (client?, to.clone());
                let (count, cut) = (count.clone(), cut.clone());
                let server = TcpStream::connect(to)?;
                let (back, mut here) = (server.try_clone()?, client.try_clone()?);
                thread::spawn(move || {
                    let mut back = back;
                    // Ends when either side does.
                    let _ = io::copy(&mut back, &mut here);
                    let _ = here.shutdown(Shutdown::Both);
                });
                thread::spawn(move || pass(client, server, after, &count, &cut));
            }
            io::Result::Ok(())
        });
        Self { url, passed }
    }
}

fn pass(
    mut from: TcpStream,
    mut to: TcpStream,
    after: u64,
    count: &AtomicU64,
    cut: &AtomicBool,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let len = from.read(&mut buffer)?;
        let passed = count.fetch_add(len as u64, SeqCst) + len as u64;
        if len == 0 || (passed > after && !cut.swap(true, SeqCst)) {
            let _ = from.shutdown(Shutdown::Both);
            return to.shutdown(Shutdown::Both);
        }
        to.write_all(&buffer[..len])?;
    }
}

#[test]
fn a_tree_arrives_as_it_is() {
    let server = Server::start();
    let user = User::at(&server);
    for (name, len) in [
        ("top/empty", 0),
        ("top/byte", 1),
        ("top/grün ✓, a=b.txt", 5_000),
        ("top/deep/er/one-trip", 1 << 20),
        ("top/deep/er/two-trips", (1 << 20) + 1),
        ("top/deep/part", 8 << 20),
        ("top/deep/parts", (20 << 20) + 7),
        ("top/left-out.o", 3),
    ] {
        user.write(name, content(name, len));
    }
    fs::create_dir(user.path("top/nothing")).unwrap();
    let url = endpoint(&server);
    let rest = [
        "top",
        "--to",
        "/docs",
        "--exclude",
        "*.o",
        "--transfers",
        "3",
    ];

    let planned = user
        .run(&[&args(&url, &rest)[..], &["--dry-run"]].concat())
        .ok();
    assert_eq!(planned.lines().len(), 7);
    assert!(
        planned.stderr.contains("empty folder"),
        "{}",
        planned.stderr
    );
    assert!(user.listing("/").is_empty(), "nothing was sent");

    let sent = user.run(&args(&url, &rest)).ok();
    let summary = sent.summary();
    assert_eq!(
        (&summary["files"], &summary["skipped"], &summary["failed"]),
        (&7.into(), &1.into(), &0.into())
    );
    assert_eq!(summary["bytes_sent"], summary["bytes"]);
    for line in sent.lines().iter().filter(|line| line["type"] == "file") {
        let local = fs::read(line["local"].as_str().unwrap()).unwrap();
        assert_eq!(line["status"], "uploaded");
        assert_eq!(line["size"], local.len());
        assert_eq!(line["blake3"], hash(&local));
        assert!(line["path"].as_str().unwrap().starts_with("/docs/top/"));
        assert!(line["url"].as_str().unwrap().starts_with(&url));
    }
    user.run(&["download", "/docs/top", "back"]).ok();
    fs::remove_file(user.path("top/left-out.o")).unwrap();
    fs::remove_dir(user.path("top/nothing")).unwrap();
    assert!(snapshot(&user.path("top")) == snapshot(&user.path("back/top")));
    let state = user.home.path().join(".local/state/cloudstore/uploads");
    assert_eq!(fs::read_dir(state).unwrap().count(), 0);
}

#[test]
fn people_are_told_the_address() {
    let server = Server::start();
    let user = User::at(&server);
    user.write("a.txt", "hello");
    // Without --server it is the server of the login.
    let sent = user.run(&["upload", "a.txt", "--protocol", "tus"]).ok();
    let expected = format!("a.txt -> {}", endpoint(&server));
    assert!(sent.text().contains(&expected), "{}", sent.text());
    holds(&user, "/a.txt", b"hello");
}

fn begin(user: &User, url: &str) -> Child {
    user.write("big", content("tus", SIZE));
    let rest = ["big", "--bwlimit", RATE, "--retries", "20"];
    let child = user.command(&args(url, &rest)).spawn().unwrap();
    // Something is kept on the server.
    eventually(|| {
        let uploads = user.run(&["uploads", "--json"]).ok().lines();
        let received = uploads.first().and_then(|it| it["received"].as_u64());
        (received > Some(0)).then_some(())
    });
    child
}

#[test]
fn a_killed_upload_resumes() {
    let server = Server::start();
    let user = User::at(&server);
    let url = endpoint(&server);
    let mut child = begin(&user, &url);
    child.kill().unwrap();
    child.wait().unwrap();
    let resumed = user.run(&args(&url, &["big"])).ok();
    let sent = resumed.summary()["bytes_sent"].as_u64().unwrap();
    assert!(sent > 0 && sent < SIZE as u64, "{sent}");
    let data = content("tus", SIZE);
    assert_eq!(resumed.lines()[0]["blake3"], hash(&data));
    holds(&user, "/big", &data);
    assert_eq!(user.listing("/"), ["big"], "there is one");
    assert_eq!(user.run(&["uploads"]).ok().text(), "");
    let state = user.home.path().join(".local/state/cloudstore/uploads");
    assert_eq!(fs::read_dir(state).unwrap().count(), 0);
}

#[test]
fn a_file_that_changed_since_or_an_upload_that_is_gone_starts_over() {
    let server = Server::start();
    let user = User::at(&server);
    let url = endpoint(&server);
    let mut child = begin(&user, &url);
    child.kill().unwrap();
    child.wait().unwrap();
    let upload = user.run(&["uploads", "--json"]).ok().lines().remove(0);
    let id = upload["id"].as_str().unwrap();
    user.run(&["uploads", "cancel", id]).ok();
    let again = user.run(&args(&url, &["big"])).ok().summary();
    assert_eq!(again["bytes_sent"], SIZE);
    holds(&user, "/big", &content("tus", SIZE));

    user.run(&["rm", "/big"]).ok();
    let mut child = begin(&user, &url);
    child.kill().unwrap();
    child.wait().unwrap();
    let other = content("changed", SIZE);
    user.write("big", &other);
    let again = user.run(&args(&url, &["big"])).ok().summary();
    assert_eq!(again["bytes_sent"], SIZE);
    holds(&user, "/big", &other);
}

#[test]
fn a_broken_connection_costs_what_was_on_the_way() {
    let server = Server::start();
    let user = User::at(&server);
    user.write("big", content("cut", SIZE));
    // The login is of another address; a token works at any.
    let token = user.run(&["tokens", "create", "--scope", "full"]).ok();
    let token = token.text().trim().to_owned();
    let send = |cutter: &Cutter, rest: &[&str], input: &[u8]| -> Ran {
        let url = format!("{}/files/", cutter.url);
        let mut command = user.command(&args(&url, rest));
        let command = command.env("CLOUDSTORE_TOKEN", &token);
        let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || drop(stdin.write_all(input)));
            child.wait_with_output().unwrap().into()
        })
    };
    for after in [10 << 20, 41 << 20] {
        let cutter = Cutter::start(&server, after);
        send(&cutter, &["big", "--to", "/cut"], b"").ok();
        let passed = cutter.passed.load(SeqCst);
        let most = SIZE as u64 + (9 << 20);
        assert!(passed > SIZE as u64 && passed < most, "{passed}");
        holds(&user, "/cut/big", &content("cut", SIZE));
        user.run(&["rm", "-r", "/cut"]).ok();
    }
    let cutter = Cutter::start(&server, 12 << 20);
    let data = content("cut stdin", 20 << 20);
    send(&cutter, &["-", "--to", "/piped"], &data).ok();
    holds(&user, "/piped", &data);
}

#[test]
fn an_upload_survives_the_death_of_the_server() {
    let mut server = Server::start();
    let user = User::at(&server);
    let child = begin(&user, &endpoint(&server));
    server.kill_and_restart();
    Ran::from(child.wait_with_output().unwrap()).ok();
    holds(&user, "/big", &content("tus", SIZE));
}

#[test]
fn stdin_of_every_length() {
    let server = Server::start();
    let user = User::at(&server);
    let url = endpoint(&server);
    for len in [0, 5, 8 << 20, (20 << 20) + 7] {
        let data = content("tus stdin", len);
        let to = format!("/in/{len}");
        let sent = user
            .with_input(&args(&url, &["-", "--to", &to]), &data)
            .ok();
        assert_eq!(sent.lines()[0]["local"], "-");
        assert_eq!(sent.lines()[0]["blake3"], hash(&data));
        assert_eq!(sent.summary()["bytes_sent"], len);
        holds(&user, &to, &data);
    }
    user.with_input(&args(&url, &["-"]), "x").fails_with(2);
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_sent() {
    let server = Server::start();
    let user = User::at(&server);
    user.write("a", "a");
    let url = endpoint(&server);
    for policy in ["fail", "replace", "rename"] {
        let rest = ["a", "--on-conflict", policy];
        let wrong = user.run(&args(&url, &rest)).fails_with(2);
        assert!(wrong.stderr.contains("--protocol tus"), "{}", wrong.stderr);
        let rest = ["a", "--on-conflict", policy, "--dry-run"];
        user.run(&args(&url, &rest)).fails_with(2);
    }
    user.run(&args("ftp://host/", &["a"])).fails_with(2);
    user.run(&args("http://user:secret@host/", &["a"]))
        .fails_with(2);
    user.run(&["upload", "a", "--protocol", "nonsense"])
        .fails_with(2);
    user.run(&args(&url, &["not-there"])).fails_with(3);
    // Not where uploads are created: nothing at all, and the web app.
    for (path, exit) in [("/nowhere/", 3), ("/", 1)] {
        let wrong = format!("{}{path}", server.url);
        let wrong = user.run(&args(&wrong, &["a"])).fails_with(exit);
        assert!(wrong.stderr.contains("/files/"), "{}", wrong.stderr);
    }
    assert!(user.listing("/").is_empty());
    let stranger = User::new();
    stranger.write("a", "a");
    let refused = stranger.run(&args(&url, &["a"])).fails_with(4);
    assert!(
        refused.stderr.contains("CLOUDSTORE_TOKEN"),
        "{}",
        refused.stderr
    );
    let gone = server.url.clone();
    drop(server);
    let rest = ["a", "--retries", "0"];
    user.run(&args(&gone, &rest)).fails_with(6);
}
