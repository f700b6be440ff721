//! Password hashing: Argon2id with the parameters that OWASP's Password Storage Cheat Sheet gives,
//! off the async threads and never more of it than the machine can take.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{self, PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use cloudstore_service::{Kind, Problem, Result, settings::Settings};
use tokio::sync::Semaphore;

use crate::fields::MAX_PASSWORD;

/// KiB of memory, passes and lanes: about 18 ms of one core.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Hashes and verifies passwords. Clones share the bounds.
#[derive(Clone)]
pub(crate) struct Passwords {
    /// One for each request that is hashing or waiting to.
    places: Arc<Semaphore>,
    /// One for each request that is hashing.
    turns: Arc<Semaphore>,
    argon2: Argon2<'static>,
    /// Verified in place of the hash of a user who does not exist, so that both take as long.
    nobody: Arc<str>,
}

impl Passwords {
    /// At most `concurrency` hashes at once, and `queue` requests waiting.
    pub(crate) fn new(concurrency: usize, queue: u16) -> Result<Self> {
        let params =
            Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| internal(&error))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let concurrency = concurrency.max(1);
        Ok(Self {
            places: Arc::new(Semaphore::new(concurrency + usize::from(queue))),
            turns: Arc::new(Semaphore::new(concurrency)),
            nobody: hash(&argon2, "the password of nobody")?.into(),
            argon2,
        })
    }

    /// Changes how many are hashed at once as operators set it, for ever. `default` counts while
    /// nothing is set, and was the number at the start.
    pub(crate) async fn follow(self, mut settings: Settings, default: usize) {
        let mut size = default.max(1);
        loop {
            let wanted = settings.argon2_concurrency(default).max(1);
            if wanted > size {
                self.places.add_permits(wanted - size);
                self.turns.add_permits(wanted - size);
            }
            for _ in wanted..size {
                // As running ones end.
                for permits in [&self.turns, &self.places] {
                    if let Ok(permit) = permits.acquire().await {
                        permit.forget();
                    }
                }
            }
            size = wanted;
            settings.changed().await;
        }
    }

    /// The hash to store, in PHC format with its salt.
    pub(crate) async fn hash(&self, password: String) -> Result<String> {
        let argon2 = self.argon2.clone();
        self.run(move || hash(&argon2, &password)).await?
    }

    /// Is it the password of this hash? `None`, for a user who does not exist, costs the same and
    /// is false.
    pub(crate) async fn verify(&self, password: String, stored: Option<String>) -> Result<bool> {
        let argon2 = self.argon2.clone();
        let nobody = Arc::clone(&self.nobody);
        self.run(move || {
            let exists = stored.is_some();
            let stored = stored.as_deref().unwrap_or(&nobody);
            let stored = PasswordHash::new(stored).map_err(|error| internal(&error))?;
            // No stored password is longer, so the rest cannot make it right.
            let bytes = &password.as_bytes()[..password.len().min(MAX_PASSWORD)];
            match argon2.verify_password(bytes, &stored) {
                Ok(()) => Ok(exists && password.len() <= MAX_PASSWORD),
                Err(password_hash::Error::PasswordInvalid) => Ok(false),
                Err(error) => Err(internal(&error)),
            }
        })
        .await?
    }

    /// Runs on a blocking thread when it is its turn. The permits move into the task: a caller who
    /// goes away frees them only when the work is done.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let overloaded = |_| {
            let detail = "too many logins at once";
            Problem::new(Kind::Overloaded, detail).retry_after(1)
        };
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(overloaded)?;
        let turn = Arc::clone(&self.turns)
            .acquire_owned()
            .await
            .map_err(Problem::internal)?;
        tokio::task::spawn_blocking(move || {
            let _held = (place, turn);
            work()
        })
        .await
        .map_err(Problem::internal)
    }
}

fn hash(argon2: &Argon2<'_>, password: &str) -> Result<String> {
    let hash: PasswordHash = argon2
        .hash_password(password.as_bytes())
        .map_err(|error| internal(&error))?;
    Ok(hash.to_string())
}

fn internal(error: &impl std::fmt::Display) -> Problem {
    Problem::internal(format!("argon2: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn right_wrong_and_nobody() {
        let passwords = Passwords::new(1, 8).unwrap();
        let stored = passwords.hash("correct horse".into()).await.unwrap();
        assert!(
            stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{stored}"
        );
        let verify = async |password: &str, stored: Option<&String>| {
            passwords
                .verify(password.into(), stored.cloned())
                .await
                .unwrap()
        };
        assert!(verify("correct horse", Some(&stored)).await);
        assert!(!verify("wrong horse", Some(&stored)).await);
        assert!(!verify("the password of nobody", None).await);
        let long = "x".repeat(MAX_PASSWORD);
        let stored = passwords.hash(long.clone()).await.unwrap();
        assert!(verify(&long, Some(&stored)).await);
        assert!(!verify(&format!("{long}y"), Some(&stored)).await);
    }

    #[tokio::test]
    async fn a_full_queue_is_overloaded() {
        let passwords = Passwords::new(1, 1).unwrap();
        let held = Arc::clone(&passwords.turns).acquire_owned().await.unwrap();
        let one = passwords.run(|| ());
        let two = passwords.run(|| ());
        let three = passwords.run(|| ());
        tokio::pin!(one, two);
        assert!(futures_pending(&mut one).await && futures_pending(&mut two).await);
        assert_eq!(three.await.unwrap_err().kind(), Kind::Overloaded);
        drop(held);
        one.await.unwrap();
        two.await.unwrap();
    }

    async fn futures_pending(future: &mut (impl Future + Unpin)) -> bool {
        tokio::select! { biased; _ = future => false, () = std::future::ready(()) => true }
    }
}
