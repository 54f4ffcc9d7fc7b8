//! Removed sessions.

use std::sync::Arc;

use futures_util::FutureExt;
use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::*,
};
use tokio::sync::Notify;

use super::{Bench, commit_key, growing, seqs};

#[tokio::test]
async fn the_marker_is_no_state_by_any_name() {
    let bench = Bench::new(1);
    let (session, _) = bench.saved("s", 4).await;
    bench.clock.pass(60_000);
    session.remove().await.unwrap();
    bench.clock.pass(60_000);
    let reader = bench.session("s");
    for at in [At::Latest, At::Seq(5), At::Time(bench.clock.time())] {
        for result in [
            reader.load(at.clone()).await.map(drop),
            reader.load_with_fallback(at.clone()).await.map(drop),
            reader.load_stream(at.clone()).await.map(drop),
            reader.show(at.clone()).await.map(drop),
            reader.tag("t", at.clone()).await.map(drop),
            reader.fork("f", at.clone()).await.map(drop),
        ] {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::NotFound, "{at}");
        }
    }
    assert!(seqs(&reader).await.is_empty());
    assert_eq!(reader.export(&mut Vec::new()).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(reader.verify().await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(reader.load(2).await.unwrap_err().kind(), ErrorKind::NotFound);
    // What begins anew does not fall back over its end.
    assert_eq!(reader.save("anew").await.unwrap().seq, 6);
    assert_eq!(seqs(&reader).await, [6]);
    let whole = bench.damage("s", 6).await;
    let error = bench.session("s").load_with_fallback(At::Latest).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&commit_key("s", 6))));
    bench.set("s", 6, whole).await;
    bench.hours(5);
    reader.remove().await.unwrap();
    assert_eq!(bench.session("s").verify().await.unwrap_err().kind(), ErrorKind::NotFound);
}

/// What was young when its session was removed does not come back, whatever rules a later prune has.
#[tokio::test]
async fn no_rule_keeps_what_was_removed() {
    let bench = Bench::new(7);
    let (session, _) = bench.saved("s", 4).await;
    let removed = session.remove().await.unwrap();
    assert_eq!((removed.kept, removed.removed.len()), (5, 0));
    bench.session("s").save("anew").await.unwrap();
    bench.hours(5);
    bench.session("s").save("newest").await.unwrap();
    let pruned = session.prune(Retention::new().last(100)).await.unwrap();
    assert_eq!((pruned.kept, pruned.removed), (3, vec![4, 3, 2, 1]), "the marker is one of a hundred");
    assert_eq!(seqs(&session).await, [7, 6]);
    bench.hours(5);
    session.prune(Retention::new().daily(2).last(1)).await.unwrap();
    assert!(seqs(&session).await.iter().all(|seq| *seq > 5));
    assert!(session.verify().await.unwrap().is_good());
}

#[tokio::test]
async fn a_removed_session_has_no_commit_to_a_condition() {
    let bench = Bench::new(2);
    for known in [false, true] {
        let name = if known { "known" } else { "unknown" };
        let (session, _) = bench.saved(name, 4).await;
        session.remove().await.unwrap();
        let writer = if known { session } else { bench.session(name) };
        let none = || CommitOptions::new().first();
        assert_eq!(writer.save_with("anew", none().after(3)).await.unwrap_err().kind(), ErrorKind::Conflict);
        let anew = writer.save_with("anew", none()).await.unwrap();
        assert!(anew.seq == 6 && anew.keyframe, "it is not made of the marker");
        for again in [&writer, &bench.session(name)] {
            assert_eq!(again.save_with("again", none()).await.unwrap_err().kind(), ErrorKind::Conflict);
        }
        assert_eq!(writer.save_with("next", none().after(6)).await.unwrap().seq, 7);
    }
}

/// A fork and an import begin with commit 1, which a removed session has had: they say so.
#[tokio::test]
async fn no_fork_and_no_import_goes_into_a_removed_session() {
    let bench = Bench::new(3);
    let (session, _) = bench.saved("s", 2).await;
    session.remove().await.unwrap();
    let (other, _) = bench.saved("other", 2).await;
    let mut archive = Vec::new();
    other.export(&mut archive).await.unwrap();
    for _ in 0..2 {
        let before = bench.adapter.keys().await;
        for error in [
            other.fork("s", 1).await.map(drop).unwrap_err(),
            bench.session("s").import(&mut &archive[..]).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
            assert!(error.to_string().contains("was removed"), "{error}");
        }
        assert_eq!(bench.adapter.keys().await, before);
        bench.hours(5);
        session.remove().await.unwrap();
    }
}

/// The marker takes the number that a writer of the fork would take.
#[tokio::test]
async fn the_marker_of_a_fork_whose_start_is_damaged_fences_its_writers() {
    for missing in [false, true] {
        let bench = Bench::new(4);
        let (main, _) = bench.saved("main", 5).await;
        main.fork("fork", 5).await.unwrap();
        let known = bench.session("fork");
        known.rebase().await.unwrap();
        if missing {
            bench.lose("main", 5).await
        } else {
            bench.damage("main", 5).await
        };
        bench.session("fork").remove().await.unwrap();
        assert_eq!(known.save("late").await.unwrap_err().kind(), ErrorKind::Conflict, "{missing}");
        assert!(bench.keys("/fork/c/").await.contains(&commit_key("fork", 6)));
        assert_eq!(bench.session("fork").load(At::Latest).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn who_was_fenced_off_stays_so_behind_the_removal_of_a_damaged_session() {
    let bench = Bench::new(5);
    let states = growing(5, 4);
    let old = bench.session("s");
    old.save(states[0].clone()).await.unwrap();
    let owner = bench.session("s");
    owner.take_over().await.unwrap();
    owner.save(states[1].clone()).await.unwrap();
    bench.damage("s", 3).await;
    bench.session("s").remove().await.unwrap();
    old.rebase().await.unwrap();
    let error = old.save("late").await.unwrap_err();
    assert!(error.kind() == ErrorKind::Conflict && error.to_string().contains("taken over"), "{error}");
}

/// The marker still says who the owner is.
#[tokio::test]
async fn who_was_fenced_off_stays_so_where_a_session_that_began_anew_is_damaged() {
    let bench = Bench::new(8);
    let (old, _) = bench.saved("s", 2).await;
    let owner = bench.session("s");
    owner.take_over().await.unwrap();
    owner.remove().await.unwrap();
    assert_eq!(bench.session("s").save("anew").await.unwrap().epoch, 1);
    bench.damage("s", 5).await;
    let writer = bench.session("s");
    assert_eq!(writer.load_with_fallback(At::Latest).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(writer.save("behind the damage").await.unwrap().epoch, 1);
    old.rebase().await.unwrap();
    assert_eq!(old.save("late").await.unwrap_err().kind(), ErrorKind::Conflict);
}

/// The pairs of the format itself.
#[tokio::test]
async fn reserved_metadata_is_refused() {
    let bench = Bench::new(6);
    let session = bench.sessions.clone().inline_limit(100).stream_limit(200).session("a", "s").unwrap();
    for name in ["persist-removed", "persist-anything"] {
        let options = || CommitOptions::new().metadata(name, "");
        let background = session.background(1);
        background.save("", options()).await.unwrap();
        for error in [
            session.save_with("", options()).await.unwrap_err(),
            session.save_values_with(&[("v", "".into())], options()).await.unwrap_err(),
            session.save_stream_with(&b"short"[..], options()).await.unwrap_err(),
            session.save_stream_with(&[7; 1000][..], options()).await.unwrap_err(),
            background.flush().await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(name) && error.to_string().contains("reserved"), "{error}");
        }
    }
    assert!(bench.adapter.keys().await.is_empty());
    session.save_with("", CommitOptions::new().metadata("persistent", "")).await.unwrap();
}

/// A fork that was removed has given up what it came from, before and after the next prune.
#[tokio::test]
async fn a_removed_fork_shows_nothing_of_its_source() {
    for fallback in [false, true] {
        let bench = Bench::new(9);
        let (source, states) = bench.saved("source", 3).await;
        let fork = source.fork("fork", 3).await.unwrap();
        fork.save("of the fork").await.unwrap();
        fork.remove().await.unwrap();
        let time = bench.clock.time();
        let gone = async |seqs_left: &[u64]| {
            let reader = bench.session("fork");
            for at in [At::Seq(2), At::Seq(3), At::Time(time)] {
                for result in [
                    reader.load(at.clone()).await.map(drop),
                    reader.load_with_fallback(at.clone()).await.map(drop),
                    reader.show(at.clone()).await.map(drop),
                    reader.fork("other", at.clone()).await.map(drop),
                ] {
                    assert_eq!(result.unwrap_err().kind(), ErrorKind::NotFound, "{at}");
                }
            }
            assert_eq!(seqs(&reader).await, seqs_left);
        };
        gone(&[]).await;
        bench.hours(5);
        assert_eq!(bench.session("fork").save("anew").await.unwrap().seq, 6);
        gone(&[6]).await;
        let pruned = bench.session("fork").prune(Retention::new().last(1)).await.unwrap();
        assert_eq!(pruned.removed, [5, 4]);
        gone(&[6]).await;
        assert_eq!(bench.keys("/fork/").await.len(), 2, "the commit and the line");
        assert!(bench.session("fork").verify().await.unwrap().is_good());
        if fallback {
            bench.damage("fork", 6).await;
            let error = bench.session("fork").load_with_fallback(At::Latest).await.unwrap_err();
            assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&commit_key("fork", 6))));
        }
        assert!(bench.session("source").load(3).await.unwrap().state == states[2]);
        assert_eq!(source.fork("fork", 3).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        bench.hours(5);
        source.remove().await.unwrap();
    }
}

/// The answer was lost, and the marker came behind the next call's look.
#[tokio::test]
async fn a_removal_is_no_rival_of_itself() {
    for anew in [false, true] {
        let bench = Bench::new(10);
        bench.saved("s", 5).await.0.tag("t", 5).await.unwrap();
        let (fault, sessions) = bench.faulty();
        let session = sessions.session("a", "s").unwrap();
        fault.inject(Operation::Put, Injection::After(ErrorKind::Timeout));
        // What finds the newest reads one object, and what is sure of it the line.
        fault.inject_later(Operation::Get, 2, Injection::Before(ErrorKind::Timeout));
        assert_eq!(session.remove().await.unwrap_err().kind(), ErrorKind::Timeout);
        let marker = bench.lose("s", 6).await;
        let go_on = Arc::new(Notify::new());
        fault.inject(Operation::Put, Injection::Hold(go_on.clone()));
        let mut remove = Box::pin(session.remove());
        assert!((&mut remove).now_or_never().is_none());
        bench.set("s", 6, marker).await;
        if anew {
            // Not what the removal has seen.
            bench.session("s").save("anew").await.unwrap();
        }
        go_on.notify_one();
        let removed = remove.await;
        if anew {
            assert_eq!(removed.unwrap_err().kind(), ErrorKind::Conflict)
        } else {
            drop(removed.unwrap())
        }
        assert_eq!(bench.keys("/t/").await.len(), usize::from(anew));
        assert_eq!(seqs(&bench.session("s")).await, if anew { &[7][..] } else { &[] });
    }
}

/// A save that comes late behind the removal of its own handle, or before it.
#[tokio::test]
async fn a_removal_does_not_forget_its_handles_own_saves() {
    for ended in [false, true] {
        let bench = Bench::new(11);
        bench.saved("s", 5).await;
        let (fault, sessions) = bench.faulty();
        let session = sessions.session("a", "s").unwrap();
        if ended {
            session.remove().await.unwrap();
        }
        session.rebase().await.unwrap();
        let seq = if ended { 7 } else { 6 };
        fault.inject(Operation::Put, Injection::After(ErrorKind::Timeout));
        fault.inject(Operation::Get, Injection::Before(ErrorKind::Timeout));
        assert_eq!(session.save("late").await.unwrap_err().kind(), ErrorKind::Timeout);
        let late = bench.lose("s", seq).await;
        if ended {
            session.remove().await.unwrap();
            bench.set("s", seq, late).await;
        } else {
            let go_on = Arc::new(Notify::new());
            fault.inject(Operation::Put, Injection::Hold(go_on.clone()));
            let mut remove = Box::pin(session.remove());
            assert!((&mut remove).now_or_never().is_none());
            bench.set("s", seq, late).await;
            go_on.notify_one();
            remove.await.unwrap();
            assert!(seqs(&bench.session("s")).await.is_empty());
        }
        assert_eq!(session.save("next").await.unwrap().seq, 8);
        assert_eq!(seqs(&bench.session("s")).await, if ended { &[8, 7][..] } else { &[8] });
    }
}

/// A tag that is moved into the session that has begun anew, while the removal is about to delete it.
#[tokio::test]
async fn a_removal_takes_no_tag_that_was_moved_since() {
    let bench = Bench::new(30);
    let (session, _) = bench.saved("s", 3).await;
    session.tag("release", 3).await.unwrap();
    let (fault, sessions) = bench.faulty();
    let go_on = Arc::new(Notify::new());
    fault.inject(Operation::Delete, Injection::Hold(go_on.clone()));
    let remover = sessions.session("a", "s").unwrap();
    let mut removal = remover.remove().boxed();
    assert!((&mut removal).now_or_never().is_none());
    let anew = bench.session("s");
    assert_eq!(anew.save("anew").await.unwrap().seq, 5);
    assert_eq!(anew.move_tag("release", 5).await.unwrap().seq, 5);
    go_on.notify_one();
    removal.await.unwrap();
    assert_eq!(bench.session("s").load(At::Tag("release".into())).await.unwrap().state, "anew");
}
