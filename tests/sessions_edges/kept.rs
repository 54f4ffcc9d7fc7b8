//! What a prune keeps: the newest, the young, and what lost or damaged commits are made of, for their objects
//! may come back from copies.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use persist::{
    Body,
    layers::Operation,
    sessions::{At, Retention, Session},
};

use super::{Bench, hold, sessions_support::noise};

const HOUR: u64 = 3600;

fn within(seconds: u64) -> Retention {
    Retention::new().within(Duration::from_secs(seconds))
}

/// Commits whose states lie in bodies of their own, each a keyframe.
async fn with_bodies(bench: &Bench, commits: u64) -> Session {
    let session = bench.sessions.clone().inline_limit(500).session("a", "s").unwrap();
    for seed in 1..=commits {
        session.save(noise(seed, 20_000)).await.unwrap();
    }
    session
}

/// A rule of age alone keeps nothing of a session that rested.
#[tokio::test]
async fn the_newest_commit_stays_where_no_rule_keeps_it() {
    let bench = Bench::new(101);
    let session = bench.unrelated("s", 3).await;
    bench.hours(3);
    let pruned = session.prune(within(60)).await.unwrap();
    assert_eq!((pruned.kept, pruned.removed), (1, vec![2, 1]));
    assert!(bench.session("s").load(At::Latest).await.unwrap().state == noise(3, 600));
}

/// The storage's clock was set back.
#[tokio::test]
async fn a_commit_from_the_future_is_young() {
    let bench = Bench::new(102);
    let session = bench.unrelated("s", 3).await;
    bench.clock.back(3 * 3_600_000);
    let pruned = session.prune(Retention::new().last(1)).await.unwrap();
    assert!(pruned.removed.is_empty(), "{pruned:?}");
}

#[tokio::test]
async fn what_a_lost_commit_that_a_rule_keeps_is_made_of_stays() {
    let bench = Bench::new(103);
    let (session, states) = bench.saved("s", 4).await;
    bench.hours(3);
    assert!(session.save(noise(0, 60_000)).await.unwrap().keyframe);
    let lost = bench.lose("s", 4).await;
    bench.hours(2);
    session.prune(within(3 * HOUR)).await.unwrap();
    bench.set("s", 4, lost).await;
    assert!(bench.session("s").load(4).await.unwrap().state == states[3]);
}

/// A keyframe may lie inside a run of lost commits: what the first of them needs is not what the last needs.
#[tokio::test]
async fn what_both_ends_of_a_lost_run_are_made_of_stays() {
    for (at, length) in (2..17).flat_map(|at| [(at, 2), (at, 3)]) {
        let bench = Bench::new(104);
        let (session, states) = bench.saved("s", 20).await;
        // The newest needs none of them: else nothing is removed.
        assert!(session.save(noise(0, 60_000)).await.unwrap().keyframe);
        let mut lost = Vec::new();
        for seq in at..at + length {
            lost.push((seq, bench.lose("s", seq).await));
        }
        bench.hours(5);
        // The oldest that it keeps by itself is the one behind the run.
        let age = 5 * HOUR + (20 - (at + length)) * 60 + 30;
        let pruned = session.prune(within(age)).await.unwrap();
        for (seq, bytes) in lost.clone() {
            bench.set("s", seq, bytes).await;
        }
        for (seq, _) in lost {
            let loaded = bench.session("s").load(seq).await;
            let loaded = loaded.unwrap_or_else(|error| panic!("{at} {length} {seq} {pruned:?}: {error}"));
            assert!(loaded.state == states[seq as usize - 1], "{at} {length} {seq}");
        }
        assert!(session.verify().await.unwrap().is_good(), "{at} {length}");
    }
}

#[tokio::test]
async fn a_lost_run_that_a_rule_keeps_stays_on_the_line_from_end_to_end() {
    let bench = Bench::new(105);
    let session = bench.unrelated("s", 6).await;
    let lost = [(3, bench.lose("s", 3).await), (4, bench.lose("s", 4).await)];
    bench.hours(3);
    session.prune(Retention::new().last(3)).await.unwrap();
    for (seq, bytes) in lost {
        bench.set("s", seq, bytes).await;
        assert!(bench.session("s").load(seq).await.unwrap().state == noise(seq, 600));
    }
}

#[tokio::test]
async fn a_lost_commit_that_may_be_young_stays_on_the_line() {
    let bench = Bench::new(106);
    let session = bench.unrelated("s", 3).await;
    let lost = bench.lose("s", 2).await;
    bench.clock.pass(60_000);
    session.prune(Retention::new().last(1)).await.unwrap();
    bench.set("s", 2, lost).await;
    assert!(bench.session("s").load(2).await.unwrap().state == noise(2, 600));
}

/// Without it, a copy of the commit's object would not help.
#[tokio::test]
async fn the_body_of_a_lost_or_damaged_commit_stays() {
    for lost in [true, false] {
        let bench = Bench::new(107);
        let session = with_bodies(&bench, 3).await;
        let whole = if lost { bench.lose("s", 2).await } else { bench.damage("s", 2).await };
        bench.hours(30);
        session.prune(Retention::new().last(3)).await.unwrap();
        bench.set("s", 2, whole).await;
        assert!(bench.session("s").load(2).await.unwrap().state == noise(2, 20_000), "{lost}");
    }
}

/// A long stream whose body is stored and whose commit is about to come.
#[tokio::test]
async fn a_young_body_without_a_commit_stays() {
    let bench = Bench::new(108);
    let (fault, sessions) = bench.faulty();
    let session = sessions.stream_limit(1000).session("a", "s").unwrap();
    session.save("one").await.unwrap();
    let go_on = hold(&fault, Operation::Put, 1);
    let state = noise(0, 20_000);
    let chunks: Vec<_> = state.chunks(500).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    let saving = session.clone();
    let save = tokio::spawn(async move { saving.save_body(Body::from_stream(stream::iter(chunks))).await });
    // The first commit, the body, and the request that is held.
    while fault.calls(Operation::Put) < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.keys("/b/").await.len(), 1);
    bench.session("s").prune(Retention::new().last(1)).await.unwrap();
    go_on.notify_one();
    save.await.unwrap().unwrap();
    assert!(bench.session("s").load(At::Latest).await.unwrap().state == state);
}

/// No prune has seen its number: only the tag tells that a commit is missing there.
#[tokio::test]
async fn the_body_of_a_tagged_commit_that_was_the_newest_stays() {
    let bench = Bench::new(109);
    let session = with_bodies(&bench, 3).await;
    session.tag("release", 3).await.unwrap();
    let lost = bench.lose("s", 3).await;
    bench.hours(30);
    session.prune(Retention::new().last(1)).await.unwrap();
    bench.set("s", 3, lost).await;
    let loaded = bench.session("s").load(At::Tag("release".into())).await.unwrap();
    assert!(loaded.state == noise(3, 20_000));
}

/// Something else removes the commit while the prune looks.
#[tokio::test]
async fn the_body_of_a_commit_that_is_lost_beside_a_prune_stays() {
    let bench = Bench::new(110);
    with_bodies(&bench, 3).await;
    bench.hours(30);
    let (fault, sessions) = bench.faulty();
    // The session, its commits, forks and tags are listed before the bodies.
    let go_on = hold(&fault, Operation::List, 4);
    let session = sessions.session("a", "s").unwrap();
    let prune = tokio::spawn(async move { session.prune(Retention::new().last(3)).await });
    while fault.calls(Operation::List) < 5 {
        tokio::task::yield_now().await;
    }
    let lost = bench.lose("s", 2).await;
    go_on.notify_one();
    assert_eq!(prune.await.unwrap().unwrap().garbage, 0);
    bench.set("s", 2, lost).await;
    assert!(bench.session("s").load(2).await.unwrap().state == noise(2, 20_000));
}

/// What an import keeps the first number with is no commit to the rules.
#[tokio::test]
async fn the_start_of_an_imported_session_is_not_counted() {
    let bench = Bench::new(111);
    let session = bench.unrelated("s", 4).await;
    bench.hours(3);
    session.prune(Retention::new().last(2)).await.unwrap();
    let mut archive = Vec::new();
    session.export(&mut archive).await.unwrap();
    let copy = bench.session("copy");
    copy.import(&mut &*archive).await.unwrap();
    bench.hours(3);
    let pruned = copy.prune(Retention::new().last(3)).await.unwrap();
    assert_eq!((pruned.kept, pruned.kept_by.rules), (2, 2), "{pruned:?}");
}

/// The fork of the fork came when its session was about to end.
#[tokio::test]
async fn a_removed_fork_keeps_its_source_for_a_fork_that_came_meanwhile() {
    let bench = Bench::new(112);
    let (source, mut states) = bench.saved("s", 3).await;
    let fork = source.fork("fork", 3).await.unwrap();
    states.push([&states[2][..], b"more"].concat());
    assert!(!fork.save(states[3].clone()).await.unwrap().keyframe);
    bench.hours(30);
    let (fault, sessions) = bench.faulty();
    let go_on = hold(&fault, Operation::Put, 0);
    let removed = sessions.session("a", "fork").unwrap();
    let remove = tokio::spawn(async move { removed.remove().await });
    while fault.calls(Operation::Put) < 1 {
        tokio::task::yield_now().await;
    }
    let late = bench.session("fork").fork("late", 4).await.unwrap();
    go_on.notify_one();
    remove.await.unwrap().unwrap();
    source.save(noise(1, 60_000)).await.unwrap();
    bench.hours(30);
    bench.session("fork").prune(Retention::new().last(1)).await.unwrap();
    source.prune(Retention::new().last(1)).await.unwrap();
    assert!(late.load(At::Latest).await.unwrap().state == states[3]);
}
