//! One row for each rule of RFC 9110 section 13.

use cloudstore_download::conditional::{Conditions, Validators, Verdict, http_date};

const SEND: Verdict = Verdict::Send { ranges: true };
const SEND_ALL: Verdict = Verdict::Send { ranges: false };
/// Sun, 06 Nov 1994 08:49:37 GMT
const MODIFIED: u64 = 784_111_777;

const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

fn evaluate(fields: &[(&str, &str)]) -> Verdict {
    evaluate_at(fields, MODIFIED + 3_600)
}

fn evaluate_at(fields: &[(&str, &str)], now: u64) -> Verdict {
    let field = |name: &str| {
        fields
            .iter()
            .find(|(field, _)| *field == name)
            .map(|(_, value)| (*value).to_owned())
    };
    let conditions = Conditions {
        if_match: field("if-match"),
        if_none_match: field("if-none-match"),
        if_modified_since: field("if-modified-since"),
        if_unmodified_since: field("if-unmodified-since"),
        if_range: field("if-range"),
    };
    let validators = Validators {
        tag: "abc".to_owned(),
        modified: MODIFIED,
    };
    conditions.evaluate(&validators, now)
}

#[test]
fn single_conditions() {
    use Verdict::{Failed, NotModified};
    let rows: &[(&str, &str, Verdict)] = &[
        // 13.1.1 If-Match: strong comparison with any in the list; * is any state.
        ("if-match", r#""abc""#, SEND),
        ("if-match", r#""x", "abc""#, SEND),
        ("if-match", "*", SEND),
        ("if-match", r#""x""#, Failed),
        ("if-match", r#"W/"abc""#, Failed),
        ("if-match", "abc", Failed),
        ("if-match", "", Failed),
        // Commas and other characters inside a tag do not end it.
        ("if-match", r#""x,"abc""#, Failed),
        ("if-match", r#""x, y" , "abc""#, SEND),
        // 13.1.2 If-None-Match: weak comparison.
        ("if-none-match", r#""abc""#, NotModified),
        ("if-none-match", r#"W/"abc""#, NotModified),
        ("if-none-match", r#""x", W/"abc""#, NotModified),
        ("if-none-match", "*", NotModified),
        ("if-none-match", r#""x""#, SEND),
        ("if-none-match", "abc", SEND),
        // 13.1.3 If-Modified-Since, in each of the three forms of a date.
        ("if-modified-since", SAME, NotModified),
        ("if-modified-since", LATER, NotModified),
        ("if-modified-since", EARLIER, SEND),
        (
            "if-modified-since",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            NotModified,
        ),
        ("if-modified-since", "Sun Nov  6 08:49:37 1994", NotModified),
        ("if-modified-since", "yesterday", SEND),
        // 13.1.4 If-Unmodified-Since; what is no date is ignored.
        ("if-unmodified-since", SAME, SEND),
        ("if-unmodified-since", LATER, SEND),
        ("if-unmodified-since", EARLIER, Failed),
        ("if-unmodified-since", "yesterday", SEND),
        // 13.1.5 If-Range: strong tag or exact date, else the whole content.
        ("if-range", r#""abc""#, SEND),
        ("if-range", r#""x""#, SEND_ALL),
        ("if-range", r#"W/"abc""#, SEND_ALL),
        ("if-range", SAME, SEND),
        ("if-range", EARLIER, SEND_ALL),
        ("if-range", LATER, SEND_ALL),
        ("if-range", "yesterday", SEND_ALL),
    ];
    for (field, value, expected) in rows {
        assert_eq!(evaluate(&[(field, value)]), *expected, "{field}: {value}");
    }
    assert_eq!(evaluate(&[]), SEND);
}

#[test]
fn a_date_of_this_very_second_is_a_weak_validator() {
    assert_eq!(evaluate_at(&[("if-range", SAME)], MODIFIED), SEND_ALL);
    assert_eq!(evaluate_at(&[("if-range", SAME)], MODIFIED + 1), SEND);
}

#[test]
fn order_of_section_13_2_2() {
    use Verdict::{Failed, NotModified};
    let (yes, no) = (r#""abc""#, r#""x""#);
    // If-Match makes If-Unmodified-Since irrelevant.
    assert_eq!(
        evaluate(&[("if-match", yes), ("if-unmodified-since", EARLIER)]),
        SEND
    );
    assert_eq!(
        evaluate(&[("if-match", no), ("if-unmodified-since", LATER)]),
        Failed
    );
    // What demands a state comes before what avoids a transfer.
    assert_eq!(
        evaluate(&[("if-match", no), ("if-none-match", yes)]),
        Failed
    );
    assert_eq!(
        evaluate(&[("if-match", yes), ("if-none-match", yes)]),
        NotModified
    );
    assert_eq!(
        evaluate(&[("if-unmodified-since", EARLIER), ("if-none-match", yes)]),
        Failed
    );
    // If-None-Match makes If-Modified-Since irrelevant.
    assert_eq!(
        evaluate(&[("if-none-match", no), ("if-modified-since", LATER)]),
        SEND
    );
    // If-Range comes last.
    assert_eq!(
        evaluate(&[("if-none-match", yes), ("if-range", no)]),
        NotModified
    );
    assert_eq!(evaluate(&[("if-match", yes), ("if-range", no)]), SEND_ALL);
}

#[test]
fn dates() {
    assert_eq!(http_date(MODIFIED), SAME);
    assert_eq!(http_date(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
}
