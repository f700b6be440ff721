//! One row for each rule of RFC 9110 section 14.

use cloudstore_download::range::{MAX_RANGES, Selection, select};
use proptest::prelude::*;

/// Starts and (exclusive) ends.
fn parts(parts: &[(u64, u64)]) -> Selection {
    Selection::Parts(parts.iter().map(|(start, end)| *start..*end).collect())
}

#[test]
fn rules() {
    use Selection::{Unsatisfiable, Whole};
    let rows: &[(&str, u64, Selection)] = &[
        // 14.1.2: both positions are inclusive.
        ("bytes=0-0", 1_000, parts(&[(0, 1)])),
        ("bytes=0-499", 1_000, parts(&[(0, 500)])),
        ("bytes=500-999", 1_000, parts(&[(500, 1_000)])),
        // An open range goes to the end.
        ("bytes=990-", 1_000, parts(&[(990, 1_000)])),
        // A last position beyond the end means the end.
        ("bytes=990-5000", 1_000, parts(&[(990, 1_000)])),
        (
            "bytes=0-99999999999999999999999",
            1_000,
            parts(&[(0, 1_000)]),
        ),
        // The last bytes; all of them if there are fewer.
        ("bytes=-1", 1_000, parts(&[(999, 1_000)])),
        ("bytes=-5000", 1_000, parts(&[(0, 1_000)])),
        // No bytes at the end are none; a first position at or after the end is none.
        ("bytes=-0", 1_000, Unsatisfiable),
        ("bytes=1000-", 1_000, Unsatisfiable),
        ("bytes=99999999999999999999999-", 1_000, Unsatisfiable),
        // One satisfiable range is enough; the others are left out.
        ("bytes=5000-,0-9", 1_000, parts(&[(0, 10)])),
        ("bytes=5000-6000,-0", 1_000, Unsatisfiable),
        // An empty file has no byte to start at.
        ("bytes=0-", 0, Unsatisfiable),
        ("bytes=0-0", 0, Unsatisfiable),
        // Its last bytes are nothing, for which there is no Content-Range.
        ("bytes=-5", 0, Whole),
        // Several ranges keep their order.
        ("bytes=500-509,0-9", 1_000, parts(&[(500, 510), (0, 10)])),
        // 5.6.1: white space and empty elements in lists.
        (
            "bytes= 0-9 ,\t500-509",
            1_000,
            parts(&[(0, 10), (500, 510)]),
        ),
        ("bytes=,0-9,,", 1_000, parts(&[(0, 10)])),
        // 14.1: the name of a unit has no case, other units are ignored.
        ("BYTES=0-9", 1_000, parts(&[(0, 10)])),
        ("lines=0-9", 1_000, Whole),
        // 15.3.7.2: overlapping, touching and nearly touching ranges become one.
        ("bytes=0-499,400-599", 1_000, parts(&[(0, 600)])),
        ("bytes=500-599,0-499", 1_000, parts(&[(0, 600)])),
        ("bytes=0-0,-1", 100, parts(&[(0, 100)])),
        ("bytes=0-9,0-9,0-9", 1_000, parts(&[(0, 10)])),
        // 14.2: what is malformed counts for nothing.
        ("bytes=9-0", 1_000, Whole),
        ("bytes=0-9,9-0", 1_000, Whole),
        ("bytes=", 1_000, Whole),
        ("bytes=,", 1_000, Whole),
        ("bytes=-", 1_000, Whole),
        ("bytes=--1", 1_000, Whole),
        ("bytes=a-b", 1_000, Whole),
        ("bytes=+1-2", 1_000, Whole),
        ("bytes=0x1-2", 1_000, Whole),
        ("bytes=1 - 2", 1_000, Whole),
        ("bytes=5", 1_000, Whole),
        ("bytes 0-9", 1_000, Whole),
        ("0-9", 1_000, Whole),
        ("", 1_000, Whole),
    ];
    for (field, size, expected) in rows {
        assert_eq!(select(field, *size), *expected, "{field} of {size}");
    }
}

#[test]
fn too_many_ranges_count_for_nothing() {
    let field = |count: usize| {
        let ranges: Vec<_> = (0..count)
            .map(|i| format!("{}-{}", i * 1_000, i * 1_000))
            .collect();
        format!("bytes={}", ranges.join(","))
    };
    let Selection::Parts(parts) = select(&field(MAX_RANGES), 1 << 20) else {
        panic!()
    };
    assert_eq!(parts.len(), MAX_RANGES);
    assert_eq!(select(&field(MAX_RANGES + 1), 1 << 20), Selection::Whole);
}

proptest! {
    #[test]
    fn parts_lie_inside_and_never_overlap(
        size in 0_u64..10_000,
        ranges in prop::collection::vec((0_u64..12_000, 0_u64..3_000), 1..20),
    ) {
        let set: Vec<_> = ranges.iter().map(|(at, len)| format!("{at}-{}", at + len)).collect();
        let Selection::Parts(mut parts) = select(&format!("bytes={}", set.join(",")), size) else {
            prop_assert!(ranges.iter().all(|(at, _)| *at >= size));
            return Ok(());
        };
        for (at, len) in ranges.iter().filter(|(at, _)| *at < size) {
            let last = (at + len).min(size - 1);
            prop_assert!(parts.iter().any(|part| part.contains(at) && part.contains(&last)));
        }
        parts.sort_by_key(|part| part.start);
        prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
        prop_assert!(parts.windows(2).all(|pair| pair[0].end < pair[1].start));
    }

    #[test]
    fn no_text_is_too_odd(field in "\\PC*", size in any::<u64>()) {
        if let Selection::Parts(parts) = select(&field, size) {
            prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
        }
    }
}
