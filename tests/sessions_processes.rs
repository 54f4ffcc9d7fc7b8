//! Processes that share sessions while they are stopped, continued and killed at random: no acknowledged
//! commit is lost, and no session is forked unnoticed. On local disk, on a real S3 server and on an emulator
//! of Cloud Storage.
//!
//! `PERSIST_TEST_PROCESSES_SECONDS` says for how long (default 3), `PERSIST_TEST_PROCESSES` and
//! `PERSIST_TEST_PROCESSES_SESSIONS` how many of them (4 and 3). `PERSIST_TEST_PROCESSES_STORAGE` is a URL:
//! then the local one runs there.
#![allow(clippy::unwrap_used)]
#![cfg(unix)]

#[path = "support/killed.rs"]
mod killed;
mod sessions_support;
#[cfg(any(feature = "s3", feature = "gcs"))]
mod support;

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use killed::Killed;
use persist::{ErrorKind, SnapshotAdapter, StorageConfig, adapters::local::LocalAdapter, sessions::*};
use sessions_support::{
    Random,
    small::{kill, number},
};

const STORAGE: &str = "PERSIST_TEST_PROCESSES_STORAGE";
/// Tells the helper process what it is for: its [`Run`], and its seed.
const CHILD: &str = "PERSIST_TEST_PROCESSES_CHILD";

/// What all processes of a test share.
#[derive(Debug, Clone)]
struct Run {
    /// `local`, `s3` or `gcs`.
    storage: String,
    /// Of the ledgers, and of the local storage.
    folder: PathBuf,
    /// Whose sessions: every run has its own, servers are shared.
    agent: String,
}

/// What a caller was told: the session, the number, the id and the state's digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    session: String,
    seq: u64,
    id: String,
    digest: String,
}

impl Told {
    fn line(&self) -> String {
        format!("{} {} {} {}\n", self.session, self.seq, self.id, self.digest)
    }

    /// `None` for a line whose writer was killed in the middle of it.
    fn parse(line: &str) -> Option<Told> {
        let mut words = line.strip_suffix('\n')?.split(' ');
        let mut next = || Some(words.next()?.to_owned());
        Some(Told { session: next()?, seq: next()?.parse().ok()?, id: next()?, digest: next()? })
    }
}

/// The state behind a save: one entry more, and without the oldest where there are many.
fn updated(state: &[u8], entry: &str) -> Vec<u8> {
    let mut next = [state, entry.as_bytes()].concat();
    if next.len() > 20_000 {
        next.drain(..9_000);
    }
    next
}

/// Whether the state is the parent's with one more update. One that was made of another state has lost an
/// update that somebody was told is saved.
fn follows(parent: &[u8], state: &[u8]) -> bool {
    let begins = state.iter().rposition(|&byte| byte == b'[').unwrap_or_default();
    str::from_utf8(&state[begins..]).is_ok_and(|entry| updated(parent, entry) == state)
}

impl Run {
    async fn adapter(&self) -> Arc<dyn SnapshotAdapter> {
        match (self.storage.as_str(), std::env::var(STORAGE)) {
            ("local", Ok(url)) => StorageConfig::from_url(&url).unwrap().open().await.unwrap(),
            ("local", Err(_)) => Arc::new(LocalAdapter::open(self.folder.join("store")).unwrap()),
            #[cfg(feature = "s3")]
            ("s3", _) => Arc::new(support::s3::running("SEAWEEDFS").open().await),
            #[cfg(feature = "gcs")]
            ("gcs", _) => {
                use persist::{GcsConfig, RetryConfig, adapters::gcs::GcsAdapter};
                let endpoint_url = Some(support::service("SVC_FAKEGCS_ENDPOINT"));
                let config = GcsConfig { endpoint_url, ..GcsConfig::default() };
                let bucket = support::service("SVC_FAKEGCS_BUCKET");
                Arc::new(GcsAdapter::open(&bucket, &config, &RetryConfig::default()).await.unwrap())
            }
            (other, _) => panic!("{other} is not built in"),
        }
    }

    async fn sessions(&self) -> Vec<Session> {
        let writer = format!("process {}", std::process::id());
        let sessions = Sessions::new(self.adapter().await).unwrap().writer(writer);
        let names = (0..number("PERSIST_TEST_PROCESSES_SESSIONS", 3)).map(|n| format!("s{n}"));
        names.map(|name| sessions.session(&self.agent, name).unwrap()).collect()
    }

    fn ledger(&self, seed: u64) -> PathBuf {
        self.folder.join(format!("ledger-{seed}"))
    }

    fn spawn(&self, seed: u64) -> Killed {
        let Run { storage, folder, agent } = self;
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "helper_process_that_writes", "--ignored", "--nocapture", "--test-threads=1"])
            .env(CHILD, format!("{storage}#{}#{agent}#{seed}", folder.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        Killed(child.unwrap())
    }

    /// Saves into all sessions until it is killed, and writes down what was acknowledged.
    async fn write_for_ever(&self, seed: u64) {
        let mut ledger = OpenOptions::new().create(true).append(true).open(self.ledger(seed)).unwrap();
        let mut random = Random(seed);
        let mut handles = Vec::new();
        for session in self.sessions().await {
            let state = session.rebase().await.unwrap().map(|restored| restored.state.to_vec());
            handles.push((session, state.unwrap_or_default()));
        }
        for made in 0u64.. {
            let at = random.below(handles.len() as u64) as usize;
            let (handle, state) = &mut handles[at];
            let next = updated(state, &format!("[{seed}.{made} {:x}]", random.next()));
            loop {
                match handle.save(next.clone()).await {
                    Ok(commit) => {
                        let (id, digest) = (commit.id.to_string(), commit.digest.to_string());
                        let told = Told { session: handle.name().into(), seq: commit.seq, id, digest };
                        ledger.write_all(told.line().as_bytes()).unwrap();
                        *state = next;
                        break;
                    }
                    Err(error) if error.kind() == ErrorKind::Conflict => {
                        *state = handle.rebase().await.unwrap().unwrap().state.to_vec();
                        break;
                    }
                    // A server that is slow: the same state again, which is never made twice.
                    Err(error) if error.retryable() => tokio::time::sleep(Duration::from_millis(20)).await,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

#[test]
fn what_a_writer_tells_comes_back() {
    let told = Told { session: "s0".into(), seq: 7, id: "i".into(), digest: "d".into() };
    assert_eq!(Told::parse(&told.line()), Some(told));
    assert_eq!(Told::parse("s0 7 i"), None);
}

#[test]
fn a_lost_update_is_seen() {
    let first = updated(b"", "[1.0 a]");
    let second = updated(&first, "[2.0 b]");
    assert!(follows(b"", &first) && follows(&first, &second));
    // Made of an older state, of the same one twice, of nothing; or not changed at all.
    assert!(!follows(&second, &updated(&first, "[3.0 c]")));
    assert!(!follows(&first, &updated(&second, "[3.0 c]")));
    assert!(!follows(&second, b"[3.0 c]") && !follows(&second, &second) && !follows(&second, b""));
    let long = [b'x'; 20_000];
    assert_eq!(updated(&long, "[4.0 d]").len(), 11_007);
    assert!(follows(&long, &updated(&long, "[4.0 d]")));
}

#[tokio::test]
#[ignore = "run by the tests as a process"]
async fn helper_process_that_writes() {
    // Nobody, where all ignored tests are asked for.
    let Ok(child) = std::env::var(CHILD) else { return };
    let _parent = killed::end_with_parent();
    let words: Vec<&str> = child.split('#').collect();
    let [storage, folder, agent, seed] = words[..] else { panic!("{child}") };
    let run = Run { storage: storage.into(), folder: folder.into(), agent: agent.into() };
    run.write_for_ever(seed.parse().unwrap()).await;
}

#[tokio::test]
async fn on_local_disk_nothing_acknowledged_is_lost_and_no_session_forks() {
    storm("local").await;
}

#[cfg(feature = "s3")]
#[tokio::test]
async fn on_s3_nothing_acknowledged_is_lost_and_no_session_forks() {
    storm("s3").await;
}

#[cfg(feature = "gcs")]
#[tokio::test]
async fn on_gcs_nothing_acknowledged_is_lost_and_no_session_forks() {
    storm("gcs").await;
}

async fn storm(storage: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(u64::from(std::process::id()));
    let agent =
        format!("processes-{}-{:x}", std::process::id(), std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos());
    let run = Run { storage: storage.into(), folder: folder.path().into(), agent };
    let (processes, mut seeds) = (number("PERSIST_TEST_PROCESSES", 4), 0);
    let mut start = || {
        seeds += 1;
        run.spawn(seeds)
    };
    let mut children: Vec<Killed> = (0..processes).map(|_| start()).collect();
    let end = Instant::now() + Duration::from_secs(number("PERSIST_TEST_PROCESSES_SECONDS", 3));
    let (mut stops, mut kills) = (0, 0);
    // At least one of each, however slow the machine is.
    while Instant::now() < end || stops == 0 || kills == 0 {
        let at = random.below(processes) as usize;
        if random.below(3) > 0 {
            kill("-STOP", children[at].id());
            tokio::time::sleep(Duration::from_millis(random.below(200))).await;
            kill("-CONT", children[at].id());
            stops += 1;
        } else {
            kill("-KILL", children[at].id());
            children[at].wait().unwrap();
            children[at] = start();
            kills += 1;
        }
        tokio::time::sleep(Duration::from_millis(random.below(200))).await;
        for child in &mut children {
            assert!(child.try_wait().unwrap().is_none(), "a writer ended by itself; its message is above");
        }
    }
    // And one save, without which there is nothing to compare.
    while !(1..=seeds).any(|seed| run.ledger(seed).metadata().is_ok_and(|ledger| ledger.len() > 0)) {
        assert!(Instant::now() < end + Duration::from_secs(120), "no save was acknowledged");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(children);
    let (commits, acknowledged) = check(&run, seeds).await;
    println!("{storage}: {commits} commits, {acknowledged} acknowledged, {stops} stops, {kills} kills");
    assert!(acknowledged > 0);
}

/// Compares what callers were told with what is there.
async fn check(run: &Run, seeds: u64) -> (u64, usize) {
    let mut told: BTreeMap<(String, u64), Told> = BTreeMap::new();
    for seed in 1..=seeds {
        let ledger = std::fs::read_to_string(run.ledger(seed)).unwrap_or_default();
        for line in ledger.split_inclusive('\n').filter_map(Told::parse) {
            let before = told.insert((line.session.clone(), line.seq), line.clone());
            assert_eq!(before, None, "two writers were told that they made {} {}", line.session, line.seq);
        }
    }
    let (mut commits, acknowledged) = (0, told.len());
    for session in run.sessions().await {
        let log: Vec<Commit> = session.log().try_collect().await.unwrap();
        for pair in log.windows(2) {
            assert_eq!((pair[0].seq, pair[0].parent), (pair[1].seq + 1, Some(pair[1].id)), "one line");
        }
        for commit in &log {
            let Some(told) = told.remove(&(session.name().to_owned(), commit.seq)) else { continue };
            assert_eq!((told.id, told.digest), (commit.id.to_string(), commit.digest.to_string()));
        }
        let states = stream::iter(&log).map(|commit| session.load(commit.seq)).buffered(16);
        let states: Vec<_> = states.map_ok(|restored| restored.state).try_collect().await.unwrap();
        for (at, commit) in log.iter().enumerate() {
            let parent = states.get(at + 1).map_or(&[][..], |state| &state[..]);
            assert!(follows(parent, &states[at]), "{} lost what {} had", commit.seq, commit.seq - 1);
        }
        commits += log.len() as u64;
        if !log.is_empty() {
            let verified = session.verify().await.unwrap();
            // A save that was under way when its writer was killed may have come since.
            assert!(verified.is_good() && verified.good >= log.len() as u64, "{verified:?}");
        }
    }
    assert_eq!(told, BTreeMap::new(), "lost");
    (commits, acknowledged)
}
