//! A bound for looking up tokens of shares that somebody makes up. They are too long to be guessed; what
//! they cost is a look into the database each.

use std::{
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    Kind, Problem, Result,
    auth::ShareToken,
    bucket::{Bucket, whole_seconds},
    cache::Generations,
    listener::ClientAddress,
};

/// Tokens that open nothing which one client (of IPv6, one /64 network) may ask for in a minute: many more
/// than anybody has old links to.
const PER_CLIENT: u32 = 60;
/// The same for all clients together: a hundred small questions a second are nothing to a database.
const FOR_ALL: u32 = 6_000;
/// Clients in each of the two generations of the memory. Pushing one out takes as many others, and what
/// they can ask for together [`FOR_ALL`] bounds.
const CLIENTS: usize = 16_384;
/// Tokens that opened something lately, in each of the two generations: 32 bytes each.
const OPENED: usize = 65_536;

/// Who asks for what opens nothing is slowed down. A token that opened something here before is looked up
/// in any case, whatever others do; one that never did is refused only while its own client, or all of
/// them together, ask for too many that open nothing.
#[derive(Debug)]
pub struct Guesses(Mutex<Memory>);

#[derive(Debug)]
struct Memory {
    /// By the token's hash; `false`: not any more.
    opened: Generations<[u8; 32], bool>,
    clients: Generations<IpAddr, Bucket>,
    all: Bucket,
}

impl Default for Guesses {
    fn default() -> Self {
        Self(Mutex::new(Memory {
            opened: Generations::new(OPENED),
            clients: Generations::new(CLIENTS),
            all: Bucket::full(FOR_ALL),
        }))
    }
}

impl Guesses {
    /// What looking a token up finds. `not-found` is a guess, everything else costs nothing.
    ///
    /// # Errors
    /// Those of looking, and `rate-limited`, saying when to try again.
    pub async fn look_up<T>(
        &self,
        client: ClientAddress,
        token: &ShareToken,
        look: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let (client, hash) = (client.network(), token.hash());
        // Taken before, so that parallel guesses count.
        let is_guess = self.memory().take(client, &hash)?;
        let found = look.await;
        let is_missing = matches!(&found, Err(problem) if problem.kind() == Kind::NotFound);
        let mut memory = self.memory();
        if is_guess && !is_missing {
            memory.give_back(client);
        }
        if found.is_ok() || (is_missing && !is_guess) {
            memory.opened.insert(hash, found.is_ok());
        }
        found
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// Whether it takes an attempt.
    fn take(&mut self, client: IpAddr, hash: &[u8; 32]) -> Result<bool> {
        if self.opened.get(hash) == Some(true) {
            return Ok(false);
        }
        let mut bucket = self.bucket(client);
        let taken = bucket.take(PER_CLIENT).and_then(|()| {
            let of_all = self.all.take(FOR_ALL);
            if of_all.is_err() {
                bucket.give_back(PER_CLIENT);
            }
            of_all
        });
        self.clients.insert(client, bucket);
        taken.map(|()| true).map_err(|wait| {
            let detail = "too many addresses of shares that are not there";
            Problem::new(Kind::RateLimited, detail).retry_after(whole_seconds(wait))
        })
    }

    fn give_back(&mut self, client: IpAddr) {
        let mut bucket = self.bucket(client);
        bucket.give_back(PER_CLIENT);
        self.clients.insert(client, bucket);
        self.all.give_back(FOR_ALL);
    }

    fn bucket(&mut self, client: IpAddr) -> Bucket {
        let bucket = self.clients.get(&client);
        bucket.unwrap_or_else(|| Bucket::full(PER_CLIENT))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn token() -> ShareToken {
        ShareToken::generate().unwrap()
    }

    fn client(n: u32) -> ClientAddress {
        ClientAddress(IpAddr::from(n.to_be_bytes()))
    }

    async fn hit(guesses: &Guesses, client: ClientAddress, token: &ShareToken) -> Result<()> {
        guesses.look_up(client, token, async { Ok(()) }).await
    }

    /// The kind of problem that asking for what opens nothing ends with.
    async fn miss(guesses: &Guesses, client: ClientAddress, token: &ShareToken) -> Kind {
        let nothing = async { Err::<(), _>(Problem::new(Kind::NotFound, "nothing")) };
        let missed = guesses.look_up(client, token, nothing).await;
        missed.unwrap_err().kind()
    }

    #[tokio::test(start_paused = true)]
    async fn who_guesses_is_slowed_down_and_nobody_else() {
        let guesses = Guesses::default();
        let (known, other) = (token(), token());
        hit(&guesses, client(2), &known).await.unwrap();
        for _ in 0..PER_CLIENT {
            assert_eq!(miss(&guesses, client(1), &token()).await, Kind::NotFound);
        }
        let refused = hit(&guesses, client(1), &other).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::RateLimited);
        hit(&guesses, client(1), &known).await.unwrap();
        hit(&guesses, client(2), &other).await.unwrap();
        hit(&guesses, client(1), &other).await.unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(miss(&guesses, client(1), &token()).await, Kind::NotFound);
        let refused = miss(&guesses, client(1), &token()).await;
        assert_eq!(refused, Kind::RateLimited);
    }

    #[tokio::test(start_paused = true)]
    async fn all_guesses_together_are_bounded() {
        let guesses = Guesses::default();
        let known = token();
        hit(&guesses, client(0), &known).await.unwrap();
        for n in 0..FOR_ALL {
            assert_eq!(miss(&guesses, client(n), &token()).await, Kind::NotFound);
        }
        let refused = miss(&guesses, client(FOR_ALL), &token()).await;
        assert_eq!(refused, Kind::RateLimited);
        hit(&guesses, client(FOR_ALL), &known).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_opens_costs_nothing_and_what_ended_does() {
        let guesses = Guesses::default();
        for _ in 0..PER_CLIENT + 10 {
            hit(&guesses, client(1), &token()).await.unwrap();
        }
        let ended = token();
        hit(&guesses, client(1), &ended).await.unwrap();
        // The first time nobody knows that it ended.
        for _ in 0..=PER_CLIENT {
            assert_eq!(miss(&guesses, client(1), &ended).await, Kind::NotFound);
        }
        assert_eq!(miss(&guesses, client(1), &ended).await, Kind::RateLimited);
    }
}
