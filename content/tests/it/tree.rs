//! The tree against BLAKE3 itself: whatever the order and the pieces, the root is the hash.

use cloudstore_content::{
    GROUP_BYTES, Outboard, Root,
    tree::{self, GroupHasher, TreeHasher},
};
use proptest::prelude::*;

use crate::{content, group};

/// Lengths at which the shape of the tree changes.
const SIZES: [u64; 14] = [
    0,
    1,
    1_023,
    1_024,
    1_025,
    GROUP_BYTES - 1,
    GROUP_BYTES,
    GROUP_BYTES + 1,
    2 * GROUP_BYTES,
    2 * GROUP_BYTES + 1_024,
    3 * GROUP_BYTES,
    7 * GROUP_BYTES - 1,
    8 * GROUP_BYTES + 1,
    40 * GROUP_BYTES + 12_345,
];

fn reference(data: &[u8]) -> Root {
    *blake3::hash(data).as_bytes()
}

fn values_of(data: &[u8]) -> Vec<[u8; 32]> {
    let size = data.len() as u64;
    (0..tree::group_count(size))
        .map(|index| tree::group_value(size, index, group(data, index)))
        .collect()
}

#[test]
fn roots_are_blake3_at_every_size_class() {
    for size in SIZES {
        let data = content(size, 1);
        let values = values_of(&data);
        assert_eq!(tree::merge(size, &values), reference(&data), "{size} bytes");

        let mut hasher = TreeHasher::new();
        hasher.update(&data);
        assert_eq!(hasher.size(), size);
        let outboard = hasher.finish();
        assert_eq!(
            outboard,
            Outboard::from_values(size, values),
            "{size} bytes"
        );
    }
}

#[test]
fn every_number_of_groups_up_to_forty_merges_to_the_hash() {
    let data = content(40 * GROUP_BYTES, 2);
    for count in 1..=40 {
        // A short last group, so that every prefix is a blob of its own.
        let size = (count - 1) * GROUP_BYTES + 777;
        let data = &data[..usize::try_from(size).unwrap()];
        assert_eq!(
            tree::merge(size, &values_of(data)),
            reference(data),
            "{count} groups"
        );
    }
}

#[test]
fn the_only_group_of_a_blob_is_the_root_and_the_first_of_two_is_not() {
    let data = content(GROUP_BYTES, 3);
    let mut hasher = GroupHasher::new(0);
    hasher.update(&data);
    assert_eq!(hasher.root(), reference(&data));
    assert_eq!(hasher.finish(GROUP_BYTES), hasher.root());
    assert_eq!(hasher.finish(GROUP_BYTES + 1), hasher.value());
    assert_ne!(hasher.value(), hasher.root());
}

#[test]
fn a_full_group_stays_open_until_more_arrives() {
    let data = content(2 * GROUP_BYTES, 4);
    let mut hasher = TreeHasher::new();
    hasher.update(group(&data, 0));
    assert!(hasher.values().is_empty());
    assert_eq!(hasher.clone().finish().root(), &reference(group(&data, 0)));
    hasher.update(group(&data, 1));
    assert_eq!(hasher.values().len(), 1);
    assert_eq!(hasher.finish().root(), &reference(&data));
}

#[test]
#[should_panic(expected = "a lone group is given as bytes")]
fn a_single_value_cannot_be_resumed_without_bytes() {
    let data = content(GROUP_BYTES, 5);
    let value = {
        let mut hasher = GroupHasher::new(0);
        hasher.update(&data);
        hasher.value()
    };
    let _ = TreeHasher::resume(vec![value], &[]);
}

#[test]
#[should_panic(expected = "one value for each group")]
fn merge_refuses_a_wrong_number_of_values() {
    let _ = tree::merge(3 * GROUP_BYTES, &[[0; 32]; 2]);
}

/// A size of up to nine groups; half of the cases lie within two bytes of a group's edge.
fn sizes() -> impl Strategy<Value = u64> {
    let edges = (1..9u64, 0..5u64).prop_map(|(groups, near)| groups * GROUP_BYTES + near - 2);
    prop_oneof![edges, 0..9 * GROUP_BYTES]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn groups_may_arrive_in_any_order_and_in_pieces(
        size in sizes(),
        seed: u8,
        order in any::<prop::sample::Index>(),
        piece in 1..300_000usize,
    ) {
        let data = content(size, seed);
        let count = usize::try_from(tree::group_count(size)).unwrap();
        let mut values = vec![[0; 32]; count];
        // A stride without common divisor visits every group once.
        let start = order.index(count);
        for step in 0..count {
            let at = (start + step * stride(count)) % count;
            let index = at as u64;
            let mut hasher = GroupHasher::new(index);
            for piece in group(&data, index).chunks(piece) {
                hasher.update(piece);
            }
            values[at] = hasher.finish(size);
        }
        prop_assert_eq!(tree::merge(size, &values), reference(&data));
    }

    #[test]
    fn pieces_of_any_length_give_the_same_tree(
        size in sizes(),
        seed: u8,
        pieces in prop::collection::vec(1..1_500_000usize, 1..8),
    ) {
        let data = content(size, seed);
        let mut hasher = TreeHasher::new();
        let mut rest = &data[..];
        for piece in pieces.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*piece).min(rest.len()));
            hasher.update(now);
            rest = later;
        }
        prop_assert_eq!(hasher.finish(), Outboard::from_values(size, values_of(&data)));
    }

    #[test]
    fn a_hasher_resumes_at_any_byte(size in sizes(), seed: u8, at in any::<prop::sample::Index>()) {
        let data = content(size, seed);
        let at = at.index(data.len() + 1);
        let mut first = TreeHasher::new();
        first.update(&data[..at]);
        let values = first.values().to_vec();
        let open = values.len() * usize::try_from(GROUP_BYTES).unwrap();
        let mut resumed = TreeHasher::resume(values, &data[open..at]);
        resumed.update(&data[at..]);
        let outboard = resumed.finish();
        prop_assert_eq!(outboard.root(), &reference(&data));
        prop_assert_eq!(outboard.size(), size);
    }
}

fn stride(count: usize) -> usize {
    (count / 2 + 1..)
        .find(|stride| gcd(*stride, count) == 1)
        .expect("a prime will do")
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
