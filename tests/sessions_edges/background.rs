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

/// Nobody can say more than is known.
#[tokio::test]
async fn a_failure_in_the_background_does_not_say_more_than_is_known() {
    for (kind, text) in [
        (
            ErrorKind::Timeout,
            "it is not known whether the state of step 3 was saved, and 1 state behind it was not:",
        ),
        (ErrorKind::AccessDenied, "the state of step 3 was not saved, nor was 1 state behind it:"),
    ] {
        let bench = Bench::new(14);
        let (fault, sessions) = bench.faulty();
        let background = sessions.session("a", "s").unwrap().background(8);
        fault.inject(Operation::Put, Injection::Before(kind));
        for step in [3, 4] {
            background.save("state", CommitOptions::new().step(step)).await.unwrap();
        }
        let error = background.flush().await.unwrap_err();
        assert!(error.message().starts_with(text), "{error}");
    }
}
