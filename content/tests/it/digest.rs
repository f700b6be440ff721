//! Lookup digests: known answers, and the same in pieces as in one go.

use cloudstore_content::digest::{Digests, Hasher};
use proptest::prelude::*;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use crate::content;

#[test]
fn known_answers() {
    // FIPS 180-4 examples, "abc".
    let mut hasher = Hasher::new(true, true);
    hasher.update(b"a");
    hasher.update(b"bc");
    let digests = hasher.finish();
    assert_eq!(
        digests.sha1.unwrap()[..8],
        [0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81, 0x6a]
    );
    assert_eq!(
        digests.sha256.unwrap()[..8],
        [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea]
    );
}

#[test]
fn only_the_wanted_ones_are_computed() {
    assert_eq!(Hasher::new(false, false).finish(), Digests::default());
    let only_sha1 = Hasher::new(true, false).finish();
    assert!(only_sha1.sha1.is_some() && only_sha1.sha256.is_none());
    let only_sha256 = Hasher::new(false, true).finish();
    assert!(only_sha256.sha1.is_none() && only_sha256.sha256.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pieces_do_not_matter(size in 0..200_000u64, seed: u8, piece in 1..70_000usize) {
        let data = content(size, seed);
        let mut hasher = Hasher::new(true, true);
        data.chunks(piece).for_each(|piece| hasher.update(piece));
        let expected = Digests {
            sha1: Some(Sha1::digest(&data).into()),
            sha256: Some(Sha256::digest(&data).into()),
        };
        prop_assert_eq!(hasher.finish(), expected);
    }
}
