//! Handles whose clones load, save, rebase, take over and prune at the same time, each call dropped at any
//! await or failed at any request: no commit lacks what its writer was never shown. One thread, seeds and a
//! clock of the test decide everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use persist::{
    sessions::{At, CommitId, Restored, Retention, Session, Sessions},
    *,
};

use super::sessions_support::{Aged, Counting, Random, TestClock, small::number};

const HANDLES: u64 = 3;
const CLONES: u64 = 2;
const CALLS: u64 = 25;
/// Ends the entry of a save through a handle that was shown nothing.
const BLIND: &str = "blind";

#[test]
fn no_commit_lacks_what_was_there_before() {
    let (mut saves, seeds) = (0, number("PERSIST_TEST_SEEDS", 60));
    for seed in 0..seeds {
        // Paused: where everybody waits for somebody, the time is up at once.
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let day = std::time::Duration::from_secs(24 * 3600);
        let storm = runtime.block_on(async { tokio::time::timeout(day, storm(seed)).await });
        saves += storm.unwrap_or_else(|_| panic!("seed {seed} hangs"));
    }
    assert!(saves > 20 * seeds, "{saves} saves are few");
}

/// Memory behind a network: requests and answers take their time, and some are lost.
#[derive(Debug)]
struct Far {
    inner: Aged,
    random: Mutex<Random>,
    /// One of so many requests fails, and one of so many answers; 0 for none.
    failing: u64,
}

impl Far {
    fn below(&self, bound: u64) -> u64 {
        self.random.lock().unwrap().below(bound)
    }

    async fn way(&self) -> Result<()> {
        for _ in 0..self.below(4) {
            tokio::task::yield_now().await;
        }
        if self.failing > 0 && self.below(self.failing) == 0 {
            Err(Error::new(ErrorKind::Timeout, "injected"))
        } else {
            Ok(())
        }
    }

    async fn both_ways<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.way().await?;
        let answer = work.await;
        self.way().await?;
        answer
    }
}

impl fmt::Display for Far {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl SnapshotAdapter for Far {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<ObjectMeta> {
        self.both_ways(self.inner.put(key, body, options)).await
    }
    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        self.both_ways(self.inner.get(key, options)).await
    }
    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        self.both_ways(self.inner.head(key)).await
    }
    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        self.both_ways(self.inner.delete(key, options)).await
    }
    /// What it lists may be old when the answer comes.
    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
        let rows = async move { self.both_ways(self.inner.list(options).try_collect::<Vec<_>>()).await };
        let each = |rows: Vec<ListEntry>| stream::iter(rows.into_iter().map(Ok));
        stream::once(rows).map_ok(each).try_flatten().boxed()
    }
    async fn set_tier(&self, key: &Key, tier: Tier) -> Result<()> {
        self.both_ways(self.inner.set_tier(key, tier)).await
    }
}

/// What `call` gives, unless it is dropped after so many polls.
async fn at_most<T>(polls: u64, call: impl Future<Output = T>) -> Option<T> {
    let (mut call, mut left) = (pin!(call), polls);
    std::future::poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending if left <= 1 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// A state is a set of entries. Each handle adds its own, and removes none.
type Entries = BTreeSet<String>;

fn entries(state: &[u8]) -> Entries {
    std::str::from_utf8(state).unwrap().lines().map(str::to_owned).collect()
}

/// A handle, which its clones share, and what it was shown or has saved. An entry begins with the handle's
/// name.
struct Shared {
    handle: Session,
    name: u64,
    shown: Option<Entries>,
}

/// All that the callers of a storm share.
#[derive(Clone)]
struct World {
    sessions: Sessions,
    clock: Arc<TestClock>,
    names: Arc<Mutex<u64>>,
    /// By number: what was acknowledged.
    saved: Arc<Mutex<BTreeMap<u64, (CommitId, Entries)>>>,
    acknowledged: Arc<Mutex<u64>>,
    seed: u64,
}

impl World {
    fn open(&self) -> Shared {
        let mut names = self.names.lock().unwrap();
        *names += 1;
        Shared { handle: self.sessions.session("a", "s").unwrap(), name: *names, shown: None }
    }

    fn note(&self, seq: u64, id: CommitId, state: Entries) {
        let before = self.saved.lock().unwrap().insert(seq, (id, state.clone()));
        assert!(
            before.is_none_or(|before| before == (id, state)),
            "seed {}: two made commit {seq}",
            self.seed
        );
    }

    /// One of the clones of a handle, and what it calls.
    async fn caller(self, shared: Arc<Mutex<Shared>>, number: u64) {
        let mut random = Random(self.seed * 1000 + number);
        for call in 0..CALLS {
            for _ in 0..random.below(5) {
                tokio::task::yield_now().await;
            }
            let (handle, name, shown) = {
                let shared = shared.lock().unwrap();
                (shared.handle.clone(), shared.name, shared.shown.clone())
            };
            let polls = if random.below(3) == 0 { 1 + random.below(30) } else { u64::MAX };
            // What a call of an earlier handle has brought is nothing to the one that took its place.
            let learn = |change: &dyn Fn(&mut Option<Entries>)| {
                let mut shared = shared.lock().unwrap();
                if shared.name == name {
                    change(&mut shared.shown);
                }
            };
            let state = |restored: &Restored| entries(&restored.state);
            match random.below(20) {
                0 => *shared.lock().unwrap() = self.open(),
                1 if self.seed.is_multiple_of(2) => {
                    self.clock.pass([40, 200][random.below(2) as usize] * 60_000);
                }
                2 => drop(at_most(polls, handle.prune(Retention::new().last(2))).await),
                3 if self.seed % 3 != 1 => {
                    if let Some(Ok(taken)) = at_most(polls, handle.take_over()).await {
                        learn(&|shown| *shown = Some(state(&taken)));
                    }
                }
                4..9 => {
                    if let Some(Ok(newest)) = at_most(polls, handle.rebase()).await {
                        learn(&|shown| *shown = Some(newest.as_ref().map(state).unwrap_or_default()));
                    }
                }
                // Of what it knows by itself: it looks for the newest, and lacks all that is there.
                _ if shown.is_none() && random.below(8) == 0 => {
                    let entry = format!("{name}:{number}:{call}:{BLIND}");
                    if let Some(Ok(commit)) = at_most(polls, handle.save(format!("{entry}\n"))).await {
                        let state = Entries::from([entry]);
                        self.note(commit.seq, commit.id, state.clone());
                        *self.acknowledged.lock().unwrap() += 1;
                        learn(&|shown| shown.get_or_insert_default().extend(state.clone()));
                    }
                }
                _ if shown.is_none() => {
                    let found = match at_most(polls, handle.load(At::Latest)).await {
                        Some(Ok(newest)) => state(&newest),
                        Some(Err(error)) if error.kind() == ErrorKind::NotFound => Entries::new(),
                        _ => continue,
                    };
                    // The first one is what counts.
                    learn(&|shown| {
                        shown.get_or_insert(found.clone());
                    });
                }
                _ => {
                    let mut state = shown.unwrap_or_default();
                    state.insert(format!("{name}:{number}:{call}"));
                    let bytes: String = state.iter().map(|entry| format!("{entry}\n")).collect();
                    if let Some(Ok(commit)) = at_most(polls, handle.save(bytes)).await {
                        self.note(commit.seq, commit.id, state.clone());
                        *self.acknowledged.lock().unwrap() += 1;
                        learn(&|shown| shown.get_or_insert_default().extend(state.clone()));
                    }
                }
            }
        }
    }

    /// What is there is what was acknowledged, and each commit has all of the one before, but for entries of
    /// the handle that made it: its clones are one writer.
    async fn check(&self) {
        let seed = self.seed;
        let session = self.sessions.session("a", "s").unwrap();
        let log: Vec<_> = session.log().try_collect().await.unwrap();
        let newest = log.first().map_or(0, |commit| commit.seq);
        assert!(self.saved.lock().unwrap().keys().all(|seq| *seq <= newest), "seed {seed}: one is gone");
        for commit in &log {
            let state = session.load(At::Seq(commit.seq)).await.unwrap().state;
            self.note(commit.seq, commit.id, entries(&state));
        }
        let of = |entry: &&String| entry.split(':').next().unwrap().to_owned();
        let saved = self.saved.lock().unwrap();
        for (seq, (_, state)) in saved.iter() {
            let Some((_, before)) = saved.get(&(seq - 1)) else { continue };
            let makers: BTreeSet<_> = state.difference(before).map(|entry| of(&entry)).collect();
            // Its clones do not know what another of them has brought back behind it.
            if state.iter().any(|entry| entry.ends_with(BLIND) && makers.contains(&of(&entry))) {
                continue;
            }
            let lost: Vec<_> =
                before.difference(state).filter(|entry| !makers.contains(&of(entry))).collect();
            assert!(lost.is_empty(), "seed {seed}: commit {seq}, made by {makers:?}, lacks {lost:?}");
        }
    }
}

/// Gives the number of saves that were acknowledged.
async fn storm(seed: u64) -> u64 {
    let (adapter, clock) = (Counting::memory(), TestClock::new(seed));
    let aged = || Aged { inner: adapter.clone(), clock: clock.clone() };
    let failing = [0, 60, 25][(seed % 3) as usize];
    let far = Far { inner: aged(), random: Mutex::new(Random(seed)), failing };
    let limit = if seed.is_multiple_of(5) { 150 } else { 1 << 20 };
    let world = World {
        sessions: Sessions::new(Arc::new(far)).unwrap().clock(clock.clone()).inline_limit(limit),
        clock: clock.clone(),
        names: Arc::default(),
        saved: Arc::default(),
        acknowledged: Arc::default(),
        seed,
    };
    let mut callers = Vec::new();
    for handle in 0..HANDLES {
        let shared = Arc::new(Mutex::new(world.open()));
        for clone in 0..CLONES {
            let number = handle * 10 + clone;
            callers.push(tokio::spawn(world.clone().caller(shared.clone(), number)));
        }
    }
    for caller in callers {
        caller.await.unwrap();
    }
    let calm = Sessions::new(Arc::new(aged())).unwrap().clock(clock.clone());
    World { sessions: calm, ..world.clone() }.check().await;
    *world.acknowledged.lock().unwrap()
}
