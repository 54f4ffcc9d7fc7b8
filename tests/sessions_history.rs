//! Tags, forks, prunes, streams, differences, background saves, checkpoints and lists, without faults.
#![allow(clippy::unwrap_used)]

mod sessions_support;

use std::{sync::Arc, time::Duration};

use futures_util::TryStreamExt;
use persist::{
    ErrorKind,
    layers::{Fault, Injection, Operation},
    sessions::*,
};
use sessions_support::*;

/// The real clock: what the memory adapter stamps objects with. Windows of a minute make everything young.
fn real(adapter: &Counting) -> Sessions {
    Sessions::new(Arc::new(adapter.clone())).unwrap()
}

async fn saved(session: &Session, states: &[Vec<u8>]) {
    for state in states {
        session.save(state.clone()).await.unwrap();
    }
}

/// What was saved loads, however well it compresses: as a keyframe, as a delta, and as one that repeats its
/// base.
#[tokio::test]
async fn no_state_that_was_saved_is_taken_for_a_bomb() {
    let adapter = Counting::memory();
    let session = real(&adapter).session("agent", "zeros").unwrap();
    let repeated = growing(1, 1).remove(0).repeat(800_000);
    for state in [vec![0; 70 << 20], vec![0; 71 << 20], b"short".to_vec(), repeated[..70 << 20].to_vec()] {
        session.save(state.clone()).await.unwrap();
        let other = real(&adapter).session("agent", "zeros").unwrap();
        assert!(other.load(At::Latest).await.unwrap().state == state);
    }
}

#[tokio::test]
async fn a_fork_copies_nothing_and_goes_on_by_itself() {
    let adapter = Counting::today();
    let sessions = real(&adapter);
    let main = sessions.session("agent", "main").unwrap();
    let states = growing(21, 120);
    saved(&main, &states[..100]).await;
    let (objects, before) = (adapter.keys().await.len(), adapter.counts());
    let fork = main.fork("branch", At::Seq(90)).await.unwrap();
    // The reference and the origin.
    assert_eq!((adapter.keys().await.len(), (adapter.counts() - before).put), (objects + 2, 2));
    assert_eq!(fork.load(At::Latest).await.unwrap().state, states[89]);
    for state in &states[90..120] {
        fork.save(state.clone()).await.unwrap();
    }
    let other = sessions.session("agent", "branch").unwrap();
    assert_eq!(seqs(&other).await, (1..=120).rev().collect::<Vec<_>>());
    for seq in [1, 89, 90, 91, 105, 120] {
        assert_eq!(other.load(seq).await.unwrap().state, states[seq as usize - 1], "{seq}");
    }
    let log: Vec<Commit> = other.log().try_collect().await.unwrap();
    assert_eq!((log[29].session.as_str(), log[30].session.as_str()), ("branch", "main"));
    assert_eq!(log[29].parent, Some(log[30].id));
    // Deduplicated against the session that it comes from.
    assert!(log[..30].iter().all(|commit| !commit.keyframe));
    // By id and time as well, across the fork.
    assert_eq!(other.load(log[100].id).await.unwrap().commit, log[100]);
    assert_eq!(other.load(At::Time(log[100].time)).await.unwrap().commit.time, log[100].time);
    // The other line is as it was.
    assert_eq!(main.save(states[100].clone()).await.unwrap().seq, 101);
    assert_eq!(main.fork("branch", 3).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(main.fork("none", 300).await.unwrap_err().kind(), ErrorKind::NotFound);
    // A fork of the fork, from a commit of the first session.
    let third = other.fork("third", 50).await.unwrap();
    assert_eq!(third.save("x").await.unwrap().seq, 51);
    assert_eq!(seqs(&third).await, (1..=51).rev().collect::<Vec<_>>());
    assert!(!third.diff(49, 50).await.unwrap().is_empty());
    for session in [&main, &other, &third] {
        assert!(session.verify().await.unwrap().is_good());
    }
}

#[tokio::test]
async fn the_first_save_and_a_fork_to_that_name_exclude_each_other() {
    let adapter = Counting::memory();
    let sessions = real(&adapter);
    let main = sessions.session("a", "main").unwrap();
    saved(&main, &growing(1, 3)).await;
    let late = sessions.session("a", "branch").unwrap();
    assert!(late.rebase().await.unwrap().is_none());
    main.fork("branch", 2).await.unwrap();
    let error = late.save("mine").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("fork of a/main"), "{error}");
    assert_eq!(late.rebase().await.unwrap().unwrap().commit.seq, 2);
    assert_eq!(late.save("mine").await.unwrap().seq, 3);
}

#[tokio::test]
async fn tags_name_commits_and_move() {
    let sessions = real(&Counting::memory());
    let session = sessions.session("a", "s").unwrap();
    saved(&session, &growing(2, 5)).await;
    session.tag("release 1.0/β", 2).await.unwrap();
    session.tag("best", At::Latest).await.unwrap();
    assert_eq!(session.load(At::Tag("release 1.0/β".into())).await.unwrap().commit.seq, 2);
    assert_eq!(session.tag("best", 5).await.unwrap().seq, 5);
    let error = session.tag("best", 3).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("names commit 5 already"), "{error}");
    assert_eq!(session.load(At::Tag("best".into())).await.unwrap().commit.seq, 5);
    session.move_tag("best", 3).await.unwrap();
    let tags = session.tags().await.unwrap();
    let tags: Vec<_> = tags.iter().map(|tag| (tag.name.as_str(), tag.seq)).collect();
    assert_eq!(tags, [("best", 3), ("release 1.0/β", 2)]);
    session.untag("best").await.unwrap();
    session.untag("best").await.unwrap();
    assert_eq!(session.load(At::Tag("best".into())).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(session.tag("none", 77).await.unwrap_err().kind(), ErrorKind::NotFound);
    let fork = session.fork("f", 4).await.unwrap();
    assert_eq!(fork.tag("x", 4).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_prune_keeps_what_is_kept_and_what_that_is_made_of() {
    let adapter = Counting::memory();
    let clock = TestClock::new(31);
    let aged = Aged { inner: adapter.clone(), clock: clock.clone() };
    let sessions = Sessions::new(Arc::new(aged)).unwrap().clock(clock.clone());
    let session = sessions.session("a", "s").unwrap();
    let states = growing(31, 200);
    for state in &states {
        clock.pass(60_000);
        session.save(state.clone()).await.unwrap();
    }
    session.tag("keep", 17).await.unwrap();
    let fork = session.fork("branch", 101).await.unwrap();
    assert_eq!(session.prune(Retention::new()).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let would = session.prune_dry_run(Retention::new().last(1)).await.unwrap();
    assert!(would.dry_run && !would.removed.is_empty());
    assert_eq!(seqs(&session).await.len(), 200);
    let pruned = session.prune(Retention::new().last(1)).await.unwrap();
    assert_eq!((&pruned.removed, pruned.bytes), (&would.removed, would.bytes));
    let left = seqs(&session).await;
    assert_eq!(left.len() as u64, pruned.kept);
    // An hour of them is younger than the window.
    assert!((140..=200).all(|seq| left.contains(&seq)), "{left:?}");
    for (seq, state) in (1..).zip(&states) {
        match session.load(At::Seq(seq)).await {
            Ok(restored) => assert!(left.contains(&seq) && restored.state == *state),
            Err(error) => assert!(!left.contains(&seq) && error.kind() == ErrorKind::NotFound, "{error}"),
        }
    }
    assert!(left.contains(&17) && left.contains(&101) && left.len() < 140, "{left:?}");
    assert_eq!(fork.load(At::Latest).await.unwrap().state, states[100]);
    assert!(session.verify().await.unwrap().is_good());
    // Untagged, and later: only the newest, what it is made of, and the fork's.
    session.untag("keep").await.unwrap();
    clock.pass(24 * 3_600_000);
    session.prune(Retention::new().last(1)).await.unwrap();
    let left = seqs(&session).await;
    assert!(!left.contains(&17) || left.len() < 70, "{left:?}");
    assert!(session.verify().await.unwrap().is_good());
    assert_eq!(session.load(At::Latest).await.unwrap().state, states[199]);
    // The fork goes its own way; when nothing of it needs its source any more, the source is free to go.
    for n in 0..3u8 {
        clock.pass(24 * 3_600_000);
        let noise: Vec<u8> = (0..5000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 ^ n).collect();
        fork.save(noise).await.unwrap();
        fork.prune(Retention::new().last(1)).await.unwrap();
    }
    assert!(!adapter.keys().await.iter().any(|key| key.as_str().contains("/f/")));
    session.prune(Retention::new().last(1)).await.unwrap();
    assert_eq!(session.load(101).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(session.save("next").await.unwrap().seq, 201);
}

#[tokio::test]
async fn a_prune_that_broke_off_is_finished_by_the_next() {
    let (memory, clock) = (Counting::memory(), TestClock::new(32));
    let aged = Arc::new(Aged { inner: memory.clone(), clock: clock.clone() });
    let fault = Fault::new(aged);
    let sessions = Sessions::new(Arc::new(fault.clone())).unwrap().clock(clock.clone());
    let session = sessions.session("a", "s").unwrap();
    saved(&session, &growing(32, 40)).await;
    session.save(vec![9; 10]).await.unwrap();
    clock.pass(5 * 3_600_000);
    fault.inject_later(Operation::Delete, 10, Injection::Before(ErrorKind::Unavailable));
    assert_eq!(session.prune(Retention::new().last(1)).await.unwrap_err().kind(), ErrorKind::Unavailable);
    // What is left of the old history is no history.
    let left = seqs(&session).await;
    assert!(left[0] == 41 && left.len() < 10, "{left:?}");
    let verified = session.verify().await.unwrap();
    assert!(verified.garbage > 0 && verified.is_good());
    let pruned = session.prune(Retention::new().last(1)).await.unwrap();
    assert_eq!(pruned.removed.len() as u64, verified.garbage);
    assert_eq!(session.verify().await.unwrap().garbage, 0);
    // Announced and then dead: nothing was removed, and after a while another one may.
    clock.pass(3_600_000);
    session.save(vec![8; 10]).await.unwrap();
    clock.pass(5 * 3_600_000);
    fault.inject_later(Operation::List, 1, Injection::Before(ErrorKind::Unavailable));
    fault.inject_later(Operation::Put, 1, Injection::Before(ErrorKind::Unavailable));
    assert_eq!(session.prune(Retention::new().last(1)).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(session.prune(Retention::new().last(1)).await.unwrap_err().kind(), ErrorKind::Conflict);
    // A tag cancels what it finds.
    session.tag("t", 41).await.unwrap();
    assert!(session.prune(Retention::new().last(1)).await.unwrap().removed.is_empty());
}

#[tokio::test]
async fn a_long_stream_passes_through_and_a_large_body_is_an_object_of_its_own() {
    let adapter = Counting::memory();
    let sessions = real(&adapter).inline_limit(50_000).stream_limit(200_000);
    let session = sessions.session("a", "s").unwrap();
    let mut random = Random(3);
    let noise: Vec<u8> = (0..3_000_000).map(|_| random.next() as u8).collect();
    let lengths = [10, 100_000, 200_000, 200_001, 3_000_000];
    for len in lengths {
        let reader = std::io::Cursor::new(noise[..len].to_vec());
        let before = adapter.counts();
        let commit = session.save_stream(reader).await.unwrap();
        assert_eq!((commit.size, commit.digest), (len as u64, persist::Digest::of(&noise[..len])));
        assert_eq!((adapter.counts() - before).put, if len > 50_000 { 2 } else { 1 }, "{len}");
    }
    let other = sessions.session("a", "s").unwrap();
    for (seq, len) in (1u64..).zip(lengths) {
        let (commit, body) = other.load_stream(seq).await.unwrap();
        assert_eq!((commit.seq, body.collect(u64::MAX).await.unwrap().len()), (seq, len));
        assert!(other.load(seq).await.unwrap().state == noise[..len]);
    }
    let failing = persist::Body::from_stream(futures_util::stream::iter([
        Ok(bytes::Bytes::from(vec![1; 150_000])),
        Ok(bytes::Bytes::from(vec![1; 150_000])),
        Err(persist::Error::new(ErrorKind::Io, "the source broke")),
    ]));
    assert_eq!(session.save_body(failing).await.unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(session.save("after").await.unwrap().seq, 6);
    assert!(session.verify().await.unwrap().is_good());
}

/// Also where each commit is two objects, a load reads a bounded number.
#[tokio::test]
async fn a_load_reads_at_most_64_objects_however_large_the_changes() {
    let (adapter, clock) = (Counting::memory(), TestClock::new(31));
    let sessions = sessions(&adapter, &clock).inline_limit(500).stream_limit(64 << 20);
    let session = sessions.session("a", "s").unwrap();
    let (mut random, mut state, mut most) = (Random(31), Vec::new(), 0);
    for _ in 0..300 {
        state.extend((0..600).map(|_| random.next() as u8));
        session.save(state.clone()).await.unwrap();
        let before = adapter.counts();
        assert!(sessions.session("a", "s").unwrap().load(At::Latest).await.unwrap().state == state);
        most = most.max((adapter.counts() - before).get);
    }
    assert!(most > 30 && most <= 64, "{most}");
}

#[tokio::test]
async fn background_saves_report_at_the_next_call_and_flush_waits() {
    let adapter = Counting::memory();
    let fault = Fault::new(Arc::new(adapter.clone()));
    let sessions = Sessions::new(Arc::new(fault.clone())).unwrap();
    let session = sessions.session("a", "s").unwrap();
    let background = session.background(2);
    for state in growing(5, 20) {
        background.save(state, CommitOptions::new()).await.unwrap();
    }
    assert_eq!(background.flush().await.unwrap().unwrap().seq, 20);
    fault.inject(Operation::Put, Injection::Before(ErrorKind::AccessDenied));
    background.save("refused", CommitOptions::new()).await.unwrap();
    assert_eq!(background.flush().await.unwrap_err().kind(), ErrorKind::AccessDenied);
    background.save("fine", CommitOptions::new().label("l")).await.unwrap();
    let commit = background.flush().await.unwrap().unwrap();
    assert_eq!((commit.seq, commit.label.as_deref()), (21, Some("l")));
    // A rival: told once, and the queue goes on to refuse.
    sessions.session("a", "s").unwrap().save("rival").await.unwrap();
    background.save("stale", CommitOptions::new()).await.unwrap();
    assert_eq!(background.flush().await.unwrap_err().kind(), ErrorKind::Conflict);
    session.rebase().await.unwrap();
    background.save("mine", CommitOptions::new()).await.unwrap();
    assert_eq!(background.flush().await.unwrap().unwrap().seq, 23);
}

#[tokio::test]
async fn checkpoints_save_by_steps_and_by_time_and_resume() {
    let (adapter, clock) = (Counting::memory(), TestClock::new(8));
    let sessions = sessions(&adapter, &clock);
    let open = || sessions.session("a", "s").unwrap();
    let mut checkpoints = Checkpoints::new(open()).every_steps(10).every(Duration::from_secs(60));
    assert!(checkpoints.resume().await.unwrap().is_none());
    let mut saved = Vec::new();
    for step in 1..=35 {
        clock.pass(if step < 25 { 1000 } else { 20_000 });
        if checkpoints.step(step, || format!("state {step}")).await.unwrap().is_some() {
            saved.push(step);
        }
    }
    assert_eq!(saved, [10, 20, 27, 30, 33]);
    let mut checkpoints = Checkpoints::new(open()).every_steps(10);
    let restored = checkpoints.resume().await.unwrap().unwrap();
    assert_eq!((restored.state.as_ref(), restored.commit.step), (&b"state 33"[..], Some(33)));
    assert!(checkpoints.step(42, || "").await.unwrap().is_none());
    assert!(checkpoints.step(43, || "").await.unwrap().is_some());
    // A runtime that begins to count again is not left without saves until it has caught up.
    assert!(checkpoints.step(1, || "").await.unwrap().is_some());
    assert!(checkpoints.step(10, || "").await.unwrap().is_none());
    assert!(checkpoints.step(11, || "").await.unwrap().is_some());
}

#[tokio::test]
async fn sessions_are_listed_with_their_ids() {
    let adapter = Counting::memory();
    let sessions = real(&adapter);
    let long = "long ü/".repeat(60);
    let mut names = vec![
        ("a", "1"),
        ("a", "outer:1|inner:2"),
        (&long, &long),
        ("sessions", "sessions"),
        ("sessions", "s"),
        ("b", "x/y"),
        ("user@example.com", "s"),
    ];
    for (agent, name) in &names {
        sessions.session(agent, name).unwrap().save("x").await.unwrap();
    }
    sessions.session("b", "x/y").unwrap().fork(&long, At::Latest).await.unwrap();
    names.push(("b", &long));
    let listed: Vec<SessionName> = sessions.list(None).try_collect().await.unwrap();
    let mut listed: Vec<_> = listed.iter().map(|name| (name.agent.as_str(), name.session.as_str())).collect();
    listed.sort_unstable();
    names.sort_unstable();
    assert_eq!(listed, names);
    let listed: Vec<SessionName> = sessions.list(Some("a")).try_collect().await.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(sessions.session("", "s").unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_lost_answer_makes_neither_a_conflict_nor_a_second_commit() {
    let adapter = Counting::memory();
    let fault = Fault::new(Arc::new(adapter.clone()));
    let session = Sessions::new(Arc::new(fault.clone())).unwrap().session("a", "s").unwrap();
    session.save("one").await.unwrap();
    // The answer is lost, a read finds the commit.
    fault.inject(Operation::Put, Injection::After(ErrorKind::Timeout));
    assert_eq!(session.save("two").await.unwrap().seq, 2);
    // The read fails as well: unknown. The same state again is the same commit.
    fault.inject(Operation::Put, Injection::After(ErrorKind::Timeout));
    fault.inject(Operation::Get, Injection::Before(ErrorKind::Unavailable));
    assert_eq!(session.save("three").await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(session.save_with("three", CommitOptions::new().after(2)).await.unwrap().seq, 3);
    // Another state goes behind it.
    fault.inject(Operation::Put, Injection::After(ErrorKind::Timeout));
    fault.inject(Operation::Get, Injection::Before(ErrorKind::Unavailable));
    assert_eq!(session.save("four").await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(session.save("five").await.unwrap().seq, 5);
    // It never arrived.
    fault.inject(Operation::Put, Injection::Before(ErrorKind::Timeout));
    assert_eq!(session.save("six").await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(session.save("six").await.unwrap().seq, 6);
    for (seq, state) in (1u64..).zip(["one", "two", "three", "four", "five", "six"]) {
        assert_eq!(session.load(seq).await.unwrap().state, state);
    }
}

/// The public futures can be spawned, from any caller.
#[tokio::test]
async fn everything_can_be_spawned() {
    let sessions = real(&Counting::memory());
    let spawned = tokio::spawn(async move {
        let session = sessions.session("a", "s").unwrap();
        let background = session.background(1);
        background.save("{}", CommitOptions::new()).await.unwrap();
        background.flush().await.unwrap();
        session.save_json(&1).await.unwrap();
        session.save_values(&[("a", "1".into())]).await.unwrap();
        session.save_stream(&b"1"[..]).await.unwrap();
        session.tag("t", 1).await.unwrap();
        session.move_tag("t", 2).await.unwrap();
        session.tags().await.unwrap();
        session.untag("t").await.unwrap();
        session.load_with_fallback(At::Latest).await.unwrap();
        let _ = session.load_stream(1).await.unwrap();
        session.diff(1, 2).await.unwrap();
        let _ = session.verify().await.unwrap();
        session.prune(Retention::new().last(1)).await.unwrap();
        session.prune_dry_run(Retention::new().last(1)).await.unwrap();
        session.fork("f", 1).await.unwrap().take_over().await.unwrap();
        session.rebase().await.unwrap();
        let mut checkpoints = Checkpoints::new(session.clone());
        checkpoints.step(1, || "x").await.unwrap();
        let log: Vec<Commit> = session.log().try_collect().await.unwrap();
        let listed: Vec<SessionName> = sessions.list(None).try_collect().await.unwrap();
        (log.len(), listed.len())
    });
    assert_eq!(spawned.await.unwrap(), (5, 2));
}

#[tokio::test]
async fn an_archive_moves_a_session_with_its_history() {
    let (adapter, clock) = (Counting::memory(), TestClock::new(51));
    let aged = Aged { inner: adapter.clone(), clock: clock.clone() };
    let sessions =
        Sessions::new(Arc::new(aged)).unwrap().clock(clock.clone()).inline_limit(3000).stream_limit(60_000);
    let main = sessions.session("a", "main").unwrap();
    let mut states = growing(51, 60);
    let mut random = Random(9);
    states.push((0..9000).map(|_| random.next() as u8).collect());
    saved(&main, &states).await;
    let long: Vec<u8> = (0..100_000).map(|_| random.next() as u8).collect();
    main.save_stream(std::io::Cursor::new(long.clone())).await.unwrap();
    states.push(long);
    main.tag("mine", 40).await.unwrap();
    let fork = main.fork("branch", 50).await.unwrap();
    for state in &states[50..61] {
        clock.pass(60_000);
        fork.save(state.clone()).await.unwrap();
    }
    let pruned = sessions.session("a", "pruned").unwrap();
    saved(&pruned, &states).await;
    pruned.tag("old", 10).await.unwrap();
    clock.pass(5 * 3_600_000);
    pruned.prune(Retention::new().last(3)).await.unwrap();
    assert!(pruned.log().try_collect::<Vec<_>>().await.unwrap().len() < 40);

    for session in [&main, &fork, &pruned] {
        let mut archive = Vec::new();
        let moved = session.export(&mut archive).await.unwrap();
        let target = Counting::memory();
        let elsewhere = Sessions::new(Arc::new(target.clone())).unwrap().clock(clock.clone());
        let copy = elsewhere.session("other agent", "copy").unwrap();
        assert_eq!(copy.import(&mut &archive[..]).await.unwrap(), moved);
        let verified = copy.verify().await.unwrap();
        assert!(verified.is_good() && verified.good == moved.commits, "{verified:?}");
        let log: Vec<Commit> = copy.log().try_collect().await.unwrap();
        let original: Vec<Commit> = session.log().try_collect().await.unwrap();
        let original = original.into_iter().filter(|commit| commit.session == session.name());
        for (copied, original) in log.iter().zip(original) {
            assert_eq!((copied.seq, copied.id, copied.digest), (original.seq, original.id, original.digest));
            assert!(
                copy.load(copied.seq).await.unwrap().state == session.load(copied.seq).await.unwrap().state
            );
        }
        assert_eq!(copy.tags().await.unwrap(), session.tags().await.unwrap());
        // Once more is nothing new, a tag that was moved meanwhile stays, and the line goes on.
        for tag in copy.tags().await.unwrap() {
            copy.move_tag(&tag.name, log[0].seq).await.unwrap();
        }
        assert_eq!(copy.import(&mut &archive[..]).await.unwrap().commits, moved.commits);
        assert!(copy.tags().await.unwrap().iter().all(|tag| tag.seq == log[0].seq));
        assert_eq!(copy.save("next").await.unwrap().seq, log[0].seq + 1);
        // An import that broke off is finished; of a cut archive nothing unchecked comes.
        let half = elsewhere.session("other agent", "half").unwrap();
        let error = half.import(&mut &archive[..archive.len() / 2]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        half.import(&mut &archive[..]).await.unwrap();
        assert!(half.verify().await.unwrap().is_good());
        // Another session of the name stays as it is.
        let taken = elsewhere.session("other agent", "taken").unwrap();
        taken.save("mine").await.unwrap();
        assert_eq!(taken.import(&mut &archive[..]).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(taken.load(At::Latest).await.unwrap().state, "mine");
        assert_eq!(taken.log().try_collect::<Vec<_>>().await.unwrap().len(), 1);
    }
    let empty = sessions.session("a", "none").unwrap().export(&mut Vec::new()).await;
    assert_eq!(empty.unwrap_err().kind(), ErrorKind::NotFound);
    for (input, says) in [
        (&b"text"[..], "this is something else"),
        (&b""[..], "next to nothing"),
        (&b"\x1f\x8b\x08\x00 and so on"[..], "gunzip"),
    ] {
        let error = sessions.session("a", "none").unwrap().import(&mut &*input).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("an archive that `session export` wrote"), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}
