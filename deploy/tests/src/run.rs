//! Clients at work through the gateway, and the check of what they wrote down.

use std::{future::Future, time::Duration};

use cloudstore_proto::http::{Entry, FileState, Listing};
use cloudstore_testkit::{
    Checker, Client, Content, Kind, Load, Log, Options, Random, client::send, eventually,
    log::Snapshot,
};
use tokio::time::{Instant, sleep};

use crate::{Stack, Stores};

/// Accounts of the load.
const ACCOUNTS: usize = 2;
/// Clients of each account.
const CLIENTS: usize = 3;
/// Two cores run the clients, all services and their servers: what matters is that requests are
/// always on their way.
const OPTIONS: Options = Options {
    pace: Duration::from_millis(150),
    chunks_within: Duration::from_secs(1),
    longest_pause: Duration::from_secs(1),
    files: 20,
};
/// Far longer than the load needs for a few requests, outages included.
const PATIENCE: Duration = Duration::from_secs(60);
/// Broken requests in the output of a test that succeeds.
const SHOWN: usize = 5;
/// How often the load is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Clients at work, from the begin of a test to the check at its end.
pub struct Run {
    /// The clients.
    pub load: Load,
    /// Holds the stack to what they wrote down.
    pub checker: Checker,
    stores: Stores,
    random: Random,
    began: Instant,
}

impl Run {
    /// Begins with new accounts. `CLOUDSTORE_STACK_SEED` repeats a run's choices.
    pub async fn start(stack: &Stack) -> Self {
        let seed = std::env::var("CLOUDSTORE_STACK_SEED").map(|text| text.parse().unwrap());
        let seed = seed.unwrap_or_else(|_| Random::entropy());
        println!("CLOUDSTORE_STACK_SEED={seed}");
        let stores = Stores::of(stack).await;
        let load = Load::start(&stack.url(), ACCOUNTS, CLIENTS, seed, OPTIONS).await;
        let mut run = Self {
            checker: Checker::new(load.accounts.clone()),
            load,
            stores,
            random: Random::new(seed),
            began: Instant::now(),
        };
        run.progress(20).await;
        run
    }

    /// Says what happens, and when.
    pub fn say(&self, what: &str) {
        let log = &self.load.shared.log;
        println!(
            "{:7.3} {what} ({})",
            self.began.elapsed().as_secs_f64(),
            log.summary()
        );
    }

    /// Until so many more changes are acknowledged: the stack does its work.
    pub async fn progress(&mut self, changes: u64) {
        let goal = self.load.shared.log.acknowledged() + changes;
        let deadline = Instant::now() + PATIENCE;
        while self.load.shared.log.acknowledged() < goal {
            self.load.assert_at_work();
            let log = &self.load.shared.log;
            assert!(
                Instant::now() < deadline,
                "no progress: {} and {:#?}",
                log.summary(),
                log.broken_ones()
            );
            sleep(LOOK).await;
        }
    }

    /// An outage of that length, under load.
    pub async fn lasts(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.load.assert_at_work();
            sleep(LOOK).await;
        }
    }

    /// Does something while the clients work, and fails early when they see something wrong.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = sleep(LOOK) => self.load.assert_at_work(),
            }
        }
    }

    /// Holds the stack to the log in the middle of the load, while no request is under way.
    pub async fn check_now(&mut self) {
        let shared = self.load.shared.clone();
        let calm = shared.gate.write().await;
        self.checker
            .after_restart(&shared.log, &mut self.random)
            .await;
        drop(calm);
    }

    /// No request of these kinds broke, and every other one was refused as it should be.
    pub fn assert_unbroken(&self, kinds: &[Kind]) {
        let log = &self.load.shared.log;
        for kind in kinds {
            let ones = log.broken_ones();
            assert_eq!(log.broken(*kind), 0, "broken {kind:?}s: {ones:#?}");
        }
        let rude: Vec<_> = log
            .broken_ones()
            .into_iter()
            .filter(|one| !one.well_formed)
            .collect();
        assert!(
            rude.is_empty(),
            "not a problem that says when to come again: {rude:#?}"
        );
    }

    /// The clients end what they are doing.
    pub async fn stop(&mut self) -> Snapshot {
        self.load.stop().await;
        self.say("the load has ended");
        self.load.shared.log.snapshot()
    }

    /// Everything is as the clients wrote it down, to the byte.
    pub async fn finish(mut self) {
        self.stop().await;
        let log = &self.load.shared.log;
        for broken in log.broken_ones().iter().take(SHOWN) {
            println!("broken: {} {}", broken.what, broken.why);
        }
        self.checker.at_the_end(log, &self.stores).await;
        self.say("all of it is right");
    }
}

/// One client who does one thing after the other and writes it down, for tests without load.
pub struct Writer {
    /// The client.
    pub client: Client,
    /// What was acknowledged.
    pub log: Log,
    stores: Stores,
}

impl Writer {
    /// With a new account.
    pub async fn new(stack: &Stack) -> Self {
        let stores = Stores::of(stack).await;
        Self {
            client: Client::register(stack.url(), 0).await,
            log: Log::default(),
            stores,
        }
    }

    /// Content that nobody has yet.
    #[must_use]
    pub fn content(size: u64) -> Content {
        Content::new(Random::entropy(), size)
    }

    /// Uploads in one request, again until it is answered.
    pub async fn put(&self, path: &str, content: Content) {
        let key = (self.client.account, path.to_owned());
        self.log.ask(&key, Some(content));
        let put = async || match send(self.client.put(path, &content)).await {
            Some(answer) if matches!(answer.status, 200 | 201) => Ok(()),
            Some(answer) => panic!("PUT {path}: {}", answer.text()),
            None => Err(format!("PUT {path} is not answered")),
        };
        eventually(PATIENCE, put).await;
        self.log.settle(&key, Some(content));
    }

    /// How far the content of a path is.
    pub async fn state(&self, path: &str) -> FileState {
        let stat = send(self.client.get(&format!("/api/v1/files{path}"))).await;
        match stat.expect("an answer").json::<Listing>().entry {
            Entry::File(file) => file.state,
            other => panic!("{path}: {other:?}"),
        }
    }

    /// Waits until the content of a path is in durable storage.
    pub async fn stored(&self, path: &str, patience: Duration) {
        let probe = async || match self.state(path).await {
            FileState::Stored => Ok(()),
            state => Err(format!("{path} is {state:?}")),
        };
        eventually(patience, probe).await;
    }

    /// Everything is as it was written down, to the byte.
    pub async fn finish(self) {
        let mut checker = Checker::new(vec![self.client]);
        checker.at_the_end(&self.log, &self.stores).await;
    }
}
