//! Memory of a check and an export of long states, of the whole process, at its highest. Alone in its program,
//! since others would be counted as well.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod sessions_support;

use std::sync::Arc;

use persist::{
    Body,
    adapters::memory::MemoryAdapter,
    sessions::{At, Sessions},
};
use sessions_support::small::{on_two_cores, peak, test_bytes};

const MIB: u64 = 1 << 20;

#[test]
fn a_check_a_rebase_and_an_export_of_long_states_stay_below_64_mib() {
    on_two_cores();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(check(test_bytes(128)));
}

async fn check(size: u64) {
    // What is stored is small.
    let sessions = Sessions::new(Arc::new(MemoryAdapter::new())).unwrap().inline_limit(MIB).stream_limit(MIB);
    let open = || sessions.session("a", "s").unwrap();
    let session = open();
    let state = |byte: u8| {
        let block = bytes::Bytes::from(vec![byte; MIB as usize]);
        Body::from_stream(futures_util::stream::iter((0..size / MIB).map(move |_| Ok(block.clone()))))
    };
    for byte in *b"ab" {
        session.save_body(state(byte)).await.unwrap();
    }
    let verified = session.verify().await.unwrap();
    assert!(verified.is_good(), "{verified:?}");
    assert_eq!((verified.good, verified.bytes), (2, 2 * size));
    // A handle that has seen nothing continues what it loads, and needs no state in memory.
    let late = session;
    open().save_body(state(b'c')).await.unwrap();
    assert_eq!(late.save_body(state(b'd')).await.unwrap_err().kind(), persist::ErrorKind::Conflict);
    let fresh = open();
    let (commit, body) = fresh.load_stream(At::Latest).await.unwrap();
    assert_eq!(commit.seq, 3);
    assert_eq!(fresh.save_body(body).await.unwrap().digest, commit.digest);
    // A state of a fork, which needs nothing of where it was forked; and the same from the archive.
    let fork = fresh.fork("fork", 4).await.unwrap();
    fork.save_body(state(b'e')).await.unwrap();
    let (mut archive, mut input) = tokio::io::duplex(1 << 16);
    let copy = sessions.session("a", "copy").unwrap();
    let export = async move {
        let moved = fork.export(&mut archive).await;
        drop(archive);
        moved
    };
    let (exported, imported) = tokio::join!(export, copy.import(&mut input));
    assert_eq!((exported.unwrap().commits, imported.unwrap().commits), (1, 1));
    let all = peak("self");
    println!("{} MiB: {all} MiB of memory", size / MIB);
    assert!(all <= 64, "{all} MiB of memory");
}
