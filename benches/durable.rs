//! A durable local save against its floor: write, fsync, rename, fsync of the directory, nothing else.
//!
//! `cargo bench --bench durable` prints medians of interleaved rounds, because the time of an fsync drifts
//! with the disk.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use persist::{Body, Codec, Key, PutOptions, SaveOptions, SnapshotAdapterExt, StorageConfig};

const ROUNDS: usize = 200;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    // Beside the target folder, hence on a real disk: /tmp may be memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let store = runtime.block_on(StorageConfig::local(folder.path().join("store")).open()).expect("a store");
    println!("| size | floor, ms | put | save | save, codec none |\n|---|---|---|---|---|");
    for size in [8 << 10, 1 << 20] {
        let state = Bytes::from(text(size));
        let mut times = [const { Vec::new() }; 4];
        for round in 0..ROUNDS {
            // Each replaces one of its own few keys, as an agent does.
            let key = |of: &str| Key::new(format!("{of}-{}", round % 4)).expect("a key");
            times[0].push(timed(|| write_durably(folder.path(), &state)));
            let name = key("put");
            let put = store.put(&name, Body::from(state.clone()), PutOptions::new());
            times[1].push(timed(|| drop(runtime.block_on(put).expect("put"))));
            let save = store.save(state.clone(), key("save"));
            times[2].push(timed(|| drop(runtime.block_on(save).expect("saved"))));
            let plain = store.save_with(state.clone(), key("plain"), SaveOptions::new().codec(Codec::None));
            times[3].push(timed(|| drop(runtime.block_on(plain).expect("saved"))));
        }
        let [floor, put, save, plain] = times.map(median);
        let [put, save, plain] = [put, save, plain].map(|time| format!("{time:.3} ({:.2})", time / floor));
        println!("| {size} | {floor:.3} | {put} | {save} | {plain} |");
    }
}

/// The least that a crash-safe replacement of a file can do.
fn write_durably(folder: &Path, bytes: &[u8]) {
    let (temporary, target) = (folder.join("floor.tmp"), folder.join("floor"));
    let mut file = File::create(&temporary).expect("created");
    file.write_all(bytes).expect("written");
    file.sync_all().expect("synced");
    fs::rename(&temporary, &target).expect("renamed");
    File::open(folder).expect("opened").sync_all().expect("synced");
}

fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

/// In milliseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

/// Text that compresses about as agent states do.
fn text(size: usize) -> Vec<u8> {
    let mut seed = 7_u64;
    let mut out = Vec::with_capacity(size + 16);
    while out.len() < size {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        out.extend_from_slice(format!("{{\"word\":{},", (seed >> 33) % 5_000).as_bytes());
    }
    out.truncate(size);
    out
}
