//! Load from clients who write down every acknowledgement, and a checker that holds a server to
//! what they wrote. For the tests that kill, stop and cut off what the server stands on.
//!
//! The reliability invariants I1 to I7 are those of ARCHITECTURE.md.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "test code: what fails, fails the test"
)]

pub mod check;
pub mod client;
pub mod load;
pub mod log;
pub mod random;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::RwLock,
    task::{JoinError, JoinSet},
    time::{Instant, sleep},
};

pub use self::{
    check::Checker,
    client::{Client, Kind},
    load::Loader,
    log::{Content, Log},
    random::Random,
};

/// How hard the clients work.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// After each piece of work a client rests for so long.
    pub pace: Duration,
    /// Each chunk comes within so long after the one before, so that uploads last.
    pub chunks_within: Duration,
    /// A client whose request broke waits as long as the server says, or a moment if nobody said
    /// anything, but not longer than this.
    pub longest_pause: Duration,
    /// A client that has so many files deletes one before it makes another.
    pub files: usize,
}

impl Default for Options {
    /// As hard as they can, with as much as they may have.
    fn default() -> Self {
        Self {
            pace: Duration::ZERO,
            chunks_within: Duration::ZERO,
            longest_pause: Duration::ZERO,
            files: usize::MAX,
        }
    }
}

/// What the clients of a run share.
#[derive(Default)]
pub struct Shared {
    /// What was acknowledged.
    pub log: Log,
    /// Held for reading during every request, so that whoever holds it for writing sees a log in
    /// which no request is under way.
    pub gate: RwLock<()>,
    /// Begin nothing new.
    pub stop: AtomicBool,
}

/// Clients at work.
pub struct Load {
    /// One client for each account, for the checker.
    pub accounts: Vec<Client>,
    /// What they share.
    pub shared: Arc<Shared>,
    loaders: JoinSet<()>,
}

impl Load {
    /// Registers accounts and starts so many clients for each of them. The seed decides what they
    /// do.
    pub async fn start(
        url: &str,
        accounts: usize,
        clients: usize,
        seed: u64,
        options: Options,
    ) -> Self {
        let mut registered = Vec::new();
        for index in 0..accounts {
            registered.push(Client::register(url.to_owned(), index).await);
        }
        let shared = Arc::new(Shared::default());
        let mut loaders = JoinSet::new();
        for (index, account) in registered.iter().enumerate() {
            for number in 0..clients {
                let seed = seed.wrapping_add((index * clients + number) as u64 + 1);
                let random = Random::new(seed);
                let loader = Loader::new(account.clone(), shared.clone(), number, random, options);
                loaders.spawn(loader.run());
            }
        }
        Self {
            accounts: registered,
            shared,
            loaders,
        }
    }

    /// Fails the test when a client has ended, which happens only when it saw something wrong.
    pub fn assert_at_work(&mut self) {
        if let Some(ended) = self.loaders.try_join_next() {
            panic!("a client ended early: {}", reason(ended));
        }
    }

    /// Lets the clients finish what they are doing, and fails if one of them saw something wrong.
    pub async fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.loaders.join_next().await {
            if let Err(error) = ended {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }
}

fn reason(ended: Result<(), JoinError>) -> String {
    let Err(error) = ended else {
        return "without a reason".to_owned();
    };
    let panic = error.into_panic();
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default()
}

/// How often [`eventually`] looks.
const POLL: Duration = Duration::from_millis(100);

/// Waits until it is so, and fails with the last reason why it is not.
pub async fn eventually(patience: Duration, mut probe: impl AsyncFnMut() -> Result<(), String>) {
    let deadline = Instant::now() + patience;
    while let Err(reason) = probe().await {
        assert!(Instant::now() < deadline, "{reason}");
        sleep(POLL).await;
    }
}
