//! Any bytes as the objects of a session, with the checks that make a reader go on to parse them: answers,
//! never a panic. `cargo +nightly fuzz run session`

#![no_main]

use std::sync::Arc;

use futures_util::StreamExt;
use libfuzzer_sys::fuzz_target;
use persist::{
    Body, Key, PutOptions, SnapshotAdapter,
    adapters::memory::MemoryAdapter,
    sessions::{At, CommitOptions, Retention, Sessions},
};

/// The first letters of a commit and of a small object, and their version.
const COMMIT: &[u8] = b"PSC\x01";
const SMALL: &[u8] = b"PSR\x01";

/// `bytes` and their CRC-32C.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

/// A commit of these parts, whole as far as its check can tell.
fn commit(delta: &[u8], manifest: &[u8]) -> Vec<u8> {
    let len = (manifest.len() as u32).to_le_bytes();
    let end = sealed([COMMIT, manifest, &len].concat());
    [COMMIT, delta, &end[COMMIT.len()..]].concat()
}

fuzz_target!(|input: [Vec<u8>; 6]| {
    let [delta, manifest, line, tag, fork, origin] = input;
    let small = |kind: &[u8], content: &[u8]| sealed([SMALL, kind, content].concat());
    let first = if origin.is_empty() { commit(&[], &manifest) } else { small(b"o", &origin) };
    let objects = [
        ("c/999999999/998-1", first),
        ("c/999999999/997-2", commit(&delta, &manifest)),
        ("line", small(b"l", &line)),
        ("t/tag", small(b"t", &tag)),
        ("f/01ARZ3NDEKTSV4RRFFQ69G5FAV", small(b"f", &fork)),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let store = Arc::new(MemoryAdapter::new());
        for (name, bytes) in objects {
            let key = Key::new(format!("sessions/a/s/{name}")).expect("a key");
            store.put(&key, Body::from(bytes), PutOptions::new()).await.expect("stored");
        }
        let session = Sessions::new(store).expect("it creates").session("a", "s").expect("ids");
        for at in [At::Latest, At::Seq(1), At::Seq(2), At::Tag("tag".into())] {
            let _ = session.load(at.clone()).await;
            let _ = session.load_with_fallback(at.clone()).await;
            let _ = session.show(at).await;
        }
        let _ = session.load(At::Time(std::time::SystemTime::UNIX_EPOCH)).await;
        let _ = session.log().collect::<Vec<_>>().await;
        let _ = session.verify().await;
        let _ = session.tags().await;
        let _ = session.export(&mut tokio::io::sink()).await;
        let _ = session.prune_dry_run(Retention::new().last(1)).await;
        let _ = session.prune(Retention::new().last(1)).await;
        let _ = session.take_over().await;
        let _ = session.save_with("next", CommitOptions::new()).await;
    });
});
