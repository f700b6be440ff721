//! Folders and selections as zip archives, unpacked by somebody else's code.

use std::{collections::BTreeMap, io::Write as _, process::Command};

use cloudstore_proto::{
    convert::parse_rfc3339,
    http::{MAX_BATCH, shares::CreatedShare},
};
use futures::StreamExt as _;
use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, CutOff, Local, TestStack, User, encode, send, try_send};

const MIB: usize = 1 << 20;
const ARCHIVE: &str = "/api/v1/archive";

/// Prints every entry: name, size, hash of its content, modification time. `zipfile` compares the CRC
/// of each with its content.
const LIST: &str = "
import hashlib, json, struct, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as z:
    assert len(set(z.namelist())) == len(z.namelist())
    found = {}
    for i in z.infolist():
        assert i.flag_bits & 0x800 and i.compress_type == 0, i
        id, n, flags, modified = struct.unpack('<HHBi', i.extra[:9])
        assert (id, n, flags) == (0x5455, 5, 1), i.extra
        digest = hashlib.sha256()
        with z.open(i) as f:
            while piece := f.read(1 << 20): digest.update(piece)
        found[i.filename] = (i.file_size, digest.hexdigest(), modified)
    print(json.dumps(found))
";

/// Size, SHA-256 and seconds since 1970 for each name.
type Entries = BTreeMap<String, (usize, String, i64)>;

/// What another program finds in an archive, or what it says about it.
fn try_unpack(archive: &[u8]) -> Result<Entries, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(archive).unwrap();
    let mut python = Command::new("python3");
    let output = python.arg("-c").arg(LIST).arg(file.path()).output();
    let output = output.unwrap();
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[track_caller]
fn unpack(answer: Answer) -> Entries {
    let answer = answer.status(200);
    assert_eq!(answer.header("content-type"), "application/zip");
    try_unpack(&answer.body).unwrap()
}

#[track_caller]
fn assert_entries(found: &Entries, expected: &[(&str, &[u8])]) {
    let hash = |content: &[u8]| {
        use sha2::Digest as _;
        hex::encode(sha2::Sha256::digest(content))
    };
    let found: Vec<_> = found
        .iter()
        .map(|(name, (size, hash, _))| (name.clone(), *size, hash.clone()))
        .collect();
    let mut expected: Vec<_> = expected
        .iter()
        .map(|(name, content)| ((*name).to_owned(), content.len(), hash(content)))
        .collect();
    expected.sort();
    assert_eq!(found, expected);
}

async fn archive(user: &User, path: &str) -> Answer {
    user.get(&format!("{ARCHIVE}{}", encode(path))).await
}

async fn selection(user: &User, paths: &[&str]) -> Answer {
    user.post(ARCHIVE, &json!({ "paths": paths })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_as_an_archive() {
    let (_stack, user) = TestStack::with_user().await;
    let large = user.content("large", 5 * MIB + 17);
    let group = user.content("group", MIB);
    let medium = user.content("medium", 300_000);
    let tree: [(&str, &[u8]); 7] = [
        ("/docs/large.bin", &large),
        ("/docs/grüße 日本 🦀.txt", b"unicode"),
        ("/docs/empty", b""),
        ("/docs/a/b/c/deep.txt", b"deep"),
        ("/docs/a/medium", &medium),
        ("/docs/a/one group", &group),
        ("/docs/back\\slash", b"windows"),
    ];
    for (path, content) in tree {
        user.put(path, content).await;
    }
    user.mkdirs("/docs/nothing in it").await.status(201);
    user.put("/not in it", b"not").await;
    let mtime = "2001-02-03T04:05:06Z";
    let path = format!("/api/v1/content/docs/old?mtime={mtime}");
    let old = user.request(Method::PUT, &path).body("old");
    send(old).await.status(201);
    let expected: [(&str, &[u8]); 13] = [
        ("docs/", b""),
        ("docs/large.bin", &large),
        ("docs/grüße 日本 🦀.txt", b"unicode"),
        ("docs/empty", b""),
        ("docs/old", b"old"),
        ("docs/back%5Cslash", b"windows"),
        ("docs/nothing in it/", b""),
        ("docs/a/", b""),
        ("docs/a/medium", &medium),
        ("docs/a/one group", &group),
        ("docs/a/b/", b""),
        ("docs/a/b/c/", b""),
        ("docs/a/b/c/deep.txt", b"deep"),
    ];
    for stored in [false, true] {
        if stored {
            user.stored("/docs/large.bin").await;
            user.stored("/docs/a/medium").await;
        }
        let answer = archive(&user, "/docs").await;
        let disposition = answer.header("content-disposition");
        assert_eq!(disposition, "attachment; filename=\"docs.zip\"");
        assert_eq!(answer.header("content-length"), "");
        let entries = unpack(answer);
        assert_entries(&entries, &expected);
        let seconds = parse_rfc3339("2001-02-03T04:05:06Z").unwrap() / 1_000;
        assert_eq!(entries["docs/old"].2, seconds);
    }
    assert_entries(
        &unpack(archive(&user, "/docs/a/b").await),
        &[("b/", b""), ("b/c/", b""), ("b/c/deep.txt", b"deep")],
    );
    let head = user.request(Method::HEAD, &format!("{ARCHIVE}/docs"));
    let head = send(head).await.status(200);
    assert_eq!(head.header("content-type"), "application/zip");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_one_file_and_nothing() {
    let (_stack, user) = TestStack::with_user().await;
    let answer = archive(&user, "/").await;
    let disposition = answer.header("content-disposition");
    assert_eq!(disposition, "attachment; filename=\"files.zip\"");
    assert_entries(&unpack(answer), &[]);
    user.put("/ä/file", b"content").await;
    user.put("/C:\\x", b"drive").await;
    assert_entries(
        &unpack(user.get(ARCHIVE).await),
        &[("C%3A%5Cx", b"drive"), ("ä/", b""), ("ä/file", b"content")],
    );
    let answer = archive(&user, "/ä").await;
    assert_eq!(
        answer.header("content-disposition"),
        "attachment; filename=\"_.zip\"; filename*=UTF-8''%C3%A4.zip"
    );
    let file = archive(&user, "/ä/file").await;
    assert_entries(&unpack(file), &[("file", b"content")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selection_as_an_archive() {
    let (_stack, user) = TestStack::with_user().await;
    user.put("/a/one", b"1").await;
    user.put("/a/two/three", b"3").await;
    user.put("/a/left out", b"4").await;
    user.put("/b/one", b"5").await;
    let answer = selection(&user, &["/a/one", "/a/two/"]).await;
    let disposition = answer.header("content-disposition");
    assert_eq!(disposition, "attachment; filename=\"a.zip\"");
    assert_entries(
        &unpack(answer),
        &[("one", b"1"), ("two/", b""), ("two/three", b"3")],
    );
    let answer = selection(&user, &["/a/two/three", "/b"]).await;
    let disposition = answer.header("content-disposition");
    assert_eq!(disposition, "attachment; filename=\"files.zip\"");
    assert_entries(
        &unpack(answer),
        &[("three", b"3"), ("b/", b""), ("b/one", b"5")],
    );
    let too_many: Vec<_> = (0..=MAX_BATCH).map(|n| format!("/{n}")).collect();
    let too_many: Vec<_> = too_many.iter().map(String::as_str).collect();
    for paths in [&["/a/one", "/b/one"], &["/a", "/a/"], &[][..], &too_many] {
        let problem = selection(&user, paths).await;
        problem.problem(422, "invalid-fields");
    }
    let missing = selection(&user, &["/a/one", "/nothing"]).await;
    missing.problem(404, "not-found");
    selection(&user, &["/a/../b"])
        .await
        .problem(422, "invalid-path");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_page_of_everything() {
    let (_stack, user) = TestStack::with_user().await;
    let mut changes = Vec::new();
    for n in 0..600 {
        changes.push(
            json!({ "op": "create_folder", "path": format!("/many/{n}/x"), "parents": true }),
        );
    }
    let body = json!({ "changes": changes });
    user.post("/api/v1/changes", &body).await.status(200);
    for n in 0..3 {
        user.put(&format!("/many/{n}/x/file"), b"x").await;
    }
    let found = unpack(archive(&user, "/many").await);
    assert_eq!(found.len(), 1 + 2 * 600 + 3);
    assert!((0..600).all(|n| found.contains_key(&format!("many/{n}/x/"))));
    assert!((0..3).all(|n| found.contains_key(&format!("many/{n}/x/file"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_callers_is_not_there() {
    let (stack, user) = TestStack::with_user().await;
    user.put("/a/file", b"content").await;
    let stranger = stack.user().await;
    for path in ["/a", "/a/file", "/nothing"] {
        let answer = archive(&stranger, path).await;
        answer.problem(404, "not-found");
        let answer = selection(&stranger, &[path]).await;
        answer.problem(404, "not-found");
    }
    let anonymous = user.api.request(Method::GET, &format!("{ARCHIVE}/a"));
    send(anonymous).await.problem(401, "unauthenticated");
}

/// A file that fills every buffer on the way to a client that does not read.
const MORE_THAN_BUFFERS: usize = 48 * MIB;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_before_its_turn_is_left_out() {
    let (_stack, user) = TestStack::with_user().await;
    let large = user.content("large", MORE_THAN_BUFFERS);
    user.put("/t/a", &large).await;
    user.put("/t/sub/file", b"deleted").await;
    user.put("/t/sub/sub/file", b"deleted").await;
    let request = user.request(Method::GET, &format!("{ARCHIVE}/t"));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.bytes_stream();
    let mut found = body.next().await.unwrap().unwrap().to_vec();
    user.remove("/t/sub").await.status(204);
    user.remove("/t/a").await.status(204);
    while let Some(bytes) = body.next().await {
        found.extend_from_slice(&bytes.unwrap());
    }
    let found = try_unpack(&found).unwrap();
    assert_entries(&found, &[("t/", b""), ("t/a", &large), ("t/sub/", b"")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_breaks_an_archive_off() {
    let mut local = Local::with(|config| config.transfer.staged_grace = 0).await;
    let user = local.user().await;
    let content = user.content("rotten", 4 * MIB);
    user.put("/t/before", b"healthy").await;
    let file = user.put("/t/rotten", &content).await;
    let vanished = user.put("/v/vanished", b"vanished").await;
    user.stored("/t/rotten").await;
    user.stored("/v/vanished").await;
    local.nothing_staged().await;
    let [object, gone] = [&file, &vanished].map(|file| local.object(&file.blake3));
    local
        .restart_after(|_| {
            use std::os::unix::fs::FileExt as _;
            let object = std::fs::File::options().write(true).open(&object).unwrap();
            object.write_all_at(b"rotten", 2 * MIB as u64 + 5).unwrap();
            std::fs::remove_file(&gone).unwrap();
        })
        .await;
    let user = User {
        api: local.api(),
        ..user
    };
    let request = user.request(Method::GET, &format!("{ARCHIVE}/t"));
    let (answer, end) = try_send(request).await;
    let answer = answer.status(200);
    assert!(matches!(end, Err(CutOff)), "the connection is cut off");
    assert!(answer.body.len() < 3 * MIB, "{}", answer.body.len());
    assert!(try_unpack(&answer.body).is_err(), "no whole archive");
    // Found before the answer began.
    archive(&user, "/v").await.problem(500, "internal");
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_of_an_account_are_bounded() {
    /// At a time, of one account.
    const MAX_ARCHIVES: usize = 4;
    let local = Local::start().await;
    let user = local.user().await;
    user.put("/t/a", &user.content("large", MORE_THAN_BUFFERS))
        .await;
    let request = || user.request(Method::GET, &format!("{ARCHIVE}/t"));
    let mut open = Vec::new();
    for _ in 0..MAX_ARCHIVES {
        open.push(request().send().await.unwrap());
    }
    let refused = send(request()).await;
    assert_eq!(refused.header("retry-after"), "1");
    refused.problem(503, "overloaded");
    let other = local.user().await;
    archive(&other, "/").await.status(200);
    drop(open);
    crate::support::eventually("there is room again", async || {
        (send(request()).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shared_comes_as_an_archive_and_nothing_beside_it() {
    let (stack, user) = TestStack::with_user().await;
    let large = user.content("large", 3 * MIB);
    user.put("/album/day 1/a.bin", &large).await;
    user.put("/album/b.txt", b"b").await;
    user.put("/album2/secret", b"secret").await;
    let share = async |body: serde_json::Value| {
        let shared: CreatedShare = user.post("/api/v1/shares", &body).await.json(201);
        format!("/api/v1/public/shares/{}/archive", shared.token)
    };
    let api = stack.api();
    let ask = async |method: Method, path: &str| send(api.request(method, path)).await;
    let path = share(json!({ "path": "/album" })).await;
    let answer = ask(Method::GET, &path).await;
    let disposition = answer.header("content-disposition");
    assert_eq!(disposition, "attachment; filename=\"album.zip\"");
    let whole: &[(&str, &[u8])] = &[
        ("album/b.txt", b"b"),
        ("album/day 1/", b""),
        ("album/day 1/a.bin", &large),
    ];
    assert_entries(&unpack(answer), whole);
    let below = unpack(ask(Method::GET, &format!("{path}/day%201")).await);
    assert_entries(&below, &[("day 1/", b""), ("day 1/a.bin", &large)]);
    for outside in ["/absent", "/%2e%2e/album2"] {
        let answer = ask(Method::GET, &format!("{path}{outside}")).await;
        assert!(answer.any_problem().status >= 400, "{outside}");
    }

    // One download each, however often it is only looked at.
    let path = share(json!({ "path": "/album", "max_downloads": 1 })).await;
    for _ in 0..2 {
        ask(Method::HEAD, &path).await.status(200);
    }
    assert_entries(&unpack(ask(Method::GET, &path).await), whole);
    let used_up = ask(Method::GET, &path).await;
    used_up.problem(410, "share-exhausted");

    let path = share(json!({ "path": "/album", "password": "open sesame" })).await;
    let locked = ask(Method::GET, &path).await;
    locked.problem(403, "password-required");
    let path = share(json!({ "path": "/album", "uploads": true })).await;
    ask(Method::GET, &path).await.problem(404, "not-found");
}
