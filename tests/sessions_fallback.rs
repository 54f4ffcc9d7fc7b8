//! Reading in trouble: damage with nothing good before it, streams and prunes; and what a read makes of the
//! handle.
#![allow(clippy::unwrap_used)]

mod sessions_support;

use std::{io::Cursor, sync::Arc};

use futures_util::FutureExt;
use persist::{
    ErrorKind,
    layers::{Fault, Injection, Operation},
    sessions::*,
};
use sessions_support::*;
use tokio::sync::Notify;

/// Whatever tells a handle that its head is damaged: it writes no delta from it.
#[tokio::test]
async fn a_handle_that_heard_of_damage_goes_on_with_a_whole_state() {
    let states = growing(7, 7);
    for way in ["load_with_fallback", "load", "rebase", "load_stream", "lost", "verify"] {
        let adapter = Counting::memory();
        let (fault, sessions) = faulty(&adapter);
        let session = sessions.session("a", "s").unwrap();
        for state in &states[..5] {
            session.save(state.clone()).await.unwrap();
        }
        let damaged = adapter.key("-5").await;
        if way == "lost" {
            fault.inject(Operation::Put, Injection::After(ErrorKind::Timeout));
            fault.inject(Operation::Get, Injection::Before(ErrorKind::Timeout));
            session.save(states[5].clone()).await.unwrap_err();
        }
        adapter.flip(&damaged, 20).await;
        match way {
            "load" => drop(session.load(At::Latest).await.unwrap_err()),
            "load_stream" => drop(session.load_stream(At::Latest).await.unwrap_err()),
            "verify" => assert!(!session.verify().await.unwrap().is_good()),
            "rebase" => drop(session.rebase().await.unwrap_err()),
            _ => {
                let good = session.load_with_fallback(At::Latest).await.unwrap();
                assert_eq!((good.commit.seq, &good.state[..]), (4, &states[3][..]));
            }
        }
        let next = session.save(states[6].clone()).await.unwrap();
        assert_eq!((next.seq, next.keyframe), (if way == "lost" { 7 } else { 6 }, true), "{way}");
        let fresh = sessions.session("a", "s").unwrap();
        assert!(fresh.load(At::Latest).await.unwrap().state == states[6], "{way}");
        assert!(!session.save(states[5].clone()).await.unwrap().keyframe, "{way}: deltas again");
    }
}

/// A handle that lost to a rival does not go on by accident, but it can where the rival's commit is damaged.
#[tokio::test]
async fn a_stale_handle_falls_back_after_a_rebase_that_met_damage() {
    let adapter = Counting::memory();
    let (_, sessions) = faulty(&adapter);
    let (session, rival) = (sessions.session("a", "s").unwrap(), sessions.session("a", "s").unwrap());
    let states = growing(9, 5);
    session.save(states[0].clone()).await.unwrap();
    for state in &states[1..3] {
        rival.save(state.clone()).await.unwrap();
    }
    adapter.flip(&adapter.key("-3").await, 20).await;
    assert_eq!(session.load_with_fallback(At::Latest).await.unwrap().commit.seq, 2);
    for _ in 0..2 {
        assert_eq!(session.save("mine").await.unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(session.load_with_fallback(At::Latest).await.unwrap().commit.seq, 2);
    }
    assert_eq!(session.rebase().await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(session.save("mine").await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(session.load_with_fallback(At::Latest).await.unwrap().commit.seq, 2);
    let next = session.save(states[3].clone()).await.unwrap();
    assert_eq!((next.seq, next.keyframe, next.parent), (4, true, None));
    assert_eq!(rival.save("late").await.unwrap_err().kind(), ErrorKind::Conflict);
}

/// A fallback that finds the newest whole after all gives that one.
#[tokio::test]
async fn a_fallback_passes_over_nothing_that_is_good() {
    let adapter = Counting::memory();
    let (fault, sessions) = faulty(&adapter);
    let session = sessions.session("a", "s").unwrap();
    session.save("one").await.unwrap();
    session.save("two").await.unwrap();
    let fresh = sessions.session("a", "s").unwrap();
    fault.inject(Operation::Get, Injection::Flip(5));
    let good = fresh.load_with_fallback(At::Latest).await.unwrap();
    assert_eq!((good.commit.seq, good.skipped.len()), (2, 0), "{good:?}");
}

/// As with a load: who has seen a commit and finds a newer one is in conflict.
#[tokio::test]
async fn a_stream_that_was_opened_is_what_saves_continue() {
    let sessions = sessions(&Counting::memory(), &TestClock::new(44)).inline_limit(1000).stream_limit(6000);
    let open = |name: &str| sessions.session("a", name).unwrap();
    let writer = open("s");
    for (state, at) in [
        (noise(1, 9000), At::Latest),
        (noise(2, 3000), At::Latest),
        (b"short".to_vec(), At::Latest),
        (noise(3, 9000), At::Seq(7)),
    ] {
        let seq = writer.save_stream(Cursor::new(state.clone())).await.unwrap().seq;
        let reader = open("s");
        let (commit, body) = reader.load_stream(at.clone()).await.unwrap();
        assert!(commit.seq == seq && body.collect(u64::MAX).await.unwrap() == state, "{at}");
        assert_eq!(reader.seen().await, Some(seq));
        writer.save("theirs").await.unwrap();
        assert_eq!(reader.save("mine").await.unwrap_err().kind(), ErrorKind::Conflict, "{at}");
    }
    // The same behind the start of a fork.
    let seq = writer.save_stream(Cursor::new(noise(4, 9000))).await.unwrap().seq;
    writer.fork("f", At::Latest).await.unwrap();
    let (one, two) = (open("f"), open("f"));
    for handle in [&one, &two] {
        assert_eq!(handle.load_stream(At::Latest).await.unwrap().0.seq, seq);
    }
    assert_eq!(one.save("one").await.unwrap().seq, seq + 1);
    assert_eq!(two.save("two").await.unwrap_err().kind(), ErrorKind::Conflict);
}

/// Also where nothing is left to fall back to: what comes next begins anew, behind the damage.
#[tokio::test]
async fn a_session_without_a_good_commit_can_be_continued() {
    let adapter = Counting::memory();
    let (_, sessions) = faulty(&adapter);
    let open = |name: &str| sessions.session("a", name).unwrap();
    open("s").save("one").await.unwrap();
    let first = adapter.key("-1").await;
    let whole = adapter.raw(&first).await;
    for at in 0..whole.len() {
        adapter.flip(&first, at).await;
        let session = open("s");
        assert_eq!(session.save("blind").await.unwrap_err().kind(), ErrorKind::Corrupt, "byte {at}");
        assert_eq!(
            session.load_with_fallback(At::Latest).await.unwrap_err().kind(),
            ErrorKind::Corrupt,
            "byte {at}"
        );
        let next = session.save("anew").await.unwrap_or_else(|error| panic!("byte {at}: {error}"));
        assert_eq!((next.seq, next.parent, next.keyframe), (2, None, true));
        assert_eq!(open("s").load(At::Latest).await.unwrap().state, "anew");
        adapter.remove(&adapter.key("-2").await).await;
        adapter.set(&first, whole.clone()).await;
    }
    // Of these bytes nobody can say whether they were a commit, or the start of a fork with numbers of its
    // own.
    adapter.set(&first, b"damage".to_vec()).await;
    let session = open("s");
    assert_eq!(session.load_with_fallback(At::Latest).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(session.save("anew").await.unwrap_err().kind(), ErrorKind::Corrupt);
}

/// A fork has its own numbers, also where what it starts from is damaged or missing.
#[tokio::test]
async fn a_fork_whose_start_is_damaged_can_be_continued() {
    for missing in [false, true] {
        let adapter = Counting::memory();
        let (_, sessions) = faulty(&adapter);
        let open = |name: &str| sessions.session("a", name).unwrap();
        let main = open("main");
        for n in 0..3 {
            main.save(noise(n, 3000)).await.unwrap();
        }
        main.fork("f", 2).await.unwrap();
        for seq in 1..=2 {
            let damaged = adapter.key(&format!("/main/c/999999999/99{}-{seq}", 9 - seq)).await;
            if missing { adapter.remove(&damaged).await } else { adapter.flip(&damaged, 2000).await }
        }
        let fork = open("f");
        assert_eq!(fork.save("blind").await.unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(fork.load_with_fallback(At::Latest).await.unwrap_err().kind(), ErrorKind::Corrupt);
        let next = fork.save("anew").await.unwrap();
        assert_eq!((next.seq, next.parent, next.keyframe), (3, None, true));
        assert_eq!(open("f").load(At::Latest).await.unwrap().state, "anew");
    }
}

/// Bytes that something else than a prune removed are damage, for streams as well.
#[tokio::test]
async fn a_stream_whose_body_is_missing_is_damage() {
    let adapter = Counting::memory();
    let sessions = sessions(&adapter, &TestClock::new(45)).inline_limit(1000).stream_limit(6000);
    let session = sessions.session("a", "s").unwrap();
    session.save_stream(Cursor::new(noise(1, 9000))).await.unwrap();
    let body = adapter.key("/b/").await;
    adapter.remove(&body).await;
    for at in [At::Latest, At::Seq(1)] {
        let error = session.load_stream(at).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&body)), "{error}");
    }
}

/// A prune that was faster than the reading is no reason to fail, where the newest is asked for.
#[tokio::test]
async fn a_stream_that_was_pruned_while_it_was_opened_is_that_of_the_newest() {
    let (adapter, clock) = (Counting::memory(), TestClock::new(46));
    let aged = Aged { inner: adapter.clone(), clock: clock.clone() };
    let fault = Fault::new(Arc::new(aged));
    let sessions = Sessions::new(Arc::new(fault.clone()))
        .unwrap()
        .clock(clock.clone())
        .inline_limit(1000)
        .stream_limit(6000);
    let open = || sessions.session("a", "s").unwrap();
    for at in [At::Latest, At::Seq(3)] {
        let session = open();
        let seq = session.save_stream(Cursor::new(noise(1, 9000))).await.unwrap().seq;
        let go_on = Arc::new(Notify::new());
        let reader = open();
        // The commit, and for a number the line.
        fault.inject_later(
            Operation::Get,
            if at == At::Latest { 1 } else { 2 },
            Injection::Hold(go_on.clone()),
        );
        let mut opening = reader.load_stream(at.clone()).boxed();
        assert!((&mut opening).now_or_never().is_none());
        session.save("newer").await.unwrap();
        clock.pass(30 * 3_600_000);
        assert!(session.prune(Retention::new().last(1)).await.unwrap().removed.contains(&seq));
        go_on.notify_one();
        match opening.await {
            Ok((commit, body)) => {
                assert_eq!((commit.seq, at), (seq + 1, At::Latest));
                assert_eq!(body.collect(u64::MAX).await.unwrap(), "newer");
            }
            Err(error) => assert_eq!((error.kind(), at), (ErrorKind::NotFound, At::Seq(seq)), "{error}"),
        }
    }
}

/// Reading about two commits makes neither of them the one that saves continue, and nothing is read twice.
#[tokio::test]
async fn a_diff_is_no_load_and_a_stream_is_found_once() {
    let adapter = Counting::memory();
    let sessions = sessions(&adapter, &TestClock::new(48));
    let open = || sessions.session("a", "s").unwrap();
    let writer = open();
    writer.save(r#"{"n":1}"#).await.unwrap();
    writer.save(r#"{"n":2}"#).await.unwrap();
    let reader = open();
    assert_eq!(reader.diff(1, At::Latest).await.unwrap().len(), 1);
    assert_eq!(reader.seen().await, None);
    writer.save(r#"{"n":3}"#).await.unwrap();
    assert_eq!(reader.save(r#"{"n":4}"#).await.unwrap().seq, 4);
    let long = open().save(noise(1, 5000)).await.unwrap();
    assert!(long.keyframe);
    for (at, list, get) in [(At::Latest, 1, 1), (At::Seq(5), 0, 2)] {
        let before = adapter.counts();
        let _ = open().load_stream(at).await.unwrap();
        let cost = adapter.counts() - before;
        assert_eq!((cost.list, cost.get), (list, get));
    }
}

/// One wrong answer, as of bad memory or a proxy, hides neither a good commit nor all that hang on the same
/// keyframe.
#[tokio::test]
async fn a_wrong_read_passes_over_no_good_commit() {
    let adapter = Counting::memory();
    let (fault, sessions) = faulty(&adapter);
    let open = || sessions.session("a", "s").unwrap();
    let (session, states) = (open(), growing(5, 30));
    for state in &states {
        session.save(state.clone()).await.unwrap();
    }
    adapter.flip(&adapter.key("-30").await, 20).await;
    for wrong in 0.. {
        fault.heal();
        fault.reset_calls();
        fault.inject_later(Operation::Get, wrong, Injection::Flip(20));
        let good = open().load_with_fallback(At::Latest).await;
        let good = good.unwrap_or_else(|error| panic!("read {wrong}: {error}"));
        assert!(good.commit.seq == 29 && good.state == states[28], "read {wrong}: {:?}", good.skipped);
        if fault.calls(Operation::Get) <= wrong {
            assert!(wrong > 10, "{wrong}");
            break;
        }
        // Nor does an outage while it is looked at again: an error, or the same state.
        fault.heal();
        fault.inject_later(Operation::Get, wrong, Injection::Flip(20));
        fault.inject(Operation::Get, Injection::Before(ErrorKind::Unavailable));
        if let Ok(good) = open().load_with_fallback(At::Latest).await {
            assert_eq!(good.commit.seq, 29, "read {wrong}");
        }
    }
}
