//! Prunes announce themselves, so that no two of them decide over each other.

use futures_util::FutureExt;
use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::Retention,
};

use super::{Bench, hold};

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
