use futures_util::FutureExt;
use persist::{
    DeleteOptions, StorageConfig,
    adapters::memory::MemoryAdapter,
    layers::{Fault, Injection, Operation},
};
use tokio::sync::Notify;

use super::*;

/// What was found of the others is worth no less.
#[tokio::test]
async fn a_session_that_cannot_be_read_is_that_one_alone() {
    let inner: Arc<dyn SnapshotAdapter> = Arc::new(MemoryAdapter::new());
    let sessions = Sessions::new(inner.clone()).unwrap();
    for agent in ["a", "b", "c"] {
        let session = sessions.session(agent, "s").unwrap();
        for state in ["1", "2", "3"] {
            session.save(state).await.unwrap();
        }
    }
    let lost = Key::new("sessions/b/s/c/999999999/997-2").unwrap();
    inner.delete(&lost, DeleteOptions::new()).await.unwrap();
    let fault = Fault::new(inner);
    let store: Arc<dyn SnapshotAdapter> = Arc::new(fault.clone());
    let output = Output::new(true);
    for kind in
        [ErrorKind::AccessDenied, ErrorKind::Unauthenticated, ErrorKind::Unavailable, ErrorKind::Timeout]
    {
        fault.inject(Operation::Get, Injection::Before(kind));
        let mut all = Sum::default();
        all_sessions(&store, "", &mut all, &output).await.unwrap();
        assert_eq!((all.whole, all.damaged, all.unknown, all.unlisted), (1, 1, 1, 0), "{kind:?}");
        assert_eq!((all.why, all.worst()), (Some(kind), Some(ErrorKind::Corrupt)));
        fault.inject(Operation::List, Injection::Before(kind));
        let mut all = Sum::default();
        all_sessions(&store, "", &mut all, &output).await.unwrap();
        assert_eq!((all.all(), all.unlisted, all.worst()), (0, 1, Some(kind)));
    }
}

/// Where every request has a long way, one after the other takes a night.
#[tokio::test]
async fn one_that_is_slow_does_not_hold_up_the_next() {
    let fault = Fault::new(Arc::new(MemoryAdapter::new()));
    let store: Arc<dyn SnapshotAdapter> = Arc::new(fault.clone());
    let sessions = Sessions::new(store.clone()).unwrap();
    for name in ["a", "b", "c"] {
        store.save("state", name).await.unwrap();
        sessions.session("a", name).unwrap().save("1").await.unwrap();
    }
    let place = Place::of(&StorageConfig::from_url("memory://").unwrap(), "").unwrap();
    let output = Output::new(true);
    for of_sessions in [false, true] {
        let go_on = Arc::new(Notify::new());
        fault.inject(Operation::Get, Injection::Hold(go_on.clone()));
        fault.reset_calls();
        let mut sum = Sum::default();
        let verified = async {
            if of_sessions {
                all_sessions(&store, "", &mut sum, &output).await.unwrap();
            } else {
                sum = all_snapshots(&store, &place, &output).await.unwrap().snapshots;
            }
        };
        let mut verified = Box::pin(verified);
        assert!((&mut verified).now_or_never().is_none());
        // Two for each session.
        let begun = fault.calls(Operation::Get);
        assert!(begun >= if of_sessions { 6 } else { 3 }, "{begun}");
        go_on.notify_one();
        verified.await;
        assert_eq!((sum.whole, sum.all()), (3, 3));
    }
}
