//! States that are saved in the background.

#[path = "../support/events.rs"]
mod events;

use std::{pin::pin, sync::Arc};

use futures_util::FutureExt;
use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::{At, CommitOptions},
};
use tokio::sync::Notify;

use super::{Bench, noise};

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

/// A runtime that is faster than its storage waits, and does not fill the memory.
#[tokio::test]
async fn a_full_queue_takes_no_more_until_a_state_is_on_its_way() {
    let bench = Bench::new(41);
    let (fault, sessions) = bench.faulty();
    let session = sessions.session("a", "s").unwrap();
    let background = session.background(2);
    let go_on = Arc::new(Notify::new());
    fault.inject(Operation::Put, Injection::Hold(go_on.clone()));
    background.save("one", CommitOptions::new()).await.unwrap();
    while fault.calls(Operation::Put) < 1 {
        tokio::task::yield_now().await;
    }
    for state in ["two", "three"] {
        background.save(state, CommitOptions::new()).await.unwrap();
    }
    let mut fourth = pin!(background.save("four", CommitOptions::new()));
    assert!(fourth.as_mut().now_or_never().is_none());
    go_on.notify_one();
    fourth.await.unwrap();
    assert_eq!(background.flush().await.unwrap().unwrap().seq, 4);
    assert_eq!(session.load(At::Latest).await.unwrap().state, "four");
}

#[tokio::test]
async fn values_and_json_are_queued_and_a_failure_can_be_asked_for() {
    let bench = Bench::new(42);
    let (fault, sessions) = bench.faulty();
    let background = sessions.session("a", "s").unwrap().background(8);
    background.save_json(&[1, 2], CommitOptions::new().step(1)).await.unwrap();
    background.save_values(&[("a", "1".into()), ("b", "2".into())], CommitOptions::new()).await.unwrap();
    let twice = background.save_values(&[("a", "1".into()), ("a", "2".into())], CommitOptions::new()).await;
    assert_eq!(twice.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(background.flush().await.unwrap().unwrap().values.len(), 2);
    let reader = bench.session("s");
    assert_eq!(reader.load(1).await.unwrap().json::<Vec<u8>>().unwrap(), [1, 2]);
    assert_eq!(reader.load(2).await.unwrap().value_json::<u8>("b").unwrap(), Some(2));
    assert!(background.failure().is_none());
    fault.inject(Operation::Put, Injection::Before(ErrorKind::AccessDenied));
    background.save("three", CommitOptions::new().step(3)).await.unwrap();
    while background.failure().is_none() {
        tokio::task::yield_now().await;
    }
    // To ask for it does not tell of it.
    for _ in 0..2 {
        let failure = background.failure().unwrap();
        assert_eq!(failure.kind(), ErrorKind::AccessDenied);
        assert!(failure.to_string().contains("the state of step 3 of a/s was not saved"), "{failure}");
    }
    assert_eq!(
        background.save("four", CommitOptions::new()).await.unwrap_err().kind(),
        ErrorKind::AccessDenied
    );
    background.save("four", CommitOptions::new()).await.unwrap();
    assert_eq!(background.flush().await.unwrap().unwrap().seq, 3);
    assert!(background.failure().is_none());
}

/// What nobody can hear of any more is logged: a failure behind the last call, states that end with the
/// runtime.
#[test]
fn states_that_are_lost_unheard_are_logged() {
    let log = events::Buffer::default();
    let has = |text: &str| log.0.lock().unwrap().contains(text);
    tracing::subscriber::with_default(log.clone(), || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new(43);
            let (fault, sessions) = bench.faulty();
            let session = sessions.session("a", "s").unwrap();
            let background = session.background(8);
            background.save("one", CommitOptions::new()).await.unwrap();
            background.flush().await.unwrap();
            // The one behind it ends before the other begins.
            drop(background);
            let background = session.background(8);
            fault.inject(Operation::Put, Injection::Before(ErrorKind::AccessDenied));
            background.save("two", CommitOptions::new()).await.unwrap();
            drop(background);
            while !has("ended before all states were saved") {
                tokio::task::yield_now().await;
            }
            assert!(has("states=1") && has("kind=AccessDenied"), "{}", log.0.lock().unwrap());
            let background = session.background(8);
            let puts = fault.calls(Operation::Put);
            fault.inject(Operation::Put, Injection::Hold(Arc::new(Notify::new())));
            for state in ["two", "three", "four"] {
                background.save(state, CommitOptions::new()).await.unwrap();
            }
            while fault.calls(Operation::Put) == puts {
                tokio::task::yield_now().await;
            }
        });
    });
    let log = log.0.lock().unwrap();
    assert_eq!(log.matches("ended before all states were saved").count(), 2, "{log}");
    assert!(log.contains("states=3"), "{log}");
}

/// A commit stays below what clouds take in one request, whatever is configured.
#[tokio::test]
async fn a_commits_object_stays_short() {
    let bench = Bench::new(264);
    let session = bench.sessions.clone().inline_limit(u64::MAX).session("a", "s").unwrap();
    let notes = |bytes: usize| CommitOptions::new().label("x".repeat(bytes - 8)).metadata("name", "text");
    for (save, taken) in [(64 << 10, true), ((64 << 10) + 1, false)] {
        let saved = session.save_with("state", notes(save)).await.map_err(|error| error.kind());
        assert_eq!(saved.map(drop), if taken { Ok(()) } else { Err(ErrorKind::InvalidInput) });
    }
    let background = session.background(1);
    background.save("state", notes(65 << 10)).await.unwrap();
    let refused = background.flush().await.unwrap_err();
    assert!(refused.to_string().contains("label and metadata have 66560 bytes"), "{refused}");
    assert!(bench.keys("/b/").await.is_empty());
    assert_eq!(session.save(noise(1, 9 << 20)).await.unwrap().seq, 2);
    assert_eq!(bench.keys("/b/").await.len(), 1);
}
