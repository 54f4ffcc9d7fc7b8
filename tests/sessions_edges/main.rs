//! What damage, loss, removal and broken-off operations must not lead to.
#![allow(clippy::unwrap_used)]

mod again;
mod announced;
mod answers;
mod archives;
mod asked;
mod background;
mod bad_archives;
mod bases;
mod bombs;
mod clocks;
mod clones;
mod conflicts;
mod copied;
mod damage;
mod deep;
mod every;
mod exports;
mod failed;
mod fallback;
mod forks;
mod given_up;
mod gone;
mod half;
mod halfway;
mod handles;
mod hidden;
mod idle;
mod imports;
mod kept;
mod lines;
mod listed;
mod lost;
mod operations;
mod overtaken;
mod pages;
mod passed_over;
mod prune;
mod references;
mod removal;
mod retention;
mod rivals;
#[path = "../sessions_support/mod.rs"]
mod sessions_support;
mod slept;
mod storms;
mod tags;
mod waits;
mod whole;
mod would_remove;

use std::sync::Arc;

use persist::{
    DeleteOptions, Key, SnapshotAdapter,
    layers::{Fault, Injection, Operation},
    sessions::{Session, Sessions},
};
use sessions_support::*;
use tokio::sync::Notify;

/// A storage whose objects bear the test's time, and sessions in it.
struct Bench {
    adapter: Counting,
    clock: Arc<TestClock>,
    sessions: Sessions,
}

impl Bench {
    fn new(seed: u64) -> Self {
        Self::of(Counting::memory(), seed)
    }

    fn of(adapter: Counting, seed: u64) -> Self {
        let clock = TestClock::new(seed);
        let aged = Aged { inner: adapter.clone(), clock: clock.clone() };
        let sessions = Sessions::new(Arc::new(aged)).unwrap().clock(clock.clone());
        Bench { adapter, clock, sessions }
    }

    fn session(&self, name: &str) -> Session {
        self.sessions.session("a", name).unwrap()
    }

    /// Handles whose requests fail as the test says.
    fn faulty(&self) -> (Fault, Sessions) {
        let fault = Fault::new(Arc::new(Aged { inner: self.adapter.clone(), clock: self.clock.clone() }));
        let sessions = Sessions::new(Arc::new(fault.clone())).unwrap().clock(self.clock.clone());
        (fault, sessions)
    }

    /// A session of so many commits, a minute between them.
    async fn saved(&self, name: &str, commits: usize) -> (Session, Vec<Vec<u8>>) {
        let (session, states) = (self.session(name), growing(commits as u64, commits));
        for state in &states {
            self.clock.pass(60_000);
            session.save(state.clone()).await.unwrap();
        }
        (session, states)
    }

    /// A session of so many commits that have nothing in common: none is kept as the base of another. The
    /// state of each is the noise of its number.
    async fn unrelated(&self, name: &str, commits: u64) -> Session {
        let session = self.session(name);
        for seed in 1..=commits {
            assert!(session.save(noise(seed, 600)).await.unwrap().keyframe);
        }
        session
    }

    fn hours(&self, hours: u64) {
        self.clock.pass(hours * 3_600_000);
    }

    /// Takes a commit's object away, as a hand or a rule of the bucket does.
    async fn lose(&self, name: &str, seq: u64) -> Vec<u8> {
        let bytes = self.adapter.raw(&commit_key(name, seq)).await;
        self.adapter.delete(&commit_key(name, seq), DeleteOptions::new()).await.unwrap();
        bytes
    }

    /// Damages what a commit says about itself.
    async fn damage(&self, name: &str, seq: u64) -> Vec<u8> {
        let whole = self.adapter.raw(&commit_key(name, seq)).await;
        let mut bad = whole.clone();
        *bad.last_mut().unwrap() ^= 1;
        self.set(name, seq, bad).await;
        whole
    }

    async fn set(&self, name: &str, seq: u64, bytes: Vec<u8>) {
        self.adapter.set(&commit_key(name, seq), bytes).await;
    }

    /// The keys that have this in them.
    async fn keys(&self, part: &str) -> Vec<Key> {
        self.adapter.keys().await.into_iter().filter(|key| key.as_str().contains(part)).collect()
    }
}

/// Holds the request of this kind that comes behind so many others, until it is notified.
fn hold(fault: &Fault, operation: Operation, skip: usize) -> Arc<Notify> {
    let go_on = Arc::new(Notify::new());
    fault.inject_later(operation, skip, Injection::Hold(go_on.clone()));
    go_on
}

fn commit_key(name: &str, seq: u64) -> Key {
    let place = 999_999_999_999 - seq;
    Key::new(format!("sessions/a/{name}/c/{:09}/{:03}-{seq}", place / 1000, place % 1000)).unwrap()
}
