//! File names in headers, and what browsers may show.

use cloudstore_download::disposition::{Disposition, header, may_inline};
use proptest::prelude::*;

#[test]
fn names() {
    let rows = [
        ("a.txt", r#"attachment; filename="a.txt""#),
        ("a b.txt", r#"attachment; filename="a b.txt""#),
        (
            "ä.txt",
            r#"attachment; filename="_.txt"; filename*=UTF-8''%C3%A4.txt"#,
        ),
        (
            r#"a".txt"#,
            r#"attachment; filename="a_.txt"; filename*=UTF-8''a%22.txt"#,
        ),
        (
            r"a\b",
            r#"attachment; filename="a_b"; filename*=UTF-8''a%5Cb"#,
        ),
        (
            "50%41",
            r#"attachment; filename="50_41"; filename*=UTF-8''50%2541"#,
        ),
        (
            "a\r\nb",
            "attachment; filename=\"a__b\"; filename*=UTF-8''a%0D%0Ab",
        ),
        ("x;y=z", r#"attachment; filename="x;y=z""#),
        (
            "日本",
            r#"attachment; filename="__"; filename*=UTF-8''%E6%97%A5%E6%9C%AC"#,
        ),
    ];
    for (name, expected) in rows {
        assert_eq!(
            header(Disposition::Attachment, "text/plain", name),
            expected
        );
    }
}

#[test]
fn only_harmless_types_are_shown_in_place() {
    for harmless in [
        "image/png",
        "IMAGE/JPEG",
        "text/plain; charset=utf-8",
        "audio/mpeg",
        "video/mp4",
    ] {
        assert!(may_inline(harmless), "{harmless}");
        assert!(header(Disposition::Inline, harmless, "a").starts_with("inline;"));
        assert!(header(Disposition::Attachment, harmless, "a").starts_with("attachment;"));
    }
    let others = [
        "text/html",
        "image/svg+xml",
        "Image/SVG+xml",
        "image/svg",
        "application/pdf",
        "text/xml",
        "application/xhtml+xml",
        "text/css",
        "application/javascript",
        "",
        "image",
        "text/plainer",
    ];
    for other in others {
        assert!(!may_inline(other), "{other}");
        assert!(header(Disposition::Inline, other, "a").starts_with("attachment;"));
    }
}

proptest! {
    #[test]
    fn always_printable_ascii_with_one_pair_of_quotes(name in any::<String>()) {
        let value = header(Disposition::Attachment, "text/plain", &name);
        prop_assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        prop_assert_eq!(value.matches('"').count(), 2);
    }
}
