//! Processes that share sessions while they are stopped, continued and killed at random: no acknowledged commit is lost, and no session is
//! forked unnoticed.
//!
//! `PERSIST_PROCESSES_SECONDS` says for how long (default 4), `PERSIST_PROCESSES_STORAGE` on which storage, as a URL (default: local disk).
#![allow(clippy::unwrap_used)]
#![cfg(unix)]

mod sessions_support;

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::TryStreamExt;
use persist::{ErrorKind, StorageConfig, adapters::local::LocalAdapter, sessions::*};
use sessions_support::Random;

const PROCESSES: usize = 4;
const SESSIONS: u64 = 3;
const STORAGE: &str = "PERSIST_PROCESSES_STORAGE";
/// Tells the test `writer` that it is a child: the folder with its ledger, and its seed.
const CHILD: &str = "PERSIST_PROCESSES_CHILD";

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

async fn sessions(folder: &Path) -> Sessions {
    let adapter = match std::env::var(STORAGE) {
        Ok(url) => StorageConfig::from_url(&url).unwrap().open().await.unwrap(),
        Err(_) => Arc::new(LocalAdapter::open(folder.join("store")).unwrap()),
    };
    Sessions::new(adapter).unwrap().writer(format!("{}", std::process::id()))
}

/// Saves into all sessions until it is killed, and writes down what was acknowledged.
async fn write_for_ever(folder: PathBuf, seed: u64) {
    let sessions = sessions(&folder).await;
    let ledger = folder.join(format!("ledger-{seed}"));
    let mut ledger = OpenOptions::new().create(true).append(true).open(ledger).unwrap();
    let mut random = Random(seed);
    let names: Vec<String> = (0..SESSIONS).map(|n| format!("s{n}")).collect();
    let mut handles = Vec::new();
    for name in &names {
        let handle = sessions.session("agent", name).unwrap();
        let state = handle.rebase().await.unwrap().map(|restored| restored.state.to_vec());
        handles.push((handle, state.unwrap_or_default()));
    }
    for made in 0u64.. {
        let at = random.below(SESSIONS) as usize;
        let (handle, state) = &mut handles[at];
        let mut next = state.clone();
        next.extend_from_slice(format!("[{seed}.{made} {:x}]", random.next()).as_bytes());
        if next.len() > 20_000 {
            next.drain(..9_000);
        }
        match handle.save(next.clone()).await {
            Ok(commit) => {
                let (id, digest) = (commit.id.to_string(), commit.digest.to_string());
                let told = Told { session: names[at].clone(), seq: commit.seq, id, digest };
                ledger.write_all(told.line().as_bytes()).unwrap();
                *state = next;
            }
            Err(error) if error.kind() == ErrorKind::Conflict => {
                *state = handle.rebase().await.unwrap().unwrap().state.to_vec();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn writer() {
    let told = Told { session: "s0".into(), seq: 7, id: "i".into(), digest: "d".into() };
    assert_eq!(Told::parse(&told.line()), Some(told));
    assert_eq!(Told::parse("s0 7 i"), None);
    if let Ok(child) = std::env::var(CHILD) {
        let (folder, seed) = child.rsplit_once('#').unwrap();
        write_for_ever(folder.into(), seed.parse().unwrap()).await;
    }
}

fn spawn(folder: &Path, seed: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{}#{seed}", folder.display()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success(), "kill {name}");
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_no_session_forks() {
    let seconds = std::env::var("PERSIST_PROCESSES_SECONDS").map_or(4, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(u64::from(std::process::id()));
    let mut seeds = 0;
    let mut start = || {
        seeds += 1;
        spawn(folder.path(), seeds)
    };
    let mut children: Vec<Child> = (0..PROCESSES).map(|_| start()).collect();
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut stops, mut kills) = (0, 0);
    while Instant::now() < end {
        let at = random.below(PROCESSES as u64) as usize;
        if random.below(3) > 0 {
            signal(&children[at], "-STOP");
            tokio::time::sleep(Duration::from_millis(random.below(200))).await;
            signal(&children[at], "-CONT");
            stops += 1;
        } else {
            signal(&children[at], "-KILL");
            children[at].wait().unwrap();
            children[at] = start();
            kills += 1;
        }
        tokio::time::sleep(Duration::from_millis(random.below(200))).await;
        for child in &mut children {
            assert!(child.try_wait().unwrap().is_none(), "a writer ended by itself; its message is above");
        }
    }
    for mut child in children {
        signal(&child, "-KILL");
        child.wait().unwrap();
    }
    let mut told: BTreeMap<(String, u64), Told> = BTreeMap::new();
    for seed in 1..=seeds {
        let ledger =
            std::fs::read_to_string(folder.path().join(format!("ledger-{seed}"))).unwrap_or_default();
        for line in ledger.split_inclusive('\n').filter_map(Told::parse) {
            let before = told.insert((line.session.clone(), line.seq), line.clone());
            assert_eq!(before, None, "two writers were told that they made {} {}", line.session, line.seq);
        }
    }
    let sessions = sessions(folder.path()).await;
    let mut commits = 0;
    for session in (0..SESSIONS).map(|n| sessions.session("agent", format!("s{n}")).unwrap()) {
        let log: Vec<Commit> = session.log().try_collect().await.unwrap();
        for pair in log.windows(2) {
            assert_eq!((pair[0].seq, pair[0].parent), (pair[1].seq + 1, Some(pair[1].id)), "one line");
        }
        for commit in &log {
            let Some(told) = told.remove(&(session.name().to_owned(), commit.seq)) else { continue };
            assert_eq!((told.id, told.digest), (commit.id.to_string(), commit.digest.to_string()));
        }
        commits += log.len() as u64;
        let verified = session.verify().await.unwrap();
        assert!(verified.is_good() && verified.good == log.len() as u64, "{verified:?}");
    }
    assert_eq!(told, BTreeMap::new(), "lost");
    println!("{commits} commits, {stops} stops, {kills} kills");
    assert!(commits > 0 && stops > 0 && kills > 0);
}
