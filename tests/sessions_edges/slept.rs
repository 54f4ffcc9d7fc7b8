//! Processes that slept between a request and its answer, or whose machine stood still with all its clocks.

use futures_util::{FutureExt, TryStreamExt};
use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::{At, Retention},
};

use super::{Bench, hold, noise, sessions_support::TestClock};

/// The origin came at once, so no prune has given up what it needs, however late the caller hears of it. What
/// others have saved behind it stays.
#[tokio::test]
async fn a_fork_that_others_went_on_from_stays_when_its_first_call_wakes() {
    for others in ["saved", "forked", "nothing"] {
        let bench = Bench::new(60);
        let (main, states) = bench.saved("main", 40).await;
        let (fault, sessions) = bench.faulty();
        let slow = sessions.session("a", "main").unwrap();
        // The answer is lost, and the process sleeps before it looks.
        fault.inject_later(Operation::Put, 1, Injection::After(ErrorKind::Timeout));
        let awake = hold(&fault, Operation::Get, 4);
        let mut fork = Box::pin(slow.fork("fork", 2));
        assert!((&mut fork).now_or_never().is_none());
        assert_eq!(bench.keys("/fork/c/").await.len(), 1);
        let there = bench.session("fork");
        if others == "saved" {
            assert_eq!(there.save("theirs").await.unwrap().seq, 3);
        }
        bench.hours(13);
        if others == "forked" {
            // It puts the reference anew, which is then younger than the origin.
            bench.adapter.remove(&bench.keys("/main/f/").await[0]).await;
            main.fork("fork", 2).await.unwrap();
        }
        awake.notify_one();
        fork.await.unwrap();
        let newest = if others == "saved" { vec![3, 2, 1] } else { vec![2, 1] };
        let log: Vec<u64> = there.log().map_ok(|commit| commit.seq).try_collect().await.unwrap();
        assert_eq!(log, newest);
        assert!(there.verify().await.unwrap().is_good());
        bench.hours(40);
        main.save(noise(1, 900)).await.unwrap();
        main.prune(Retention::new().last(1)).await.unwrap();
        assert!(bench.session("fork").load(2).await.unwrap().state == states[1], "{others}");
    }
}

/// The origin came late, and what it needs is gone: who has saved behind it by then finds it there.
#[tokio::test]
async fn an_origin_that_came_late_stays_under_what_others_saved() {
    let bench = Bench::new(61);
    bench.saved("main", 3).await;
    let (fault, sessions) = bench.faulty();
    let slow = sessions.session("a", "main").unwrap();
    let put = hold(&fault, Operation::Put, 1);
    let mut fork = Box::pin(slow.fork("fork", 2));
    assert!((&mut fork).now_or_never().is_none());
    bench.hours(13);
    // The line, which is read behind the origin.
    let looked = hold(&fault, Operation::Get, 0);
    put.notify_one();
    assert!((&mut fork).now_or_never().is_none());
    assert_eq!(bench.session("fork").save("theirs").await.unwrap().seq, 3);
    looked.notify_one();
    assert_eq!(fork.await.map(drop).unwrap_err().kind(), ErrorKind::Conflict);
    let restored = bench.session("fork").load(At::Latest).await.unwrap();
    assert_eq!((restored.commit.seq, &*restored.state), (3, &b"theirs"[..]));
    assert!(bench.session("fork").verify().await.unwrap().is_good());
}

/// As a sandbox that is stopped and resumed: no clock of its own tells that anything has passed.
#[tokio::test]
async fn a_machine_that_stood_still_with_its_clocks_writes_no_commit_that_was_pruned() {
    for lost in [None, Some(Injection::After(ErrorKind::Timeout))] {
        let bench = Bench::new(62);
        let (_, states) = bench.saved("s", 2).await;
        let (fault, sessions) = bench.faulty();
        let stopped = TestClock::new(63);
        stopped.pass(bench.clock.ms() - stopped.ms());
        let writer = sessions.clock(stopped).session("a", "s").unwrap();
        assert!(writer.load(At::Latest).await.unwrap().state == states[1]);
        bench.hours(3);
        let rival = bench.session("s");
        rival.rebase().await.unwrap();
        for seed in 3..=6 {
            assert_eq!(rival.save(noise(seed, 900)).await.unwrap().seq, seed);
        }
        bench.hours(3);
        assert!(rival.prune(Retention::new().last(1)).await.unwrap().removed.contains(&3));
        let answer_is_lost = lost.is_some();
        if let Some(lost) = lost {
            fault.inject(Operation::Put, lost);
        }
        let error = writer.save("late").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{answer_is_lost}: {error}");
        assert_eq!(writer.rebase().await.unwrap().unwrap().commit.seq, 6);
        assert_eq!(writer.save("on").await.unwrap().seq, 7);
        assert!(bench.session("s").verify().await.unwrap().is_good());
    }
}

/// A clock that is always behind is none that stood still: whatever is saved by it is saved at once.
#[tokio::test]
async fn a_machine_whose_clock_is_far_behind_saves_bodies() {
    let bench = Bench::new(66);
    bench.saved("s", 2).await;
    let behind = TestClock::new(67);
    behind.pass(bench.clock.ms() - behind.ms());
    bench.hours(30);
    let sessions = bench.faulty().1.clock(behind).inline_limit(1000).stream_limit(6000);
    for (seq, bytes) in [(3, 5000), (4, 9000)] {
        let writer = sessions.session("a", "s").unwrap();
        writer.load(At::Latest).await.unwrap();
        let state = noise(seq, bytes);
        let saved = if seq == 3 {
            writer.save(state.clone()).await
        } else {
            writer.save_stream(std::io::Cursor::new(state.clone())).await
        };
        assert_eq!(saved.unwrap().seq, seq);
        assert_eq!(bench.keys("/s/b/").await.len() as u64, seq - 2);
        assert!(sessions.session("a", "s").unwrap().load(At::Latest).await.unwrap().state == state);
    }
}

/// The same between a state that is an object of its own and its commit.
#[tokio::test]
async fn a_machine_that_stood_still_behind_a_body_makes_no_commit_without_it() {
    let bench = Bench::new(64);
    bench.saved("s", 2).await;
    let (fault, sessions) = bench.faulty();
    let stopped = TestClock::new(65);
    stopped.pass(bench.clock.ms() - stopped.ms());
    let sessions = sessions.clock(stopped).inline_limit(1000).stream_limit(6000);
    let writer = sessions.session("a", "s").unwrap();
    writer.load(At::Latest).await.unwrap();
    let commit = hold(&fault, Operation::Put, 1);
    let mut save = Box::pin(writer.save(noise(64, 5000)));
    assert!((&mut save).now_or_never().is_none());
    let body = bench.keys("/s/b/").await;
    assert_eq!(body.len(), 1);
    bench.hours(25);
    bench.session("s").prune(Retention::new().last(10)).await.unwrap();
    assert_eq!(bench.keys("/s/b/").await.len(), 0, "garbage");
    commit.notify_one();
    assert_eq!(save.await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(bench.session("s").load(At::Latest).await.unwrap().commit.seq, 2);
}

/// It was hours ahead when the handle saved, and was set right. What it slept since is less than that, so its
/// own clocks tell of nothing; the storage's do.
#[tokio::test]
async fn a_clock_that_was_ahead_and_was_set_right_hides_no_sleep() {
    const HOUR: u64 = 3_600_000;
    let bench = Bench::new(267);
    bench.saved("s", 1).await;
    let ahead = TestClock::new(268);
    ahead.pass(bench.clock.ms() + 8 * HOUR - ahead.ms());
    let writer = bench.sessions.clone().clock(ahead.clone()).session("a", "s").unwrap();
    writer.rebase().await.unwrap();
    assert_eq!(writer.save("two").await.unwrap().seq, 2);
    ahead.back(8 * HOUR);
    let pass = |hours: u64| {
        bench.hours(hours);
        ahead.pass(hours * HOUR);
    };
    pass(3);
    let rival = bench.session("s");
    rival.rebase().await.unwrap();
    for seed in 3..=6 {
        assert_eq!(rival.save(noise(seed, 900)).await.unwrap().seq, seed);
    }
    pass(3);
    assert!(rival.prune(Retention::new().last(1)).await.unwrap().removed.contains(&3));
    assert_eq!(writer.save("late").await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(writer.rebase().await.unwrap().unwrap().commit.seq, 6);
    assert_eq!(writer.save("on").await.unwrap().seq, 7);
}

/// What is always so costs requests once: from its first save on, the handle knows by how much.
#[tokio::test]
async fn a_machine_whose_clock_is_far_behind_looks_once() {
    let bench = Bench::new(269);
    bench.saved("s", 2).await;
    bench.hours(5);
    let (fault, sessions) = bench.faulty();
    let behind = TestClock::new(270);
    behind.pass(bench.clock.ms() - 3 * 3_600_000 - behind.ms());
    let writer = sessions.clock(behind).session("a", "s").unwrap();
    writer.load(At::Latest).await.unwrap();
    let mut listings = Vec::new();
    for state in ["three", "four", "five"] {
        let before = fault.calls(Operation::List);
        writer.save(state).await.unwrap();
        listings.push(fault.calls(Operation::List) - before);
    }
    assert_eq!(listings, [1, 0, 0]);
}
