//! Objects that are there, and that a read does not find: a proxy or a storage that restarts answered "not
//! found".

use std::sync::Arc;

use futures_util::{FutureExt, TryStreamExt};
use persist::{
    ErrorKind,
    layers::{Fault, Injection, Operation},
    sessions::{At, Retention, Session},
};
use tokio::sync::Notify;

use super::{
    Bench,
    sessions_support::{growing, noise},
};

/// From the `n`th read on, so many do not find what is there.
fn hide(fault: &Fault, operation: Operation, n: usize, reads: usize) {
    fault.inject_later(operation, n, Injection::Before(ErrorKind::NotFound));
    for _ in 1..reads {
        fault.inject(operation, Injection::Before(ErrorKind::NotFound));
    }
}

/// Does this with each read of it hidden in turn, and with some of those behind it. `check` is told whether
/// it was done.
async fn each_read(
    make: impl AsyncFn() -> Bench,
    work: impl AsyncFn(&persist::sessions::Sessions) -> persist::Result<()>,
    check: impl AsyncFn(&Bench, bool),
) {
    for operation in [Operation::Get, Operation::Head] {
        for reads in [1, 3, 1000] {
            for n in 0.. {
                let bench = make().await;
                let before = bench.keys("").await;
                let (fault, sessions) = bench.faulty();
                hide(&fault, operation, n, reads);
                let done = work(&sessions).await;
                if fault.calls(operation) <= n {
                    done.unwrap();
                    assert!(n > 1 || operation == Operation::Head);
                    break;
                }
                if let Err(error) = &done {
                    let after = bench.keys("").await;
                    let gone: Vec<_> = before.iter().filter(|key| !after.contains(key)).collect();
                    assert!(gone.is_empty(), "{operation:?} {n}, {reads}: {error}, and {gone:?}");
                }
                check(&bench, done.is_ok()).await;
            }
        }
    }
}

async fn is(session: &Session, at: impl Into<At>, state: &[u8]) {
    let at = at.into();
    let restored = session.load(at.clone()).await;
    let restored = restored.unwrap_or_else(|error| panic!("{at} of {}: {error}", session.name()));
    assert!(restored.state == state, "{at}");
}

/// Six commits with bodies of their own, one tagged and one forked.
async fn with_bodies() -> Bench {
    let bench = Bench::new(7);
    let session = bench.sessions.clone().inline_limit(500).session("a", "s").unwrap();
    for n in 0..6 {
        bench.clock.pass(60_000);
        session.save(noise(n, 900)).await.unwrap();
    }
    session.tag("kept", 2).await.unwrap();
    let fork = session.fork("fork", 3).await.unwrap();
    fork.save("its own").await.unwrap();
    bench.hours(30);
    bench
}

/// A read of the prune that does not find what its listing has shown never takes for granted that it is gone.
#[tokio::test]
async fn a_prune_removes_nothing_for_a_read_that_does_not_find_what_is_there() {
    let check = async |bench: &Bench| {
        let (session, fork) = (bench.session("s"), bench.session("fork"));
        is(&session, At::Tag("kept".into()), &noise(1, 900)).await;
        is(&session, At::Latest, &noise(5, 900)).await;
        is(&fork, 3, &noise(2, 900)).await;
        is(&fork, At::Latest, b"its own").await;
        assert!(session.verify().await.unwrap().is_good() && fork.verify().await.unwrap().is_good());
    };
    each_read(
        with_bodies,
        async |sessions| sessions.session("a", "s")?.prune(Retention::new().last(1)).await.map(drop),
        async |bench, _| {
            check(bench).await;
            // Nobody is held up by it for longer than a prune that died holds others up.
            bench.hours(1);
            bench.session("s").prune(Retention::new().last(1)).await.unwrap();
            check(bench).await;
        },
    )
    .await;
}

/// Nor do rules that go by the times of ids, as after an import.
#[tokio::test]
async fn rules_of_days_go_by_ids_also_where_a_read_fails_to_find_one() {
    let make = async || {
        let bench = Bench::new(8);
        let session = bench.session("s");
        for n in 0..6 {
            bench.hours(24);
            session.save(noise(n, 600)).await.unwrap();
        }
        let mut archive = Vec::new();
        session.export(&mut archive).await.unwrap();
        bench.session("copy").import(&mut &archive[..]).await.unwrap();
        bench.hours(24);
        bench
    };
    each_read(
        make,
        async |sessions| sessions.session("a", "copy")?.prune(Retention::new().daily(4)).await.map(drop),
        async |bench, done| {
            for seq in if done { 3..=6 } else { 1..=6 } {
                is(&bench.session("copy"), seq, &noise(seq - 1, 600)).await;
            }
        },
    )
    .await;
}

/// A fork that is made of its source's commits keeps them, whichever of the two is pruned.
#[tokio::test]
async fn a_fork_keeps_its_source_also_where_a_read_does_not_find_its_origin() {
    let states = growing(12, 14);
    let make = async || {
        let bench = Bench::new(9);
        let (main, _) = bench.saved("main", 12).await;
        let fork = main.fork("fork", 12).await.unwrap();
        for state in &growing(12, 14)[12..] {
            assert!(!fork.save(state.clone()).await.unwrap().keyframe);
        }
        main.save("something else").await.unwrap();
        bench.hours(30);
        bench
    };
    for name in ["fork", "main"] {
        each_read(
            make,
            async |sessions| sessions.session("a", name)?.prune(Retention::new().last(1)).await.map(drop),
            async |bench, _| {
                bench.hours(1);
                bench.session("main").prune(Retention::new().last(1)).await.unwrap();
                let fork = bench.session("fork");
                is(&fork, At::Latest, &states[13]).await;
                is(&fork, 12, &states[11]).await;
                assert!(fork.verify().await.unwrap().is_good());
            },
        )
        .await;
    }
    // A session that a fork is made of is not removed.
    each_read(
        async || {
            let bench = Bench::new(10);
            bench.saved("main", 3).await.0.fork("fork", 3).await.unwrap();
            bench
        },
        async |sessions| match sessions.session("a", "main")?.remove().await {
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            done => done.map(|_| panic!("it was removed")),
        },
        async |bench, _| is(&bench.session("main"), At::Latest, &growing(3, 3)[2]).await,
    )
    .await;
}

/// A tag that was acknowledged beside a prune stays, also where its reads did not find the prune's
/// announcement.
#[tokio::test]
async fn a_tag_beside_a_prune_is_kept_or_refused() {
    let (mut kept, mut refused) = (0, 0);
    for n in 0.. {
        let bench = Bench::new(11);
        for seed in 0..5 {
            bench.session("s").save(noise(seed, 600)).await.unwrap();
        }
        bench.hours(5);
        // The newest, commits, forks and tags: it holds before it lists bodies, and has seen no tag.
        let (fault, sessions) = bench.faulty();
        let go_on = Arc::new(Notify::new());
        fault.inject_later(Operation::List, 4, Injection::Hold(go_on.clone()));
        let pruner = sessions.session("a", "s").unwrap();
        let mut prune = Box::pin(pruner.prune(Retention::new().last(1)));
        assert!((&mut prune).now_or_never().is_none());
        let (fault, sessions) = bench.faulty();
        hide(&fault, Operation::Get, n, 1);
        let tagged = sessions.session("a", "s").unwrap().tag("kept", 2).await;
        go_on.notify_one();
        prune.await.unwrap();
        if fault.calls(Operation::Get) <= n {
            break;
        }
        match tagged {
            Ok(_) => {
                is(&bench.session("s"), At::Tag("kept".into()), &noise(1, 600)).await;
                kept += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(kept > 0 && refused > 0, "{kept} {refused}");
}

/// What is passed over is passed over because it is gone.
#[tokio::test]
async fn a_verification_that_does_not_find_what_is_there_does_not_pass_it_over() {
    let bench = with_bodies().await;
    for (name, good) in [("s", 6), ("fork", 4)] {
        let all = bench.session(name).verify().await.unwrap();
        assert!(all.is_good() && all.good == good);
        for n in 0.. {
            let (fault, sessions) = bench.faulty();
            hide(&fault, Operation::Get, n, 1);
            let verified = sessions.session("a", name).unwrap().verify().await;
            if fault.calls(Operation::Get) <= n {
                break;
            }
            match verified {
                Ok(verified) => assert!(!verified.is_good() || verified == all, "{n}: {verified:?}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{n}: {error}"),
            }
        }
    }
}

/// Nor does a log end where a fork begins.
#[tokio::test]
async fn a_log_that_does_not_find_what_is_there_says_so() {
    let bench = with_bodies().await;
    for n in 0.. {
        let (fault, sessions) = bench.faulty();
        hide(&fault, Operation::Get, n, 1);
        let log: persist::Result<Vec<_>> = sessions.session("a", "fork").unwrap().log().try_collect().await;
        if fault.calls(Operation::Get) <= n {
            break;
        }
        match log {
            Ok(log) => assert_eq!(log.len(), 4, "{n}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{n}: {error}"),
        }
    }
}

/// Who is told that there is no commit begins a session; who is told of damage goes on from an older state.
#[tokio::test]
async fn a_load_that_does_not_find_what_is_there_tells_neither_damage_nor_an_empty_session() {
    let bench = with_bodies().await;
    bench.session("s").fork("bare", 3).await.unwrap();
    for (name, at, seed) in
        [("s", At::Latest, 5), ("s", At::Seq(3), 2), ("bare", At::Latest, 2), ("fork", At::Seq(3), 2)]
    {
        for reads in [1, 2, 3, 1000] {
            for n in 0.. {
                let (fault, sessions) = bench.faulty();
                hide(&fault, Operation::Get, n, reads);
                let loaded = sessions.session("a", name).unwrap().load_with_fallback(at.clone()).await;
                if fault.calls(Operation::Get) <= n {
                    break;
                }
                match loaded {
                    Ok(restored) => assert!(restored.state == noise(seed, 900), "{name} {at} {n} {reads}"),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Unavailable, "{name} {at} {n} {reads}: {error}");
                    }
                }
            }
        }
    }
}

/// A save whose answer was lost meets its own commit, and a read does not find that, or its body.
#[tokio::test]
async fn a_save_that_does_not_find_its_own_commit_takes_nothing_back() {
    for late in [false, true] {
        let bench = Bench::new(13);
        let (fault, sessions) = bench.faulty();
        let session = sessions.inline_limit(500).session("a", "s").unwrap();
        session.save(noise(0, 900)).await.unwrap();
        let state = noise(1, 900);
        if late {
            fault.inject_later(Operation::Put, 1, Injection::After(ErrorKind::Timeout));
            fault.inject(Operation::Get, Injection::Before(ErrorKind::Timeout));
            assert_eq!(session.save(state.clone()).await.unwrap_err().kind(), ErrorKind::Timeout);
            bench.hours(30);
            fault.inject(Operation::Head, Injection::Before(ErrorKind::NotFound));
        } else {
            fault.inject_later(Operation::Put, 1, Injection::After(ErrorKind::AlreadyExists));
            fault.inject(Operation::Get, Injection::Before(ErrorKind::NotFound));
        }
        let unknown = session.save(state.clone()).await.unwrap_err();
        assert!(unknown.kind() == ErrorKind::Unavailable && unknown.retryable(), "{unknown}");
        is(&bench.session("s"), At::Latest, &state).await;
        assert_eq!(session.save(state.clone()).await.unwrap().seq, 2);
    }
}

/// What is missing because an earlier prune is still removing it is nobody's proxy.
#[tokio::test]
async fn a_prune_behind_one_that_is_still_removing_finds_its_way() {
    for n in 0.. {
        let bench = Bench::new(14);
        for seed in 0..5 {
            bench.session("s").save(noise(seed, 600)).await.unwrap();
        }
        bench.hours(5);
        let (fault, sessions) = bench.faulty();
        let go_on = Arc::new(Notify::new());
        fault.inject_later(Operation::Delete, 3, Injection::Hold(go_on.clone()));
        let pruner = sessions.session("a", "s").unwrap();
        let mut first = Box::pin(pruner.prune(Retention::new().last(1)));
        assert!((&mut first).now_or_never().is_none());
        assert_eq!(bench.keys("sessions/a/s/c/").await.len(), 2);
        let (fault, sessions) = bench.faulty();
        let held = Arc::new(Notify::new());
        fault.inject_later(Operation::Get, n, Injection::Hold(held.clone()));
        let pruner = sessions.session("a", "s").unwrap();
        let mut second = Box::pin(pruner.prune_dry_run(Retention::new().last(1)));
        if (&mut second).now_or_never().is_some() {
            assert!(n > 1);
            break;
        }
        go_on.notify_one();
        first.await.unwrap();
        held.notify_one();
        assert_eq!(second.await.unwrap_or_else(|error| panic!("{n}: {error}")).kept, 1);
    }
}

/// The answer to a fork's origin was lost, and the look for it did not find it: what keeps its commit stays.
#[tokio::test]
async fn a_fork_that_may_be_there_keeps_its_reference() {
    for kind in [ErrorKind::NotFound, ErrorKind::AlreadyExists] {
        for n in 0.. {
            let bench = Bench::new(12);
            for seed in 0..4 {
                bench.session("s").save(noise(seed, 600)).await.unwrap();
            }
            let (fault, sessions) = bench.faulty();
            fault.inject_later(Operation::Put, 1, Injection::After(kind));
            hide(&fault, Operation::Get, n, 1);
            // It may find that the origin is its own.
            let forked = sessions.session("a", "s").unwrap().fork("fork", 2).await;
            let not_found = forked.is_err_and(|error| error.kind() == ErrorKind::NotFound);
            assert!(!not_found || kind == ErrorKind::NotFound, "{n}");
            if fault.calls(Operation::Get) <= n {
                break;
            }
            bench.hours(30);
            bench.session("s").prune(Retention::new().last(1)).await.unwrap();
            if !bench.keys("sessions/a/fork/c/").await.is_empty() {
                is(&bench.session("fork"), At::Latest, &noise(1, 600)).await;
            }
        }
    }
}
