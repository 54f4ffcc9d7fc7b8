//! Any bytes as a stored object: a load gives a state or an error, never a panic, and no more than the limit.
//! `cargo +nightly fuzz run gzip_load`

#![no_main]

use libfuzzer_sys::fuzz_target;
use persist::{
    Body, Key, Limits, LoadOptions, PutOptions, SnapshotAdapter, SnapshotAdapterExt,
    adapters::memory::MemoryAdapter,
};

const MOST: u64 = 16 << 20;

fuzz_target!(|file: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let store = MemoryAdapter::new();
        let key = Key::new("key").expect("a key");
        store.put(&key, Body::from(file.to_vec()), PutOptions::new()).await.expect("stored");
        let limits = Limits::new().max_bytes(MOST);
        if let Ok(state) = store.load_with(&key, LoadOptions::new().limits(limits).verify_digest()).await {
            assert!(state.len() as u64 <= MOST);
        }
        let _ = store.describe(&key).await;
        let _ = store.load_range(&key, 0..1000).await;
    });
});
