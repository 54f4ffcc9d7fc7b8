//! Work on all sessions of a storage.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use persist::{ErrorKind, sessions::*};
use tokio::sync::Notify;

use super::{
    Bench, commit_key,
    sessions_support::{growing, noise},
};

/// One that fails is a row, and the others are done.
#[tokio::test]
async fn all_sessions_are_pruned_and_verified_whatever_one_fails_with() {
    let bench = Bench::new(94);
    let names: Vec<String> = (10..30).map(|n| format!("s{n}")).collect();
    for name in &names {
        for seed in 0..3 {
            bench.session(name).save(noise(seed, 300)).await.unwrap();
        }
    }
    bench.session("s12").tag("kept", 1).await.unwrap();
    let tag = bench.adapter.key("/t/").await;
    bench.adapter.flip(&tag, 8).await;
    bench.hours(5);
    let rows: Vec<_> =
        bench.sessions.prune_all(Retention::new().last(1), Some("a")).try_collect().await.unwrap();
    let listed: Vec<_> = rows.iter().map(|(name, _)| name.session.clone()).collect();
    assert_eq!(listed, names);
    for (name, pruned) in rows {
        match pruned {
            Ok(pruned) => assert_eq!(pruned.removed, [2, 1]),
            Err(error) => assert_eq!((name.session.as_str(), error.kind()), ("s12", ErrorKind::Corrupt)),
        }
    }
    let rows: Vec<_> = bench.sessions.verify_all(None).try_collect().await.unwrap();
    assert_eq!(rows.len(), names.len());
    for (name, verified) in rows {
        assert_eq!(verified.unwrap().is_good(), name.session != "s12");
    }
    assert!(bench.sessions.prune_all(Retention::new(), Some("nobody")).try_next().await.unwrap().is_none());
}

/// By its name, whose states are all read.
async fn verified(bench: &Bench, agent: Option<&str>) -> Vec<(String, Verified)> {
    let rows: Vec<_> = bench.sessions.verify_all(agent).try_collect().await.unwrap();
    rows.into_iter().map(|(name, verified)| (name.session, verified.unwrap())).collect()
}

fn good(rows: &[(String, Verified)]) -> Vec<(&str, u64)> {
    rows.iter()
        .inspect(|(name, verified)| assert!(verified.is_good(), "{name} {verified:?}"))
        .map(|(name, verified)| (name.as_str(), verified.good))
        .collect()
}

/// Else a run of 5,000 steps of which somebody made 200 forks is read 200 times, each night.
#[tokio::test]
async fn what_was_forked_is_verified_once_and_not_with_each_fork() {
    let mut took = Vec::new();
    for commits in [20, 60] {
        let bench = Bench::new(95);
        let session = bench.unrelated("s", commits).await;
        for name in ["f1", "f2", "f3", "f4"] {
            session.fork(name, commits).await.unwrap();
        }
        let fork = session.fork("f5", 10).await.unwrap();
        fork.save("its own").await.unwrap();
        fork.fork("f6", At::Latest).await.unwrap().save("of a fork").await.unwrap();
        let before = bench.adapter.counts();
        let rows = verified(&bench, None).await;
        took.push((bench.adapter.counts() - before).get);
        let forks = [("f1", 1), ("f2", 1), ("f3", 1), ("f4", 1), ("f5", 2), ("f6", 2)];
        assert_eq!(good(&rows), [&forks[..], &[("s", commits)]].concat());
        // One that is asked for alone is looked at as far as it reaches.
        assert_eq!(bench.session("f6").verify().await.unwrap().good, 12);
    }
    assert_eq!(took[1] - took[0], 40, "{took:?}");
}

/// What is damaged stands with its own session, and with each fork that starts from it or is made of it.
#[tokio::test]
async fn damage_before_a_forks_start_stands_with_the_source() {
    let bench = Bench::new(96);
    let session = bench.session("s");
    for seq in 1..=6 {
        session.save(noise(seq, 300)).await.unwrap();
    }
    session.fork("f", 5).await.unwrap().save("its own").await.unwrap();
    session.fork("g", 3).await.unwrap();
    bench.damage("s", 3).await;
    let told: Vec<_> = verified(&bench, None)
        .await
        .into_iter()
        .map(|(name, verified)| (name, verified.damaged.into_iter().map(|damaged| damaged.seq).collect()))
        .collect();
    let of = |name: &str, damaged: &[u64]| -> (String, Vec<_>) {
        (name.to_owned(), damaged.iter().map(|seq| Some(*seq)).collect())
    };
    assert_eq!(told, [of("f", &[]), of("g", &[3]), of("s", &[3])]);
    assert_eq!(bench.session("f").verify().await.unwrap().damaged.len(), 1);
    // One whose start is gone is damaged as well.
    bench.lose("s", 3).await;
    let told = verified(&bench, None).await;
    assert!(told[0].1.is_good() && !told[1].1.is_good() && !told[2].1.is_good(), "{told:?}");
}

/// The source of another agent is not verified in that run.
#[tokio::test]
async fn a_fork_of_another_agents_session_is_verified_whole() {
    let bench = Bench::new(97);
    let (session, _) = bench.saved("s", 6).await;
    let fork = bench.sessions.session("b", "f").unwrap();
    session.fork_to(&fork, 6).await.unwrap();
    fork.fork("g", At::Latest).await.unwrap().save("its own").await.unwrap();
    assert_eq!(good(&verified(&bench, Some("b")).await), [("f", 6), ("g", 7)]);
    assert_eq!(good(&verified(&bench, None).await), [("s", 6), ("f", 1), ("g", 2)]);
}

/// A commit of another line under a fork's number is told, and a fork that went on behind a damaged start, as
/// a load with fallback makes it do, is well.
#[tokio::test]
async fn what_a_fork_goes_on_from_is_looked_for_in_all_of_its_line() {
    let bench = Bench::new(98);
    let session = bench.session("s");
    for state in growing(98, 6) {
        session.save(state).await.unwrap();
    }
    session.fork("f", 6).await.unwrap();
    let whole = bench.damage("s", 6).await;
    let fork = bench.session("f");
    assert_eq!(fork.load_with_fallback(At::Latest).await.unwrap().commit.seq, 5);
    fork.save("on top of the fifth").await.unwrap();
    bench.set("s", 6, whole).await;
    assert_eq!(good(&verified(&bench, None).await), [("f", 2), ("s", 6)]);
    for seq in 7..=8 {
        session.save(noise(seq, 900)).await.unwrap();
        fork.save(noise(100 + seq, 900)).await.unwrap();
    }
    let other = bench.adapter.raw(&commit_key("s", 8)).await;
    bench.set("f", 8, other).await;
    let told = verified(&bench, None).await;
    let damaged = &told[0].1.damaged;
    assert!(damaged.iter().any(|it| it.seq == Some(8) && it.reason.contains("not on this line")), "{told:?}");
    assert!(told[1].1.is_good());
}

/// Else a prune that announced itself waits, half done, while the caller works on the first one.
#[tokio::test]
async fn behind_a_session_no_other_is_left_under_way() {
    let bench = Bench::new(275);
    for name in 10..30 {
        bench.session(&format!("s{name}")).save("state").await.unwrap();
    }
    let (last, begun) = (Notify::new(), AtomicUsize::new(0));
    let mut worked = bench.sessions.each(None, |name, _| {
        let held = name.session == "s17";
        let (last, begun) = (&last, &begun);
        async move {
            begun.fetch_add(1, Ordering::SeqCst);
            if held {
                last.notified().await;
            }
            Ok(())
        }
        .boxed()
    });
    assert!(worked.next().now_or_never().is_none(), "the eighth is still under way");
    last.notify_one();
    for name in 10..18 {
        assert_eq!(worked.next().await.unwrap().unwrap().0.session, format!("s{name}"));
        assert_eq!(begun.load(Ordering::SeqCst), 8, "no further one is begun");
    }
    assert_eq!(worked.count().await, 12);
}
