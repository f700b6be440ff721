//! `--protocol tus` against servers of others: with few abilities, with bad luck, and with lies.

use std::{
    io::{self, Write as _},
    net::TcpStream,
    sync::{Arc, Mutex},
};

use crate::{
    fake::{Asked, Fake, head},
    support::{Ran, Server, User, content},
};

const ALL: &str = "creation,creation-with-upload,creation-defer-length,checksum,termination";

/// One upload of a simple server that keeps what it gets.
#[derive(Default)]
struct Kept {
    data: Vec<u8>,
    creations: usize,
}

type State = Arc<Mutex<Kept>>;

/// What an honest server does, with a relative Location.
fn honest(
    extensions: &str,
    state: &State,
    asked: &Asked,
    stream: &mut TcpStream,
) -> io::Result<()> {
    let mut kept = state.lock().unwrap();
    let empty = "Content-Length: 0";
    match asked.method.as_str() {
        "OPTIONS" => {
            let extensions = format!("Tus-Extension: {extensions}");
            head(stream, 204, &["Tus-Version: 1.0.0", &extensions])
        }
        "POST" => {
            kept.creations += 1;
            kept.data = asked.body.clone();
            let offset = format!("Upload-Offset: {}", kept.data.len());
            let location = format!("Location: it/{}", kept.creations);
            head(stream, 201, &[&location, &offset, empty])
        }
        "HEAD" => {
            let offset = format!("Upload-Offset: {}", kept.data.len());
            head(stream, 200, &[&offset])
        }
        "PATCH" => {
            let at = asked.header("upload-offset").unwrap();
            if at != kept.data.len().to_string() {
                return head(stream, 409, &[empty]);
            }
            kept.data.extend_from_slice(&asked.body);
            let offset = format!("Upload-Offset: {}", kept.data.len());
            head(stream, 204, &[&offset])
        }
        _ => head(stream, 204, &[]),
    }
}

/// A server that is honest unless `twist` answers; that gets the number of earlier requests with
/// the same method.
fn server(
    extensions: &'static str,
    twist: impl Fn(&Asked, usize, &State, &mut TcpStream) -> Option<io::Result<()>>
    + Send
    + Sync
    + 'static,
) -> (Fake, State) {
    let state = State::default();
    let (kept, seen) = (state.clone(), Mutex::new(Vec::<String>::new()));
    let fake = Fake::start(move |asked, stream| {
        let earlier = {
            let mut seen = seen.lock().unwrap();
            let earlier = seen.iter().filter(|it| **it == asked.method).count();
            seen.push(asked.method.clone());
            earlier
        };
        match twist(asked, earlier, &kept, stream) {
            Some(answered) => answered,
            None => honest(extensions, &kept, asked, stream),
        }
    });
    (fake, state)
}

/// Uploads to it, with no credentials.
fn upload(fake: &Fake, user: &User, rest: &[&str]) -> Ran {
    let url = format!("{}/tus/", fake.url);
    let tus = [
        "--server",
        &url,
        "--retries",
        "3",
        "upload",
        "--protocol",
        "tus",
        "--json",
    ];
    user.run(&[&tus[..], rest].concat())
}

fn methods(fake: &Fake) -> Vec<String> {
    fake.asked().into_iter().map(|asked| asked.method).collect()
}

fn count(fake: &Fake, method: &str) -> usize {
    methods(fake).iter().filter(|it| *it == method).count()
}

fn with_file(len: usize) -> (User, Vec<u8>) {
    let user = User::new();
    let data = content("foreign", len);
    user.write("a.txt", &data);
    (user, data)
}

#[test]
fn a_server_that_only_knows_the_core_will_do() {
    for status in [405, 404, 500] {
        let (fake, state) = server("", move |asked, _, _, stream| {
            (asked.method == "OPTIONS").then(|| head(stream, status, &["Content-Length: 0"]))
        });
        let (user, data) = with_file(3 << 20);
        let sent = upload(&fake, &user, &["a.txt", "--to", "/x", "--retries", "1"]).ok();
        let url = format!("{}/tus/it/1", fake.url);
        assert_eq!(sent.lines()[0]["url"], url, "relative to the endpoint");
        assert!(state.lock().unwrap().data == data);
        let asked = fake.asked();
        let create = asked.iter().find(|it| it.method == "POST").unwrap();
        assert_eq!(create.path, "/tus/");
        assert_eq!(create.header("content-length"), Some("0"));
        assert_eq!(create.header("upload-length"), Some("3145728"));
        // a.txt, text/plain, x/a.txt
        let metadata = create.header("upload-metadata").unwrap();
        for pair in [
            "filename YS50eHQ=",
            "filetype dGV4dC9wbGFpbg==",
            "relativePath eC9hLnR4dA==",
        ] {
            assert!(metadata.split(',').any(|it| it == pair), "{metadata}");
        }
        for it in &asked {
            assert_eq!(it.header("authorization"), None);
            let version = (it.method != "OPTIONS").then_some("1.0.0");
            assert_eq!(it.header("tus-resumable"), version);
        }
        assert_eq!(asked.iter().filter(|it| it.method == "PATCH").count(), 1);
    }
}

#[test]
fn abilities_are_used_when_they_are_announced() {
    let (fake, state) = server(ALL, |_, _, _, _| None);
    let (user, data) = with_file(1 << 20);
    upload(&fake, &user, &["a.txt"]).ok();
    assert_eq!(methods(&fake), ["OPTIONS", "POST"], "one trip");
    assert!(fake.asked()[1].header("upload-checksum").is_some());
    assert!(state.lock().unwrap().data == data);

    let (fake, state) = server(ALL, |_, _, _, _| None);
    let (user, data) = with_file((16 << 20) + 1);
    upload(&fake, &user, &["a.txt"]).ok();
    let asked = fake.asked();
    let parts = asked.iter().filter(|it| it.method == "PATCH");
    let lens = parts.map(|it| it.body.len()).collect::<Vec<_>>();
    assert_eq!(lens, [8 << 20, 8 << 20, 1]);
    assert!(
        asked[2]
            .header("upload-checksum")
            .unwrap()
            .starts_with("sha1 ")
    );
    assert!(state.lock().unwrap().data == data);
}

#[test]
fn a_server_that_cannot_take_it_gets_nothing() {
    let answers: [(&'static [&'static str], &str); 3] = [
        (&["Tus-Version: 0.2.2", "Tus-Extension: creation"], "0.2.2"),
        (
            &["Tus-Version: 1.0.0", "Tus-Extension: checksum"],
            "creation",
        ),
        (
            &[
                "Tus-Version: 1.0.0",
                "Tus-Extension: creation",
                "Tus-Max-Size: 9",
            ],
            "at most",
        ),
    ];
    for (headers, why) in answers {
        let (fake, _) = server("", move |asked, _, _, stream| {
            (asked.method == "OPTIONS").then(|| head(stream, 200, headers))
        });
        let (user, _) = with_file(10);
        let failed = upload(&fake, &user, &["a.txt"]).fails_with(1);
        let told = format!("{}{}", failed.text(), failed.stderr);
        assert!(told.contains(why), "{told}");
        assert_eq!(methods(&fake), ["OPTIONS"]);
    }
}

#[test]
fn bad_luck_is_survived() {
    type Twist = fn(&Asked, usize, &State, &mut TcpStream) -> Option<io::Result<()>>;
    let twists: [(&str, Twist); 9] = [
        ("busy", |asked, earlier, _, stream| {
            (asked.method == "PATCH" && earlier < 2).then(|| head(stream, 423, &[]))
        }),
        ("overloaded", |asked, earlier, _, stream| {
            let wait = &["Retry-After: 0", "Content-Length: 0"];
            (asked.method != "OPTIONS" && earlier == 0).then(|| head(stream, 503, wait))
        }),
        ("damaged", |asked, earlier, _, stream| {
            (asked.method == "PATCH" && earlier < 2).then(|| head(stream, 460, &[]))
        }),
        ("gone", |asked, earlier, _, stream| {
            (asked.method == "PATCH" && earlier == 0).then(|| head(stream, 410, &[]))
        }),
        ("no offset told", |asked, _, state, stream| {
            (asked.method == "PATCH").then(|| {
                state.lock().unwrap().data.extend_from_slice(&asked.body);
                head(stream, 204, &[])
            })
        }),
        ("lost some", |asked, earlier, state, stream| {
            (asked.method == "PATCH" && earlier == 0).then(|| {
                let part = &asked.body[..asked.body.len() / 2];
                state.lock().unwrap().data.extend_from_slice(part);
                head(stream, 204, &["Upload-Offset: 0"])
            })
        }),
        ("cut off", |asked, earlier, state, _| {
            (asked.method == "PATCH" && earlier < 3).then(|| {
                let part = &asked.body[..asked.body.len() / 3];
                state.lock().unwrap().data.extend_from_slice(part);
                Ok(())
            })
        }),
        ("too long", |asked, _, _, stream| {
            let long = asked.body.len() > 256 << 10;
            long.then(|| head(stream, 413, &["Content-Length: 0"]))
        }),
        ("long ones break", |asked, _, _, _| {
            let long = asked.method == "PATCH" && asked.body.len() > 4 << 20;
            long.then_some(Ok(()))
        }),
    ];
    for (name, twist) in twists {
        for extensions in ["creation", ALL] {
            let (fake, state) = server(extensions, twist);
            let (user, data) = with_file((9 << 20) + 5);
            let sent = upload(&fake, &user, &["a.txt"]).ok();
            let blake3 = blake3::hash(&data).to_hex().to_string();
            assert_eq!(sent.lines()[0]["blake3"], blake3, "{name}");
            assert!(state.lock().unwrap().data == data, "{name} {extensions}");
        }
    }
}

#[test]
fn short_requests_are_learnt_once_for_all_files() {
    const MOST: usize = 256 << 10;
    let (fake, _) = server("creation,creation-with-upload", |asked, _, _, stream| {
        let long = asked.body.len() > MOST;
        long.then(|| head(stream, 413, &["Content-Length: 0"]))
    });
    let (user, data) = with_file(9 << 20);
    user.write("b.txt", &data[..800_000]);
    user.write("c.txt", &data[..800_000]);
    let rest = ["a.txt", "b.txt", "c.txt", "--transfers", "1"];
    upload(&fake, &user, &rest).ok();
    let asked = fake.asked();
    let refused = asked.iter().filter(|it| it.body.len() > MOST).count();
    assert_eq!(refused, 6, "9 MiB, 8, 4, 2, 1 and a half");

    let (fake, state) = server("creation,creation-with-upload,creation-defer-length", {
        |asked, _, _, stream| {
            let long = asked.body.len() > MOST;
            long.then(|| head(stream, 413, &["Content-Length: 0"]))
        }
    });
    let (user, data) = with_file(9 << 20);
    user.write("b.txt", &data[..800_000]);
    upload(&fake, &user, &["b.txt"]).ok();
    assert!(state.lock().unwrap().data == data[..800_000]);
    let url = format!("{}/tus/", fake.url);
    let tus = ["--server", &url, "upload", "--protocol", "tus"];
    let piped = [&tus[..], &["-", "--to", "/x"]].concat();
    user.with_input(&piped, &data).ok();
    assert!(state.lock().unwrap().data == data);
}

#[test]
fn what_does_not_get_better_ends() {
    // Method, status, exit code, most requests of that method.
    for (method, status, exit, most) in [
        ("PATCH", 423, 1, 4),
        ("PATCH", 409, 1, 4),
        ("PATCH", 460, 5, 3),
        ("PATCH", 404, 1, 3),
        ("PATCH", 400, 1, 1),
        ("PATCH", 401, 4, 1),
        ("PATCH", 503, 6, 4),
        ("POST", 404, 3, 1),
        ("POST", 405, 1, 1),
        ("POST", 302, 1, 1),
        ("POST", 413, 1, 1),
        ("POST", 401, 4, 1),
    ] {
        let (fake, _) = server(ALL, move |asked, _, _, stream| {
            (asked.method == method).then(|| head(stream, status, &["Content-Length: 0"]))
        });
        let (user, _) = with_file(2 << 20);
        let failed = upload(&fake, &user, &["a.txt"]);
        assert_eq!(failed.code, exit, "{method} {status}: {}", failed.stderr);
        let asked = count(&fake, method);
        assert!(asked <= most, "{method} {status}: asked {asked} times");
        assert!(count(&fake, "POST") <= 3);
    }
}

#[test]
fn lies_are_not_believed() {
    type Twist = fn(&Asked, &mut TcpStream) -> Option<io::Result<()>>;
    let twists: [(&str, Twist); 6] = [
        ("more than was sent", |asked, stream| {
            let more = &["Upload-Offset: 99999999"];
            (asked.method == "PATCH").then(|| head(stream, 204, more))
        }),
        ("more than was sent, asked", |asked, stream| {
            match asked.method.as_str() {
                "PATCH" => Some(head(stream, 204, &[])),
                "HEAD" => Some(head(stream, 200, &["Upload-Offset: 99999999"])),
                _ => None,
            }
        }),
        ("something before anything", |asked, stream| {
            let headers = &["Location: /x", "Upload-Offset: 1", "Content-Length: 0"];
            (asked.method == "POST").then(|| head(stream, 201, headers))
        }),
        ("never anything", |asked, stream| {
            let nothing = &["Upload-Offset: 0"];
            (asked.method == "PATCH").then(|| head(stream, 204, nothing))
        }),
        ("no number", |asked, stream| {
            let nothing = &["Upload-Offset: banana"];
            ["PATCH", "HEAD"]
                .contains(&asked.method.as_str())
                .then(|| head(stream, 204, nothing))
        }),
        ("a number twice", |asked, stream| {
            let nothing = &["Upload-Offset: 5", "Upload-Offset: 2097152"];
            ["PATCH", "HEAD"]
                .contains(&asked.method.as_str())
                .then(|| head(stream, 204, nothing))
        }),
    ];
    for (name, twist) in twists {
        let (fake, _) = server("creation,termination", move |asked, _, _, stream| {
            twist(asked, stream)
        });
        let (user, _) = with_file(2 << 20);
        let failed = upload(&fake, &user, &["a.txt"]).fails_with(1);
        assert_eq!(failed.summary()["failed"], 1, "{name}");
        assert!(count(&fake, "PATCH") <= 4, "{name}");
    }
    for location in [
        "",
        "ftp://host/x",
        "http://user:secret@host/x",
        "http://[nonsense",
    ] {
        let location = format!("Location: {location}");
        let (fake, _) = server("creation", move |asked, _, _, stream| {
            let headers = [location.as_str(), "Content-Length: 0"];
            (asked.method == "POST").then(|| head(stream, 201, &headers))
        });
        let (user, _) = with_file(10);
        user.write("b.txt", "b");
        upload(&fake, &user, &["a.txt", "b.txt", "--transfers", "1"]).fails_with(1);
        assert_eq!(
            count(&fake, "POST"),
            1,
            "it would be the same for every file"
        );
    }
    let noise = Fake::start(|_, stream| stream.write_all(b"SSH-2.0-noise\r\n"));
    let (user, _) = with_file(10);
    upload(&noise, &user, &["a.txt", "--retries", "1"]).fails_with(6);
}

#[test]
fn what_was_sent_is_known_in_the_next_run() {
    // The server goes away in the middle, then the upload does.
    for (gone, from) in [(false, 1 << 20), (true, 0)] {
        let (fake, state) = server("creation", move |asked, earlier, state, stream| {
            match (asked.method.as_str(), earlier) {
                ("PATCH", 0) => {
                    let part = &asked.body[..1 << 20];
                    state.lock().unwrap().data.extend_from_slice(part);
                    Some(head(
                        stream,
                        503,
                        &["Retry-After: 3600", "Content-Length: 0"],
                    ))
                }
                ("HEAD", _) if gone => Some(head(stream, 404, &[])),
                _ => None,
            }
        });
        let (user, data) = with_file(3 << 20);
        upload(&fake, &user, &["a.txt"]).fails_with(6);
        let again = upload(&fake, &user, &["a.txt"]).ok();
        assert_eq!(again.summary()["bytes_sent"], data.len() - from);
        assert_eq!(count(&fake, "POST"), 1 + usize::from(gone));
        assert!(state.lock().unwrap().data == data);
    }
}

#[test]
fn an_upload_that_expired_is_not_asked_for() {
    let (fake, _) = server("creation", |asked, _, _, stream| {
        let past = "Upload-Expires: Sun, 06 Nov 1994 08:49:37 GMT";
        match asked.method.as_str() {
            "POST" => Some(head(
                stream,
                201,
                &["Location: /x", past, "Content-Length: 0"],
            )),
            "PATCH" => Some(head(
                stream,
                503,
                &["Retry-After: 3600", "Content-Length: 0"],
            )),
            _ => None,
        }
    });
    let (user, _) = with_file(10);
    upload(&fake, &user, &["a.txt"]).fails_with(6);
    upload(&fake, &user, &["a.txt"]).fails_with(6);
    assert_eq!(count(&fake, "POST"), 2);
    assert_eq!(count(&fake, "HEAD"), 0);
}

#[test]
fn credentials_stay_with_the_server_they_are_for() {
    let (there, _) = server("creation", |_, _, _, _| None);
    let location = format!("Location: {}/elsewhere", there.url);
    let (here, _) = server("creation", move |asked, _, _, stream| {
        let headers = [location.as_str(), "Content-Length: 0"];
        (asked.method == "POST").then(|| head(stream, 201, &headers))
    });
    let (user, _) = with_file(10);
    here.run(&user, &["upload", "a.txt", "--protocol", "tus"])
        .ok();
    for asked in here.asked() {
        assert_eq!(asked.header("authorization"), Some("Bearer token"));
    }
    assert_eq!(methods(&there), ["PATCH"]);
    assert_eq!(there.asked()[0].header("authorization"), None);

    // A stored login is for its own server.
    let ours = Server::start();
    let user = User::at(&ours);
    user.write("a.txt", "hello");
    let (other, _) = server("creation", |_, _, _, _| None);
    upload(&other, &user, &["a.txt"]).ok();
    for asked in other.asked() {
        assert_eq!(asked.header("authorization"), None);
        assert_eq!(asked.header("cloudstore-position"), None);
    }
}

#[test]
fn stdin_needs_a_server_that_waits_for_the_length() {
    let data = content("foreign stdin", 9 << 20);
    let send = |fake: &Fake, data: &[u8]| {
        let url = format!("{}/tus/", fake.url);
        let tus = ["--server", &url, "upload", "--protocol", "tus", "--json"];
        User::new().with_input(&[&tus[..], &["-", "--to", "/x"]].concat(), data)
    };
    let (fake, state) = server("creation", |_, _, _, _| None);
    send(&fake, &data[..1000]).ok();
    assert!(
        state.lock().unwrap().data == data[..1000],
        "the length is known"
    );
    let (fake, _) = server("creation", |_, _, _, _| None);
    let failed = send(&fake, &data).fails_with(1);
    assert!(
        failed.stderr.contains("creation-defer-length"),
        "{}",
        failed.stderr
    );
    assert_eq!(methods(&fake), ["OPTIONS"]);

    for extensions in [ALL, "creation,creation-defer-length,termination"] {
        let (fake, state) = server(extensions, |asked, earlier, _, stream| {
            (asked.method == "PATCH" && earlier == 1).then(|| head(stream, 503, &[]))
        });
        send(&fake, &data).ok();
        assert!(state.lock().unwrap().data == data);
        let asked = fake.asked();
        assert_eq!(asked[1].header("upload-defer-length"), Some("1"));
        assert_eq!(asked[1].header("upload-length"), None);
        let last = asked.last().unwrap();
        assert_eq!(last.header("upload-length"), Some("9437184"));
    }
    // Nothing follows a part that is full, but the length is not told yet.
    let (fake, state) = server("creation,creation-defer-length", |_, _, _, _| None);
    send(&fake, &data[..8 << 20]).ok();
    assert!(state.lock().unwrap().data == data[..8 << 20]);
    let last = fake.asked().pop().unwrap();
    assert_eq!(last.header("upload-length"), Some("8388608"));
    assert_eq!(last.header("content-length"), Some("0"));
    // What cannot be finished is removed.
    let (fake, _) = server(ALL, |asked, _, _, stream| {
        (asked.method == "PATCH").then(|| head(stream, 400, &[]))
    });
    send(&fake, &data).fails_with(1);
    assert_eq!(methods(&fake).last().unwrap(), "DELETE");
}
