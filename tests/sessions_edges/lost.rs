//! The newest object is gone: something else than persist has removed it.

use futures_util::{FutureExt, TryStreamExt};
use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::*,
};

use super::{Bench, commit_key, imports::exported, sessions_support::noise};

/// Seven commits in two days, of which these rules keep some; the newest was lost.
async fn lost(keep: Retention) -> (Bench, Vec<u8>) {
    let bench = Bench::new(1);
    let session = bench.session("s");
    // The first is the last of its day.
    bench.hours(16);
    for seed in 0..7 {
        bench.hours(8);
        session.save(noise(seed, 600)).await.unwrap();
    }
    bench.hours(5);
    assert!(!session.prune(keep).await.unwrap().removed.is_empty());
    let newest = bench.lose("s", 7).await;
    (bench, newest)
}

fn keeps() -> [(Retention, &'static [u64]); 3] {
    [
        (Retention::new().daily(2), &[4]),
        (Retention::new().last(1), &[]),
        // Its number is free, and not given up.
        (Retention::new().last(4), &[6, 5, 4]),
    ]
}

/// What can be read of the log, and what cannot.
async fn log(bench: &Bench) -> (Vec<u64>, Vec<String>) {
    let (mut seqs, mut errors) = (Vec::new(), Vec::new());
    let session = bench.session("s");
    let mut log = session.log();
    loop {
        match log.try_next().await {
            Ok(None) => return (seqs, errors),
            Ok(Some(commit)) => seqs.push(commit.seq),
            Err(error) => {
                assert_eq!(error.key(), Some(&commit_key("s", 7)));
                errors.push(error.to_string());
            }
        }
    }
}

/// Nobody takes the one before it for the newest who could know, and nothing else is removed for it.
#[tokio::test]
async fn a_newest_commit_that_was_lost_behind_a_prune_is_told() {
    for (keep, left) in keeps() {
        let (bench, newest) = lost(keep).await;
        let session = bench.session("s");
        let verified = session.verify().await.unwrap();
        assert_eq!((verified.good, verified.damaged.len()), (left.len() as u64, 1), "{verified:?}");
        let Damaged { seq, key, reason, .. } = &verified.damaged[0];
        assert_eq!((*seq, key.as_deref()), (Some(7), Some(commit_key("s", 7).as_str())));
        assert!(reason.contains("commit 7 is missing"), "{reason}");
        let (seqs, errors) = log(&bench).await;
        assert!(seqs == left && errors.len() == 1 && errors[0].contains("commit 7 is missing"), "{errors:?}");
        if !left.is_empty() {
            assert_eq!(session.load(7).await.unwrap_err().kind(), ErrorKind::Corrupt);
            let before = bench.adapter.keys().await;
            let keep = Retention::new().last(100);
            for error in [
                session.prune_dry_run(keep).await.map(drop).unwrap_err(),
                session.prune(keep).await.map(drop).unwrap_err(),
                session.export(&mut Vec::new()).await.map(drop).unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                assert!(error.to_string().contains("commit 7"), "{error}");
            }
            assert_eq!(bench.adapter.keys().await, before);
        }
        // From a copy.
        bench.set("s", 7, newest).await;
        assert!(session.verify().await.unwrap().is_good());
        assert_eq!(session.save("next").await.unwrap().seq, 8);
    }
}

/// A save goes on behind it, whatever the handle looked at: in front of it would be what nobody keeps.
#[tokio::test]
async fn saves_behind_a_newest_commit_that_was_lost_stay() {
    for (keep, left) in keeps() {
        for way in 0..6 {
            let (bench, newest) = lost(keep).await;
            let session = bench.session("s");
            match way {
                0 => {}
                1 => assert_eq!(session.load(At::Latest).await.is_ok(), !left.is_empty()),
                2 => assert_eq!(session.rebase().await.unwrap().is_some(), !left.is_empty()),
                3 => assert_eq!(session.load_with_fallback(At::Latest).await.is_ok(), !left.is_empty()),
                4 => assert_eq!(session.load_stream(At::Latest).await.is_ok(), !left.is_empty()),
                _ if left.is_empty() => continue,
                _ => drop(session.load(left[0]).await.unwrap()),
            }
            for (at, seq) in [(0, 8), (1, 9)] {
                assert_eq!(session.save(format!("state {at}")).await.unwrap().seq, seq, "{left:?} {way}");
            }
            bench.hours(5);
            session.prune(Retention::new().last(100)).await.unwrap();
            let reader = bench.session("s");
            assert_eq!(reader.load(At::Latest).await.unwrap().state, "state 1");
            assert_eq!(reader.load(8).await.unwrap().state, "state 0");
            let (seqs, errors) = log(&bench).await;
            assert_eq!(seqs, [&[9, 8][..], left].concat());
            assert_eq!(errors.len(), 1, "{errors:?}");
            bench.set("s", 7, newest).await;
            assert!(reader.verify().await.unwrap().is_good());
            assert_eq!(reader.load(7).await.unwrap().state, noise(6, 600));
        }
    }
}

/// What a load shows is met, and so is the number that was lost.
#[tokio::test]
async fn who_expects_what_is_left_is_not_refused_for_what_was_lost() {
    for (keep, left) in keeps() {
        let shown = left.first().copied().unwrap_or(0);
        for (way, expected) in [(0, shown), (0, 7), (1, shown), (1, 7), (2, shown), (2, 7), (3, shown)] {
            let (bench, _) = lost(keep).await;
            let session = bench.session("s");
            match way {
                0 => {}
                1 => assert_eq!(session.load(At::Latest).await.is_ok(), shown > 0),
                2 => assert_eq!(session.rebase().await.unwrap().is_some(), shown > 0),
                _ if shown == 0 => continue,
                _ => drop(session.load(shown).await.unwrap()),
            }
            let save = |expected| session.save_with("next", CommitOptions::new().after(expected));
            let error = save(9).await.unwrap_err();
            // A number that can be loaded.
            let told = match shown {
                0 => "which has none".to_owned(),
                shown => format!("has commit {shown} as its newest, not 9"),
            };
            assert!(error.kind() == ErrorKind::Conflict && error.to_string().contains(&told), "{error}");
            assert_eq!(save(expected).await.unwrap().seq, 8, "{left:?} {way}");
            // From then on it is a newest commit as any other.
            for before in [shown, 7] {
                assert_eq!(save(before).await.unwrap_err().kind(), ErrorKind::Conflict, "{left:?} {way}");
            }
            assert_eq!(save(8).await.unwrap().seq, 9);
        }
    }
}

/// Also where the answer of the save behind it was lost.
#[tokio::test]
async fn what_was_left_is_no_longer_expected_behind_a_lost_answer() {
    for same in [true, false] {
        let (bench, _) = lost(Retention::new().last(4)).await;
        let (fault, sessions) = bench.faulty();
        let session = sessions.session("a", "s").unwrap();
        session.load(At::Latest).await.unwrap();
        let save = |state| session.save_with(state, CommitOptions::new().after(6));
        // The line is read before it, and what became of it is not.
        fault.inject(Operation::Put, Injection::After(ErrorKind::Timeout));
        fault.inject_later(Operation::Get, 1, Injection::Before(ErrorKind::Timeout));
        assert_eq!(save("first").await.unwrap_err().kind(), ErrorKind::Timeout);
        let again = save(if same { "first" } else { "second" }).await;
        match again {
            Ok(commit) => assert!(same && commit.seq == 8, "{commit:?}"),
            Err(error) => assert!(!same && error.to_string().contains("commit 8 as its newest"), "{error}"),
        }
        assert_eq!(bench.session("s").load(At::Latest).await.unwrap().commit.seq, 8);
    }
}

#[tokio::test]
async fn an_owner_and_a_removal_go_on_behind_it_as_well() {
    let (bench, _) = lost(Retention::new().daily(2)).await;
    let taken = bench.session("s").take_over().await.unwrap();
    assert_eq!(taken.commit.seq, 8);
    let (bench, _) = lost(Retention::new().daily(2)).await;
    bench.session("s").remove().await.unwrap();
    assert!(bench.keys("/c/").await.contains(&commit_key("s", 8)));
    bench.hours(5);
    bench.session("s").prune(Retention::new().last(1)).await.unwrap();
    assert_eq!(bench.keys("/c/").await, [commit_key("s", 8)]);
    // And behind a marker that was lost.
    bench.lose("s", 8).await;
    assert_eq!(bench.session("s").save("anew").await.unwrap().seq, 9);
    bench.hours(5);
    bench.session("s").prune(Retention::new().last(1)).await.unwrap();
    assert_eq!(bench.session("s").load(At::Latest).await.unwrap().state, "anew");
}

#[tokio::test]
async fn an_import_with_gaps_that_lost_its_newest_goes_on_behind_it() {
    // Where nothing else is left, the import's origin looks like one of an import that has just begun.
    for tagged in [true, false] {
        let source = Bench::new(2);
        let (session, _) = source.saved("source", 3).await;
        for seed in 0..4 {
            session.save(noise(seed, 600)).await.unwrap();
        }
        if tagged {
            session.tag("five", 5).await.unwrap();
        }
        source.hours(5);
        session.prune(Retention::new().last(1)).await.unwrap();
        let archive = exported(&session).await;
        let bench = Bench::new(3);
        let copy = bench.session("s");
        copy.import(&mut &archive[..]).await.unwrap();
        bench.lose("s", 7).await;
        assert_eq!(copy.load(At::Latest).await.is_ok(), tagged);
        assert_eq!(copy.verify().await.unwrap().damaged[0].seq, Some(7));
        assert_eq!(log(&bench).await.0.len(), usize::from(tagged));
        for error in [
            copy.prune(Retention::new().last(1)).await.map(drop).unwrap_err(),
            copy.export(&mut Vec::new()).await.map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        }
        assert_eq!(bench.session("s").save("next").await.unwrap().seq, 8);
        bench.hours(5);
        bench.session("s").prune(Retention::new().last(1)).await.unwrap();
        assert_eq!(bench.session("s").load(At::Latest).await.unwrap().state, "next");
    }
}

/// Once for each handle, and none for those that begin with a rebase.
#[tokio::test]
async fn to_be_sure_costs_the_first_save_behind_a_load_one_read() {
    let bench = Bench::new(4);
    bench.saved("s", 3).await;
    for (at, look) in [(At::Latest, 1), (At::Latest, 0), (At::Seq(7), 2)] {
        let session = bench.session("s");
        match look {
            0 => {
                let counts = bench.adapter.counts();
                let reader = bench.session("s");
                reader.load(at).await.unwrap();
                let load = bench.adapter.counts() - counts;
                session.rebase().await.unwrap();
                let cost = bench.adapter.counts() - counts - load;
                // What a load reads, and the line.
                assert_eq!((cost.put, cost.get, cost.list), (0, load.get + 1, load.list));
            }
            _ => drop(session.load(at).await.unwrap()),
        }
        for save in 0..2 {
            let before = bench.adapter.counts();
            session.save("next").await.unwrap();
            let cost = bench.adapter.counts() - before;
            let first = save == 0;
            // By its number, a commit may be one of half an import; and whether it was pruned, only the line
            // tells, and whether it was lost, the newest.
            let gets = if first { look } else { 0 };
            assert_eq!(
                (cost.put, cost.get, cost.list),
                (1, gets, if first && look == 2 { 2 } else { 0 }),
                "{look}"
            );
        }
    }
}

/// It saw no commit; what a prune has seen since is there.
#[tokio::test]
async fn what_came_behind_a_look_is_not_lost() {
    for (held, commits) in [(1, 1), (1, 3), (0, 1)] {
        let bench = Bench::new(5);
        let (fault, sessions) = bench.faulty();
        let late = sessions.session("a", "s").unwrap();
        let go_on = std::sync::Arc::new(tokio::sync::Notify::new());
        // The line is read when the prune is done; the listing has been made, or is made then as well.
        fault.inject_later(Operation::Get, 0, Injection::Hold(go_on.clone()));
        if held == 0 {
            fault.inject_later(Operation::List, 0, Injection::Hold(go_on.clone()));
        }
        let mut look = Box::pin(late.save("late"));
        assert!((&mut look).now_or_never().is_none());
        bench.saved("s", commits).await;
        bench.hours(5);
        bench.session("s").prune(Retention::new().last(1)).await.unwrap();
        go_on.notify_waiters();
        let saved = look.await;
        let seqs: Vec<u64> =
            bench.session("s").log().map_ok(|commit| commit.seq).try_collect().await.unwrap();
        match saved {
            Ok(commit) => {
                assert_eq!((commit.parent.is_some(), seqs[0]), (true, commit.seq), "{held} {commits}")
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{held} {commits}: {error}"),
        }
    }
}

/// What was lost in the middle is no free number: a save that was meant for it would not be the newest.
#[tokio::test]
async fn a_lost_number_in_the_middle_is_not_taken() {
    let bench = Bench::new(2);
    let session = bench.session("s");
    for seed in 0..6 {
        session.save(noise(seed, 600)).await.unwrap();
    }
    let lost = bench.lose("s", 4).await;
    let late = bench.session("s");
    late.load(3).await.unwrap();
    for _ in 0..2 {
        let error = late.save("lost update").await.unwrap_err();
        assert!(error.kind() == ErrorKind::Conflict && error.to_string().contains("commit 6"), "{error}");
    }
    bench.set("s", 4, lost).await;
    assert!(session.verify().await.unwrap().is_good());
    late.rebase().await.unwrap();
    assert_eq!(late.save("on top").await.unwrap().seq, 7);
}

/// The same of a writer that slept, whose head was the newest when it looked. Whether a prune has seen the
/// hole or not.
#[tokio::test]
async fn a_writer_that_slept_does_not_take_a_lost_number() {
    for (pruned, both) in [(false, false), (true, false), (false, true)] {
        let bench = Bench::new(31);
        let sleeper = bench.session("s");
        for seed in 0..3 {
            sleeper.save(noise(seed, 600)).await.unwrap();
        }
        let others = bench.session("s");
        for seed in 3..6 {
            others.rebase().await.unwrap();
            others.save(noise(seed, 600)).await.unwrap();
        }
        let lost = bench.lose("s", 4).await;
        let also = if both { Some(bench.lose("s", 5).await) } else { None };
        bench.clock.pass(1_800_001);
        if pruned {
            bench.hours(2);
            others.prune(Retention::new().last(100)).await.unwrap();
        }
        for _ in 0..2 {
            let error = sleeper.save("lost update").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        }
        assert!(bench.session("s").load(At::Latest).await.unwrap().state == noise(5, 600));
        // Where the next one is lost as well, nobody knows what may have been built on it.
        assert_eq!(bench.keys(commit_key("s", 4).as_str()).await.len(), usize::from(both));
        bench.set("s", 4, lost).await;
        if let Some(also) = also {
            bench.set("s", 5, also).await;
        }
        assert!(others.verify().await.unwrap().is_good());
        sleeper.rebase().await.unwrap();
        assert_eq!(sleeper.save("on top").await.unwrap().seq, 7);
    }
}

/// What others have built on a commit whose writer slept behind it is no reason to doubt it.
#[tokio::test]
async fn a_writer_that_slept_keeps_what_others_go_on_from() {
    let bench = Bench::new(32);
    let (fault, sessions) = bench.faulty();
    let sleeper = sessions.session("a", "s").unwrap();
    sleeper.save("one").await.unwrap();
    bench.hours(1);
    // Its look at the line.
    let go_on = std::sync::Arc::new(tokio::sync::Notify::new());
    fault.inject(Operation::Get, Injection::Hold(go_on.clone()));
    fault.inject(Operation::List, Injection::Hold(go_on.clone()));
    let mut save = Box::pin(sleeper.save("two"));
    assert!((&mut save).now_or_never().is_none());
    let others = bench.session("s");
    for state in ["three", "four"] {
        others.save(state).await.unwrap();
    }
    go_on.notify_one();
    assert!((&mut save).now_or_never().is_none());
    go_on.notify_one();
    assert_eq!(save.await.unwrap().seq, 2);
    assert_eq!(sleeper.save("late").await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(bench.session("s").load(2).await.unwrap().state, "two");
}

/// Who expects the commit that was left has not seen what took the lost one's number since.
#[tokio::test]
async fn what_is_left_is_not_the_newest_once_the_lost_one_is_back() {
    let (bench, newest) = lost(Retention::new().last(4)).await;
    let session = bench.session("s");
    assert_eq!(session.rebase().await.unwrap().unwrap().commit.seq, 6);
    bench.set("s", 7, newest).await;
    let options = || CommitOptions::new().after(6);
    assert_eq!(session.save_with("lost update", options()).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(session.rebase().await.unwrap().unwrap().commit.seq, 7);
    assert_eq!(session.save("on top").await.unwrap().seq, 8);
}

/// A look that breaks off behind the newest commit's state has seen nothing: what follows does not go on in
/// front of the loss.
#[tokio::test]
async fn a_look_that_fails_half_way_is_none() {
    for way in 0..8 {
        let (keep, left) = keeps()[usize::from(way % 2 == 1) * 2];
        let (bench, _) = lost(keep).await;
        let (fault, sessions) = bench.faulty();
        let session = sessions.session("a", "s").unwrap();
        let held = way >= 4;
        // The first finds the newest commit.
        let injection =
            if held { Injection::Hold(Default::default()) } else { Injection::Before(ErrorKind::Timeout) };
        fault.inject_later(Operation::List, 1, injection);
        let first = async || match way % 4 {
            0 | 1 => session.save("lost").await.map(drop),
            2 => session.rebase().await.map(drop),
            _ => session.take_over().await.map(drop),
        };
        if held {
            assert!(first().now_or_never().is_none(), "{way}")
        } else {
            assert_eq!(first().await.unwrap_err().kind(), ErrorKind::Timeout, "{way}")
        }
        for seq in [8, 9] {
            assert_eq!(session.save("state").await.unwrap().seq, seq, "{way}");
        }
        assert_eq!(log(&bench).await.0, [&[9, 8][..], left].concat());
    }
}

/// One that lost to a rival has to be rebased to the end.
#[tokio::test]
async fn a_rebase_that_fails_half_way_lets_no_stale_writer_in() {
    let (bench, newest) = lost(Retention::new().last(4)).await;
    let (fault, sessions) = bench.faulty();
    let stale = sessions.session("a", "s").unwrap();
    stale.load(6).await.unwrap();
    bench.set("s", 7, newest).await;
    assert_eq!(stale.save("stale").await.unwrap_err().kind(), ErrorKind::Conflict);
    bench.lose("s", 7).await;
    for held in [false, true] {
        if held {
            fault.inject_later(Operation::List, 1, Injection::Hold(Default::default()));
            assert!(stale.rebase().now_or_never().is_none());
        } else {
            fault.inject_later(Operation::List, 1, Injection::Before(ErrorKind::Timeout));
            assert_eq!(stale.rebase().await.unwrap_err().kind(), ErrorKind::Timeout);
        }
        assert_eq!(stale.save("stale").await.unwrap_err().kind(), ErrorKind::Conflict);
    }
    stale.rebase().await.unwrap();
    assert_eq!(stale.save("on top").await.unwrap().seq, 8);
}
