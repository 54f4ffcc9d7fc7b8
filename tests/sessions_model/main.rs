//! The model test: writers, forks, tags, prunes, take-overs, removals, exports and imports at random on a
//! storage that loses answers and stalls, in simulated time; then damage and loss.
//!
//! Whatever the schedule: what was acknowledged and is still referenced loads, bit by bit; no stale write is
//! acknowledged; a session is one line, and no state is on it twice; half an import is never loaded. `actor`
//! is what callers do, `copies` how they export and import, `check` what must hold then.
//! `PERSIST_TEST_MODEL_SEEDS` says how many schedules (default 60, 4000 in a release build),
//! `PERSIST_TEST_MODEL_FIRST` where to start.
#![allow(clippy::unwrap_used)]

mod actor;
mod check;
mod copies;
#[path = "../sessions_support/mod.rs"]
mod sessions_support;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use actor::Actor;
use check::{check, clean, survive};
use copies::Archive;
use persist::sessions::*;
use sessions_support::{
    Random,
    sim::{Sim, SimClock},
};

const WINDOW: Duration = Duration::from_secs(3600);

/// What the callers were told.
#[derive(Debug, Default)]
struct Ledger {
    /// By session and number.
    commits: BTreeMap<(String, u64), (CommitId, Vec<u8>)>,
    tags: BTreeMap<(String, String), Vec<u8>>,
    /// The session, and the state that it starts from.
    forks: BTreeMap<String, (u64, Vec<u8>)>,
    /// All sessions that there may be.
    sessions: Vec<String>,
    archives: Vec<Archive>,
    /// Which of them may have been begun under each name.
    imports: BTreeMap<String, Vec<Archive>>,
    /// How often each may have been removed.
    removals: BTreeMap<String, u64>,
    /// Of these, those that were not told to have succeeded.
    unfinished: BTreeMap<String, u64>,
    /// How often each thing happened, to see that the schedules reach it.
    seen: BTreeMap<&'static str, u64>,
}

#[derive(Clone)]
struct World {
    sim: Sim,
    ledger: Arc<Mutex<Ledger>>,
}

impl World {
    fn saw(&self, what: &'static str) {
        *self.ledger.lock().unwrap().seen.entry(what).or_default() += 1;
    }

    /// Notes what a caller was told is there.
    fn acknowledged(&self, name: &str, seq: u64, id: CommitId, state: Vec<u8>) {
        let lives = self.sim.lives(&commit_key(name, seq));
        // A key that was pruned and created anew is nobody's history.
        assert!(holds(&lives[0].bytes, id), "{name} {seq}: a stale write was acknowledged");
        let mut ledger = self.ledger.lock().unwrap();
        let before = ledger.commits.insert((name.to_owned(), seq), (id, state.clone()));
        assert!(before.is_none_or(|before| before == (id, state)), "{name} {seq}: two winners");
    }

    fn sessions(&self, seed: u64) -> Sessions {
        let mut random = Random(seed);
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let clock = SimClock {
            sim: self.sim.clone(),
            ahead: minutes(random.below(10)),
            behind: minutes(random.below(10)),
            random: Mutex::new(random.clone()),
        };
        // Every other writer keeps larger bodies apart.
        let inline = if random.below(2) == 0 { 150 } else { 8 << 20 };
        Sessions::new(Arc::new(self.sim.clone()))
            .unwrap()
            .clock(Arc::new(clock))
            .writer(format!("w{}", seed % 100))
            .inline_limit(inline)
            .stream_limit(64 << 20)
            .fence_window(WINDOW)
            .unwrap()
    }
}

fn commit_key(session: &str, seq: u64) -> String {
    let place = 999_999_999_999 - seq;
    format!("sessions/agent/{session}/c/{:09}/{:03}-{seq}", place / 1000, place % 1000)
}

/// Whether these are the bytes of the commit: its id stands in them as it is.
fn holds(object: &[u8], id: CommitId) -> bool {
    let ulid: ulid::Ulid = id.to_string().parse().unwrap();
    object.windows(16).any(|bytes| bytes == ulid.to_bytes())
}

fn schedule(seed: u64) -> BTreeMap<&'static str, u64> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = World { sim: Sim::new(seed), ledger: Arc::default() };
        let mut random = Random(seed ^ 0xabcd);
        let names = (0..1 + random.below(2)).map(|n| format!("s{n}")).collect();
        world.ledger.lock().unwrap().sessions = names;
        let actors = (0..2 + random.below(3)).map(|name| {
            let (sessions, random) = (world.sessions(random.next()), Random(random.next()));
            tokio::spawn(Actor::new(world.clone(), random, name, sessions).run(40))
        });
        for actor in actors.collect::<Vec<_>>() {
            actor.await.unwrap();
        }
        // What is still on its way arrives.
        world.sim.calm();
        tokio::time::sleep(Duration::from_secs(7 * 3600)).await;
        check(&world, false).await;
        copies::finish(&world).await;
        survive(&world).await;
        clean(&world).await;
        check(&world, true).await;
        let ledger = world.ledger.lock().unwrap();
        ledger.seen.clone()
    })
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_stale_is_acknowledged() {
    let default = if cfg!(debug_assertions) { 60 } else { 4000 };
    let (first, count) = (number("PERSIST_TEST_MODEL_FIRST", 0), number("PERSIST_TEST_MODEL_SEEDS", default));
    let next = std::sync::atomic::AtomicU64::new(first);
    let seen = Mutex::new(BTreeMap::<&str, u64>::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |cores| cores.get()) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let result = std::panic::catch_unwind(|| schedule(seed));
                    let Ok(counts) = result else { panic!("seed {seed}") };
                    for (what, n) in counts {
                        *seen.lock().unwrap().entry(what).or_default() += n;
                    }
                }
            });
        }
    });
    let seen = seen.into_inner().unwrap();
    println!("{seen:?}");
    if count >= 60 {
        for what in [
            "saved",
            "conflict",
            "fenced",
            "fenced by an owner",
            "save unknown",
            "rebased to the same",
            "forked",
            "tagged",
            "tagged once",
            "pruned",
            "prune stopped",
            "taken over",
            "removed",
            "removed with forks",
            "found by id",
            "found by time",
            "passed over damage",
            "exported",
            "imported",
            "import refused",
            "import broke off",
            "import finished",
            "import removed",
            "imported twice",
            "began somewhere",
            "began in an import",
            "verified",
            "lost the newest",
        ] {
            assert!(seen.get(what).is_some_and(|n| *n > 0), "no schedule had: {what}; {seen:?}");
        }
    }
}
