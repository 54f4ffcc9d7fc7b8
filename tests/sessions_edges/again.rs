//! Calls that are repeated behind a sync that failed: what they find by reading is made durable once more.

use futures_util::FutureExt;
use persist::{
    ErrorKind,
    layers::{Fault, Injection, Operation},
    sessions::*,
};

use super::{Bench, hold};

/// The next object is stored, and neither that nor another try of it is told to be durable.
fn unsynced(fault: &Fault) {
    fault.inject(Operation::Put, Injection::After(ErrorKind::Io));
    fault.inject(Operation::Put, Injection::Before(ErrorKind::Io));
}

#[tokio::test]
async fn a_removal_that_is_repeated_puts_its_marker_again() {
    let bench = Bench::new(91);
    bench.saved("s", 2).await;
    let (fault, sessions) = bench.faulty();
    let session = sessions.session("a", "s").unwrap();
    session.load(At::Latest).await.unwrap();
    unsynced(&fault);
    assert_eq!(session.remove().await.unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(bench.keys("/s/c/").await.len(), 3, "the marker is there");
    fault.inject(Operation::Put, Injection::Before(ErrorKind::Io));
    assert_eq!(session.remove().await.unwrap_err().kind(), ErrorKind::Io);
    assert!(bench.keys("/line").await.is_empty(), "nothing is pruned before the marker is sure");
    fault.reset_calls();
    session.remove().await.unwrap();
    assert_eq!(fault.calls(Operation::Put), 3, "the marker, the announcement, the decision");
}

#[tokio::test]
async fn a_fork_that_is_repeated_puts_its_origin_again() {
    let bench = Bench::new(92);
    bench.saved("s", 2).await;
    let (fault, sessions) = bench.faulty();
    let session = sessions.session("a", "s").unwrap();
    // Its reference is stored.
    fault.inject_later(Operation::Put, 1, Injection::After(ErrorKind::Io));
    fault.inject(Operation::Put, Injection::Before(ErrorKind::Io));
    assert_eq!(session.fork("fork", 2).await.unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(bench.keys("/fork/c/").await.len(), 1, "the origin is there");
    fault.inject_later(Operation::Put, 1, Injection::Before(ErrorKind::Io));
    assert_eq!(session.fork("fork", 2).await.unwrap_err().kind(), ErrorKind::Io);
    let fork = session.fork("fork", 2).await.unwrap();
    assert_eq!(fork.load(At::Latest).await.unwrap().commit.seq, 2);
}

/// However long the repeated call takes: others use the fork meanwhile.
#[tokio::test]
async fn a_fork_that_is_repeated_slowly_stays() {
    let bench = Bench::new(94);
    let (session, _) = bench.saved("s", 2).await;
    session.fork("fork", 2).await.unwrap();
    let (fault, sessions) = bench.faulty();
    let again = sessions.session("a", "s").unwrap();
    // The second put is that of the origin.
    let go_on = hold(&fault, Operation::Put, 1);
    let mut slow = Box::pin(again.fork("fork", 2));
    assert!((&mut slow).now_or_never().is_none());
    bench.hours(30);
    go_on.notify_one();
    slow.await.unwrap();
    assert_eq!(bench.session("fork").load(At::Latest).await.unwrap().commit.seq, 2);
}

#[tokio::test]
async fn a_take_over_that_is_repeated_puts_its_commit_again() {
    let bench = Bench::new(93);
    bench.saved("s", 2).await;
    let (fault, sessions) = bench.faulty();
    let session = sessions.session("a", "s").unwrap();
    unsynced(&fault);
    assert_eq!(session.take_over().await.unwrap_err().kind(), ErrorKind::Io);
    fault.inject(Operation::Put, Injection::Before(ErrorKind::Io));
    assert_eq!(session.take_over().await.unwrap_err().kind(), ErrorKind::Io);
    fault.reset_calls();
    assert_eq!(session.take_over().await.unwrap().commit.seq, 3);
    assert_eq!(fault.calls(Operation::Put), 1);
}
