//! The server is killed a hundred times at random moments while clients upload, replace, delete,
//! cancel and prove. Whatever it acknowledged must be there after every restart.
//!
//! The clients write down every acknowledgement ([`log`]); [`check`] holds the server to it.
//! `CLOUDSTORE_KILL_SEED` repeats a run's choices, `CLOUDSTORE_KILL_COUNT` changes the hundred.

#![expect(clippy::unwrap_used, reason = "test code: what fails, fails the test")]

mod server;

use std::time::{Duration, Instant};

use cloudstore_testkit::{Checker, Load, Options, Random};

use crate::server::Server;

/// Kills in a run.
const KILLS: u64 = 100;
/// Accounts of the load.
const ACCOUNTS: usize = 2;
/// Clients of each account.
const CLIENTS: usize = 3;
/// Small enough to be reached again and again.
const QUOTA: u64 = 200 << 20;
/// The server lives for a random time up to this between two kills.
const LIFE: Duration = Duration::from_millis(900);

/// Every so many restarts the server is killed once more while it starts.
const STUMBLES: u64 = 4;
/// It lives for a random time up to this then.
const STUMBLE: Duration = Duration::from_millis(150);

fn setting(name: &str, default: impl FnOnce() -> u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap(),
        Err(_) => default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_work_survives_a_hundred_kills() {
    let seed = setting("CLOUDSTORE_KILL_SEED", Random::entropy);
    let kills = setting("CLOUDSTORE_KILL_COUNT", || KILLS);
    println!("CLOUDSTORE_KILL_SEED={seed}");
    let start = Instant::now();
    let mut server = Server::start(QUOTA).await;
    let mut load = Load::start(&server.url(), ACCOUNTS, CLIENTS, seed, Options::default()).await;
    let shared = load.shared.clone();

    let mut random = Random::new(seed);
    let mut checker = Checker::new(load.accounts.clone());
    for _ in 1..=kills {
        tokio::time::sleep(LIFE.mul_f64(random.fraction())).await;
        server.kill().await;
        // The requests that the kill broke have ended once the gate is free.
        let calm = shared.gate.write().await;
        if random.once_in(STUMBLES) {
            server.stumble(STUMBLE.mul_f64(random.fraction())).await;
        }
        server.restart().await;
        checker.after_restart(&shared.log, &mut random).await;
        drop(calm);
        load.assert_at_work();
    }
    load.stop().await;
    println!(
        "{kills} kills in {:?}: {}",
        start.elapsed(),
        shared.log.summary()
    );
    checker.at_the_end(&shared.log, &server).await;
    println!("all of it is right after {:?}", start.elapsed());
    assert!(
        shared.log.is_worth_something(kills),
        "{}",
        shared.log.summary()
    );
}
