//! Any bytes as the extra field of a snapshot's tail, with the length and the check that make a reader go on
//! to parse it. `cargo +nightly fuzz run index`

#![no_main]

use libfuzzer_sys::fuzz_target;
use persist::{
    Body, Key, Limits, LoadOptions, PutOptions, SnapshotAdapter, SnapshotAdapterExt,
    adapters::memory::MemoryAdapter,
};

const HEAD: [u8; 17] = [31, 139, 8, 4, 0, 0, 0, 0, 0, 255, 5, 0, b'P', b'S', 1, 0, 1];

fuzz_target!(|input: &[u8]| {
    // First the segments' bytes, as many as the first byte says, then the fields.
    let Some((count, input)) = input.split_first() else { return };
    let Some((data, fields)) = input.split_at_checked(usize::from(*count)) else { return };
    let Ok(fields_len) = u16::try_from(fields.len() + 8) else { return };
    let mut tail = vec![31, 139, 8, 4, 0, 0, 0, 0, 0, 255];
    tail.extend(fields_len.to_le_bytes());
    tail.extend(fields);
    tail.extend((tail.len() as u32 + 18).to_le_bytes());
    tail.extend(crc32c::crc32c_append(crc32c::crc32c(&HEAD), &tail).to_le_bytes());
    tail.extend([3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let file = [&HEAD[..], data, &tail].concat();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let store = MemoryAdapter::new();
        let key = Key::new("key").expect("a key");
        store.put(&key, Body::from(file), PutOptions::new()).await.expect("stored");
        let limits = Limits::new().max_bytes(16 << 20);
        let _ = store.load_with(&key, LoadOptions::new().limits(limits)).await;
        let _ = store.describe(&key).await;
        let _ = store.load_range(&key, 5..1000).await;
    });
});
