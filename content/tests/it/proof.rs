//! Proof of possession: holders pass, everybody else does not.

use cloudstore_content::proof::{
    self, Challenge, PIECE_BYTES, Prover, WHOLE_BELOW, WINDOW_BYTES, WINDOWS,
};
use proptest::{prelude::*, sample::Index};

use crate::content;

fn answer(challenge: &Challenge, data: &[u8]) -> [u8; 32] {
    let mut prover = Prover::new(&challenge.nonce);
    for &(start, len) in &challenge.windows {
        let start = usize::try_from(start).unwrap();
        prover.update(&data[start..start + usize::try_from(len).unwrap()]);
    }
    prover.finish()
}

#[test]
fn small_content_is_asked_for_as_a_whole() {
    for size in [1, WHOLE_BELOW - 1, WHOLE_BELOW] {
        assert_eq!(Challenge::new(size).windows, [(0, size)]);
    }
    assert_eq!(Challenge::new(0).windows, []);
    assert_eq!(Challenge::new(WHOLE_BELOW + 1).windows.len(), WINDOWS);
}

#[test]
fn challenges_differ() {
    let (a, b) = (Challenge::new(1 << 30), Challenge::new(1 << 30));
    assert_ne!(a.nonce, b.nonce);
    assert_ne!(a.windows, b.windows);
}

#[test]
fn an_answer_fits_only_its_own_nonce() {
    let data = content(1_000, 1);
    let (a, b) = (Challenge::new(1_000), Challenge::new(1_000));
    assert!(!proof::matches(&answer(&a, &data), &answer(&b, &data)));
}

#[test]
fn the_pieces_of_an_answer_do_not_matter() {
    let data = content(WHOLE_BELOW, 2);
    let challenge = Challenge::new(WHOLE_BELOW);
    let mut prover = Prover::new(&challenge.nonce);
    data.chunks(1_001).for_each(|piece| prover.update(piece));
    assert!(proof::matches(&prover.finish(), &answer(&challenge, &data)));
}

/// Each hole is a tenth of the content. One challenge is passed with a chance of at most
/// 0.9^64; five in a row with 2^-48, so this test does not fail by chance.
#[test]
fn whoever_holds_nine_tenths_is_refused() {
    let size = 4 << 20;
    let data = content(size, 3);
    let len = data.len();
    let hole_at = |start: usize| {
        let mut partial = data.clone();
        partial[start..start + len / 10].fill(0);
        partial
    };
    let mut scattered = data.clone();
    for block in scattered.chunks_mut(4_096).step_by(10) {
        block.fill(0);
    }
    for partial in [
        hole_at(0),
        hole_at(len / 2),
        hole_at(len - len / 10),
        scattered,
    ] {
        let passed = (0..5).all(|_| {
            let challenge = Challenge::new(size);
            proof::matches(&answer(&challenge, &partial), &answer(&challenge, &data))
        });
        assert!(!passed);
    }
}

proptest! {
    #[test]
    fn windows_are_ordered_and_lie_within_the_content(
        size in prop_oneof![
            WHOLE_BELOW + 1..WHOLE_BELOW + 100_000,
            WHOLE_BELOW + 1..1 << 50,
            u64::MAX - 1_000..=u64::MAX,
        ],
    ) {
        let windows = Challenge::new(size).windows;
        prop_assert_eq!(windows.len(), WINDOWS);
        let mut end = 0;
        for (start, len) in windows {
            prop_assert_eq!(len, WINDOW_BYTES);
            prop_assert!(start >= end, "overlap at {}", start);
            end = start + len;
        }
        prop_assert!(end <= size);
    }

    #[test]
    fn the_right_bytes_pass_and_any_changed_bit_does_not(
        size in 1..=WHOLE_BELOW,
        byte: Index,
        bit in 0..8u8,
    ) {
        let mut data = content(size, 4);
        let challenge = Challenge::new(size);
        let right = answer(&challenge, &data);
        prop_assert!(proof::matches(&right, &answer(&challenge, &data)));
        let at = byte.index(data.len());
        data[at] ^= 1 << bit;
        prop_assert!(!proof::matches(&right, &answer(&challenge, &data)));
    }

    #[test]
    fn a_changed_bit_inside_a_window_does_not_pass(window in 0..WINDOWS, at: Index, bit in 0..8u8) {
        let mut data = content(WHOLE_BELOW * 2, 5);
        let challenge = Challenge::new(WHOLE_BELOW * 2);
        let right = answer(&challenge, &data);
        let (start, len) = challenge.windows[window];
        let at = at.index(usize::try_from(len).unwrap());
        data[usize::try_from(start).unwrap() + at] ^= 1 << bit;
        prop_assert!(!proof::matches(&right, &answer(&challenge, &data)));
    }
}

#[test]
fn a_challenge_for_everything_covers_every_byte_in_bounded_windows() {
    for size in [
        0,
        1,
        PIECE_BYTES - 1,
        PIECE_BYTES,
        PIECE_BYTES + 1,
        5 * PIECE_BYTES + 7,
    ] {
        let challenge = Challenge::whole(size);
        let mut end = 0;
        for (offset, len) in &challenge.windows {
            assert_eq!(*offset, end, "no gap");
            assert!((1..=PIECE_BYTES).contains(len));
            end += len;
        }
        assert_eq!(end, size);
        assert_ne!(challenge.nonce, Challenge::whole(size).nonce);
    }
}
