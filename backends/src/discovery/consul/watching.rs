//! Following a list in Consul, without believing everything that Consul says after it was away.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::{Instant, sleep};

use super::Answer;
use crate::{
    backoff::{Backoff, shortened},
    discovery::Error,
};

/// How long a query waits for news; Consul adds up to a sixteenth. A Consul that restarts just
/// between two queries is asked to wait on an index of its former life, and is found out after it.
const WAIT: Duration = Duration::from_secs(10);
/// How long what was known before an outage is kept beside what Consul says after it. A Consul
/// that has forgotten everything hears from its instances again within some seconds, and needs a
/// check of each until it calls them ready.
pub(super) const GRACE: Duration = Duration::from_secs(15);
/// How often a list is asked for when there is no index to wait on.
const POLL: Duration = Duration::from_secs(1);
/// Between two queries of which each had news: a list that changes all the time costs no more.
const PAUSE: Duration = Duration::from_millis(20);
/// Between failed queries at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// What is to be believed.
#[derive(Debug)]
struct View<V> {
    items: BTreeMap<String, V>,
    /// Index of the last answer.
    index: u64,
    /// Nothing could be learnt since the last answer.
    failed: bool,
    /// What is missing now may only have been forgotten.
    doubt_until: Option<Instant>,
}

impl<V> View<V> {
    fn new() -> Self {
        Self {
            items: BTreeMap::new(),
            index: 0,
            failed: false,
            doubt_until: None,
        }
    }

    fn failed(&mut self) {
        self.failed = true;
    }

    /// Takes an answer. The result is the index to wait on, 0 for an answer at once.
    fn answered(&mut self, answer: Answer<V>, now: Instant) -> u64 {
        let index = answer.index.unwrap_or(0);
        let backwards = answer.index.is_some_and(|index| index < self.index);
        if self.failed || backwards {
            self.doubt_until = Some(now + GRACE);
        }
        if self.doubt(now).is_some() {
            self.items.extend(answer.items);
        } else {
            self.doubt_until = None;
            self.items = answer.items;
        }
        self.failed = false;
        self.index = index;
        // Consul's rule: an index that goes backwards starts anew.
        if backwards { 0 } else { index }
    }

    /// What remains of the grace.
    fn doubt(&self, now: Instant) -> Option<Duration> {
        let left = self.doubt_until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// How long the next query may wait: the end of the grace must be noticed.
    fn wait(&self, now: Instant) -> Duration {
        let left = self.doubt(now).unwrap_or(WAIT);
        left.clamp(Duration::from_secs(1), WAIT)
    }
}

/// Asks by `fetch` with an index to wait on and a time to wait, for ever, and tells what is to be
/// believed after each answer.
pub(super) async fn follow<V, F>(
    what: &str,
    fetch: impl Fn(u64, Duration) -> F,
    tell: impl Fn(&BTreeMap<String, V>),
) where
    F: Future<Output = Result<Answer<V>, Error>>,
{
    let mut view = View::new();
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    let mut index = 0;
    loop {
        match fetch(index, view.wait(Instant::now())).await {
            Ok(answer) => {
                if backoff.failures() > 0 {
                    tracing::info!(what, "discovery answers again");
                }
                backoff.succeeded();
                index = view.answered(answer, Instant::now());
                tell(&view.items);
                sleep(if index == 0 { shortened(POLL) } else { PAUSE }).await;
            }
            Err(error) => {
                if backoff.failures() == 0 {
                    tracing::warn!(what, %error, "discovery is away, the last list stays");
                }
                view.failed();
                // Another Consul may answer next, with other indexes.
                index = 0;
                sleep(backoff.failed()).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(index: u64, names: &[&'static str]) -> Answer<()> {
        let items = names.iter().map(|name| ((*name).to_owned(), ()));
        Answer {
            index: Some(index),
            items: items.collect(),
        }
    }

    fn names(view: &View<()>) -> Vec<&str> {
        view.items.keys().map(String::as_str).collect()
    }

    #[test]
    fn in_quiet_times_every_answer_is_believed_at_once() {
        let (mut view, now) = (View::new(), Instant::now());
        assert_eq!(view.answered(answer(5, &["a", "b"]), now), 5);
        assert_eq!(names(&view), ["a", "b"]);
        assert_eq!(view.answered(answer(6, &["b"]), now), 6);
        assert_eq!(names(&view), ["b"]);
        assert_eq!(view.answered(answer(7, &[]), now), 7);
        assert!(names(&view).is_empty());
        assert_eq!(view.wait(now), WAIT);
    }

    #[test]
    fn after_an_outage_nothing_goes_until_the_grace_is_over() {
        let (mut view, now) = (View::new(), Instant::now());
        view.answered(answer(50, &["a", "b"]), now);
        view.failed();
        // Restarted empty: it counts from the beginning again.
        assert_eq!(view.answered(answer(9, &[]), now), 0);
        assert_eq!(names(&view), ["a", "b"]);
        assert_eq!(view.wait(now + GRACE / 2), GRACE / 2);
        let later = now + GRACE / 2;
        assert_eq!(view.answered(answer(12, &["b", "c"]), later), 12);
        assert_eq!(names(&view), ["a", "b", "c"]);
        let end = now + GRACE;
        assert_eq!(view.answered(answer(12, &["b", "c"]), end), 12);
        assert_eq!(names(&view), ["b", "c"]);
        assert_eq!(view.wait(end), WAIT);
    }

    #[test]
    fn an_index_that_goes_backwards_is_an_outage_that_nobody_saw() {
        let (mut view, now) = (View::new(), Instant::now());
        view.answered(answer(50, &["a"]), now);
        assert_eq!(view.answered(answer(3, &[]), now), 0);
        assert_eq!(names(&view), ["a"]);
        assert_eq!(view.answered(answer(3, &[]), now + GRACE), 3);
        assert!(names(&view).is_empty());
    }

    #[test]
    fn a_list_without_an_index_is_asked_for_again() {
        let (mut view, now) = (View::new(), Instant::now());
        let none = Answer {
            index: None,
            items: BTreeMap::from([("a".to_owned(), ())]),
        };
        assert_eq!(view.answered(none, now), 0);
        assert_eq!(names(&view), ["a"]);
    }
}
