//! One write a second to the same object: the service's limit, which a process keeps to for its own writes.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::{Key, lock::lock};

/// What the service wants between two writes of one object (<https://cloud.google.com/storage/quotas>).
pub(super) const GAP: Duration = Duration::from_secs(1);
/// So many keys are remembered. Of more, the service may say that it was too soon, and is asked again.
const MOST: usize = 4096;

/// When this process last wrote each key. `None` where there is no such limit: it is Google's.
#[derive(Debug)]
pub(super) struct WriteRate(Option<Mutex<HashMap<Key, Instant>>>);

/// A write that is under way.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    rate: &'a WriteRate,
    key: &'a Key,
}

impl WriteRate {
    pub(super) fn new(limited: bool) -> Self {
        WriteRate(limited.then(Mutex::default))
    }

    /// Waits until the key may be written. Writes that begin at the same time do not wait for each other: the
    /// service tells who comes first.
    pub(super) async fn turn<'a>(&'a self, key: &'a Key) -> Turn<'a> {
        while let Some(next) = self.next(key) {
            // Boxed, as all that is rare: its future would be part of every put's.
            Box::pin(sleep_until(next)).await;
        }
        Turn { rate: self, key }
    }

    /// When the key may be written again, if that is not now.
    fn next(&self, key: &Key) -> Option<Instant> {
        let next = *lock(self.0.as_ref()?).get(key)? + GAP;
        (next > Instant::now()).then_some(next)
    }

    /// Notes a write that has ended now.
    pub(super) fn wrote(&self, key: &Key) {
        let Some(last) = &self.0 else { return };
        let (mut last, now) = (lock(last), Instant::now());
        if last.len() >= MOST {
            last.retain(|_, at| now.duration_since(*at) < GAP);
        }
        if last.len() < MOST || last.contains_key(key) {
            last.insert(key.clone(), now);
        }
    }
}

/// Whatever came of it: the service counts what it refuses as well, and who gave up may have written.
impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.rate.wrote(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_for_the_rest_of_its_second_and_others_do_not() {
        let [a, b] = ["a", "b"].map(|name| Key::new(name).unwrap());
        let (rate, start) = (WriteRate::new(true), Instant::now());
        drop(rate.turn(&a).await);
        drop(rate.turn(&b).await);
        assert_eq!(start.elapsed(), Duration::ZERO);
        tokio::time::advance(GAP / 4).await;
        let turn = rate.turn(&a).await;
        assert!(start.elapsed() >= GAP && start.elapsed() < 2 * GAP);
        // It counts from the end of a write.
        tokio::time::advance(10 * GAP).await;
        drop(turn);
        drop(rate.turn(&a).await);
        assert!(start.elapsed() >= 12 * GAP);
        let free = WriteRate::new(false);
        let now = Instant::now();
        drop(free.turn(&a).await);
        drop(free.turn(&a).await);
        assert_eq!(now.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_keys_are_remembered_than_there_is_room_for() {
        let rate = WriteRate::new(true);
        let key = |n: usize| Key::new(format!("k{n}")).unwrap();
        let len = || lock(rate.0.as_ref().unwrap()).len();
        (0..=MOST).for_each(|n| rate.wrote(&key(n)));
        assert_eq!((len(), rate.next(&key(MOST))), (MOST, None));
        tokio::time::advance(GAP).await;
        rate.wrote(&key(0));
        assert_eq!(len(), 1);
    }
}
