//! Proof of possession: knowing a blob's hash is not owning its content.
//!
//! The server draws a nonce and windows of the content; the client answers with BLAKE3 keyed by
//! the nonce over the bytes of the windows, in order. The server computes the same from its own
//! copy. One window lies in each 64th of the content, at a random place: whoever lacks a tenth of
//! the bytes, wherever they are, passes with a chance of at most 0.9^64, about 1 in 850. A nonce
//! must be used once and expire soon; that is the caller's part.

/// Windows of a challenge, for content above [`WHOLE_BELOW`].
pub const WINDOWS: usize = 64;
/// Bytes of a window.
pub const WINDOW_BYTES: u64 = 4_096;
/// Content up to this many bytes is asked for as a whole: the windows would cover as much.
pub const WHOLE_BELOW: u64 = WINDOWS as u64 * WINDOW_BYTES;

/// Longest window of a challenge for the whole content, so that no side has to hold more.
pub const PIECE_BYTES: u64 = 1 << 20;

/// What a client must hash to show that it holds the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Key of the answer; 32 bytes from the operating system's generator.
    pub nonce: [u8; 32],
    /// Offset and length in bytes of what is to be hashed, ascending, inside the content and
    /// without overlap. None for empty content.
    pub windows: Vec<(u64, u64)>,
}

impl Challenge {
    /// A fresh challenge for content of `size` bytes.
    ///
    /// # Panics
    /// When the operating system has no random bytes.
    #[must_use]
    pub fn new(size: u64) -> Self {
        let mut nonce = [0; 32];
        fill_random(&mut nonce);
        Self {
            nonce,
            windows: draw_windows(size),
        }
    }

    /// A fresh challenge for every byte of content of `size` bytes: for content that was found by a
    /// digest that different contents can share. Two files with the same SHA-1 differ in a few
    /// blocks, which samples miss.
    ///
    /// # Panics
    /// As [`Challenge::new`].
    #[must_use]
    pub fn whole(size: u64) -> Self {
        let mut nonce = [0; 32];
        fill_random(&mut nonce);
        let pieces = 0..size.div_ceil(PIECE_BYTES);
        let windows = pieces
            .map(|piece| piece * PIECE_BYTES)
            .map(|start| (start, PIECE_BYTES.min(size - start)))
            .collect();
        Self { nonce, windows }
    }
}

fn draw_windows(size: u64) -> Vec<(u64, u64)> {
    if size == 0 {
        return Vec::new();
    }
    if size <= WHOLE_BELOW {
        return vec![(0, size)];
    }
    let mut random = [0; WINDOWS * 8];
    fill_random(&mut random);
    let (random, _) = random.as_chunks();
    (0..)
        .zip(random)
        .map(|(stripe, random)| draw_window(size, stripe, *random))
        .collect()
}

/// A window at a random place of the stripe. A stripe is at least a window long, because content
/// with windows is longer than [`WHOLE_BELOW`].
fn draw_window(size: u64, stripe: u64, random: [u8; 8]) -> (u64, u64) {
    let start = stripe_start(size, stripe);
    let places = stripe_start(size, stripe + 1) - start - WINDOW_BYTES + 1;
    // The bias of the remainder is below places / 2^64: nothing to gain for a prover.
    (start + u64::from_le_bytes(random) % places, WINDOW_BYTES)
}

/// `size * stripe / WINDOWS`, without overflow.
fn stripe_start(size: u64, stripe: u64) -> u64 {
    let windows = WINDOWS as u64;
    size / windows * stripe + size % windows * stripe / windows
}

fn fill_random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("invariant: the operating system has random bytes");
}

/// Computes the answer to a challenge.
#[derive(Clone, Debug)]
pub struct Prover(blake3::Hasher);

impl Prover {
    /// For one challenge.
    #[must_use]
    pub fn new(nonce: &[u8; 32]) -> Self {
        Self(blake3::Hasher::new_keyed(nonce))
    }

    /// Appends bytes of the windows, in the challenge's order.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The answer.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// Are two answers the same? Takes the same time wherever they differ.
#[must_use]
pub fn matches(a: &[u8; 32], b: &[u8; 32]) -> bool {
    blake3::Hash::from_bytes(*a) == blake3::Hash::from_bytes(*b)
}
