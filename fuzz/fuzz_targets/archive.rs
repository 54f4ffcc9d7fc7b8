//! Any bytes as the archive of a session, and as the content of its entries: an answer, never a panic.
//! `cargo +nightly fuzz run archive`

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use persist::{adapters::memory::MemoryAdapter, sessions::Sessions};

/// The names that an archive may have, in the order in which they may come.
const NAMES: [&str; 6] = [
    "persist-session",
    "line",
    "b/1-01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "c/999999999/998-1",
    "c/999999999/997-2",
    "t/1",
];

/// A plain file in a tar archive.
fn file(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[124..136].copy_from_slice(format!("{:011o}\0", bytes.len()).as_bytes());
    block[148..156].fill(b' ');
    block[156] = b'0';
    block[257..262].copy_from_slice(b"ustar");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut out = [&block[..], bytes].concat();
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

fuzz_target!(|input: (Vec<u8>, Vec<(u8, Vec<u8>)>)| {
    let (raw, entries) = input;
    let mut archive = file(NAMES[0], br#"{"format":1,"agent":"a","session":"s"}"#);
    for (name, bytes) in &entries {
        archive.extend(file(NAMES[usize::from(*name) % NAMES.len()], bytes));
    }
    archive.extend([0; 1024]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        for archive in [archive, raw] {
            let store = Arc::new(MemoryAdapter::new());
            let session = Sessions::new(store).expect("it creates").session("a", "s").expect("ids");
            let _ = session.import(&mut &archive[..]).await;
        }
    });
});
