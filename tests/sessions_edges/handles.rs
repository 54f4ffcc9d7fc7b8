//! What a handle knows: of its own commits that may still arrive, of damage, and of what it was shown.

use std::{io::Cursor, sync::Arc};

use futures_util::FutureExt;
use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::{At, Checkpoints, CommitOptions, Session},
};
use tokio::sync::Notify;

use super::{Bench, Counting, TestClock, growing, noise, seqs, sessions};

/// The first attempt arrived, and the credentials expired before the second one.
#[tokio::test]
async fn a_refusal_behind_a_lost_answer_makes_no_conflict_and_no_second_commit() {
    for kind in [ErrorKind::AccessDenied, ErrorKind::Unauthenticated, ErrorKind::NotFound] {
        let bench = Bench::new(1);
        let (fault, sessions) = bench.faulty();
        let session = sessions.session("a", "s").unwrap();
        session.save("one").await.unwrap();
        fault.inject(Operation::Put, Injection::After(kind));
        assert_eq!(session.save("two").await.unwrap_err().kind(), kind);
        assert_eq!(session.save("two").await.unwrap().seq, 2, "{kind:?}");
        assert_eq!(session.save("three").await.unwrap().seq, 3);
        assert_eq!(seqs(&session).await, [3, 2, 1]);
    }
}

/// A look that finds nothing new, while an own commit is on its way.
#[tokio::test]
async fn a_rebase_forgets_no_commit_that_may_still_arrive() {
    for way in ["rebase", "resume", "another's"] {
        let bench = Bench::new(2);
        let (fault, sessions) = bench.faulty();
        let session = sessions.session("a", "s").unwrap();
        session.save("one").await.unwrap();
        fault.inject(Operation::Put, Injection::After(ErrorKind::Timeout));
        fault.inject(Operation::Get, Injection::Before(ErrorKind::Timeout));
        assert_eq!(session.save("two").await.unwrap_err().kind(), ErrorKind::Timeout);
        // The storage has it only later.
        let late = bench.lose("s", 2).await;
        match way {
            "rebase" => assert_eq!(session.rebase().await.unwrap().unwrap().commit.seq, 1),
            "resume" => {
                let resumed = Checkpoints::new(session.clone()).resume().await.unwrap().unwrap();
                assert_eq!(resumed.commit.seq, 1);
            }
            _ => {
                // Nothing can come where another commit is.
                bench.session("s").save("theirs").await.unwrap();
                assert_eq!(session.rebase().await.unwrap().unwrap().commit.seq, 2);
                assert_eq!(session.save("two").await.unwrap().seq, 3);
                continue;
            }
        }
        bench.set("s", 2, late).await;
        assert_eq!(session.save("two").await.unwrap().seq, 2, "{way}");
        assert_eq!(session.save("three").await.unwrap().seq, 3);
        assert_eq!(seqs(&session).await, [3, 2, 1]);
    }
}

/// Who looked, found nothing and made a first state may not put it on top of another's.
#[tokio::test]
async fn a_load_that_found_no_commit_is_what_saves_continue() {
    for way in ["load", "load_stream", "load_with_fallback", "rebase", "removed"] {
        let bench = Bench::new(3);
        if way == "removed" {
            bench.saved("s", 2).await.0.remove().await.unwrap();
        }
        let (one, two) = (bench.session("s"), bench.session("s"));
        for handle in [&one, &two] {
            let found = match way {
                "load_stream" => handle.load_stream(At::Latest).await.map(drop),
                "load_with_fallback" => handle.load_with_fallback(At::Latest).await.map(drop),
                "rebase" => {
                    assert!(handle.rebase().await.unwrap().is_none());
                    continue;
                }
                _ => handle.load(At::Latest).await.map(drop),
            };
            assert_eq!(found.unwrap_err().kind(), ErrorKind::NotFound, "{way}");
        }
        one.save("first state of one").await.unwrap();
        let error = two.save("first state of two").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{way}");
        assert_eq!(two.rebase().await.unwrap().unwrap().state, "first state of one");
        two.save("both").await.unwrap();
    }
    // What this handle itself made of the session is no rival's.
    let bench = Bench::new(4);
    let (main, states) = bench.saved("main", 3).await;
    let (fork, copy) = (bench.session("fork"), bench.session("copy"));
    for handle in [&fork, &copy] {
        assert_eq!(handle.load(At::Latest).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    main.fork_to(&fork, 2).await.unwrap();
    let mut archive = Vec::new();
    main.export(&mut archive).await.unwrap();
    copy.import(&mut &archive[..]).await.unwrap();
    for (handle, seq) in [(fork, 3), (copy, 4)] {
        assert_eq!(handle.save(states[2].clone()).await.unwrap().seq, seq);
    }
}

/// What a diff or a log looks at is not what saves continue, also where there is nothing.
#[tokio::test]
async fn a_look_that_is_no_load_binds_nobody() {
    let bench = Bench::new(5);
    let session = bench.session("s");
    assert_eq!(session.diff(At::Latest, At::Latest).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(session.show(At::Latest).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(session.seen().await, None);
    bench.session("s").save("theirs").await.unwrap();
    assert_eq!(session.save("mine").await.unwrap().seq, 2);
}

/// As in a session that is no fork: who was shown an older commit does not write over a newer one.
#[tokio::test]
async fn a_fork_goes_on_from_what_was_loaded_by_number() {
    for (shown, stream) in [(5, false), (5, true), (3, false), (3, true)] {
        let bench = Bench::new(6);
        let (main, states) = bench.saved("main", 6).await;
        main.fork("fork", 5).await.unwrap();
        let load = async |handle: &Session| {
            if !stream {
                assert_eq!(handle.load(shown).await.unwrap().commit.seq, shown)
            } else {
                assert_eq!(handle.load_stream(shown).await.unwrap().0.seq, shown)
            }
        };
        let (late, first) = (bench.session("fork"), bench.session("fork"));
        load(&late).await;
        if shown == 5 {
            // Nobody was faster.
            load(&first).await;
            let next = first.save(states[5].clone()).await.unwrap();
            assert!(next.seq == 6 && !next.keyframe, "{next:?}");
        } else {
            first.save(states[5].clone()).await.unwrap();
        }
        assert_eq!(late.seen().await, Some(shown));
        for _ in 0..2 {
            assert_eq!(late.save("lost update").await.unwrap_err().kind(), ErrorKind::Conflict);
            let long = late.save_stream(Cursor::new("lost update")).await.unwrap_err();
            assert_eq!(long.kind(), ErrorKind::Conflict, "{shown}");
            // The first load counts.
            late.load(At::Latest).await.unwrap();
        }
        assert_eq!(late.rebase().await.unwrap().unwrap().commit.seq, 6);
        assert_eq!(late.save("on top").await.unwrap().seq, 7);
        assert_eq!(seqs(&first).await, [7, 6, 5, 4, 3, 2, 1]);
        assert!(bench.keys("/fork/c/").await.len() == 3, "the origin and two commits");
        assert!(main.verify().await.unwrap().is_good() && first.verify().await.unwrap().is_good());
    }
}

/// A commit that a fork only shows puts no handle into its epoch: a rebase is enough to go on.
#[tokio::test]
async fn only_a_commit_that_can_be_continued_has_an_epoch_for_a_handle() {
    let bench = Bench::new(14);
    bench.saved("main", 3).await;
    let owner = bench.session("main");
    owner.take_over().await.unwrap();
    owner.save("the owner's").await.unwrap();
    owner.fork("fork", 5).await.unwrap();
    let late = bench.session("fork");
    late.load(3).await.unwrap();
    assert_eq!(late.save("lost update").await.unwrap_err().kind(), ErrorKind::Conflict);
    late.rebase().await.unwrap();
    let saved = late.save("on top").await.unwrap();
    assert_eq!((saved.seq, saved.epoch), (6, 1));
}

/// A first save whose answer was lost puts its writer into an epoch like any other.
#[tokio::test]
async fn who_saved_without_an_answer_is_fenced_off_by_a_take_over() {
    let bench = Bench::new(15);
    let (fault, sessions) = bench.faulty();
    let old = sessions.session("a", "s").unwrap();
    fault.inject(Operation::Put, Injection::After(ErrorKind::AccessDenied));
    old.save("first").await.unwrap_err();
    assert_eq!(old.save("first").await.unwrap().seq, 1);
    bench.session("s").take_over().await.unwrap();
    assert_eq!(old.remove().await.unwrap_err().kind(), ErrorKind::Conflict);
    old.rebase().await.unwrap();
    assert_eq!(old.save("late").await.unwrap_err().kind(), ErrorKind::Conflict);
}

/// A save of a clone is under way, as it nearly always is with saves in the background.
#[tokio::test]
async fn damage_is_heard_while_a_clone_saves() {
    for way in ["load", "verify", "load_with_fallback"] {
        let bench = Bench::new(7);
        let (fault, sessions) = bench.faulty();
        let session = sessions.session("a", "s").unwrap();
        let states = growing(7, 9);
        for state in &states[..5] {
            session.save(state.clone()).await.unwrap();
        }
        let go_on = Arc::new(Notify::new());
        fault.inject(Operation::Put, Injection::Hold(go_on.clone()));
        let saver = session.clone();
        let mut save = saver.save(states[5].clone()).boxed();
        assert!((&mut save).now_or_never().is_none());
        bench.damage("s", 5).await;
        match way {
            "verify" => assert!(!session.verify().await.unwrap().is_good()),
            "load" => assert_eq!(session.load(5).await.unwrap_err().kind(), ErrorKind::Corrupt),
            _ => assert_eq!(session.load_with_fallback(5).await.unwrap().commit.seq, 4),
        }
        go_on.notify_one();
        // It was on its way.
        assert_eq!(save.await.unwrap().seq, 6);
        let next = session.save(states[6].clone()).await.unwrap();
        assert!(next.keyframe, "{way}: {next:?}");
        assert!(bench.session("s").load(At::Latest).await.unwrap().state == states[6]);
        assert!(!session.save(states[7].clone()).await.unwrap().keyframe, "{way}: deltas again");
    }
}

/// The save under way finds the damage; the fallback goes on behind it all the same.
#[tokio::test]
async fn a_fallback_beside_a_save_that_fails_goes_on_behind_the_damage() {
    let bench = Bench::new(8);
    bench.saved("s", 3).await;
    bench.damage("s", 3).await;
    let (fault, sessions) = bench.faulty();
    let session = sessions.session("a", "s").unwrap();
    let go_on = Arc::new(Notify::new());
    fault.inject(Operation::List, Injection::Hold(go_on.clone()));
    let saver = session.clone();
    let save = tokio::spawn(async move { saver.save("blind").await });
    tokio::task::yield_now().await;
    let reader = session.clone();
    let good = tokio::spawn(async move { reader.load_with_fallback(At::Latest).await });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    go_on.notify_one();
    assert_eq!(save.await.unwrap().unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(good.await.unwrap().unwrap().commit.seq, 2);
    let next = session.save("behind").await.unwrap();
    assert_eq!((next.seq, next.parent, next.keyframe), (4, None, true));
}

/// Of a long state, damage shows only where it is read.
#[tokio::test]
async fn damage_in_the_middle_of_a_stream_is_heard() {
    for way in ["load_stream", "take_over"] {
        let bench = Bench::new(9);
        let session =
            bench.sessions.clone().inline_limit(1000).stream_limit(600_000).session("a", "s").unwrap();
        let state = noise(9, 50_000);
        assert!(session.save(state.clone()).await.unwrap().keyframe);
        let body = bench.keys("/b/").await.remove(0);
        bench.adapter.flip(&body, 40_000).await;
        if way == "load_stream" {
            let (_, stream) = session.load_stream(At::Latest).await.unwrap();
            assert_eq!(stream.collect(u64::MAX).await.unwrap_err().kind(), ErrorKind::Corrupt);
        } else {
            assert_eq!(session.take_over().await.unwrap_err().kind(), ErrorKind::Corrupt);
        }
        let next = [&state[..], b"a small change"].concat();
        assert!(session.save(next.clone()).await.unwrap().keyframe, "{way}");
        assert!(bench.session("s").load(At::Latest).await.unwrap().state == next);
    }
}

/// A save whose answer was lost is a delta on what was found to be damaged since: it is not what the caller
/// may rely on.
#[tokio::test]
async fn a_lost_save_on_damage_is_not_acknowledged() {
    for damaged in [true, false] {
        let bench = Bench::new(10);
        let (fault, sessions) = bench.faulty();
        let session = sessions.session("a", "s").unwrap();
        let states = growing(10, 7);
        for state in &states[..5] {
            session.save(state.clone()).await.unwrap();
        }
        fault.inject(Operation::Put, Injection::After(ErrorKind::Timeout));
        fault.inject(Operation::Get, Injection::Before(ErrorKind::Timeout));
        session.save(states[5].clone()).await.unwrap_err();
        if damaged {
            bench.damage("s", 5).await;
            assert!(!session.verify().await.unwrap().is_good());
        }
        let saved = session.save(states[5].clone()).await.unwrap();
        assert_eq!((saved.seq, saved.keyframe), if damaged { (7, true) } else { (6, false) });
        assert!(bench.session("s").load(saved.seq).await.unwrap().state == states[5]);
    }
}

/// Damage elsewhere is no reason to make it again.
#[tokio::test]
async fn a_lost_save_beside_damage_is_found() {
    let bench = Bench::new(13);
    let (fault, sessions) = bench.faulty();
    let session = sessions.session("a", "s").unwrap();
    session.save(noise(13, 3000)).await.unwrap();
    let states = growing(13, 7);
    for state in &states[..5] {
        session.save(state.clone()).await.unwrap();
    }
    fault.inject(Operation::Put, Injection::After(ErrorKind::Timeout));
    fault.inject(Operation::Get, Injection::Before(ErrorKind::Timeout));
    session.save(states[5].clone()).await.unwrap_err();
    bench.damage("s", 1).await;
    assert!(!session.verify().await.unwrap().is_good());
    // Whether it is whole is not known at first, and must not be forgotten over that.
    fault.inject_later(Operation::Get, 1, Injection::Before(ErrorKind::Unavailable));
    assert_eq!(session.save(states[5].clone()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let saved = session.save(states[5].clone()).await.unwrap();
    assert_eq!((saved.seq, saved.keyframe), (7, false));
    let next = session.save(states[6].clone()).await.unwrap();
    assert_eq!((next.seq, next.keyframe), (8, true));
    assert!(bench.session("s").load(At::Latest).await.unwrap().state == states[6]);
}

/// Removing is writing: who was fenced off may not, and is not let in again by it.
#[tokio::test]
async fn who_was_fenced_off_removes_nothing() {
    for ended in [false, true] {
        let bench = Bench::new(11);
        let (old, _) = bench.saved("s", 2).await;
        let owner = bench.session("s");
        owner.take_over().await.unwrap();
        if ended {
            owner.remove().await.unwrap();
        }
        for _ in 0..2 {
            let error = old.remove().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
            assert!(error.to_string().contains("taken over"), "{error}");
            assert_eq!(old.save("late").await.unwrap_err().kind(), ErrorKind::Conflict);
        }
        assert_eq!(owner.save("the owner's").await.unwrap().epoch, 1);
        assert_eq!(bench.session("s").load(At::Latest).await.unwrap().state, "the owner's");
        // The owner may, also one whose answer was lost.
        owner.remove().await.unwrap();
        assert_eq!(owner.save("anew").await.unwrap().epoch, 1);
    }
    let bench = Bench::new(12);
    bench.saved("s", 2).await;
    let (fault, sessions) = bench.faulty();
    let owner = sessions.session("a", "s").unwrap();
    owner.load(At::Latest).await.unwrap();
    fault.inject(Operation::Put, Injection::After(ErrorKind::Timeout));
    fault.inject_later(Operation::Get, 1, Injection::Before(ErrorKind::Timeout));
    owner.take_over().await.unwrap_err();
    owner.remove().await.unwrap();
}

/// Nobody can say more than is known.
#[tokio::test]
async fn a_failure_in_the_background_does_not_say_more_than_is_known() {
    for (kind, text) in [
        (
            ErrorKind::Timeout,
            "it is not known whether the state of step 3 of a/s was saved, and 1 state behind it was not:",
        ),
        (ErrorKind::AccessDenied, "the state of step 3 of a/s was not saved, nor was 1 state behind it:"),
    ] {
        let bench = Bench::new(14);
        let (fault, sessions) = bench.faulty();
        let background = sessions.session("a", "s").unwrap().background(8);
        fault.inject(Operation::Put, Injection::Before(kind));
        for step in [3, 4] {
            background.save("state", CommitOptions::new().step(step)).await.unwrap();
        }
        let error = background.flush().await.unwrap_err();
        assert!(error.message().starts_with(text), "{error}");
    }
}

/// Its id is the commit's only as far as chance goes: processes that were cloned with their memory draw the
/// same one.
#[tokio::test]
async fn two_writers_that_draw_the_same_id_do_not_both_win() {
    let adapter = Counting::memory();
    let open = || sessions(&adapter, &TestClock::new(15)).session("a", "s").unwrap();
    let (one, two) = (open(), open());
    for handle in [&one, &two] {
        assert!(handle.rebase().await.unwrap().is_none());
    }
    let first = one.save("one").await.unwrap();
    let error = two.save("two").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(two.rival().await.unwrap().commit().id, first.id);
    assert_eq!(two.rebase().await.unwrap().unwrap().state, "one");
    assert_eq!(two.save("two").await.unwrap().seq, 2);
}

/// The clock of who wrote before the damage was ahead.
#[tokio::test]
async fn what_goes_on_behind_damage_is_not_older_than_what_lies_before_it() {
    let adapter = Counting::memory();
    let (ahead, right) = (TestClock::new(16), TestClock::new(17));
    ahead.pass(3_600_000);
    let writer = sessions(&adapter, &ahead).session("a", "s").unwrap();
    let mut ids = Vec::new();
    for seq in 1..=7 {
        ahead.pass(1000);
        ids.push(writer.save(noise(seq, 500)).await.unwrap().id);
    }
    let newest = super::commit_key("s", 7);
    let last = adapter.raw(&newest).await.len() - 1;
    adapter.flip(&newest, last).await;
    let next = sessions(&adapter, &right).session("a", "s").unwrap();
    assert_eq!(next.load_with_fallback(At::Latest).await.unwrap().commit.seq, 6);
    let behind = next.save("behind").await.unwrap();
    assert!(behind.seq == 8 && behind.id.time() >= ids[5].time());
    for seq in 1..=6 {
        assert_eq!(next.show(At::Id(ids[seq - 1])).await.unwrap().seq, seq as u64);
    }
}

/// On a local disk it can be read before it is durable, and the sync may have failed.
#[tokio::test]
async fn a_commit_that_is_found_behind_an_error_is_put_once_more() {
    let bench = Bench::new(16);
    let (fault, sessions) = bench.faulty();
    let session = sessions.session("a", "s").unwrap();
    session.save("one").await.unwrap();
    fault.reset_calls();
    fault.inject(Operation::Put, Injection::After(ErrorKind::Io));
    assert_eq!(session.save("two").await.unwrap().seq, 2);
    assert_eq!(fault.calls(Operation::Put), 2);
    for next in ["three", "four"] {
        // Neither the save that made it nor one that finds it.
        fault.inject(Operation::Put, Injection::After(ErrorKind::Io));
        for _ in 0..3 {
            fault.inject(Operation::Put, Injection::Before(ErrorKind::Io));
        }
        for _ in 0..2 {
            let error = session.save("three").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        }
        assert_eq!(session.save(next).await.unwrap().seq, if next == "three" { 3 } else { 5 });
    }
    assert_eq!(seqs(&session).await, [5, 4, 3, 2, 1]);
    assert_eq!(session.load(4).await.unwrap().state, "three");
    // It goes in between.
    fault.inject(Operation::Put, Injection::After(ErrorKind::Io));
    let go_on = Arc::new(Notify::new());
    fault.inject(Operation::Put, Injection::Hold(go_on.clone()));
    let mut save = Box::pin(session.save("six"));
    assert!((&mut save).now_or_never().is_none());
    bench.lose("s", 6).await;
    go_on.notify_one();
    assert_eq!(save.await.unwrap().seq, 6);
    assert_eq!(session.save("seven").await.unwrap().seq, 7);
    assert_eq!(bench.session("s").load(6).await.unwrap().state, "six");
}

/// A handle is of the epoch of the first commit that it loads, however old that is. Who meets that by an old
/// commit's number is told the way out.
#[tokio::test]
async fn a_handle_that_loaded_what_lies_before_a_take_over_is_told_to_be_opened_anew() {
    let bench = Bench::new(17);
    bench.saved("s", 3).await;
    bench.session("s").take_over().await.unwrap();
    let late = bench.session("s");
    late.load(2).await.unwrap();
    late.rebase().await.unwrap();
    let error = late.save("made of 4").await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::Conflict && error.message().contains("open the session anew"),
        "{error}"
    );
    let anew = bench.session("s");
    anew.rebase().await.unwrap();
    assert_eq!(anew.save("made of 4").await.unwrap().seq, 5);
}
