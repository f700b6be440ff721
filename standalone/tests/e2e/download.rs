//! Reading content: whole, in ranges, conditionally, and while it moves.

use reqwest::{Method, header::HeaderMap};

use crate::support::{Answer, TestStack, User, assert_same, send, sha256_field};

const MIB: usize = 1 << 20;

async fn get(user: &User, path: &str, headers: &[(&str, &str)]) -> Answer {
    ask(user, Method::GET, path, headers).await
}

async fn ask(user: &User, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = user.content_request(method, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn single_ranges() {
    let (_stack, user) = TestStack::with_user().await;
    let size = 3 * MIB + 100;
    let content = user.content("ranges", size);
    user.put("/ranges", &content).await;
    for stored in [false, true] {
        if stored {
            user.stored("/ranges").await;
        }
        let rows = [
            ("bytes=0-0".to_owned(), 0..1),
            ("bytes=0-99".to_owned(), 0..100),
            (format!("bytes={}-{}", MIB - 1, MIB), MIB - 1..MIB + 1),
            (format!("bytes={}-{}", MIB, 2 * MIB - 1), MIB..2 * MIB),
            (format!("bytes={}-", size - 7), size - 7..size),
            (format!("bytes=5-{}", size * 2), 5..size),
            ("bytes=5-99999999999999999999999999".to_owned(), 5..size),
            ("bytes=-1".to_owned(), size - 1..size),
            ("bytes=-100".to_owned(), size - 100..size),
            (format!("bytes=-{}", size * 3), 0..size),
            ("BYTES=0-4".to_owned(), 0..5),
        ];
        for (field, expected) in rows {
            let answer = get(&user, "/ranges", &[("range", &field)])
                .await
                .status(206);
            let described = format!("bytes {}-{}/{size}", expected.start, expected.end - 1);
            assert_eq!(answer.header("content-range"), described, "{field}");
            assert_eq!(
                answer.header("content-length"),
                expected.len().to_string(),
                "{field}"
            );
            assert_same(&answer.body, &content[expected]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_range_of_every_kind_has_the_right_bytes() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("random", 2 * MIB + 333);
    user.put("/random", &content).await;
    // A fixed walk over odd offsets and lengths, many of them across group boundaries.
    for step in 0..60_usize {
        let start = (step * 7_919_333) % content.len();
        let end = (start + 1 + (step * 104_729) % (MIB + 17)).min(content.len());
        let field = format!("bytes={start}-{}", end - 1);
        let answer = get(&user, "/random", &[("range", &field)])
            .await
            .status(206);
        assert_same(&answer.body, &content[start..end]);
    }
}

/// The parts of a `multipart/byteranges` body: Content-Range and bytes.
fn parts(answer: &Answer) -> Vec<(String, Vec<u8>)> {
    let boundary = answer
        .header("content-type")
        .split_once("boundary=")
        .unwrap()
        .1;
    let mut rest = &answer.body[..];
    let mut found = Vec::new();
    loop {
        let delimiter = format!("--{boundary}");
        let start = position(rest, delimiter.as_bytes()).unwrap() + delimiter.len();
        rest = &rest[start..];
        if rest.starts_with(b"--") {
            return found;
        }
        let end = position(rest, b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&rest[..end]).unwrap().to_owned();
        rest = &rest[end + 4..];
        let mut lines = head.split("\r\n");
        let range = lines
            .find_map(|line| line.strip_prefix("Content-Range: "))
            .unwrap();
        let (first, last) = range["bytes ".len()..]
            .split_once('/')
            .unwrap()
            .0
            .split_once('-')
            .unwrap();
        let len = last.parse::<usize>().unwrap() - first.parse::<usize>().unwrap() + 1;
        found.push((range.to_owned(), rest[..len].to_vec()));
        rest = &rest[len..];
    }
}

fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

#[tokio::test(flavor = "multi_thread")]
async fn several_ranges() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("multi", 2 * MIB + 10);
    let size = content.len();
    user.put("/multi.txt", &content).await;
    let field = format!("bytes=0-9, 500000-1500000 ,-5,, {}-", MIB * 2 - 100_000);
    let answer = get(&user, "/multi.txt", &[("range", &field)])
        .await
        .status(206);
    assert!(
        answer
            .header("content-type")
            .starts_with("multipart/byteranges; boundary=")
    );
    assert_eq!(
        answer.header("content-length"),
        answer.body.len().to_string()
    );
    assert_eq!(answer.header("content-range"), "");
    let found = parts(&answer);
    // The suffix lies inside the last range: what overlaps is sent once.
    let expected = [0..10, 500_000..1_500_001, MIB * 2 - 100_000..size];
    assert_eq!(found.len(), expected.len());
    for ((range, bytes), expected) in found.iter().zip(expected) {
        assert_eq!(
            *range,
            format!("bytes {}-{}/{size}", expected.start, expected.end - 1)
        );
        assert_same(bytes, &content[expected]);
    }
    // Parts out of order stay in the order asked for; one that does not exist is left out.
    let field = format!("bytes=900000-900009,10-19,{}-", size + 5);
    let found = parts(
        &get(&user, "/multi.txt", &[("range", &field)])
            .await
            .status(206),
    );
    let ranges: Vec<_> = found
        .iter()
        .map(|(range, _)| range.split('/').next().unwrap())
        .collect();
    assert_eq!(ranges, ["bytes 900000-900009", "bytes 10-19"]);
    assert_same(&found[0].1, &content[900_000..900_010]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_that_mean_nothing_are_ignored() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("nonsense", 1_000);
    user.put("/nonsense", &content).await;
    let flood = format!("bytes={}", vec!["0-1"; 5_000].join(","));
    let rows = [
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-2",
        "bytes=1-2-3",
        "bytes=+1-2",
        "bytes=0x0-5",
        "bytes 0-5",
        "lines=0-5",
        "=0-5",
        "bytes=0-5;x",
        "bytes=--5",
        "0-5",
        &flood,
    ];
    for field in rows {
        let answer = get(&user, "/nonsense", &[("range", field)]).await;
        assert_eq!(answer.status, 200, "{}", &field[..field.len().min(40)]);
        assert_same(&answer.body, &content);
    }
    let twice = [("range", "bytes=0-5"), ("range", "bytes=7-8")];
    assert_same(
        &get(&user, "/nonsense", &twice).await.status(200).body,
        &content,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_outside_the_content_cannot_be_satisfied() {
    let (_stack, user) = TestStack::with_user().await;
    user.put("/short", &[7; 1_000]).await;
    user.put("/empty", b"").await;
    for field in [
        "bytes=1000-",
        "bytes=1000-1001",
        "bytes=5000-6000,7000-",
        "bytes=-0",
    ] {
        let answer = get(&user, "/short", &[("range", field)]).await;
        assert_eq!(answer.header("content-range"), "bytes */1000", "{field}");
        answer.problem(416, "range-not-satisfiable");
    }
    let answer = get(&user, "/empty", &[("range", "bytes=0-")]).await;
    assert_eq!(answer.header("content-range"), "bytes */0");
    answer.problem(416, "range-not-satisfiable");
    get(&user, "/empty", &[]).await.status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn conditional_requests() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("conditional", 2_000);
    user.put("/c", &content).await;
    let answer = get(&user, "/c", &[]).await.status(200);
    let (etag, modified) = (
        answer.header("etag").to_owned(),
        answer.header("last-modified").to_owned(),
    );
    let weak = format!("W/{etag}");
    let list = format!("\"x\", {etag}");
    let old = "Sat, 03 Feb 2001 03:05:06 GMT";
    let rows: &[(&[(&str, &str)], u16)] = &[
        (&[("if-none-match", &etag)], 304),
        (&[("if-none-match", &weak)], 304),
        (&[("if-none-match", &list)], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"x\"")], 200),
        (&[("if-modified-since", &modified)], 304),
        (&[("if-modified-since", old)], 200),
        (&[("if-modified-since", "nonsense")], 200),
        (
            &[("if-none-match", "\"x\""), ("if-modified-since", &modified)],
            200,
        ),
        (&[("if-match", &etag)], 200),
        (&[("if-match", &list)], 200),
        (&[("if-match", "*")], 200),
        (&[("if-match", &weak)], 412),
        (&[("if-match", "\"x\"")], 412),
        (&[("if-unmodified-since", &modified)], 200),
        (&[("if-unmodified-since", old)], 412),
        (&[("if-match", &etag), ("if-unmodified-since", old)], 200),
        (&[("if-match", "\"x\""), ("if-none-match", &etag)], 412),
        (&[("range", "bytes=0-9"), ("if-range", &etag)], 206),
        (&[("range", "bytes=0-9"), ("if-range", &weak)], 200),
        (&[("range", "bytes=0-9"), ("if-range", "\"x\"")], 200),
        (&[("range", "bytes=0-9"), ("if-range", old)], 200),
        (&[("range", "bytes=0-9"), ("if-none-match", &etag)], 304),
        (&[("range", "bytes=5000-"), ("if-range", "\"x\"")], 200),
        (&[("range", "bytes=5000-"), ("if-range", &etag)], 416),
        (&[("range", "bytes=0-9"), ("if-match", &etag)], 206),
    ];
    for (headers, status) in rows {
        let answer = get(&user, "/c", headers).await;
        assert_eq!(answer.status, *status, "{headers:?}");
        assert_eq!(answer.header("etag"), etag, "{headers:?}");
        match status {
            200 => assert_same(&answer.body, &content),
            206 => assert_same(&answer.body, &content[..10]),
            304 => assert!(answer.body.is_empty()),
            412 => drop(answer.problem(412, "precondition-failed")),
            _ => drop(answer.problem(416, "range-not-satisfiable")),
        }
    }
    let dated = user.request(
        Method::PUT,
        "/api/v1/content/dated?mtime=2001-02-03T03:05:06Z",
    );
    send(dated.body("dated")).await.status(201);
    let by_date = [("range", "bytes=0-1"), ("if-range", old)];
    assert_same(
        &get(&user, "/dated", &by_date).await.status(206).body,
        b"da",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_the_body() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("head", 2 * MIB);
    user.put("/h.txt", &content).await;
    user.stored("/h.txt").await;
    let whole = get(&user, "/h.txt", &[]).await.status(200);
    // Range is defined for GET only (RFC 9110 section 14.2).
    for headers in [
        vec![],
        vec![("range", "bytes=5-9")],
        vec![("range", "bytes=99999999-")],
    ] {
        let head = ask(&user, Method::HEAD, "/h.txt", &headers)
            .await
            .status(200);
        assert!(head.body.is_empty());
        assert_eq!(comparable(&head.headers), comparable(&whole.headers));
    }
    let unchanged = [("if-none-match", whole.header("etag"))];
    ask(&user, Method::HEAD, "/h.txt", &unchanged)
        .await
        .status(304);
    let head = ask(&user, Method::HEAD, "/absent", &[]).await.status(404);
    assert!(head.body.is_empty());
}

/// Headers that must not differ between two answers about the same thing.
fn comparable(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut found: Vec<_> = headers
        .iter()
        .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    found.sort_unstable();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_safe_for_browsers() {
    let (_stack, user) = TestStack::with_user().await;
    let names = [
        ("page.html", "text/html"),
        ("drawing.svg", "image/svg+xml"),
        ("paper.pdf", "application/pdf"),
        ("photo.png", "image/png"),
        ("notes.txt", "text/plain"),
        ("\"quoted\".txt", "text/plain"),
        ("back\\slash%20.txt", "text/plain"),
        (
            "semi;colon=1; filename=evil.exe",
            "application/octet-stream",
        ),
        ("ünïcödé 名前 🌻.txt", "text/plain"),
        ("'single' *star*.txt", "text/plain"),
    ];
    for (name, media_type) in names {
        let path = format!("/names/{name}");
        user.put(&path, b"<script>alert(1)</script>").await;
        for disposition in ["", "?disposition=inline", "?disposition=attachment"] {
            let url = format!(
                "/api/v1/content{}{disposition}",
                crate::support::encode(&path)
            );
            let answer = user.get(&url).await.status(200);
            assert_eq!(answer.header("content-type"), media_type, "{name}");
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert_eq!(
                answer.header("content-security-policy"),
                "sandbox; default-src 'none'"
            );
            let value = answer.header("content-disposition");
            let harmless = ["image/png", "text/plain"].contains(&media_type);
            let inline = disposition == "?disposition=inline" && harmless;
            assert!(
                value.starts_with(if inline { "inline" } else { "attachment" }),
                "{value}"
            );
            assert!(
                value.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
                "{value}"
            );
            assert_eq!(file_name(value), name, "{value}");
        }
    }
    user.get("/api/v1/content/names/notes.txt?disposition=popup")
        .await
        .problem(400, "malformed-request");
}

/// The name a client saves the file as (RFC 6266).
fn file_name(disposition: &str) -> String {
    if let Some((_, encoded)) = disposition.split_once("filename*=UTF-8''") {
        return percent_encoding::percent_decode_str(encoded)
            .decode_utf8()
            .unwrap()
            .into_owned();
    }
    let plain = disposition.split_once("filename=\"").unwrap().1;
    assert_eq!(plain.matches('"').count(), 1, "{disposition}");
    plain.trim_end_matches('"').to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_digest_appears_once_it_is_known() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("digest", MIB + 1);
    user.put("/digest", &content).await;
    user.stored("/digest").await;
    let whole = get(&user, "/digest", &[]).await.status(200);
    assert_eq!(whole.header("repr-digest"), sha256_field(&content));
    let part = get(&user, "/digest", &[("range", "bytes=0-9")])
        .await
        .status(206);
    assert_eq!(
        part.header("repr-digest"),
        sha256_field(&content),
        "of the whole, always"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_file_has_no_content() {
    let (stack, user) = TestStack::with_user().await;
    user.mkdir("/folder").await.status(201);
    user.put("/file", b"x").await;
    get(&user, "/absent", &[]).await.problem(404, "not-found");
    get(&user, "/folder/absent", &[])
        .await
        .problem(404, "not-found");
    get(&user, "/file/below", &[])
        .await
        .problem(404, "not-found");
    get(&user, "/folder", &[]).await.problem(409, "is-a-folder");
    let stranger = stack.user().await;
    get(&stranger, "/file", &[]).await.problem(404, "not-found");
}
