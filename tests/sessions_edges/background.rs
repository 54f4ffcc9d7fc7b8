//! States that are saved in the background.

use std::sync::Arc;

use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::{At, CommitOptions},
};
use tokio::sync::Notify;

use super::Bench;

/// What was queued before the session was removed does not bring it back.
#[tokio::test]
async fn a_removal_takes_nothing_along_that_was_queued_before() {
    let bench = Bench::new(13);
    bench.saved("s", 2).await;
    let (fault, sessions) = bench.faulty();
    let session = sessions.session("a", "s").unwrap();
    session.load(At::Latest).await.unwrap();
    let background = session.background(8);
    // The first state is under way, and the removal is next in turn.
    let go_on = Arc::new(Notify::new());
    fault.inject(Operation::Put, Injection::Hold(go_on.clone()));
    for state in ["old", "older"] {
        background.save(state, CommitOptions::new()).await.unwrap();
    }
    while fault.calls(Operation::Put) < 1 {
        tokio::task::yield_now().await;
    }
    let clone = session.clone();
    let removal = tokio::spawn(async move { clone.remove().await });
    tokio::task::yield_now().await;
    go_on.notify_one();
    removal.await.unwrap().unwrap();
    assert_eq!(background.flush().await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(bench.session("s").load(At::Latest).await.unwrap_err().kind(), ErrorKind::NotFound);
    background.save("anew", CommitOptions::new()).await.unwrap();
    assert_eq!(background.flush().await.unwrap().unwrap().seq, 5);
}

/// As many as there may be.
#[tokio::test]
async fn a_queue_and_sizes_without_a_limit_are_no_panic() {
    let bench = Bench::new(40);
    let session =
        bench.sessions.clone().inline_limit(u64::MAX).stream_limit(u64::MAX).session("a", "s").unwrap();
    let background = session.background(usize::MAX);
    background.save("one", CommitOptions::new()).await.unwrap();
    assert_eq!(background.flush().await.unwrap().unwrap().seq, 1);
    let mut archive = Vec::new();
    session.export(&mut archive).await.unwrap();
    let copy =
        bench.sessions.clone().inline_limit(u64::MAX).stream_limit(u64::MAX).session("a", "copy").unwrap();
    copy.import(&mut &archive[..]).await.unwrap();
    assert!(copy.verify().await.unwrap().is_good());
}
