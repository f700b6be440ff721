//! Creation, with bytes and without a length, and what it may say about the file.

use reqwest::Method;

use super::{Has, Row, TEN, TYPE, Target, metadata, row};

pub(super) fn rows() -> Vec<Row> {
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
