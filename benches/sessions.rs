//! What a session costs: bytes on a local disk and CPU for each save and load, against plain snapshots of the
//! same states.
//!
//! `cargo bench --bench sessions`. `PERSIST_BENCH_DATA` is a folder of real states, one file a save, in the
//! order of their names; without it they are generated. `PERSIST_BENCH_STEPS` is how far the growth is
//! followed (default: 2,000 steps; 20,000 take minutes, 0: not at all).
#![allow(missing_docs, unreachable_pub, dead_code)]

#[path = "../src/sessions/delta/samples.rs"]
mod samples;

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use persist::{
    SnapshotAdapter, SnapshotAdapterExt, StorageConfig,
    adapters::memory::MemoryAdapter,
    sessions::{At, Session, Sessions},
};
use tokio::runtime::Runtime;

/// Rounds of loads: a tick of the kernel's CPU clock is 10 ms.
const LOADS: usize = 200;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    // For `scripts/bench-sessions`: the generated states as files, and a store that it looks at afterwards.
    if let Ok(folder) = std::env::var("PERSIST_BENCH_WRITE") {
        for (at, state) in generated().iter().enumerate() {
            fs::write(Path::new(&folder).join(format!("{at:05}.json")), state)
                .expect("PERSIST_BENCH_WRITE can be written");
        }
        return;
    }
    if let (Ok(data), Ok(folder)) =
        (std::env::var("PERSIST_BENCH_DATA"), std::env::var("PERSIST_BENCH_STORE"))
    {
        let states = read(Path::new(&data));
        let (plain, session) = save(&runtime, &states, Path::new(&folder));
        return println!("{} {} {} {}", plain.all, plain.user, session.all, session.user);
    }
    match std::env::var("PERSIST_BENCH_DATA") {
        Ok(folder) => compare(&runtime, &format!("real states from {folder}"), read(Path::new(&folder))),
        Err(_) => {
            compare(
                &runtime,
                "generated states (set PERSIST_BENCH_DATA to a folder of real ones)",
                generated(),
            );
        }
    }
    let most = std::env::var("PERSIST_BENCH_STEPS")
        .map_or(2000, |steps| steps.parse().expect("PERSIST_BENCH_STEPS is a number"));
    if most > 0 {
        growth(&runtime, most);
    }
}

fn read(folder: &Path) -> Vec<Bytes> {
    let entries = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("PERSIST_BENCH_DATA {}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a folder's entry").path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).expect("a state").into()).collect()
}

fn generated() -> Vec<Bytes> {
    samples::growing(1).skip(50).step_by(10).take(150).collect()
}

fn open(runtime: &Runtime, folder: PathBuf) -> Arc<dyn SnapshotAdapter> {
    runtime.block_on(StorageConfig::local(folder).open()).expect("a store")
}

/// Saves all states in `folder`, as snapshots under `plain` and as commits under `session`. CPU seconds a
/// save of both, from as many rounds as make enough ticks of the clock; what is left in the folder is that of
/// one.
fn save(runtime: &Runtime, states: &[Bytes], folder: &Path) -> (Cpu, Cpu) {
    let raw: usize = states.iter().map(Bytes::len).sum();
    let rounds = (600_000_000 / raw).clamp(1, 20);
    let mut sums = (Cpu::default(), Cpu::default());
    for round in 0..rounds {
        let last = round + 1 == rounds;
        let place = if last { folder.to_path_buf() } else { folder.join("round") };
        let (plain, session) = save_once(runtime, states, &place);
        (sums.0, sums.1) = (sums.0.plus(plain), sums.1.plus(session));
        if !last {
            fs::remove_dir_all(place).expect("removed");
        }
    }
    let saves = (rounds * states.len()) as f64;
    (sums.0.over(saves), sums.1.over(saves))
}

fn save_once(runtime: &Runtime, states: &[Bytes], folder: &Path) -> (Cpu, Cpu) {
    let plain = open(runtime, folder.join("plain"));
    let session = handle(open(runtime, folder.join("session")));
    let (mut plain_cpu, mut session_cpu) = (Cpu::default(), Cpu::default());
    // Interleaved in blocks that are long enough for the clock's ticks.
    for (block, some) in states.chunks(states.len().div_ceil(8)).enumerate() {
        let spent = cpu(runtime, async {
            for (at, state) in some.iter().enumerate() {
                plain.save(state.clone(), format!("state-{block}-{at}")).await.expect("saved");
            }
        });
        plain_cpu = plain_cpu.plus(spent);
        let spent = cpu(runtime, async {
            for state in some {
                session.save(state.clone()).await.expect("saved");
            }
        });
        session_cpu = session_cpu.plus(spent);
    }
    (plain_cpu, session_cpu)
}

fn compare(runtime: &Runtime, what: &str, states: Vec<Bytes>) {
    // Beside the target folder, hence on a real disk: /tmp may be memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let (plain_cpu, session_cpu) = save(runtime, &states, folder.path());
    let saves = states.len() as f64;
    let (plain, deltas) =
        (open(runtime, folder.path().join("plain")), open(runtime, folder.path().join("session")));
    let raw: u64 = states.iter().map(|state| state.len() as u64).sum();
    let (plain_bytes, session_bytes) =
        (size(&folder.path().join("plain")), size(&folder.path().join("session")));
    println!("{what}: {saves} states, {raw} bytes\n");
    println!("| | plain snapshots | session | ratio |\n|---|---|---|---|");
    println!(
        "| bytes on disk | {plain_bytes} | {session_bytes} | {:.3} |",
        session_bytes as f64 / plain_bytes as f64
    );
    println!(
        "| raw bytes a byte on disk | {:.1} | {:.1} | |",
        raw as f64 / plain_bytes as f64,
        raw as f64 / session_bytes as f64
    );
    row("CPU a save, ms", plain_cpu.all, session_cpu.all);
    row("of it in user mode", plain_cpu.user, session_cpu.user);
    for (name, at) in [("latest", states.len()), ("middle", states.len() / 2)] {
        runtime.block_on(plain.save(states[at - 1].clone(), "one")).expect("saved");
        let reader = handle(deltas.clone());
        let (mut plain_cpu, mut session_cpu) = (0.0, 0.0);
        for _ in 0..8 {
            plain_cpu += cpu(runtime, async {
                for _ in 0..LOADS / 8 {
                    assert!(plain.load("one").await.expect("loaded") == states[at - 1]);
                }
            })
            .all;
            session_cpu += cpu(runtime, async {
                for _ in 0..LOADS / 8 {
                    let seq = if name == "latest" { At::Latest } else { At::Seq(at as u64) };
                    assert!(reader.load(seq).await.expect("loaded").state == states[at - 1]);
                }
            })
            .all;
        }
        row(&format!("CPU a load of the {name}, ms"), plain_cpu / LOADS as f64, session_cpu / LOADS as f64);
    }
}

fn row(name: &str, plain: f64, session: f64) {
    println!("| {name} | {:.3} | {:.3} | {:.2} |", plain * 1e3, session * 1e3, session / plain);
}

/// What a step costs after so many steps, and how far it is from what it cost after a tenth of them.
fn growth(runtime: &Runtime, most: usize) {
    let mut runs: Vec<(&str, Box<dyn Iterator<Item = Bytes>>)> = vec![
        ("growing by 100 bytes a step", Box::new(samples::window(1, usize::MAX, 100))),
        ("the last 100 KB, 1 KB new a step", Box::new(samples::window(1, 100_000, 1000))),
    ];
    // Of 20,000 steps this would be 200 GB of states.
    if most <= 5000 {
        runs.push(("growing by 1 KB a step", Box::new(samples::growing(1))));
    }
    let marks = [most / 100, most / 10, most];
    println!(
        "\n| after so many steps | {} | {} | {most} | tenfold | tenfold |\n|---|---|---|---|---|---|",
        marks[0], marks[1]
    );
    for (what, states) in runs {
        let store: Arc<dyn SnapshotAdapter> = Arc::new(MemoryAdapter::new());
        let session = handle(store.clone());
        let (mut stored, mut saves) = (0, Cpu::default());
        let (mut bytes, mut save_ms, mut load_ms) = (Vec::new(), Vec::new(), Vec::new());
        let window = most / 100;
        for (step, state) in (1..=most).zip(states) {
            if marks.contains(&(step + window - 1)) {
                saves = Cpu::now();
            }
            stored += runtime.block_on(session.save(state)).expect("saved").stored_size;
            if marks.contains(&step) {
                bytes.push(stored as f64 / step as f64);
                save_ms.push(Cpu::now().minus(saves).all * 1e3 / window as f64);
                let reader = handle(store.clone());
                let spent = cpu(runtime, async {
                    for _ in 0..LOADS {
                        reader.load(At::Latest).await.expect("loaded");
                    }
                });
                load_ms.push(spent.all * 1e3 / LOADS as f64);
            }
        }
        let row = |what: String, digits: usize, at: &[f64]| {
            let [first, second, last] = at[..] else { panic!("PERSIST_BENCH_STEPS is at least 100") };
            let (one, two) = (second / first, last / second);
            println!(
                "| {what} | {first:.digits$} | {second:.digits$} | {last:.digits$} | × {one:.2} | × {two:.2} |"
            );
        };
        row(format!("{what}: bytes of all commits a step"), 0, &bytes);
        row("CPU ms a save".into(), 3, &save_ms);
        row("CPU ms a load of the latest".into(), 3, &load_ms);
    }
}

fn handle(store: Arc<dyn SnapshotAdapter>) -> Session {
    Sessions::new(store).expect("conditional create").session("agent", "session").expect("an id")
}

/// As `du --apparent-size` counts, folders included.
fn size(path: &Path) -> u64 {
    let meta = fs::symlink_metadata(path).expect("a file");
    let inside = meta.is_dir().then(|| fs::read_dir(path).expect("a folder"));
    meta.len() + inside.into_iter().flatten().map(|entry| size(&entry.expect("an entry").path())).sum::<u64>()
}

/// CPU seconds of the whole process, all threads.
#[derive(Debug, Clone, Copy, Default)]
struct Cpu {
    all: f64,
    /// Without what the kernel does for it, such as fsync.
    user: f64,
}

impl Cpu {
    fn now() -> Cpu {
        let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<f64>().expect("ticks") / 100.0;
        Cpu { all: ticks(11) + ticks(12), user: ticks(11) }
    }

    fn minus(self, other: Cpu) -> Cpu {
        Cpu { all: self.all - other.all, user: self.user - other.user }
    }

    fn plus(self, other: Cpu) -> Cpu {
        Cpu { all: self.all + other.all, user: self.user + other.user }
    }

    fn over(self, count: f64) -> Cpu {
        Cpu { all: self.all / count, user: self.user / count }
    }
}

fn cpu(runtime: &Runtime, work: impl Future) -> Cpu {
    let start = Cpu::now();
    runtime.block_on(work);
    Cpu::now().minus(start)
}
