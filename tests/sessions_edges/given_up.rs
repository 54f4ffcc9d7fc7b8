//! Prunes and removals whose futures are dropped: nobody waits for what they have announced.

use std::sync::Arc;

use futures_util::FutureExt;
use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::*,
};
use tokio::sync::Notify;

use super::{Bench, sessions_support::noise};

/// Drops the work at each of its requests in turn. Another prune goes on at once, and all that is kept loads.
async fn dropped(work: impl AsyncFn(&Session) -> persist::Result<Pruned>, left: &[u64]) {
    let mut announced = 0;
    for operation in [Operation::Put, Operation::Get, Operation::Head, Operation::List, Operation::Delete] {
        for held in 0.. {
            let bench = Bench::new(97);
            let session = bench.session("s");
            for seq in 1..=6 {
                session.save(noise(seq, 300)).await.unwrap();
            }
            session.tag("second", 2).await.unwrap();
            bench.hours(5);
            let (fault, sessions) = bench.faulty();
            fault.inject_later(operation, held, Injection::Hold(Arc::new(Notify::new())));
            let given_up = sessions.session("a", "s").unwrap();
            if work(&given_up).now_or_never().is_some() {
                assert!(held > 0, "{operation:?}");
                break;
            }
            announced += usize::from(!bench.keys("/line").await.is_empty());
            persist::cleaned_up().await;
            let reader = bench.session("s");
            reader.prune(Retention::new().last(1)).await.unwrap_or_else(|error| {
                panic!("{operation:?} {held}: {error}");
            });
            for seq in left {
                assert!(reader.load(*seq).await.unwrap().state == noise(*seq, 300));
                assert!(reader.verify().await.unwrap().is_good());
            }
        }
    }
    assert!(announced > 10, "{announced}");
}

#[tokio::test]
async fn a_prune_that_is_dropped_holds_nobody_up() {
    dropped(async |session| session.prune(Retention::new().last(1)).await, &[2, 6]).await;
}

#[tokio::test]
async fn a_removal_that_is_dropped_holds_nobody_up() {
    dropped(async |session| session.remove().await, &[]).await;
}

/// One whose process died is waited for, and not for longer.
#[tokio::test]
async fn a_prune_that_died_holds_others_up_for_ten_minutes() {
    let bench = Bench::new(98);
    let (session, _) = bench.saved("s", 6).await;
    bench.hours(5);
    let (fault, sessions) = bench.faulty();
    // It announces itself, and then neither looks nor takes that back.
    fault.inject_later(Operation::Put, 1, Injection::Before(ErrorKind::Unavailable));
    fault.inject_later(Operation::List, 1, Injection::Before(ErrorKind::Unavailable));
    let died = sessions.session("a", "s").unwrap().prune(Retention::new().last(1)).await;
    assert_eq!(died.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(bench.keys("/line").await.len(), 1);
    for ms in [0, 9 * 60_000, 59_999] {
        bench.clock.pass(ms);
        for refused in [session.prune(Retention::new().last(1)).await, session.remove().await] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert!(error.to_string().contains("in 10 minutes"), "{error}");
        }
    }
    bench.clock.pass(1);
    session.prune(Retention::new().last(1)).await.unwrap();
}
