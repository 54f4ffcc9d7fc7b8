//! Prunes announce themselves, so that no two of them decide over each other.

use futures_util::FutureExt;
use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::Retention,
};

use super::{
    Bench, commit_key, hold,
    sessions_support::{Counting, noise},
};

fn keep() -> Retention {
    Retention::new().last(1)
}

#[tokio::test]
async fn a_prune_waits_for_one_that_lives_and_for_none_that_died() {
    let bench = Bench::new(121);
    bench.unrelated("s", 4).await;
    bench.hours(3);
    let (fault, sessions) = bench.faulty();
    let session = sessions.session("a", "s").unwrap();
    hold(&fault, Operation::List, 1);
    let mut first = Box::pin(session.prune(keep()));
    assert!((&mut first).now_or_never().is_none() && fault.calls(Operation::Put) == 1);
    let error = bench.session("s").prune(keep()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Conflict && error.message().contains("at work"), "{error}");
    drop(first);
    bench.clock.pass(601_000);
    assert_eq!(bench.session("s").prune(keep()).await.unwrap().removed, [3, 2, 1]);
}

#[tokio::test]
async fn an_announcement_whose_answer_was_lost_is_recognised() {
    let bench = Bench::new(122);
    bench.unrelated("s", 4).await;
    bench.hours(3);
    let (fault, sessions) = bench.faulty();
    fault.inject(Operation::Put, Injection::After(ErrorKind::Timeout));
    let pruned = sessions.session("a", "s").unwrap().prune(keep()).await.unwrap();
    assert_eq!(pruned.removed, [3, 2, 1]);
}

#[tokio::test]
async fn the_announcement_of_another_prune_is_not_taken_for_the_own_one() {
    let bench = Bench::new(123);
    bench.unrelated("s", 4).await;
    bench.hours(3);
    let (fault, sessions) = bench.faulty();
    let session = sessions.session("a", "s").unwrap();
    let go_on = hold(&fault, Operation::Put, 0);
    let mut late = Box::pin(session.prune(keep()));
    assert!((&mut late).now_or_never().is_none() && fault.calls(Operation::Put) == 1);
    let (fault, sessions) = bench.faulty();
    let session = sessions.session("a", "s").unwrap();
    hold(&fault, Operation::List, 1);
    let mut other = Box::pin(session.prune(keep()));
    assert!((&mut other).now_or_never().is_none() && fault.calls(Operation::Put) == 1);
    go_on.notify_one();
    let error = late.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}

/// Where a version is the digest of the content, an announcement that arrives late would stand again if the
/// record were what it was before.
#[tokio::test]
async fn the_record_is_never_again_what_it_was() {
    let bench = Bench::new(124);
    let session = bench.unrelated("s", 4).await;
    bench.hours(3);
    session.prune(Retention::new().last(3)).await.unwrap();
    let line = bench.keys("/line").await.remove(0);
    let mut records = vec![bench.adapter.raw(&line).await];
    // A tag cancels a prune, its next attempt fails, and another one decides.
    let (fault, sessions) = bench.faulty();
    let held = sessions.session("a", "s").unwrap();
    let go_on = hold(&fault, Operation::List, 1);
    let mut cancelled = Box::pin(held.prune(Retention::new().last(2)));
    assert!((&mut cancelled).now_or_never().is_none());
    records.push(bench.adapter.raw(&line).await);
    session.tag("kept", 2).await.unwrap();
    records.push(bench.adapter.raw(&line).await);
    // The first decision, which comes too late, and the second announcement come through.
    fault.inject_later(Operation::Put, 2, Injection::Before(ErrorKind::AccessDenied));
    go_on.notify_one();
    assert_eq!(cancelled.await.unwrap_err().kind(), ErrorKind::AccessDenied);
    records.push(bench.adapter.raw(&line).await);
    session.prune(Retention::new().last(2)).await.unwrap();
    records.push(bench.adapter.raw(&line).await);
    for (at, record) in records.iter().enumerate() {
        assert!(!records[..at].contains(record), "record {at}");
    }
}

#[tokio::test]
async fn the_newest_is_loaded_once_however_often_a_prune_starts_again() {
    let bench = Bench::new(125);
    let session = bench.unrelated("s", 4).await;
    bench.hours(3);
    let (fault, sessions) = bench.faulty();
    let held = sessions.session("a", "s").unwrap();
    let decides = hold(&fault, Operation::Put, 1);
    let mut prune = Box::pin(held.prune(keep()));
    assert!((&mut prune).now_or_never().is_none() && fault.calls(Operation::Put) == 2);
    let first = fault.calls(Operation::Get);
    session.tag("kept", 2).await.unwrap();
    decides.notify_one();
    assert_eq!(prune.await.unwrap().removed, [3, 1]);
    // Again there is the tag to read, and the newest is not.
    assert_eq!((first, fault.calls(Operation::Get) - first), (6, 6));
}

/// Versions say nothing of other keys: those that a gateway lists may all be the same.
#[tokio::test]
async fn a_newest_that_came_between_two_attempts_is_loaded_as_well() {
    let mut adapter = Counting::memory();
    adapter.lists_version = Some("");
    let bench = Bench::of(adapter, 126);
    let session = bench.unrelated("s", 4).await;
    bench.hours(3);
    let (fault, sessions) = bench.faulty();
    let held = sessions.session("a", "s").unwrap();
    let decides = hold(&fault, Operation::Put, 1);
    let mut prune = Box::pin(held.prune(keep()));
    assert!((&mut prune).now_or_never().is_none() && fault.calls(Operation::Put) == 2);
    session.tag("kept", 2).await.unwrap();
    session.save(noise(5, 600)).await.unwrap();
    bench.adapter.flip(&commit_key("s", 5), 100).await;
    let before = bench.keys("/c/").await;
    decides.notify_one();
    let error = prune.await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&commit_key("s", 5))), "{error}");
    assert_eq!(bench.keys("/c/").await, before);
}
