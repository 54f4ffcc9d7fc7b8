//! Stores that span machines: one node of three dies under load, then a second. And Garage, by the whole
//! suite.
//!
//! Not part of an everyday `cargo test`: `scripts/test-clusters` starts the servers, which die in it.
#![cfg(all(feature = "s3", feature = "testing"))]
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use persist::{
    ErrorKind, Key, RetryConfig, SnapshotAdapter, SnapshotAdapterExt, adapters::s3::S3Adapter, testing::Suite,
};
use support::{
    Seeded,
    s3::{LARGE, running},
    service,
    small::kill,
};

persist::testing::conformance!(garage, || async {
    Suite::new(running("GARAGE").open().await).large(LARGE).content_versions().dated_when_begun()
});

#[tokio::test]
async fn garage_is_found_to_ignore_conditions() {
    let store = running("GARAGE").open().await;
    let can = store.capabilities();
    assert!(!can.create && !can.replace && !can.create_large && !can.conditional_delete, "{can:?}");
    assert!(!can.tags && !can.tiers, "{can:?}");
    let error = store.put(&key("once"), "x".into(), persist::PutOptions::new().create()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seaweedfs_loses_nodes() {
    a_node_dies("SEAWEEDFS3").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garage_loses_nodes() {
    a_node_dies("GARAGE3").await;
}

const WRITERS: usize = 4;
const ROUNDS: usize = 30;

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

/// What writer `writer` saves in `round`: mostly small, at times more than one request holds.
fn state(writer: usize, round: usize) -> bytes::Bytes {
    let len = [3_000, 40_000, 300_000, 3_000, 6 << 20][round % 5];
    Seeded((writer * 1000 + round) as u64).bytes(len)
}

fn name(writer: usize, round: usize) -> Key {
    key(&format!("cluster/{writer}/{round:03}.gz"))
}

async fn a_node_dies(cluster: &str) {
    let pids: Vec<String> = service(&format!("SVC_{cluster}_PIDS")).split(' ').map(String::from).collect();
    // As it comes, but with parts so small that some saves have several.
    let server = running(cluster);
    let store = server.open_with(&RetryConfig::default()).await;

    let done = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..WRITERS).map(|w| tokio::spawn(work(store.clone(), w, done.clone()))).collect();
    while done.load(Ordering::Relaxed) < WRITERS * ROUNDS / 3 {
        assert!(writers.iter().all(|writer| !writer.is_finished()), "before any node died");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // As a machine dies: without a word.
    kill("-KILL", &pids[2]);
    println!("{cluster}: a node died after {} saves", done.load(Ordering::Relaxed));
    for writer in writers {
        writer.await.unwrap();
    }
    // Nothing is lost, and nothing is torn.
    for writer in 0..WRITERS {
        for round in 0..ROUNDS {
            let read = store.load(name(writer, round)).await.unwrap();
            assert!(read == state(writer, round), "{cluster}: writer {writer}, round {round}");
        }
    }

    kill("-KILL", &pids[1]);
    let retry = RetryConfig { deadline: Duration::from_secs(10), max_attempts: 4, ..RetryConfig::default() };
    let mut server = server;
    (server.config.read_timeout, server.config.attempt_timeout) =
        (Some(Duration::from_secs(5)), Some(Duration::from_secs(5)));
    let attempt = async {
        // The adapter is opened anew: the probe meets the outage too.
        let store = S3Adapter::open(&server.bucket, &server.config, &retry).await?;
        for n in 0..50 {
            store.save(state(9, 1), key(&format!("cluster/outage/{n}"))).await?;
        }
        Ok::<_, persist::Error>(())
    };
    // Four attempts of five seconds, and the waits between them.
    let outcome = tokio::time::timeout(Duration::from_secs(45), attempt).await;
    let error = outcome.expect("it hangs").expect_err("it was saved, with two of three nodes gone");
    println!("{cluster}: with two nodes gone: {error}");
    assert!(error.retryable(), "{error:?}");
    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error:?}");
}

/// Saves and loads in turn; every error fails the test.
async fn work(store: S3Adapter, writer: usize, done: Arc<AtomicUsize>) {
    for round in 0..ROUNDS {
        let saved = store.save(state(writer, round), name(writer, round)).await;
        saved.unwrap_or_else(|error| panic!("writer {writer}, save {round}: {error:?}"));
        done.fetch_add(1, Ordering::Relaxed);
        let back = round / 2;
        let read = store.load(name(writer, back)).await;
        let read = read.unwrap_or_else(|error| panic!("writer {writer}, load {back}: {error:?}"));
        assert!(read == state(writer, back), "writer {writer}, load {back}");
    }
}
