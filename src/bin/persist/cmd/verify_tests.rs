use persist::{
    DeleteOptions,
    adapters::memory::MemoryAdapter,
    layers::{Fault, Injection, Operation},
};

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
