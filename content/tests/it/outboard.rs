//! Outboards find every change of the data, name the group, and cannot be forged.

use cloudstore_content::{Damaged, GROUP_BYTES, Outboard, tree, tree::TreeHasher};
use proptest::{prelude::*, sample::Index};

use crate::{content, group};

fn outboard_of(data: &[u8]) -> Outboard {
    let mut hasher = TreeHasher::new();
    hasher.update(data);
    hasher.finish()
}

#[test]
fn an_outboard_survives_encoding() {
    for size in [0, 1, GROUP_BYTES, GROUP_BYTES + 1, 5 * GROUP_BYTES - 3] {
        let outboard = outboard_of(&content(size, 1));
        let encoded = outboard.encode();
        assert_eq!(encoded.len() as u64, 32 * tree::group_count(size));
        assert_eq!(
            Outboard::decode(size, outboard.root(), &encoded),
            Ok(outboard)
        );
    }
}

#[test]
fn the_outboard_of_a_single_group_is_the_root() {
    for size in [0, 5, GROUP_BYTES] {
        let data = content(size, 2);
        let outboard = Outboard::single(size, *blake3::hash(&data).as_bytes());
        assert_eq!(outboard, outboard_of(&data));
        assert_eq!(outboard.verify_group(0, &data), Ok(()));
    }
}

#[test]
fn a_wrong_length_is_refused() {
    let size = 3 * GROUP_BYTES + 1;
    let outboard = outboard_of(&content(size, 3));
    let encoded = outboard.encode();
    for found in [0, 1, 96, 127, 129, 160] {
        let mut other = encoded.clone();
        other.resize(found, 0);
        assert_eq!(
            Outboard::decode(size, outboard.root(), &other),
            Err(Damaged::OutboardLength {
                expected: 128,
                found: found as u64
            }),
        );
    }
}

#[test]
fn an_outboard_does_not_fit_another_size() {
    let size = 3 * GROUP_BYTES + 100;
    let data = content(size, 4);
    let outboard = outboard_of(&data);
    // Same number of groups, so only the data can tell.
    let other = Outboard::decode(size + 1, outboard.root(), &outboard.encode()).unwrap();
    assert_eq!(
        other.verify_group(3, group(&data, 3)),
        Err(Damaged::Group(3))
    );
}

#[test]
fn groups_of_wrong_length_and_groups_that_are_not_there_are_damaged() {
    let data = content(2 * GROUP_BYTES + 9, 5);
    let outboard = outboard_of(&data);
    assert_eq!(outboard.verify_group(2, &[]), Err(Damaged::Group(2)));
    assert_eq!(
        outboard.verify_group(2, &data[..10]),
        Err(Damaged::Group(2))
    );
    assert_eq!(outboard.verify_group(0, &data), Err(Damaged::Group(0)));
    assert_eq!(outboard.verify_group(3, &[]), Err(Damaged::Group(3)));
    assert_eq!(
        outboard.verify_group(u64::MAX, &[]),
        Err(Damaged::Group(u64::MAX))
    );
    assert_eq!(
        outboard.verify_group(1, group(&data, 0)),
        Err(Damaged::Group(1))
    );
}

#[test]
fn ranges_are_cut_to_the_blob() {
    let outboard = outboard_of(&content(2 * GROUP_BYTES + 9, 6));
    assert_eq!(outboard.groups_of(0..u64::MAX), 0..3);
    assert_eq!(outboard.groups_of(GROUP_BYTES..GROUP_BYTES + 1), 1..2);
    assert!(
        outboard
            .groups_of(5 * GROUP_BYTES..6 * GROUP_BYTES)
            .is_empty()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_flipped_bit_of_the_data_names_its_group(
        size in 1..4 * GROUP_BYTES,
        byte: Index,
        bit in 0..8u8,
    ) {
        let mut data = content(size, 7);
        let outboard = outboard_of(&data);
        let at = byte.index(data.len());
        data[at] ^= 1 << bit;
        for index in 0..tree::group_count(size) {
            let hit = index == at as u64 / GROUP_BYTES;
            let expected = if hit { Err(Damaged::Group(index)) } else { Ok(()) };
            prop_assert_eq!(outboard.verify_group(index, group(&data, index)), expected);
        }
    }

    #[test]
    fn any_flipped_bit_of_an_outboard_is_noticed(
        size in 1..6 * GROUP_BYTES,
        byte: Index,
        bit in 0..8u8,
    ) {
        let outboard = outboard_of(&content(size, 8));
        let mut encoded = outboard.encode();
        let at = byte.index(encoded.len());
        encoded[at] ^= 1 << bit;
        prop_assert_eq!(
            Outboard::decode(size, outboard.root(), &encoded),
            Err(Damaged::Outboard),
        );
    }
}
