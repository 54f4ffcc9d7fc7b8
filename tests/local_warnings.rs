//! What a listing of local disk passes over is told once. Alone in its program: tests beside it that log
//! nothing would switch events off.

#![cfg(unix)]
#![allow(clippy::unwrap_used, dead_code)]

#[path = "support/events.rs"]
mod events;

use std::{fs, os::unix::fs::symlink};

use futures_util::TryStreamExt;
use persist::{ListOptions, SnapshotAdapter, SnapshotAdapterExt, adapters::local::LocalAdapter};

// One thread, so that the subscriber sees the events of every task.
#[tokio::test]
async fn a_listing_tells_once_of_what_it_passes_over() {
    let buffer = events::Buffer::default();
    let _guard = tracing::subscriber::set_default(buffer.clone());
    let directory = tempfile::tempdir().unwrap();
    let store = LocalAdapter::open(directory.path()).unwrap();
    for name in ["agents/1/state.gz", "agents/2/state.gz", "plain.gz"] {
        store.save("state", name).await.unwrap();
    }
    let told = async |options: ListOptions| {
        buffer.0.lock().unwrap().clear();
        store.list(options).try_collect::<Vec<_>>().await.unwrap();
        let log = buffer.0.lock().unwrap().clone();
        ["not followed", "another program"].map(|what| log.matches(what).count())
    };
    assert_eq!(told(ListOptions::new()).await, [0, 0]);
    for name in ["agents/1/a:b.gz", "agents/1/c:d.gz", "agents/2/e?f.gz", "bad\nname"] {
        fs::write(directory.path().join(name), "foreign").unwrap();
    }
    assert_eq!(told(ListOptions::new()).await, [0, 1]);
    symlink("/nowhere", directory.path().join("agents/2/link")).unwrap();
    symlink("/nowhere", directory.path().join("another")).unwrap();
    assert_eq!(told(ListOptions::new()).await, [1, 1]);
    // Rolled up, a folder is looked into for something to list.
    assert_eq!(told(ListOptions::new().prefix("agents/").delimiter()).await, [1, 1]);
    // Not of what was not asked for.
    assert_eq!(told(ListOptions::new().prefix("plain")).await, [0, 0]);
    assert_eq!(told(ListOptions::new().prefix("agents/2/l")).await, [1, 0]);
}
