//! Exports: of damage, beside a prune, and of forks.

use std::sync::Arc;

use futures_util::FutureExt;
use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::*,
};
use tokio::sync::Notify;

use super::{Bench, commit_key, sessions_support::noise};

/// Three commits whose bodies are objects of their own.
async fn with_bodies() -> Bench {
    let bench = Bench::new(95);
    let session = bench.sessions.clone().inline_limit(500).session("a", "s").unwrap();
    for n in 0..3 {
        bench.clock.pass(60_000);
        session.save(noise(n, 900)).await.unwrap();
    }
    bench.hours(5);
    bench
}

/// A conflict would be tried again for ever.
#[tokio::test]
async fn a_body_that_was_lost_is_damage_and_no_conflict() {
    let bench = with_bodies().await;
    let key = bench.adapter.key("/b/").await;
    bench.adapter.remove(&key).await;
    let error = bench.session("s").export(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(error.key(), Some(&key));
}

/// What a read does not find, and a listing has, is an outage.
#[tokio::test]
async fn an_object_that_is_hidden_is_no_conflict() {
    for hidden in 0.. {
        let bench = with_bodies().await;
        let (fault, sessions) = bench.faulty();
        fault.inject_later(Operation::Get, hidden, Injection::Before(ErrorKind::NotFound));
        let exported = sessions.session("a", "s").unwrap().export(&mut Vec::new()).await;
        if fault.calls(Operation::Get) <= hidden {
            assert!(exported.is_ok() && hidden > 6);
            break;
        }
        let kinds = [None, Some(ErrorKind::Unavailable)];
        assert!(kinds.contains(&exported.as_ref().err().map(|error| error.kind())), "{hidden}: {exported:?}");
    }
}

#[tokio::test]
async fn what_a_prune_removes_meanwhile_is_a_conflict() {
    // Each read of an object or a body.
    let mut conflicts = 0;
    for held in 0.. {
        let bench = with_bodies().await;
        let (fault, sessions) = bench.faulty();
        let go_on = Arc::new(Notify::new());
        fault.inject_later(Operation::Get, held, Injection::Hold(go_on.clone()));
        let (session, mut out) = (sessions.session("a", "s").unwrap(), Vec::new());
        let mut export = Box::pin(session.export(&mut out));
        if (&mut export).now_or_never().is_some() {
            break;
        }
        assert_eq!(bench.session("s").prune(Retention::new().last(1)).await.unwrap().removed, [2, 1]);
        go_on.notify_one();
        if let Err(error) = export.await {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{held}: {error}");
            conflicts += 1;
        }
    }
    assert!(conflicts > 3, "{conflicts}");
}

/// What needs nothing of where the fork comes from goes into the archive as it is.
#[tokio::test]
async fn a_fork_is_packed_anew_only_in_front_of_its_first_keyframe() {
    let bench = Bench::new(96);
    let (session, mut states) = bench.saved("s", 3).await;
    session.fork("fork", 3).await.unwrap();
    // Its keyframe's body is an object of its own, which packing anew would not make of it.
    let fork = bench.sessions.clone().inline_limit(500).session("a", "fork").unwrap();
    let (delta, keyframe) = ([&states[2][..], b"more"].concat(), noise(96, 900));
    states.extend([delta, keyframe.clone()]);
    states.extend((1..4).map(|n| [&keyframe[..], &[n; 9]].concat()));
    fork.load(At::Latest).await.unwrap();
    let mut keyframes = Vec::new();
    for state in &states[3..] {
        keyframes.push(fork.save(state.clone()).await.unwrap().keyframe);
    }
    assert_eq!(keyframes, [false, true, false, false, false]);
    let mut archive = Vec::new();
    bench.session("fork").export(&mut archive).await.unwrap();
    bench.session("copy").import(&archive[..]).await.unwrap();
    let copy = bench.session("copy");
    assert!(copy.verify().await.unwrap().is_good());
    for (seq, state) in (4..).zip(&states[3..]) {
        assert!(copy.load(seq).await.unwrap().state == *state, "{seq}");
        let of = async |name| bench.adapter.raw(&commit_key(name, seq)).await;
        assert_eq!(of("fork").await == of("copy").await, seq >= 5, "{seq}");
    }
}
