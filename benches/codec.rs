//! The codec alone, through memory: `cargo bench --bench codec`. `scripts/bench-peers` compares whole
//! processes with other tools.
#![allow(missing_docs, unreachable_pub)]

mod support;

use std::{hint::black_box, io::Write, time::Duration};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use persist::{Codec, LoadOptions, SaveOptions, SnapshotAdapterExt, adapters::memory::MemoryAdapter};

fn main() {
    // For scripts that need the data as a file: the states, again and again, up to so many bytes.
    if let (Ok(path), Ok(bytes)) =
        (std::env::var("PERSIST_BENCH_WRITE"), std::env::var("PERSIST_BENCH_BYTES"))
    {
        let (states, what) = support::states();
        let mut file = std::fs::File::create(path).expect("PERSIST_BENCH_WRITE can be written");
        let mut left: usize = bytes.parse().expect("PERSIST_BENCH_BYTES is a number");
        while left > 0 {
            let some = &states[..states.len().min(left)];
            file.write_all(some).expect("written");
            left -= some.len();
        }
        return println!("{what}");
    }
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let (states, what) = support::states();
    println!("{what}");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let codecs = [Codec::default(), Codec::None];
    for size in [8 << 10, 256 << 10, 16 << 20] {
        let state = Bytes::from(states[..size].to_vec());
        let mut group = criterion.benchmark_group(format!("{} KiB", size >> 10));
        group.throughput(Throughput::Bytes(size as u64));
        for codec in codecs {
            let store = MemoryAdapter::new();
            let options = SaveOptions::new().codec(codec);
            group.bench_function(BenchmarkId::new("save", codec), |b| {
                b.to_async(&runtime).iter(|| store.save_with(state.clone(), "key", options.clone()));
            });
            group.bench_function(BenchmarkId::new("load", codec), |b| {
                b.to_async(&runtime).iter(|| async { black_box(store.load("key").await) });
            });
            group.bench_function(BenchmarkId::new("verify", codec), |b| {
                let options = LoadOptions::new().verify_digest();
                b.to_async(&runtime)
                    .iter(|| async { black_box(store.load_with("key", options.clone()).await) });
            });
        }
    }
    criterion.final_summary();
}
