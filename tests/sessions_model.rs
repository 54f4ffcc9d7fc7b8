//! The model test: writers, forks, tags and prunes at random on a storage that loses answers and stalls, in simulated time.
//!
//! Whatever the schedule: what was acknowledged and is still referenced loads, bit by bit; no stale write is acknowledged; a session is
//! one line. `PERSIST_MODEL_SEEDS` says how many schedules (default 60, 4000 in a release build), `PERSIST_MODEL_FIRST` where to start.
#![allow(clippy::unwrap_used)]

mod sessions_support;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::TryStreamExt;
use persist::{Error, ErrorKind, sessions::*};
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
            .sizes(inline, 64 << 20)
            .fence_window(WINDOW)
            .unwrap()
    }
}

/// One process: it saves, forks, tags, prunes, stalls and dies.
struct Actor {
    world: World,
    random: Random,
    name: u64,
    sessions: Sessions,
    handle: Option<(String, Session, Vec<u8>)>,
    made: u64,
}

impl Actor {
    async fn run(mut self, steps: u64) {
        for _ in 0..steps {
            match self.random.below(100) {
                0..=4 => tokio::time::sleep(Duration::from_secs(self.random.below(3 * 3600))).await,
                5..=14 => tokio::time::sleep(Duration::from_secs(self.random.below(900))).await,
                15..=17 => self.handle = None,
                18..=27 => {
                    // Dies in the middle of something, or a caller stops waiting and goes on.
                    let patience = Duration::from_millis(self.random.below(600));
                    if tokio::time::timeout(patience, self.act()).await.is_err() && self.random.below(2) == 0
                    {
                        self.handle = None;
                    }
                }
                _ => self.act().await,
            }
        }
    }

    async fn act(&mut self) {
        if self.handle.is_none() && self.open().await.is_err() {
            self.world.saw("open failed");
            return;
        }
        match self.random.below(100) {
            0..=69 => self.save().await,
            70..=75 => self.fork().await,
            76..=83 => self.tag().await,
            84..=94 => self.prune().await,
            _ => self.look().await,
        }
    }

    async fn open(&mut self) -> Result<(), Error> {
        let name = {
            let ledger = self.world.ledger.lock().unwrap();
            ledger.sessions[self.random.below(ledger.sessions.len() as u64) as usize].clone()
        };
        let session = self.sessions.session("agent", &name)?;
        let state = match self.random.below(3) {
            // Blind: the first save looks for itself.
            0 => Vec::new(),
            1 => session.rebase().await?.map(|restored| restored.state.to_vec()).unwrap_or_default(),
            _ => match session.load(At::Latest).await {
                Ok(restored) => restored.state.to_vec(),
                Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
                Err(error) => return self.expected("load", error),
            },
        };
        self.handle = Some((name, session, state));
        Ok(())
    }

    /// Fails the test at errors that no schedule may cause.
    fn expected<T>(&self, what: &str, error: Error) -> Result<T, Error> {
        use ErrorKind::{AlreadyExists, Conflict, NotFound, Timeout};
        let fine = matches!(error.kind(), Timeout | Conflict | NotFound | AlreadyExists);
        assert!(fine, "{what}: {error} {:?}", std::error::Error::source(&error));
        Err(error)
    }

    async fn save(&mut self) {
        let Some((name, session, mut state)) = self.handle.clone() else { return };
        self.made += 1;
        if state.len() > 1500 {
            state.drain(..900);
        }
        state.extend_from_slice(format!("[{}:{}]", self.name, self.made).as_bytes());
        for _ in 0..self.random.below(200) {
            state.push(b'a' + (self.random.below(26) as u8));
        }
        loop {
            match session.save(state.clone()).await {
                Ok(commit) => {
                    self.handle = Some((name.clone(), session, state.clone()));
                    self.acknowledged(name, commit, state);
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    self.world.saw("conflict");
                    if error.message().contains("pruned since") {
                        self.world.saw("fenced");
                    }
                    let based = session.rebase().await;
                    self.handle = match based {
                        Ok(Some(restored)) => Some((name, session, restored.state.to_vec())),
                        _ => None,
                    };
                    return;
                }
                Err(error) => {
                    let _ = self.expected::<()>("save", error);
                    self.world.saw("save unknown");
                    match self.random.below(3) {
                        0 => {}
                        1 => {
                            self.handle = None;
                            return;
                        }
                        // Gives up on this state and saves another one behind it.
                        _ => return,
                    }
                }
            }
        }
    }

    fn acknowledged(&self, name: String, commit: Commit, state: Vec<u8>) {
        self.world.saw("saved");
        let key = commit_key(&name, commit.seq);
        let lives = self.world.sim.lives(&key);
        // A key that was pruned and created anew is nobody's history.
        assert!(holds(&lives[0].bytes, commit.id), "{name} {}: a stale write was acknowledged", commit.seq);
        let mut ledger = self.world.ledger.lock().unwrap();
        let before = ledger.commits.insert((name.clone(), commit.seq), (commit.id, state.clone()));
        assert!(
            before.is_none_or(|before| before == (commit.id, state)),
            "{name} {}: two winners",
            commit.seq
        );
    }

    /// An acknowledged commit of the session at hand.
    fn any_commit(&mut self) -> Option<(String, u64, Vec<u8>)> {
        let (name, ..) = self.handle.clone()?;
        let ledger = self.world.ledger.lock().unwrap();
        let all: Vec<_> = ledger.commits.iter().filter(|((of, _), _)| *of == name).collect();
        let ((_, seq), (_, state)) = all.get(self.random.below(all.len().max(1) as u64) as usize)?;
        Some((name, *seq, state.clone()))
    }

    async fn fork(&mut self) {
        let Some((name, seq, state)) = self.any_commit() else { return };
        let fork = format!("{name}-{}.{}", self.name, self.random.below(1000));
        if name.len() > 40 {
            return;
        }
        // Others may find it before this caller hears that it is there.
        self.world.ledger.lock().unwrap().sessions.push(fork.clone());
        let (_, session, _) = self.handle.clone().unwrap();
        match session.fork(&fork, seq).await {
            Ok(_) => {
                self.world.saw("forked");
                self.world.ledger.lock().unwrap().forks.insert(fork, (seq, state));
            }
            Err(error) => {
                self.world.saw("fork refused");
                let _ = self.expected::<()>("fork", error);
            }
        }
    }

    async fn tag(&mut self) {
        let Some((name, seq, state)) = self.any_commit() else { return };
        let tag = format!("t{}-{}", self.name, self.random.below(2));
        let (_, session, _) = self.handle.clone().unwrap();
        let entry = (name, tag.clone());
        // Until it is told otherwise the caller knows nothing.
        self.world.ledger.lock().unwrap().tags.remove(&entry);
        if self.random.below(5) == 0 {
            let _ = session.untag(&tag).await;
            return;
        }
        match session.move_tag(&tag, seq).await {
            Ok(_) => {
                self.world.saw("tagged");
                self.world.ledger.lock().unwrap().tags.insert(entry, state);
            }
            Err(error) => {
                self.world.saw("tag refused");
                let _ = self.expected::<()>("tag", error);
            }
        }
    }

    async fn prune(&mut self) {
        let Some((_, session, _)) = self.handle.clone() else { return };
        let retention = match self.random.below(3) {
            0 => Retention::new().hourly(1 + self.random.below(4)),
            _ => Retention::new().last(1 + self.random.below(3)),
        };
        match session.prune(retention).await {
            Ok(pruned) if pruned.removed.is_empty() => self.world.saw("pruned nothing"),
            Ok(_) => self.world.saw("pruned"),
            Err(error) => {
                self.world.saw("prune stopped");
                let _ = self.expected::<()>("prune", error);
            }
        }
    }

    async fn look(&mut self) {
        let Some((name, seq, state)) = self.any_commit() else { return };
        let (_, session, _) = self.handle.clone().unwrap();
        match session.load(seq).await {
            Ok(restored) => assert!(restored.state == state, "{name} {seq}: another state"),
            Err(error) => {
                let _ = self.expected::<()>("look", error);
            }
        }
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

/// After the storm: everything that was acknowledged, against what is there.
// The writers are gone: nobody else wants the lock, and nothing is sent to another thread.
#[allow(clippy::await_holding_lock, clippy::future_not_send)]
async fn check(world: &World) {
    let (sim, ledger) = (&world.sim, world.ledger.lock().unwrap());
    let sessions = world.sessions(7);
    for name in &ledger.sessions {
        let session = sessions.session("agent", name).unwrap();
        let log: Vec<Commit> = match session.log().try_collect().await {
            Ok(log) => log,
            Err(error) => panic!("{name}: log: {error}"),
        };
        for pair in log.windows(2) {
            assert!(pair[0].seq > pair[1].seq, "{name}: the line goes back");
            assert!(
                pair[0].seq > pair[1].seq + 1 || pair[0].parent == Some(pair[1].id),
                "{name} {}: not a child of the one before",
                pair[0].seq
            );
        }
        let own: Vec<&Commit> = log.iter().filter(|commit| commit.session == *name).collect();
        // Everything on the line loads, acknowledged or not.
        for commit in &own {
            let restored = session.load(commit.seq).await;
            let restored = restored.unwrap_or_else(|error| panic!("{name} {}: {error}", commit.seq));
            if let Some((id, state)) = ledger.commits.get(&(name.clone(), commit.seq)) {
                assert!(restored.commit.id == *id && restored.state == *state, "{name} {}: lost", commit.seq);
            }
        }
        let newest = own.first().map_or(0, |commit| commit.seq);
        let acknowledged = ledger.commits.range((name.clone(), 0)..=(name.clone(), u64::MAX));
        for ((_, seq), (id, _)) in acknowledged {
            assert!(*seq <= newest, "{name}: {seq} was acknowledged, {newest} is the newest");
            if own.iter().any(|commit| commit.seq == *seq) {
                continue;
            }
            let life = &sim.lives(&commit_key(name, *seq))[0];
            assert!(holds(&life.bytes, *id), "{name} {seq}: another commit was there first");
            let age = life.to.unwrap_or(sim.now()).duration_since(life.from).unwrap();
            assert!(age >= WINDOW, "{name} {seq}: pruned after {age:?}");
        }
        if newest > 0 {
            assert_eq!(session.load(At::Latest).await.unwrap().commit.seq, newest);
        }
    }
    for ((name, tag), state) in &ledger.tags {
        let restored = sessions.session("agent", name).unwrap().load(At::Tag(tag.clone())).await;
        let restored = restored.unwrap_or_else(|error| panic!("{name} {tag}: {error}"));
        assert!(restored.state == *state, "{name} {tag}: another state");
    }
    for (name, (seq, state)) in &ledger.forks {
        let session = sessions.session("agent", name).unwrap();
        let newest = session.load(At::Latest).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        if newest.commit.seq == *seq {
            assert!(newest.state == *state, "{name}: another state");
        }
    }
}

/// A last prune, long after: every object that is left is needed.
async fn clean(world: &World) {
    let sessions = world.sessions(8);
    let names = world.ledger.lock().unwrap().sessions.clone();
    // Twice: forks give up what they needed, then their sources can.
    for _ in 0..2 {
        tokio::time::sleep(WINDOW * 30).await;
        for name in &names {
            let session = sessions.session("agent", name).unwrap();
            let pruned = session.prune(Retention::new().last(1)).await;
            if let Err(error) = pruned {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{name}: {error}");
            }
        }
    }
    for key in world.sim.keys() {
        let Some((folder, body)) = key.as_str().split_once("/b/") else { continue };
        let (seq, id) = body.split_once('-').unwrap();
        let name = folder.rsplit('/').next().unwrap();
        let commit = sessions.session("agent", name).unwrap().load(At::Seq(seq.parse().unwrap())).await;
        let commit = commit.unwrap_or_else(|error| panic!("{key}: {error}"));
        assert!(commit.commit.id == id.parse().unwrap(), "{key}: a body without a commit");
    }
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
            let actor = Actor { world: world.clone(), random, name, sessions, handle: None, made: 0 };
            tokio::spawn(actor.run(40))
        });
        for actor in actors.collect::<Vec<_>>() {
            actor.await.unwrap();
        }
        // What is still on its way arrives.
        world.sim.calm();
        tokio::time::sleep(Duration::from_secs(7 * 3600)).await;
        check(&world).await;
        clean(&world).await;
        check(&world).await;
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
    let (first, count) = (number("PERSIST_MODEL_FIRST", 0), number("PERSIST_MODEL_SEEDS", default));
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
        for what in
            ["saved", "conflict", "fenced", "save unknown", "forked", "tagged", "pruned", "prune stopped"]
        {
            assert!(seen.get(what).is_some_and(|n| *n > 0), "no schedule had: {what}; {seen:?}");
        }
    }
}
