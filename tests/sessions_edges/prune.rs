//! Prunes of sessions that are damaged.

use persist::{
    Body, ErrorKind, Key, PutOptions, SnapshotAdapter,
    layers::{Injection, Operation},
    sessions::{At, KeptBy, Pruned, Retention},
};

use super::{
    Bench,
    sessions_support::{Aged, Counting, Random, growing, noise},
};

/// Of a commit that cannot be read or is not there, a prune keeps all that it may be made of: a copy of the
/// object makes it whole.
#[tokio::test]
async fn what_a_damaged_or_missing_commit_may_be_made_of_stays() {
    for bad in [1, 2, 9, 17, 30] {
        for missing in [false, true] {
            let bench = Bench::new(bad);
            let (session, states) = bench.saved("s", 30).await;
            session.tag("kept", bad).await.unwrap();
            let whole = if missing { bench.lose("s", bad).await } else { bench.damage("s", bad).await };
            bench.hours(5);
            let pruned = bench.session("s").prune(Retention::new().last(2)).await.unwrap();
            assert!(bad > 20 || !pruned.removed.is_empty(), "{bad}: nothing was pruned");
            assert!(!session.verify().await.unwrap().is_good(), "{bad} {missing}: damage is forgotten");
            bench.set("s", bad, whole).await;
            // Not the next prune either.
            for _ in 0..2 {
                let reader = bench.session("s");
                for (at, seq) in [(At::Tag("kept".into()), bad), (At::Seq(bad), bad), (At::Latest, 30)] {
                    let restored =
                        reader.load(at.clone()).await.unwrap_or_else(|error| panic!("{bad} {at}: {error}"));
                    assert!(restored.state == states[seq as usize - 1], "{bad} {at}");
                }
                let verified = reader.verify().await.unwrap();
                assert!(verified.is_good(), "{bad} {missing}: {verified:?}");
                reader.prune(Retention::new().last(2)).await.unwrap();
            }
        }
    }
}

/// The same across a fork: its source keeps what the damaged commit may need of it.
#[tokio::test]
async fn a_fork_with_a_damaged_commit_does_not_release_its_source() {
    for missing in [false, true] {
        let bench = Bench::new(2);
        let (main, states) = bench.saved("main", 20).await;
        let fork = main.fork("fork", 20).await.unwrap();
        for state in &growing(20, 24)[20..] {
            fork.save(state.clone()).await.unwrap();
        }
        let newest = if missing { 23 } else { 24 };
        fork.tag("kept", newest).await.unwrap();
        let whole =
            if missing { bench.lose("fork", newest).await } else { bench.damage("fork", newest).await };
        bench.hours(5);
        bench.session("fork").prune(Retention::new().last(1)).await.unwrap();
        main.save("something else").await.unwrap();
        bench.hours(30);
        main.prune(Retention::new().last(1)).await.unwrap();
        bench.set("fork", newest, whole).await;
        let restored = bench.session("fork").load(newest).await.unwrap();
        assert!(restored.state == growing(20, 24)[newest as usize - 1]);
        assert!(bench.session("fork").verify().await.unwrap().is_good());
        assert!(main.load(20).await.unwrap().state == states[19]);
    }
}

/// In place of a fork's first commits lies what it starts from: nothing is missing there.
#[tokio::test]
async fn a_body_of_nobody_in_a_fork_is_garbage() {
    let bench = Bench::new(4);
    let (main, _) = bench.saved("main", 3).await;
    let fork = main.fork("fork", 3).await.unwrap();
    fork.save("its own").await.unwrap();
    let aged = Aged { inner: bench.adapter.clone(), clock: bench.clock.clone() };
    for seq in [1, 2] {
        let key = Key::new(format!("sessions/a/fork/b/{seq}-01HF7YGAYRFNDEATEHYDS4HS42")).unwrap();
        aged.put(&key, Body::from("of a writer that died"), PutOptions::new()).await.unwrap();
    }
    bench.hours(30);
    fork.prune(Retention::new().last(1)).await.unwrap();
    assert!(bench.keys("/b/").await.is_empty());
}

/// A missing commit is forgotten when no rule could keep it any more, and not before.
#[tokio::test]
async fn a_missing_commit_stays_on_the_line_for_as_long_as_a_rule_may_keep_it() {
    for (lost, retention, stays) in [
        (29, Retention::new().last(4), true),
        (27, Retention::new().last(4), true),
        (20, Retention::new().last(4), false),
        // Six hours apart, the first at 4:13. The 20th was the last of its day, the 21st may have been, the
        // 22nd was not.
        (20, Retention::new().daily(30), true),
        (21, Retention::new().daily(30), true),
        (22, Retention::new().daily(30), false),
        (28, Retention::new().daily(2), true),
        (1, Retention::new().daily(2), false),
        (1, Retention::new().weekly(30), true),
        (10, Retention::new().within(std::time::Duration::from_secs(86_400)), false),
        (28, Retention::new().within(std::time::Duration::from_secs(86_400)), true),
    ] {
        let bench = Bench::new(3);
        let session = bench.session("s");
        for n in 0..30u64 {
            bench.hours(6);
            // Nothing in common: each is a keyframe, so that nothing is kept as a base.
            let mut random = Random(n);
            let state: Vec<u8> = (0..600).map(|_| random.next() as u8).collect();
            assert!(session.save(state).await.unwrap().keyframe);
        }
        bench.hours(6);
        bench.lose("s", lost).await;
        let dry = session.prune_dry_run(retention).await.unwrap();
        let pruned = session.prune(retention).await.unwrap();
        assert_eq!((dry.kept, &dry.removed), (pruned.kept, &pruned.removed));
        let verified = session.verify().await.unwrap();
        assert_eq!(verified.is_good(), !stays, "{lost} {retention:?}: {verified:?}");
        assert_eq!(verified.good, pruned.kept, "{lost} {retention:?}");
    }
}

/// Each commit that stays has one reason.
#[tokio::test]
async fn a_prune_tells_why_commits_stay() {
    let bench = Bench::new(40);
    let (session, _) = bench.saved("s", 8).await;
    session.tag("two", 2).await.unwrap();
    session.fork("fork", 8).await.unwrap();
    let reasons = |pruned: &Pruned| {
        let KeptBy { rules, named, young, needed, .. } = pruned.kept_by;
        assert_eq!(rules + named + young + needed, pruned.kept, "{pruned:?}");
        [rules, named, young, needed]
    };
    let rule = Retention::new().last(2);
    assert_eq!(reasons(&session.prune_dry_run(rule).await.unwrap()), [2, 1, 5, 0]);
    bench.hours(2);
    let dry = session.prune_dry_run(rule).await.unwrap();
    let [rules, named, young, needed] = reasons(&dry);
    assert_eq!((rules, named, young), (2, 1, 0));
    assert_eq!(needed, 5 - dry.removed.len() as u64);
    assert!(needed > 0, "{dry:?}");
    assert_eq!(reasons(&session.prune(rule).await.unwrap()), [rules, named, young, needed]);
    session.remove().await.unwrap_err();
    bench.session("fork").remove().await.unwrap();
    bench.hours(2);
    session.save("young").await.unwrap();
    assert_eq!(reasons(&bench.session("s").remove().await.unwrap()), [1, 0, 1, 0]);
}

/// Cut to seconds, times lie before those of the ids. That is no import, and no reason to read all that is
/// old.
#[tokio::test]
async fn times_in_whole_seconds_cost_no_requests() {
    let mut gets = Vec::new();
    for whole in [false, true] {
        let bench = Bench::new(41);
        bench.clock.pass(999);
        bench.saved("s", 30).await;
        if whole {
            bench.adapter.whole_seconds();
        }
        bench.hours(5);
        let before = bench.adapter.counts();
        let pruned = bench.session("s").prune_dry_run(Retention::new().daily(1)).await.unwrap();
        assert!(!pruned.removed.is_empty());
        gets.push((bench.adapter.counts() - before).get);
    }
    assert!(gets[0] == gets[1] && gets[0] < 15, "{gets:?}");
}

/// What is young by the storage's clock stays, whatever the clock of the machine says that stands in for it.
#[tokio::test]
async fn a_prune_goes_by_the_clock_of_the_storage() {
    let mut adapter = Counting::memory();
    adapter.undated = true;
    let bench = Bench::of(adapter, 60);
    let session = bench.session("s");
    for seed in 0..4 {
        bench.clock.pass(60_000);
        session.save(noise(seed, 600)).await.unwrap();
    }
    assert!(session.prune(Retention::new().last(1)).await.unwrap().removed.is_empty());
    bench.hours(2);
    assert_eq!(session.prune(Retention::new().last(1)).await.unwrap().removed, [3, 2, 1]);
}

/// Where that fails, the prune has not begun.
#[tokio::test]
async fn a_prune_that_does_not_learn_the_time_holds_nobody_up() {
    let bench = Bench::new(61);
    let (session, _) = bench.saved("s", 4).await;
    let (fault, sessions) = bench.faulty();
    fault.inject(Operation::Head, Injection::Before(ErrorKind::Timeout));
    let error = sessions.session("a", "s").unwrap().prune(Retention::new().last(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    session.prune(Retention::new().last(1)).await.unwrap();
}

/// What is to stay is found by one manifest for each keyframe, and not for each commit.
#[tokio::test]
async fn a_prune_that_removes_little_reads_little() {
    let bench = Bench::new(62);
    let (session, states) = bench.saved("s", 800).await;
    bench.hours(3);
    for removes in [true, false] {
        let before = bench.adapter.counts();
        let pruned = bench.session("s").prune(Retention::new().last(790)).await.unwrap();
        let cost = bench.adapter.counts() - before;
        assert_eq!(!pruned.removed.is_empty(), removes, "{pruned:?}");
        assert!(cost.get <= 40, "{cost:?}");
    }
    for seq in [11, 12, 400, 799, 800] {
        assert!(session.load(seq).await.unwrap().state == states[seq as usize - 1]);
    }
    assert!(session.verify().await.unwrap().is_good());
}

/// Keyframes on end are read side by side, and each keeps what is made of it.
#[tokio::test]
async fn what_stays_is_whole_whatever_it_is_made_of() {
    for seed in 0..30 {
        let bench = Bench::new(seed);
        let session = bench.session("s");
        let (mut random, mut states) = (Random(seed), Vec::new());
        while states.len() < 60 {
            let run = growing(random.next(), 1 + random.below(12) as usize);
            states.extend(run);
            // Of some runs, the next one is no change but a new state.
            for n in 0..random.below(4) {
                states.push(noise(random.next(), 700 + n as usize));
            }
        }
        for state in &states {
            bench.clock.pass(60_000);
            session.save(state.clone()).await.unwrap();
        }
        let last = states.len() as u64;
        let tagged: Vec<u64> = (0..3).map(|_| 1 + random.below(last)).collect();
        for (n, seq) in tagged.iter().enumerate() {
            session.tag(&format!("t{n}"), *seq).await.unwrap();
        }
        bench.hours(3);
        let kept = 1 + random.below(last / 2);
        let dry = session.prune_dry_run(Retention::new().last(kept)).await.unwrap();
        let pruned = session.prune(Retention::new().last(kept)).await.unwrap();
        assert_eq!((dry.kept, dry.removed), (pruned.kept, pruned.removed.clone()));
        for seq in tagged.into_iter().chain(last + 1 - kept..=last) {
            let restored = bench.session("s").load(seq).await;
            let restored = restored.unwrap_or_else(|error| panic!("{seed} {seq} {pruned:?}: {error}"));
            assert!(restored.state == states[seq as usize - 1], "{seed} {seq}");
        }
        let verified = session.verify().await.unwrap();
        assert!(verified.is_good() && verified.good == pruned.kept, "{seed} {verified:?}");
    }
}

/// Rules keep commits by number and time. A newest one that is damaged is not worth what would go for it.
#[tokio::test]
async fn a_prune_removes_nothing_where_the_newest_cannot_be_loaded() {
    for limit in [u64::MAX, 100] {
        let bench = Bench::new(266);
        bench.unrelated("s", 2).await;
        let session = bench.sessions.clone().inline_limit(limit).session("a", "s").unwrap();
        session.rebase().await.unwrap();
        session.save(noise(3, 600)).await.unwrap();
        // Behind what the commit says about itself, or in its body.
        let key = match limit {
            100 => bench.keys("/b/3-").await.pop().unwrap(),
            _ => super::commit_key("s", 3),
        };
        let whole = bench.adapter.raw(&key).await;
        bench.adapter.flip(&key, 100).await;
        bench.hours(5);
        let before = bench.keys("/c/").await;
        let prune = async || bench.session("s").prune(Retention::new().last(1)).await;
        for error in [
            prune().await.unwrap_err(),
            bench.session("s").prune_dry_run(Retention::new().last(1)).await.unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&key)), "{error}");
            assert!(error.to_string().contains("nothing was removed"), "{error}");
        }
        assert_eq!(bench.keys("/c/").await, before);
        // The way out; and a copy of the object is another.
        let reader = bench.session("s");
        assert!(reader.load_with_fallback(At::Latest).await.unwrap().state == noise(2, 600));
        bench.adapter.set(&key, whole).await;
        assert_eq!(prune().await.unwrap().removed, [2, 1]);
        bench.adapter.flip(&key, 100).await;
        // A removal asks for no state.
        assert_eq!(bench.session("s").remove().await.unwrap().removed, [3]);
    }
}
