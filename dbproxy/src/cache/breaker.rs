//! Stops asking a server that does not answer, so that its budget is not paid by every call.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Failures in a row after which nobody asks any more. Fewer would make one lost connection, which
/// fails every command on it, look like an outage.
const FAILURES: u32 = 5;
/// How long nobody asks; then one call finds out whether it works again.
const PAUSE: Duration = Duration::from_secs(1);

/// Closed (everybody asks), open (nobody does), or half open (one call asks for all).
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen,
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Breaker {
    /// May a call ask? `None`: not now.
    pub(super) fn admit(&self) -> Option<Permit<'_>> {
        let mut state = self.lock();
        let probe = match &*state {
            State::Closed { .. } => false,
            State::Open { until } if *until <= Instant::now() => {
                *state = State::HalfOpen;
                true
            }
            State::Open { .. } | State::HalfOpen => return None,
        };
        Some(Permit {
            breaker: self,
            probe,
            settled: false,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to ask once. One that is dropped says nothing about the server.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    breaker: &'a Breaker,
    probe: bool,
    settled: bool,
}

impl Permit<'_> {
    /// Does this call ask for all?
    pub(super) fn is_probe(&self) -> bool {
        self.probe
    }

    /// The server answered. True when this closed the breaker.
    pub(super) fn succeeded(mut self) -> bool {
        self.settled = true;
        let mut state = self.breaker.lock();
        match &mut *state {
            State::Closed { failures } => *failures = 0,
            // An answer to a question from before the pause does not end it.
            State::Open { .. } | State::HalfOpen if !self.probe => {}
            State::Open { .. } | State::HalfOpen => *state = State::default(),
        }
        self.probe
    }

    /// It did not. True when the breaker is open because of this, again or for the first time.
    pub(super) fn failed(mut self) -> bool {
        self.settled = true;
        let mut state = self.breaker.lock();
        let opens = match &mut *state {
            State::Closed { failures } => {
                *failures += 1;
                *failures >= FAILURES
            }
            State::Open { .. } | State::HalfOpen => self.probe,
        };
        if opens {
            *state = State::Open {
                until: Instant::now() + PAUSE,
            };
        }
        opens
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.probe && !self.settled {
            // Whoever asked for all went away: the next call may.
            *self.breaker.lock() = State::Open {
                until: Instant::now(),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(breaker: &Breaker) {
        for failure in 1..=FAILURES {
            assert_eq!(breaker.admit().unwrap().failed(), failure == FAILURES);
        }
        assert!(breaker.admit().is_none());
    }

    fn pass_time(breaker: &Breaker) {
        let until = Instant::now();
        *breaker.lock() = State::Open { until };
    }

    #[test]
    fn opens_after_failures_in_a_row_only() {
        let breaker = Breaker::default();
        for _ in 0..3 {
            for _ in 1..FAILURES {
                assert!(!breaker.admit().unwrap().failed());
            }
            assert!(!breaker.admit().unwrap().succeeded());
        }
        open(&breaker);
    }

    #[test]
    fn one_call_finds_out_for_all() {
        let breaker = Breaker::default();
        let early = breaker.admit().unwrap();
        open(&breaker);
        early.succeeded();
        assert!(breaker.admit().is_none(), "an old answer proves nothing");
        pass_time(&breaker);
        let probe = breaker.admit().unwrap();
        assert!(breaker.admit().is_none());
        assert!(probe.failed());
        assert!(breaker.admit().is_none());
        pass_time(&breaker);
        drop(breaker.admit().unwrap());
        let probe = breaker.admit().expect("the one before was given up");
        assert!(probe.succeeded());
        assert!(breaker.admit().is_some());
    }
}
