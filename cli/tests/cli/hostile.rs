//! Against servers that lie, break off or never end.

use std::{
    fs,
    io::{self, Write as _},
    net::TcpStream,
    os::unix::{ffi::OsStrExt as _, net::UnixListener},
};

use serde_json::{Value, json};

use crate::{
    fake::{Asked, Fake, account, answer, file, folder, head, problem, upload},
    support::{User, content},
};

/// What a liar does not send more of.
const ENOUGH: usize = 256 << 20;

fn hex(data: &[u8]) -> String {
    blake3::hash(data).to_hex().to_string()
}

/// Accepts every upload of `/a` and answers with `created` and then with `done`.
fn liar(created: Value, done: Value) -> Fake {
    Fake::start(move |asked, stream| {
        let path = asked.path.as_str();
        match (asked.method.as_str(), path) {
            (_, "/api/v1/me") => answer(stream, 200, &account()),
            ("DELETE", _) => head(stream, 204, &[]),
            (_, "/api/v1/uploads/batch") => answer(stream, 200, &json!({ "results": [created] })),
            (_, "/api/v1/uploads") => answer(stream, 201, &created),
            ("PUT", path) if path.starts_with("/api/v1/content/") => answer(stream, 201, &done),
            ("PUT", _) => head(stream, 204, &["Content-Length: 0"]),
            _ => answer(stream, 201, &json!({ "file": done })),
        }
    })
}

#[test]
fn a_server_is_not_believed_to_have_what_it_says() {
    let (good, other) = (hex(b"hello"), "1".repeat(64));
    let instant = |file: Value| json!({ "status": "instant", "file": file });
    let (sent, direct) = (upload("/a", 5), json!({ "status": "direct" }));
    let honest = file("/a", 5, &good);
    for (created, done, code) in [
        (instant(honest.clone()), Value::Null, 0),
        (instant(file("/a", 5, &other)), Value::Null, 5),
        (instant(file("/a", 6, &good)), Value::Null, 5),
        (sent.clone(), honest.clone(), 0),
        (sent.clone(), file("/a", 5, &other), 5),
        (sent, file("/a", 6, &good), 5),
        (direct.clone(), honest, 0),
        (direct.clone(), file("/a", 5, &other), 5),
        (direct, file("/a", 6, &good), 5),
    ] {
        let user = User::new();
        user.write("a", "hello");
        let server = liar(created.clone(), done.clone());
        let ran = server.run(&user, &["upload", "a", "--json"]);
        assert_eq!(ran.code, code, "{created} {done}\n{}", ran.stderr);
        assert_eq!(ran.summary()["failed"], u64::from(code != 0));
    }
}

#[test]
fn an_upload_that_was_completed_with_other_content_starts_over() {
    let (good, other) = (hex(b"hello"), "1".repeat(64));
    let server =
        Fake::start(
            move |asked, stream| match (asked.method.as_str(), asked.path.as_str()) {
                (_, "/api/v1/me") => answer(stream, 200, &account()),
                (_, "/api/v1/uploads/batch") => {
                    let results = json!({ "results": [upload("/a", 5)] });
                    answer(stream, 200, &results)
                }
                (_, "/api/v1/uploads") => {
                    let created = json!({ "status": "instant", "file": file("/a", 5, &good) });
                    answer(stream, 201, &created)
                }
                ("GET", _) => {
                    let state = json!({ "status": "completed", "file": file("/a", 5, &other) });
                    answer(stream, 200, &state)
                }
                ("PUT", _) => head(stream, 204, &["Content-Length: 0"]),
                _ => answer(stream, 503, &problem("unavailable", 503, "later")),
            },
        );
    let user = User::new();
    user.write("a", "hello");
    let upload = ["--retries", "0", "upload", "a", "--json"];
    server.run(&user, &upload).fails_with(6);
    let again = server.run(&user, &upload).ok();
    assert_eq!(again.lines()[0]["blake3"], hex(b"hello"));
}

#[test]
fn an_answer_without_end_is_cut_off() {
    for status in [200, 404] {
        let server = Fake::start(move |_, stream| {
            head(stream, status, &["Content-Type: application/json"])?;
            stream.write_all(b"{\"kind\":\"")?;
            let block = vec![b'x'; 1 << 20];
            (0..ENOUGH / block.len()).try_for_each(|_| stream.write_all(&block))
        });
        let ran = server.run(&User::new(), &["ls", "/"]).fails_with(1);
        assert!(ran.stderr.contains("it is longer than"), "{}", ran.stderr);
    }
}

#[test]
fn an_answer_of_very_many_values_is_not_taken_apart() {
    let body = format!("{{\"kind\":\"file\",\"a\":[{}0]}}", "0,".repeat(2 << 20));
    let server = Fake::start(move |_, stream| {
        let length = format!("Content-Length: {}", body.len());
        head(stream, 200, &["Content-Type: application/json", &length])?;
        stream.write_all(body.as_bytes())
    });
    let ran = server.run(&User::new(), &["ls", "/"]).fails_with(1);
    assert!(ran.stderr.contains("values"), "{}", ran.stderr);
}

#[test]
fn folders_without_end_are_refused() {
    type Listing = fn(&str) -> Value;
    let endless: [(Listing, &str); 5] = [
        (
            |path| folder(path, Some(&[]), Some("same")),
            "repeats its pages",
        ),
        (
            |path| folder(path, Some(&[folder("/x", None, None)]), None),
            "elsewhere",
        ),
        (
            |path| folder(path, Some(&[file("/other/a", 1, "00")]), None),
            "elsewhere",
        ),
        (
            |path| {
                folder(
                    path,
                    Some(&[folder(&format!("{path}/d"), None, None)]),
                    None,
                )
            },
            "too deep",
        ),
        (
            |path| {
                let child = folder(&format!("{path}/d"), None, None);
                folder(path, Some(&[child.clone(), child]), None)
            },
            "in it twice",
        ),
    ];
    for (listing, why) in endless {
        let server = Fake::start(move |asked, stream| {
            let path = asked.path.strip_prefix("/api/v1/files").unwrap();
            answer(stream, 200, &listing(path))
        });
        for command in [&["ls", "-r", "/x"][..], &["download", "/x"]] {
            let ran = server.run(&User::new(), command).fails_with(1);
            assert!(ran.stderr.contains(why), "{why}: {}", ran.stderr);
        }
    }
    let server = Fake::start(|_, stream| answer(stream, 200, &folder("/", Some(&[]), Some("c"))));
    server.run(&User::new(), &["ls"]).fails_with(1);
}

#[test]
fn an_answer_about_something_else_is_refused() {
    let server = Fake::start(|_, stream| answer(stream, 200, &file("/../../evil", 1, "00")));
    let user = User::new();
    for command in ["download", "stat", "ls"] {
        let ran = server.run(&user, &[command, "/x"]).fails_with(1);
        assert!(ran.stderr.contains("/../../evil"), "{}", ran.stderr);
    }
    assert_eq!(fs::read_dir(user.dir.path()).unwrap().count(), 0);
}

#[test]
fn no_text_of_a_server_reaches_the_terminal_raw() {
    let name = "/x/a\u{1b}]0;title\u{7}\r\n\u{9b}2J\u{202e}fdp";
    let server = Fake::start(move |asked, stream| {
        if asked.path.ends_with("/bad") {
            let detail = "\u{1b}[31mred\ncloudstore: all is well\u{202e}";
            return answer(stream, 409, &problem("busy-not", 409, detail));
        }
        answer(
            stream,
            200,
            &folder("/x", Some(&[file(name, 1, "00")]), None),
        )
    });
    let user = User::new();
    let raw = |text: &str| {
        text.trim_end_matches('\n')
            .contains(|c: char| c.is_control() || c == '\u{202e}')
    };
    for args in [&["ls", "/x"][..], &["ls", "-lr", "/x"]] {
        let listed = server.run(&user, args).ok();
        assert!(!raw(listed.text()), "{:?}", listed.text());
    }
    let refused = server.run(&user, &["ls", "/bad"]).fails_with(1);
    assert!(!raw(&refused.stderr), "{:?}", refused.stderr);
    assert!(refused.stderr.contains("\\u{1b}[31mred\\ncloudstore"));
    // Programs get the text itself.
    let refused = server.run(&user, &["ls", "/bad", "--json"]).fails_with(1);
    let error: Value = serde_json::from_str(&refused.stderr).unwrap();
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .ends_with("all is well\u{202e}")
    );
    let listed = server.run(&user, &["ls", "/x", "--json"]).ok();
    assert_eq!(listed.lines()[0]["path"], name);
}

#[test]
fn a_size_that_cannot_be_is_told_as_such() {
    for size in [(1 << 44) + 1, 1 << 63, u64::MAX] {
        let server =
            Fake::start(move |_, stream| answer(stream, 200, &file("/x", size, &hex(b""))));
        let user = User::new();
        let ran = server.run(&user, &["download", "/x"]).fails_with(1);
        assert!(
            ran.stderr.contains("too large for a file"),
            "{}",
            ran.stderr
        );
        assert_eq!(fs::read_dir(user.dir.path()).unwrap().count(), 0);
    }
}

const SIZE: usize = 3_000_000;
/// Sent before a connection breaks.
const SOME: usize = 1_000_001;

/// Sends what is asked for of `data`, but never more than `most` bytes at a time.
fn content_in_parts(
    asked: &Asked,
    stream: &mut TcpStream,
    data: &[u8],
    most: usize,
) -> io::Result<()> {
    let etag = format!("ETag: \"{}\"", hex(data));
    let (first, last) = match asked.header("range") {
        None => (0, data.len() - 1),
        Some(range) => {
            let range = range.strip_prefix("bytes=").unwrap();
            let (first, last) = range.split_once('-').unwrap();
            (first.parse().unwrap(), last.parse().unwrap())
        }
    };
    let part = &data[first..=last];
    let length = format!("Content-Length: {}", part.len());
    let range = format!("Content-Range: bytes {first}-{last}/{}", data.len());
    match asked.header("range") {
        None => head(stream, 200, &[&etag, &length])?,
        Some(_) => head(stream, 206, &[&etag, &length, &range])?,
    }
    stream.write_all(&part[..part.len().min(most)])
}

#[test]
fn cat_goes_on_where_the_connection_broke() {
    let data = content("broken", SIZE);
    let served = data.clone();
    let server = Fake::start(move |asked, stream| content_in_parts(asked, stream, &served, SOME));
    let user = User::new();
    assert!(server.run(&user, &["cat", "/x"]).ok().stdout == data);
    let asked = server.asked();
    let ranges = asked
        .iter()
        .map(|asked| asked.header("range"))
        .collect::<Vec<_>>();
    let expected = [
        None,
        Some("bytes=1000001-2999999"),
        Some("bytes=2000002-2999999"),
    ];
    assert_eq!(ranges, expected);
    let etag = format!("\"{}\"", hex(&data));
    assert!(
        asked[1..]
            .iter()
            .all(|asked| asked.header("if-match") == Some(&etag))
    );
    let some = server
        .run(&user, &["cat", "/x", "--range", "500000-2500000"])
        .ok();
    assert!(some.stdout == data[500_000..=2_500_000]);
}

#[test]
fn cat_never_mixes_and_never_tries_for_ever() {
    let data = content("changing", SIZE);
    let changed = {
        let data = data.clone();
        Fake::start(move |asked, stream| match asked.header("if-match") {
            Some(_) => answer(stream, 412, &problem("precondition-failed", 412, "changed")),
            None => content_in_parts(asked, stream, &data, SOME),
        })
    };
    let user = User::new();
    let ran = changed.run(&user, &["cat", "/x"]).fails_with(1);
    assert!(ran.stdout == data[..SOME]);
    assert!(
        ran.stderr.contains("changed on the server"),
        "{}",
        ran.stderr
    );

    // The rest from the wrong place is not written.
    let shifted = {
        let data = data.clone();
        Fake::start(move |asked, stream| match asked.header("range") {
            None => content_in_parts(asked, stream, &data, SOME),
            Some(_) => {
                let range = "Content-Range: bytes 0-2999999/3000000";
                head(stream, 206, &[range, "Content-Length: 3000000"])?;
                stream.write_all(&data)
            }
        })
    };
    let ran = shifted.run(&user, &["cat", "/x"]).fails_with(1);
    assert!(ran.stdout == data[..SOME]);

    // Nothing of the rest ever comes.
    let stuck = {
        let data = data.clone();
        Fake::start(move |asked, stream| {
            let most = if asked.header("range").is_none() {
                SOME
            } else {
                0
            };
            content_in_parts(asked, stream, &data, most)
        })
    };
    let ran = stuck
        .run(&user, &["--retries", "2", "cat", "/x"])
        .fails_with(6);
    assert!(ran.stdout == data[..SOME]);
    assert_eq!(stuck.asked().len(), 3);
}

#[test]
fn what_is_not_a_file_is_never_replaced() {
    let data = b"content";
    let server = Fake::start(|asked, stream| {
        if asked.path.starts_with("/api/v1/files") {
            let size = data.len() as u64;
            answer(stream, 200, &file("/x", size, &hex(data)))
        } else {
            content_in_parts(asked, stream, data, usize::MAX)
        }
    });
    let user = User::new();
    let mkfifo = std::process::Command::new("mkfifo")
        .arg(user.path("pipe"))
        .status();
    assert!(mkfifo.unwrap().success());
    let _listener = UnixListener::bind(user.path("socket")).unwrap();
    std::os::unix::fs::symlink("/dev/null", user.path("device")).unwrap();
    for target in ["pipe", "socket", "device"] {
        let before = fs::symlink_metadata(user.path(target)).unwrap().file_type();
        for policy in ["fail", "replace", "rename"] {
            let args = ["download", "/x", target, "--on-conflict", policy];
            let ran = server.run(&user, &args).fails_with(1);
            assert!(ran.stderr.contains("cloudstore cat"), "{}", ran.stderr);
        }
        let after = fs::symlink_metadata(user.path(target)).unwrap().file_type();
        assert_eq!(before, after, "{target}");
    }
    assert_eq!(
        fs::read_dir(user.dir.path()).unwrap().count(),
        3,
        "no partial files"
    );
    assert!(
        server
            .asked()
            .iter()
            .all(|asked| asked.path == "/api/v1/files/x"),
        "nothing was fetched"
    );
}

#[test]
fn a_state_directory_that_cannot_be_is_named() {
    let server = liar(Value::Null, Value::Null);
    let user = User::new();
    user.write("a", "a");
    user.write("file", "in the way");
    let in_the_way = user.path("file").join("below");
    for dir in [std::path::Path::new("/proc/no-such-place"), &in_the_way] {
        let mut command = user.command(&["--server", &server.url, "upload", "a"]);
        command
            .env("CLOUDSTORE_TOKEN", "token")
            .env("XDG_STATE_HOME", dir);
        let ran = crate::support::Ran::from(command.output().unwrap()).fails_with(1);
        let dir = std::str::from_utf8(dir.as_os_str().as_bytes()).unwrap();
        for part in [dir, "XDG_STATE_HOME"] {
            assert!(ran.stderr.contains(part), "{}", ran.stderr);
        }
    }
}
