//! The rules of the protocol, row by row, each with where it is written.

use reqwest::Method;

use super::{BYTES, metadata};
use crate::support::{Answer, TestStack, User, send};

/// What a row is asked of. Each row gets its own.
#[derive(Clone, Copy)]
enum Target {
    /// `/files/`
    Collection,
    /// 10 bytes of which 4 are there.
    Begun,
    /// Its length is not told, 4 bytes are there.
    Deferred,
    /// A partial upload of 10 bytes of which 4 are there.
    Partial,
    /// Made of one part that is not complete.
    Waiting,
    /// Made of one part of 10 bytes.
    Final,
    /// 10 bytes, and a file.
    Done,
    /// Terminated.
    Gone,
    /// Terminated when it was a file.
    GoneFile,
    /// Never was.
    Unknown,
    /// Somebody else's.
    Foreign,
}

impl Target {
    async fn path(self, user: &User, other: &User) -> String {
        let created = async |fields: &[(&str, &str)]| user.tus_create(fields).await;
        let sent = async |path: String, bytes: &[u8]| {
            user.tus_patch(&path, 0, bytes).await.status(204);
            path
        };
        match self {
            Self::Collection => "/files/".to_owned(),
            Self::Begun => sent(user.tus_begin("begun", 10).await, b"0123").await,
            Self::Deferred => sent(created(&[("upload-defer-length", "1")]).await, b"0123").await,
            Self::Partial => sent(created(&PARTIAL).await, b"0123").await,
            Self::Waiting => {
                let part = created(&PARTIAL).await;
                created(&[("upload-concat", &format!("final;{part}"))]).await
            }
            Self::Final => {
                let part = sent(created(&PARTIAL).await, b"0123456789").await;
                created(&[("upload-concat", &format!("final;{part}"))]).await
            }
            Self::Done => sent(user.tus_begin("done", 10).await, b"0123456789").await,
            Self::Gone | Self::GoneFile => {
                let path = match self {
                    Self::Gone => user.tus_begin("gone", 10).await,
                    _ => sent(user.tus_begin("gone", 10).await, b"0123456789").await,
                };
                send(user.tus(Method::DELETE, &path)).await.status(204);
                path
            }
            Self::Unknown => format!("/files/{}", uuid::Uuid::now_v7()),
            Self::Foreign => other.tus_begin("foreign", 10).await,
        }
    }
}

const PARTIAL: [(&str, &str); 2] = [("upload-concat", "partial"), ("upload-length", "10")];

/// What an answer has, besides its status.
enum Has {
    /// A field with this value.
    Is(&'static str, &'static str),
    /// A field with any value.
    Any(&'static str),
    /// No such field.
    No(&'static str),
}

struct Row {
    /// The rule, and the section of the specification ("ours": a choice that it leaves open).
    rule: (&'static str, &'static str),
    method: Method,
    target: Target,
    /// `None`: `1.0.0`, `Some("")`: no version at all.
    version: Option<&'static str>,
    fields: Vec<(&'static str, String)>,
    body: &'static [u8],
    status: u16,
    has: Vec<Has>,
}

fn row(
    rule: (&'static str, &'static str),
    method: Method,
    target: Target,
    fields: &[(&'static str, &str)],
    body: &'static [u8],
    status: u16,
    has: Vec<Has>,
) -> Row {
    let fields = fields
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    Row {
        rule,
        method,
        target,
        version: None,
        fields: fields.collect(),
        body,
        status,
        has,
    }
}

const TYPE: (&str, &str) = ("content-type", BYTES);
const FOUR: (&str, &str) = ("upload-offset", "4");
const TEN: (&str, &str) = ("upload-length", "10");

fn core() -> Vec<Row> {
    use Has::{Any, Is, No};
    let version = |method, target, version, status, has| Row {
        version: Some(version),
        ..row(
            (
                "the version is checked first, nothing is processed",
                "core: Tus-Version",
            ),
            method,
            target,
            &[TYPE, FOUR, TEN],
            b"",
            status,
            has,
        )
    };
    let refused = || {
        vec![
            Is("tus-version", "1.0.0"),
            No("upload-offset"),
            No("location"),
        ]
    };
    vec![
        version(Method::POST, Target::Collection, "", 412, refused()),
        version(Method::POST, Target::Collection, "0.2.2", 412, refused()),
        version(Method::PATCH, Target::Begun, "", 412, refused()),
        version(Method::PATCH, Target::Begun, "2.0.0", 412, refused()),
        version(Method::DELETE, Target::Begun, "", 412, refused()),
        version(
            Method::HEAD,
            Target::Begun,
            "",
            200,
            vec![Is("upload-offset", "4")],
        ),
        version(
            Method::GET,
            Target::Done,
            "",
            200,
            vec![Is("content-length", "10")],
        ),
        version(
            Method::OPTIONS,
            Target::Collection,
            "9.9.9",
            204,
            vec![Is("tus-version", "1.0.0")],
        ),
        row(
            ("OPTIONS says what the server can do", "core: OPTIONS"),
            Method::OPTIONS,
            Target::Collection,
            &[],
            b"",
            204,
            vec![
                Is("tus-resumable", "1.0.0"),
                Is("tus-version", "1.0.0"),
                Is(
                    "tus-extension",
                    "creation,creation-with-upload,creation-defer-length,checksum,checksum-trailer,expiration,termination,concatenation,concatenation-unfinished",
                ),
                Is("tus-checksum-algorithm", "sha1,sha256,md5,crc32,blake3"),
                Any("tus-max-size"),
            ],
        ),
        row(
            ("HEAD says where the upload goes on, uncached", "core: HEAD"),
            Method::HEAD,
            Target::Begun,
            &[],
            b"",
            200,
            vec![
                Is("upload-offset", "4"),
                Is("upload-length", "10"),
                Is("cache-control", "no-store"),
                Is("upload-metadata", "filename YmVndW4="),
                Is("tus-resumable", "1.0.0"),
            ],
        ),
        row(
            ("HEAD of what is complete says so", "core: HEAD"),
            Method::HEAD,
            Target::Done,
            &[],
            b"",
            200,
            vec![Is("upload-offset", "10"), Is("upload-length", "10")],
        ),
        row(
            ("HEAD of what is not there has no offset", "core: HEAD"),
            Method::HEAD,
            Target::Unknown,
            &[],
            b"",
            404,
            vec![No("upload-offset")],
        ),
        row(
            ("what is somebody else's is not there", "ours"),
            Method::HEAD,
            Target::Foreign,
            &[],
            b"",
            404,
            vec![No("upload-offset")],
        ),
        row(
            ("a HEAD has no body", "ours"),
            Method::HEAD,
            Target::Begun,
            &[],
            b"x",
            400,
            vec![],
        ),
        row(
            ("bytes at the offset are taken", "core: PATCH"),
            Method::PATCH,
            Target::Begun,
            &[TYPE, FOUR],
            b"45",
            204,
            vec![Is("upload-offset", "6"), Is("tus-resumable", "1.0.0")],
        ),
        row(
            ("the last bytes complete the upload", "core: PATCH"),
            Method::PATCH,
            Target::Begun,
            &[TYPE, FOUR],
            b"456789",
            204,
            vec![Is("upload-offset", "10")],
        ),
        row(
            ("no bytes at the offset are fine", "core: PATCH"),
            Method::PATCH,
            Target::Begun,
            &[TYPE, FOUR],
            b"",
            204,
            vec![Is("upload-offset", "4")],
        ),
        row(
            ("another media type is refused", "core: PATCH"),
            Method::PATCH,
            Target::Begun,
            &[("content-type", "application/octet-stream"), FOUR],
            b"4",
            415,
            vec![],
        ),
        row(
            ("no media type is another one", "core: PATCH"),
            Method::PATCH,
            Target::Begun,
            &[FOUR],
            b"4",
            415,
            vec![],
        ),
        row(
            ("an offset before the end is a conflict", "core: PATCH"),
            Method::PATCH,
            Target::Begun,
            &[TYPE, ("upload-offset", "3")],
            b"3",
            409,
            vec![],
        ),
        row(
            ("an offset behind the end is a conflict", "core: PATCH"),
            Method::PATCH,
            Target::Begun,
            &[TYPE, ("upload-offset", "5")],
            b"5",
            409,
            vec![],
        ),
        row(
            ("an offset must be told", "core: PATCH"),
            Method::PATCH,
            Target::Begun,
            &[TYPE],
            b"4",
            400,
            vec![],
        ),
        row(
            ("an offset is not negative", "core: Upload-Offset"),
            Method::PATCH,
            Target::Begun,
            &[TYPE, ("upload-offset", "-4")],
            b"4",
            400,
            vec![],
        ),
        row(
            ("an offset is a number", "core: Upload-Offset"),
            Method::PATCH,
            Target::Begun,
            &[TYPE, ("upload-offset", "four")],
            b"4",
            400,
            vec![],
        ),
        row(
            ("an offset fits a file", "ours"),
            Method::PATCH,
            Target::Begun,
            &[TYPE, ("upload-offset", "18446744073709551620")],
            b"4",
            400,
            vec![],
        ),
        row(
            ("no more bytes than the length", "ours"),
            Method::PATCH,
            Target::Begun,
            &[TYPE, FOUR],
            b"4567890",
            400,
            vec![],
        ),
        row(
            ("nothing is sent encoded", "ours"),
            Method::PATCH,
            Target::Begun,
            &[TYPE, FOUR, ("content-encoding", "gzip")],
            b"4",
            415,
            vec![],
        ),
        row(
            ("what is not there takes nothing", "core: PATCH"),
            Method::PATCH,
            Target::Unknown,
            &[TYPE, ("upload-offset", "0")],
            b"0",
            404,
            vec![],
        ),
        row(
            ("nor does what is somebody else's", "ours"),
            Method::PATCH,
            Target::Foreign,
            &[TYPE, ("upload-offset", "0")],
            b"0",
            404,
            vec![],
        ),
        row(
            ("a repeated last PATCH without bytes is fine", "ours"),
            Method::PATCH,
            Target::Done,
            &[TYPE, ("upload-offset", "10")],
            b"",
            204,
            vec![Is("upload-offset", "10")],
        ),
        row(
            ("what is complete takes no more", "ours"),
            Method::PATCH,
            Target::Done,
            &[TYPE, ("upload-offset", "10")],
            b"x",
            400,
            vec![],
        ),
        row(
            ("PATCH may come as POST", "core: X-HTTP-Method-Override"),
            Method::POST,
            Target::Begun,
            &[("x-http-method-override", "PATCH"), TYPE, FOUR],
            b"45",
            204,
            vec![Is("upload-offset", "6")],
        ),
        row(
            ("DELETE may come as POST", "core: X-HTTP-Method-Override"),
            Method::POST,
            Target::Begun,
            &[("x-http-method-override", "DELETE")],
            b"",
            204,
            vec![],
        ),
        row(
            ("HEAD may come as POST", "core: X-HTTP-Method-Override"),
            Method::POST,
            Target::Begun,
            &[("x-http-method-override", "HEAD")],
            b"",
            200,
            vec![Is("upload-offset", "4")],
        ),
        row(
            ("an upload has no POST of its own", "ours"),
            Method::POST,
            Target::Begun,
            &[],
            b"",
            405,
            vec![],
        ),
    ]
}

fn creation() -> Vec<Row> {
    use Has::{Any, Is, No};
    let create = |rule, fields: &[(&'static str, &str)], body, status, has| {
        row(
            rule,
            Method::POST,
            Target::Collection,
            fields,
            body,
            status,
            has,
        )
    };
    let mut rows = vec![
        create(
            ("a length makes an upload", "creation"),
            &[TEN],
            b"",
            201,
            vec![
                Any("location"),
                Is("tus-resumable", "1.0.0"),
                No("upload-offset"),
            ],
        ),
        create(
            ("an empty file is complete at once", "creation"),
            &[("upload-length", "0")],
            b"",
            201,
            vec![Any("location")],
        ),
        create(
            ("a length or a deferred one", "creation"),
            &[],
            b"",
            400,
            vec![No("location")],
        ),
        create(
            ("not both", "creation-defer-length"),
            &[TEN, ("upload-defer-length", "1")],
            b"",
            400,
            vec![No("location")],
        ),
        create(
            ("deferred is 1", "creation-defer-length"),
            &[("upload-defer-length", "2")],
            b"",
            400,
            vec![No("location")],
        ),
        create(
            ("a deferred length", "creation-defer-length"),
            &[("upload-defer-length", "1")],
            b"",
            201,
            vec![Any("location")],
        ),
        create(
            ("over the maximum", "creation"),
            &[("upload-length", "9007199254740993")],
            b"",
            413,
            vec![No("location")],
        ),
        create(
            ("bytes may come along", "creation-with-upload"),
            &[TEN, TYPE],
            b"0123",
            201,
            vec![Any("location"), Is("upload-offset", "4")],
        ),
        create(
            ("all of them, too", "creation-with-upload"),
            &[TEN, TYPE],
            b"0123456789",
            201,
            vec![Any("location"), Is("upload-offset", "10")],
        ),
        create(
            ("only as what they are", "creation-with-upload"),
            &[TEN, ("content-type", "text/plain")],
            b"0123",
            415,
            vec![No("location")],
        ),
        create(
            ("not more than the length", "creation-with-upload"),
            &[TEN, TYPE],
            b"0123456789x",
            400,
            vec![No("location")],
        ),
        create(
            ("an upload has an end", "expiration"),
            &[TEN],
            b"",
            201,
            vec![Any("upload-expires")],
        ),
        create(
            ("another method than POST", "ours"),
            &[TEN, ("x-http-method-override", "PATCH")],
            b"",
            405,
            vec![],
        ),
    ];
    for wrong in ["-1", "ten", "1.5", "", "18446744073709551616"] {
        rows.push(create(
            ("a length is a number of bytes", "core: Upload-Length"),
            &[("upload-length", wrong)],
            b"",
            400,
            vec![No("location")],
        ));
    }
    for wrong in ["a b", "a YQ,b", "a YQ==,a Yg==", "a YQ== x", ",", "a YQ==,"] {
        rows.push(create(
            (
                "metadata are unique keys with base64 values",
                "creation: Upload-Metadata",
            ),
            &[TEN, ("upload-metadata", wrong)],
            b"",
            400,
            vec![No("location")],
        ));
    }
    for hostile in [
        "../a",
        "..",
        "a/../../b",
        "/etc/passwd",
        "a\0",
        "a\u{1}b",
        "a\r\nb",
    ] {
        for key in ["relativePath", "filename", "name"] {
            let field = metadata(&[(key, hostile)]);
            rows.push(create(
                ("a name is a name below the root folder", "ours"),
                &[TEN, ("upload-metadata", &field)],
                b"",
                422,
                vec![No("location")],
            ));
        }
    }
    let long = metadata(&[("filename", &"x".repeat(256))]);
    rows.push(create(
        ("a name has at most 255 bytes", "ours"),
        &[TEN, ("upload-metadata", &long)],
        b"",
        422,
        vec![],
    ));
    let huge = metadata(&[("note", &"x".repeat(9_000))]);
    rows.push(create(
        ("metadata have a bound", "ours"),
        &[TEN, ("upload-metadata", &huge)],
        b"",
        400,
        vec![],
    ));
    rows
}

fn extensions() -> Vec<Row> {
    use Has::{Any, Is, No};
    vec![
        row(
            (
                "HEAD says that the length is not known",
                "creation-defer-length",
            ),
            Method::HEAD,
            Target::Deferred,
            &[],
            b"",
            200,
            vec![
                Is("upload-offset", "4"),
                Is("upload-defer-length", "1"),
                No("upload-length"),
            ],
        ),
        row(
            (
                "the length may come with any bytes",
                "creation-defer-length",
            ),
            Method::PATCH,
            Target::Deferred,
            &[TYPE, FOUR, TEN],
            b"456789",
            204,
            vec![Is("upload-offset", "10")],
        ),
        row(
            ("a length is not changed", "creation-defer-length"),
            Method::PATCH,
            Target::Begun,
            &[TYPE, FOUR, ("upload-length", "11")],
            b"4",
            400,
            vec![],
        ),
        row(
            ("a length is not below the offset", "creation-defer-length"),
            Method::PATCH,
            Target::Deferred,
            &[TYPE, FOUR, ("upload-length", "3")],
            b"",
            400,
            vec![],
        ),
        row(
            ("every PATCH says when the upload ends", "expiration"),
            Method::PATCH,
            Target::Begun,
            &[TYPE, FOUR],
            b"4",
            204,
            vec![Any("upload-expires")],
        ),
        row(
            ("an unknown algorithm", "checksum"),
            Method::PATCH,
            Target::Begun,
            &[TYPE, FOUR, ("upload-checksum", "sha3 AAAA")],
            b"4",
            400,
            vec![],
        ),
        row(
            ("a checksum that is none", "checksum"),
            Method::PATCH,
            Target::Begun,
            &[TYPE, FOUR, ("upload-checksum", "sha1 ????")],
            b"4",
            400,
            vec![],
        ),
        row(
            ("a mismatch is 460", "checksum"),
            Method::PATCH,
            Target::Begun,
            &[TYPE, FOUR, ("upload-checksum", "crc32 AAAAAA==")],
            b"4",
            460,
            vec![],
        ),
        row(
            ("termination", "termination"),
            Method::DELETE,
            Target::Begun,
            &[],
            b"",
            204,
            vec![],
        ),
        row(
            ("of what is complete, too", "termination"),
            Method::DELETE,
            Target::Done,
            &[],
            b"",
            204,
            vec![],
        ),
        row(
            ("a DELETE has no body", "ours"),
            Method::DELETE,
            Target::Begun,
            &[],
            b"x",
            400,
            vec![],
        ),
        row(
            ("gone is gone", "termination"),
            Method::HEAD,
            Target::Gone,
            &[],
            b"",
            410,
            vec![No("upload-offset")],
        ),
        row(
            ("for PATCH", "termination"),
            Method::PATCH,
            Target::Gone,
            &[TYPE, ("upload-offset", "0")],
            b"0",
            410,
            vec![],
        ),
        row(
            ("for GET", "termination"),
            Method::GET,
            Target::Gone,
            &[],
            b"",
            410,
            vec![],
        ),
        row(
            ("for GET of the file", "termination"),
            Method::GET,
            Target::GoneFile,
            &[],
            b"",
            410,
            vec![],
        ),
        row(
            ("for HEAD of the file", "termination"),
            Method::HEAD,
            Target::GoneFile,
            &[],
            b"",
            410,
            vec![],
        ),
        row(
            ("unknown", "termination"),
            Method::DELETE,
            Target::Unknown,
            &[],
            b"",
            404,
            vec![],
        ),
        row(
            ("somebody else's", "ours"),
            Method::DELETE,
            Target::Foreign,
            &[],
            b"",
            404,
            vec![],
        ),
        row(
            ("a part says what it is", "concatenation"),
            Method::HEAD,
            Target::Partial,
            &[],
            b"",
            200,
            vec![
                Is("upload-concat", "partial"),
                Is("upload-offset", "4"),
                Is("upload-length", "10"),
            ],
        ),
        row(
            ("nothing is sent to a final upload", "concatenation"),
            Method::PATCH,
            Target::Final,
            &[TYPE, ("upload-offset", "10")],
            b"",
            403,
            vec![],
        ),
        row(
            ("nor while it waits", "concatenation"),
            Method::PATCH,
            Target::Waiting,
            &[TYPE, ("upload-offset", "0")],
            b"0",
            403,
            vec![],
        ),
        row(
            ("a final upload says of what it is made", "concatenation"),
            Method::HEAD,
            Target::Final,
            &[],
            b"",
            200,
            vec![
                Any("upload-concat"),
                Is("upload-offset", "10"),
                Is("upload-length", "10"),
            ],
        ),
        row(
            ("no offset while it waits", "concatenation-unfinished"),
            Method::HEAD,
            Target::Waiting,
            &[],
            b"",
            200,
            vec![Any("upload-concat"), No("upload-offset")],
        ),
        row(
            ("a final upload has no length of its own", "concatenation"),
            Method::POST,
            Target::Collection,
            &[("upload-concat", "final;/files/x"), TEN],
            b"",
            400,
            vec![],
        ),
        row(
            ("what is no part cannot be put together", "concatenation"),
            Method::POST,
            Target::Collection,
            &[(
                "upload-concat",
                "final;/files/01890000-0000-7000-8000-000000000001",
            )],
            b"",
            400,
            vec![],
        ),
        row(
            ("neither partial nor final", "concatenation"),
            Method::POST,
            Target::Collection,
            &[("upload-concat", "middle"), TEN],
            b"",
            400,
            vec![],
        ),
        row(
            ("content of what is complete", "ours"),
            Method::GET,
            Target::Done,
            &[],
            b"",
            200,
            vec![Is("content-length", "10")],
        ),
        row(
            ("content of a final upload", "ours"),
            Method::GET,
            Target::Final,
            &[],
            b"",
            200,
            vec![Is("content-length", "10")],
        ),
        row(
            ("no content before", "ours"),
            Method::GET,
            Target::Begun,
            &[],
            b"",
            409,
            vec![],
        ),
        row(
            ("nor of a part", "ours"),
            Method::GET,
            Target::Partial,
            &[],
            b"",
            409,
            vec![],
        ),
    ]
}

fn check(row: &Row, answer: &Answer) -> Result<(), String> {
    if answer.status != row.status {
        return Err(format!(
            "{} instead of {}: {}",
            answer.status,
            row.status,
            answer.text()
        ));
    }
    for has in &row.has {
        let (name, fine) = match has {
            Has::Is(name, value) => (name, answer.header(name) == *value),
            Has::Any(name) => (name, !answer.header(name).is_empty()),
            Has::No(name) => (name, !answer.headers.contains_key(*name)),
        };
        if !fine {
            return Err(format!("{name}: {:?}", answer.header(name)));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_is_kept() {
    let stack = TestStack::start().await;
    let (user, other) = (stack.user().await, stack.user().await);
    let mut failures = Vec::new();
    for row in core().into_iter().chain(creation()).chain(extensions()) {
        let path = row.target.path(&user, &other).await;
        // What files use shrinks by and by after some have gone.
        let (_, reserved) = user.usage().await;
        let mut request = match row.version {
            None => user.tus(row.method.clone(), &path),
            Some("") => user.request(row.method.clone(), &path),
            Some(version) => user
                .request(row.method.clone(), &path)
                .header("tus-resumable", version),
        };
        for (name, value) in &row.fields {
            request = request.header(*name, value);
        }
        if !row.body.is_empty() {
            request = request.body(row.body);
        }
        let answer = send(request).await;
        let mut outcome = check(&row, &answer);
        // Nothing of what is refused stays: no reservation, no byte.
        if outcome.is_ok() && row.status >= 400 {
            if matches!(row.target, Target::Begun) && user.tus_offset(&path).await != 4 {
                outcome = Err("something was written".to_owned());
            }
            let (_, now) = user.usage().await;
            if now != reserved {
                outcome = Err(format!("{reserved} bytes reserved became {now}"));
            }
        }
        if let Err(failure) = outcome {
            let (rule, source) = row.rule;
            let fields = &row.fields;
            failures.push(format!(
                "{rule} ({source}): {} {fields:?}: {failure}",
                row.method
            ));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_uploads_without_a_login() {
    let (stack, user) = TestStack::with_user().await;
    let path = user.tus_begin("mine", 10).await;
    for (method, path) in [
        (Method::POST, "/files/"),
        (Method::HEAD, &*path),
        (Method::PATCH, &path),
        (Method::DELETE, &path),
        (Method::GET, &path),
    ] {
        let request = stack.api().request(method, path);
        let request = request.header("tus-resumable", "1.0.0");
        let request = request
            .header("content-type", BYTES)
            .header("upload-offset", "0");
        send(request.header("upload-length", "1")).await.status(401);
    }
    let options = stack.api().request(Method::OPTIONS, "/files/");
    send(options).await.status(204);
}
