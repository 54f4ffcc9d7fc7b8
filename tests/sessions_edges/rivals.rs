//! Handles that know less than their callers, or more than is left: none of them writes over what nobody has
//! seen.

use std::{io::Cursor, sync::Arc};

use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::{At, CommitOptions},
};

use tokio::sync::Notify;

use super::{Bench, noise, seqs};

fn after(seq: u64) -> CommitOptions {
    CommitOptions::new().after(seq)
}

/// What comes back in place of a damaged commit is not the newest.
#[tokio::test]
async fn who_fell_back_from_a_commit_writes_over_no_newer_one() {
    for (harm, loaded) in [("none", 3), ("damage", 2), ("loss", 2)] {
        let bench = Bench::new(20);
        let writer = bench.session("s");
        let mut commits = Vec::new();
        for seed in 1..=6 {
            bench.clock.pass(60_000);
            commits.push(writer.save(noise(seed, 3000)).await.unwrap());
        }
        writer.tag("three", 3).await.unwrap();
        match harm {
            "damage" => drop(bench.damage("s", 3).await),
            "loss" => drop(bench.lose("s", 3).await),
            _ => {}
        }
        let mut ways = vec![At::Seq(3), At::Tag("three".into())];
        // Of a commit that is missing, nobody knows its id.
        if harm != "loss" {
            ways.extend([At::Id(commits[2].id), At::Time(commits[2].time)]);
        }
        for at in ways {
            let before = bench.keys("/s/c/").await;
            let handle = bench.session("s");
            let good = handle.load_with_fallback(at.clone()).await.unwrap();
            assert_eq!((good.commit.seq, good.skipped.is_empty()), (loaded, harm == "none"), "{harm} {at}");
            for _ in 0..2 {
                let error = handle.save("made of an old state").await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Conflict, "{harm} {at}: {error}");
                assert!(error.to_string().contains("rebase or fork to go on"), "{error}");
            }
            assert_eq!(bench.keys("/s/c/").await, before, "{harm} {at}");
            assert_eq!(handle.rebase().await.unwrap().unwrap().commit.seq, 6);
        }
        let handle = bench.session("s");
        handle.load_with_fallback(3).await.unwrap();
        handle.rebase().await.unwrap();
        assert_eq!(handle.save("made of the newest").await.unwrap().seq, 7);
    }
}

/// Where the damaged commit is the newest, and in a fork whose start is damaged: a rebase tells, and the
/// fallback goes on behind it.
#[tokio::test]
async fn a_fallback_from_a_number_is_a_conflict_until_the_newest_was_looked_for() {
    for fork in [false, true] {
        let bench = Bench::new(21);
        let (session, _) = bench.saved("s", 4).await;
        let name = if fork { "fork" } else { "s" };
        if fork {
            session.fork(name, 4).await.unwrap();
        }
        bench.damage("s", 4).await;
        let handle = bench.session(name);
        assert_eq!(handle.load_with_fallback(4).await.unwrap().commit.seq, 3);
        assert_eq!(handle.save("late").await.unwrap_err().kind(), ErrorKind::Conflict, "{fork}");
        assert_eq!(handle.rebase().await.unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(handle.load_with_fallback(At::Latest).await.unwrap().commit.seq, 3);
        assert_eq!(handle.save("behind").await.unwrap().seq, 5, "{fork}");
    }
}

/// The caller has seen the newest commit, and its handle has not.
#[tokio::test]
async fn a_condition_that_is_met_is_no_conflict_whatever_the_handle_saw() {
    let bench = Bench::new(22);
    let open = || bench.sessions.clone().inline_limit(1000).stream_limit(6000).session("a", "s").unwrap();
    let (one, two, three) = (open(), open(), open());
    assert_eq!(three.load(At::Latest).await.unwrap_err().kind(), ErrorKind::NotFound);
    one.save("one").await.unwrap();
    let theirs = two.save("two").await.unwrap();
    assert_eq!(one.load(At::Latest).await.unwrap().commit.seq, 2);
    let third = one.save_with("three", after(2)).await.unwrap();
    assert_eq!((third.seq, third.parent), (3, Some(theirs.id)));
    // One that saw no commit at all, and a state that is too long for memory.
    let fourth = three.save_stream_with(Cursor::new(noise(22, 9000)), after(3)).await.unwrap();
    assert_eq!((fourth.seq, fourth.parent), (4, Some(third.id)));
    // A session that was removed meanwhile has no commit.
    two.rebase().await.unwrap();
    two.remove().await.unwrap();
    assert_eq!(one.save_with("anew", CommitOptions::new().first()).await.unwrap().seq, 6);
}

/// Its own commit, whose answer was lost and which it was shown since.
#[tokio::test]
async fn a_condition_on_an_own_commit_is_met() {
    let bench = Bench::new(23);
    let (fault, sessions) = bench.faulty();
    let session = sessions.session("a", "s").unwrap();
    session.save("one").await.unwrap();
    fault.inject(Operation::Put, Injection::After(ErrorKind::Timeout));
    fault.inject(Operation::Get, Injection::Before(ErrorKind::Timeout));
    assert_eq!(session.save("two").await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(session.load(At::Latest).await.unwrap().commit.seq, 2);
    assert_eq!(session.save_with("three", after(2)).await.unwrap().seq, 3);
    assert_eq!(seqs(&session).await, [3, 2, 1]);
}

#[tokio::test]
async fn a_condition_that_is_not_met_moves_no_handle() {
    let bench = Bench::new(24);
    let (one, two) = (bench.session("s"), bench.session("s"));
    one.save("one").await.unwrap();
    for state in ["two", "three"] {
        bench.clock.pass(1000);
        two.load(At::Latest).await.unwrap();
        two.save(state).await.unwrap();
    }
    for expected in [2, 4] {
        let error = one.save_with("lost update", after(expected)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        let text = format!("has commit 3 as its newest, not {expected}; rebase to go on");
        assert!(error.to_string().contains(&text), "{error}");
    }
    assert_eq!(one.seen().await, Some(1));
    assert_eq!(one.save("lost update").await.unwrap_err().kind(), ErrorKind::Conflict);
    // Who lost stays so until a rebase, and who was fenced off for good.
    assert_eq!(one.save_with("lost update", after(3)).await.unwrap_err().kind(), ErrorKind::Conflict);
    let fenced = bench.session("s");
    fenced.load(At::Latest).await.unwrap();
    assert_eq!(two.take_over().await.unwrap().commit.seq, 4);
    let error = fenced.save_with("late", after(4)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Conflict && error.to_string().contains("taken over"), "{error}");
    assert_eq!(seqs(&two).await, [4, 3, 2, 1]);
}

/// What was queued beside a state that is made of a rival's is not.
#[tokio::test]
async fn a_condition_that_moves_the_handle_takes_nothing_queued_along() {
    let bench = Bench::new(25);
    let (one, two) = (bench.session("s"), bench.session("s"));
    one.save("one").await.unwrap();
    two.save("two").await.unwrap();
    let background = one.background(8);
    background.save("two, three", after(2)).await.unwrap();
    background.save("made of one", CommitOptions::new()).await.unwrap();
    assert_eq!(background.flush().await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(bench.session("s").load(At::Latest).await.unwrap().state, "two, three");

    // What says that it is made of the one before it is saved behind that.
    two.rebase().await.unwrap();
    two.save("four").await.unwrap();
    background.save("four, five", after(4)).await.unwrap();
    background.save("four, five, six", after(5)).await.unwrap();
    assert_eq!(background.flush().await.unwrap().unwrap().seq, 6);
}

/// A commit of this handle arrived without an answer, and its body is gone by the time that it is found.
#[tokio::test]
async fn an_earlier_commit_without_its_body_is_not_acknowledged() {
    for (gone, same) in [(true, true), (true, false), (false, true), (false, false)] {
        let bench = Bench::new(26);
        let (fault, sessions) = bench.faulty();
        let session = sessions.inline_limit(1000).stream_limit(6000).session("a", "s").unwrap();
        session.save("one").await.unwrap();
        fault.inject_later(Operation::Put, 1, Injection::After(ErrorKind::Timeout));
        fault.inject(Operation::Get, Injection::Before(ErrorKind::Timeout));
        let state = noise(26, 5000);
        assert_eq!(session.save(state.clone()).await.unwrap_err().kind(), ErrorKind::Timeout);
        bench.hours(25);
        if gone {
            bench.adapter.remove(&bench.adapter.key("/b/").await).await;
        }
        let next = if same { state.clone() } else { [&state[..], b" and on"].concat() };
        let saved = session.save(next.clone()).await;
        if gone {
            assert_eq!(saved.unwrap_err().kind(), ErrorKind::Timeout, "{same}");
            assert_eq!(session.save(next.clone()).await.unwrap_err().kind(), ErrorKind::Conflict);
            assert_eq!(session.rebase().await.unwrap().unwrap().commit.seq, 1, "nobody can read it");
            session.save(next.clone()).await.unwrap();
        } else {
            assert_eq!(saved.unwrap().seq, if same { 2 } else { 3 });
        }
        assert!(bench.session("s").load(At::Latest).await.unwrap().state == next, "{gone} {same}");
    }
}

/// A clone's save that waits while its handle goes over to a rival's commit: its state knows nothing of that.
#[tokio::test]
async fn a_save_that_waits_for_a_rebase_of_a_clone_is_a_conflict() {
    for (take_over, long) in [(false, false), (false, true), (true, false), (true, true)] {
        let bench = Bench::new(27);
        let (fault, sessions) = bench.faulty();
        let session = sessions.inline_limit(1000).stream_limit(6000).session("a", "s").unwrap();
        session.save("one").await.unwrap();
        let rival = bench.session("s");
        rival.load(At::Latest).await.unwrap();
        rival.save("theirs").await.unwrap();
        assert_eq!(session.save("mine").await.unwrap_err().kind(), ErrorKind::Conflict);
        // The look for the newest has the handle.
        let go_on = Arc::new(Notify::new());
        fault.reset_calls();
        fault.inject(Operation::List, Injection::Hold(go_on.clone()));
        let (leader, clone) = (session.clone(), session.clone());
        let leader = tokio::spawn(async move {
            if take_over {
                leader.take_over().await.unwrap().commit.seq
            } else {
                leader.rebase().await.unwrap().unwrap().commit.seq
            }
        });
        while fault.calls(Operation::List) < 1 {
            tokio::task::yield_now().await;
        }
        let save = tokio::spawn(async move {
            if long {
                clone.save_stream(Cursor::new(noise(27, 9000))).await
            } else {
                clone.save("made of one").await
            }
        });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        go_on.notify_one();
        let newest = leader.await.unwrap();
        let error = save.await.unwrap().unwrap_err();
        assert!(error.kind() == ErrorKind::Conflict && error.to_string().contains("rebased"), "{error}");
        assert_eq!(bench.session("s").load(At::Latest).await.unwrap().state, "theirs");
        // Told once: what comes next is made of what the handle has now.
        assert_eq!(session.save("made of theirs").await.unwrap().seq, newest + 1);
    }
}
