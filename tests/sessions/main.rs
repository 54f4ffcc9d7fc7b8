//! Sessions in memory: what is saved comes back, rivals conflict, history and small states cost what they
//! should.
#![allow(clippy::unwrap_used)]

mod bytes;
mod growth;
#[path = "../sessions_support/mod.rs"]
mod sessions_support;

use std::{io::Read, sync::Arc};

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use persist::{
    ErrorKind, SnapshotAdapterExt,
    adapters::memory::MemoryAdapter,
    layers::{Fault, Injection, Operation},
    sessions::*,
};
use sessions_support::*;

#[tokio::test]
async fn a_commit_as_json_is_what_the_command_line_prints() {
    let (adapter, clock) = (Counting::memory(), TestClock::new(1));
    let session = sessions(&adapter, &clock).session("bot", "main").unwrap();
    let options = CommitOptions::new().label("l").step(7).metadata("model", "m1");
    let values = [("state", "abc".into()), ("image", "de".into())];
    let commit = session.save_values_with(&values, options).await.unwrap();
    let time = jiff::Timestamp::try_from(commit.time).unwrap();
    let expected = serde_json::json!({
        "agent": "bot", "session": "main", "seq": 1, "id": commit.id.to_string(), "parent": null, "epoch": 0,
        "writer": null, "label": "l", "step": 7, "metadata": {"model": "m1"},
        "values": [{"name": "state", "size": 3}, {"name": "image", "size": 2}],
        "time": format!("{time:.3}"), "size": 5, "stored_size": commit.stored_size,
        "digest": format!("sha256:{}", persist::Digest::of(b"abcde")), "keyframe": true,
    });
    assert_eq!(serde_json::to_value(&commit).unwrap(), expected);
    let digest: persist::Digest = serde_json::from_value(expected["digest"].clone()).unwrap();
    assert_eq!(digest, commit.digest);
    assert_eq!(serde_json::from_value::<Commit>(expected).unwrap(), commit);
}

#[tokio::test]
async fn every_commit_comes_back_by_every_name_it_has() {
    let (adapter, clock) = (Counting::memory(), TestClock::new(1));
    let sessions = sessions(&adapter, &clock);
    let session = sessions.session("outer:1|inner:2", "user@example.com/ü").unwrap();
    let states = growing(1, 150);
    let mut commits = Vec::new();
    for (n, state) in states.iter().enumerate() {
        clock.pass(1000);
        let options =
            CommitOptions::new().label(format!("l{n}")).step(n as u64).metadata("k", "v").after(n as u64);
        let commit = session.save_with(state.clone(), options).await.unwrap();
        assert_eq!((commit.seq, commit.size), (n as u64 + 1, state.len() as u64));
        assert_eq!(commit.parent, commits.last().map(|last: &Commit| last.id));
        commits.push(commit);
    }
    let reader = sessions.session("outer:1|inner:2", "user@example.com/ü").unwrap();
    for (commit, state) in commits.iter().zip(&states) {
        for at in [At::Seq(commit.seq), At::Id(commit.id), At::Time(commit.time)] {
            let restored = reader.load(at.clone()).await.unwrap();
            assert!(restored.state == *state && restored.commit == *commit, "{at}");
        }
    }
    assert_eq!(reader.load(At::Latest).await.unwrap().state, states[149]);
    let tag = reader.tag("good", commits[6].time).await.unwrap();
    assert_eq!(reader.load(&tag).await.unwrap().commit, commits[6]);
    let log: Vec<Commit> = reader.log().try_collect().await.unwrap();
    commits.reverse();
    assert_eq!(log, commits);
    assert_eq!(log[0].agent, "outer:1|inner:2");
    assert!(log.iter().any(|commit| !commit.keyframe), "deltas are used");
    for at in [At::Seq(0), At::Seq(151), At::Time(std::time::UNIX_EPOCH), At::Tag("x".into())] {
        let kind = reader.load(at.clone()).await.unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::NotFound | ErrorKind::InvalidInput), "{at}: {kind}");
    }
}

#[tokio::test]
async fn a_save_is_one_request_and_the_latest_one_listing_and_a_short_chain() {
    let (adapter, clock) = (Counting::memory(), TestClock::new(2));
    let sessions = sessions(&adapter, &clock);
    let session = sessions.session("a", "s").unwrap();
    assert!(session.rebase().await.unwrap().is_none());
    for (step, state) in growing(2, 400).into_iter().enumerate() {
        let before = adapter.counts();
        session.save(state).await.unwrap();
        let cost = adapter.counts() - before;
        assert_eq!((cost.put, cost.get, cost.list, cost.delete), (1, 0, 0, 0));
        if step % 20 > 0 && step < 380 {
            continue;
        }
        let before = adapter.counts();
        sessions.session("a", "s").unwrap().load(At::Latest).await.unwrap();
        let cost = adapter.counts() - before;
        assert!(cost.put == 0 && cost.list == 1 && cost.get <= 63, "{cost:?}");
    }
}

#[tokio::test]
async fn a_stale_writer_conflicts_and_hears_who_was_faster_and_goes_on_after_a_rebase() {
    let (adapter, clock) = (Counting::memory(), TestClock::new(3));
    let one = sessions(&adapter, &clock).writer("host-1/17").session("a", "s").unwrap();
    let two = sessions(&adapter, &clock).writer("host-2/99").session("a", "s").unwrap();
    one.save("one").await.unwrap();
    assert_eq!(two.load(At::Latest).await.unwrap().state, "one");
    two.save_with("two", CommitOptions::new().label("quick")).await.unwrap();
    let error = one.save("late").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let text = error.to_string();
    assert!(text.contains("commit 2") && text.contains("host-2/99") && text.contains("\"quick\""), "{text}");
    assert!(text.contains("rebase or fork"), "{text}");
    assert_eq!(one.rival().await.unwrap().commit().writer.as_deref(), Some("host-2/99"));
    // Without a rebase it stays a conflict, without a request.
    let before = adapter.counts();
    assert_eq!(one.save("late").await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!((adapter.counts() - before).put, 0);
    assert_eq!(one.rebase().await.unwrap().unwrap().state, "two");
    assert_eq!(one.save("three").await.unwrap().seq, 3);
    let expected = CommitOptions::new().after(2);
    assert_eq!(one.save_with("four", expected).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn an_owner_that_was_taken_over_cannot_write_even_after_a_rebase() {
    let (adapter, clock) = (Counting::memory(), TestClock::new(4));
    let sessions = sessions(&adapter, &clock);
    let (old, new) = (sessions.session("a", "s").unwrap(), sessions.session("a", "s").unwrap());
    old.save_with("one", CommitOptions::new().step(7)).await.unwrap();
    let taken = new.take_over().await.unwrap();
    assert_eq!((taken.state.as_ref(), taken.commit.epoch, taken.commit.step), (&b"one"[..], 1, Some(7)));
    assert_eq!(old.save("two").await.unwrap_err().kind(), ErrorKind::Conflict);
    old.rebase().await.unwrap();
    let error = old.save("two").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("taken over"), "{error}");
    assert_eq!(new.save("two").await.unwrap().epoch, 1);
    assert_eq!(old.take_over().await.unwrap().commit.epoch, 2);
    assert_eq!(new.save("three").await.unwrap_err().kind(), ErrorKind::Conflict);
}

/// A rebase or a take-over that failed or was given up must not turn a stale handle into one that has seen
/// nothing yet.
#[tokio::test]
async fn a_stale_writer_stays_one_until_a_rebase_or_a_take_over_has_succeeded() {
    let fault = Fault::new(Arc::new(MemoryAdapter::new()));
    let sessions = Sessions::new(Arc::new(fault.clone())).unwrap();
    let open = || sessions.session("a", "s").unwrap();
    let (stale, fenced, owner) = (open(), open(), open());
    stale.save("one").await.unwrap();
    fenced.load(At::Latest).await.unwrap();
    owner.take_over().await.unwrap();
    assert_eq!(stale.save("stale").await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(fenced.save("fenced").await.unwrap_err().kind(), ErrorKind::Conflict);
    for operation in [Operation::List, Operation::Get] {
        fault.inject(operation, Injection::Before(ErrorKind::Unavailable));
        assert_eq!(stale.rebase().await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(stale.save("stale").await.unwrap_err().kind(), ErrorKind::Conflict, "{operation:?}");
    }
    for operation in [Operation::List, Operation::Get, Operation::Put] {
        fault.inject(operation, Injection::Before(ErrorKind::Unavailable));
        assert_eq!(fenced.take_over().await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(fenced.save("fenced").await.unwrap_err().kind(), ErrorKind::Conflict, "{operation:?}");
    }
    // Given up in the middle.
    fault.inject(Operation::List, Injection::Hold(Arc::default()));
    assert!(stale.rebase().now_or_never().is_none());
    fault.inject(Operation::Put, Injection::Hold(Arc::default()));
    assert!(fenced.take_over().now_or_never().is_none());
    for handle in [&stale, &fenced] {
        assert_eq!(handle.save("late").await.unwrap_err().kind(), ErrorKind::Conflict);
    }
    assert_eq!(owner.save("two").await.unwrap().seq, 3);
    assert_eq!(fenced.take_over().await.unwrap().commit.epoch, 2);
    assert_eq!(fenced.save("three").await.unwrap().seq, 5);
}

#[tokio::test]
async fn a_keyframe_object_gunzips_to_the_state() {
    let (adapter, clock) = (Counting::memory(), TestClock::new(5));
    let session = sessions(&adapter, &clock).session("a", "s").unwrap();
    let state = growing(5, 40).pop().unwrap();
    session.save(state.clone()).await.unwrap();
    let key = adapter.keys().await.into_iter().next().unwrap();
    let bytes = adapter.raw(&key).await;
    let mut gunzipped = Vec::new();
    flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut gunzipped).unwrap();
    assert!(gunzipped == state);
    // And it is a snapshot like any other.
    assert_eq!(adapter.load(&key).await.unwrap(), state);
}

#[tokio::test]
async fn values_come_together() {
    let (adapter, clock) = (Counting::memory(), TestClock::new(6));
    let sessions = sessions(&adapter, &clock);
    let session = sessions.session("a", "s").unwrap();
    let values = [("state", "{}".into()), ("writes", "".into()), ("image", vec![7; 3000].into())];
    let commit = session.save_values(&values).await.unwrap();
    assert_eq!(commit.size, 3002);
    let restored = sessions.session("a", "s").unwrap().load(At::Latest).await.unwrap();
    for (name, value) in &values {
        assert_eq!(restored.value(name).as_ref(), Some(value));
    }
    assert_eq!(restored.value("other"), None);
    assert_eq!(restored.values().count(), 3);
    let json = |name| restored.value_json::<serde_json::Value>(name);
    assert_eq!(json("state").unwrap(), Some(serde_json::json!({})));
    assert_eq!(json("other").unwrap(), None);
    let error = json("image").unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput && error.message().contains("\"image\""), "{error}");
    let twice = [("a", "".into()), ("a", "".into())];
    let error = session.save_values(&twice).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    session.save_json(&[1, 2]).await.unwrap();
    assert_eq!(session.load(At::Latest).await.unwrap().json::<Vec<u8>>().unwrap(), [1, 2]);
}

#[tokio::test]
async fn a_damaged_commit_is_named_and_fallback_finds_the_newest_good_one() {
    let (adapter, clock) = (Counting::memory(), TestClock::new(7));
    let sessions = sessions(&adapter, &clock);
    let session = sessions.session("a", "s").unwrap();
    let states = growing(7, 6);
    for state in &states {
        session.save(state.clone()).await.unwrap();
    }
    let newest = adapter.keys().await.into_iter().next().unwrap();
    adapter.flip(&newest, 20).await;
    let fresh = sessions.session("a", "s").unwrap();
    let error = fresh.load(At::Latest).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&newest)));
    let good = fresh.load_with_fallback(At::Latest).await.unwrap();
    assert_eq!((good.commit.seq, &good.state[..]), (5, &states[4][..]));
    assert_eq!(good.skipped.iter().map(|skipped| skipped.seq).collect::<Vec<_>>(), [Some(6)]);
    let skipped = &good.skipped[0];
    assert_eq!(skipped.key.as_deref(), Some(newest.as_str()));
    assert!(
        skipped.to_string().starts_with("commit 6 is damaged") && skipped.reason.contains("CRC-32"),
        "{skipped}"
    );
    // The history goes on behind the damage.
    let next = fresh.save("repaired").await.unwrap();
    assert_eq!((next.seq, next.parent, next.keyframe), (7, None, true));
    let damaged = async || {
        let log = fresh.log().collect::<Vec<_>>().await;
        assert_eq!(log.len(), 7);
        log.iter().filter(|row| row.is_err()).count()
    };
    // The log reads what commits say about themselves, and not the states.
    assert_eq!(damaged().await, 0);
    adapter.flip(&newest, adapter.raw(&newest).await.len() - 20).await;
    assert_eq!(damaged().await, 1);
}

#[tokio::test]
async fn damage_to_a_take_over_does_not_let_the_old_owner_back_in() {
    let (adapter, clock) = (Counting::memory(), TestClock::new(8));
    let sessions = sessions(&adapter, &clock);
    let states = growing(8, 3);
    let old = sessions.session("a", "s").unwrap();
    old.save(states[0].clone()).await.unwrap();
    let new = sessions.session("a", "s").unwrap();
    assert_eq!(new.take_over().await.unwrap().commit.epoch, 1);
    new.save(states[1].clone()).await.unwrap();
    // Both deltas of the new owner, but not what is said about them.
    for key in adapter.keys().await.into_iter().take(2) {
        adapter.flip(&key, 5).await;
    }
    let restarted = sessions.session("a", "s").unwrap();
    assert_eq!(restarted.load_with_fallback(At::Latest).await.unwrap().commit.seq, 1);
    let saved = restarted.save(states[2].clone()).await.unwrap();
    assert_eq!((saved.seq, saved.epoch), (4, 1));
    old.rebase().await.unwrap();
    assert_eq!(old.save(states[2].clone()).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn storage_without_conditions_is_read_and_not_written() {
    let adapter = Counting::memory();
    let writer = Sessions::new(Arc::new(adapter.clone())).unwrap().session("a", "s").unwrap();
    writer.save("one").await.unwrap();
    writer.tag("good", 1).await.unwrap();
    let mut archive = Vec::new();
    writer.export(&mut archive).await.unwrap();
    let before = adapter.keys().await;

    let mut bare = adapter.clone();
    bare.can = bare.can.unconditional();
    let sessions = Sessions::new(Arc::new(bare)).unwrap().inline_limit(10).stream_limit(10);
    let session = sessions.session("a", "s").unwrap();
    assert_eq!(session.load(At::Latest).await.unwrap().state, "one");
    assert!(session.verify().await.unwrap().is_good());
    assert_eq!(session.tags().await.unwrap().len(), 1);
    let other = sessions.session("a", "other").unwrap();
    for (what, refused) in [
        ("save", session.save("two").await.map(drop)),
        ("long save", session.save_stream(&b"longer than what is held in memory"[..]).await.map(drop)),
        ("take over", session.take_over().await.map(drop)),
        ("fork", session.fork("other", 1).await.map(drop)),
        ("tag", session.tag("better", 1).await.map(drop)),
        ("untag", session.untag("good").await.map(drop)),
        ("import", other.import(&mut &archive[..]).await.map(drop)),
    ] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{what}: {error}");
        assert!(error.to_string().contains("only where there is none"), "{what}: {error}");
    }
    let pruned = session.prune(Retention::new().last(1)).await.unwrap_err();
    assert_eq!(pruned.kind(), ErrorKind::Unsupported, "{pruned}");
    assert_eq!(session.remove().await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(adapter.keys().await, before);
}

#[tokio::test]
async fn of_many_lost_answers_none_becomes_a_conflict() {
    for arrived in [1, 2, 5, 10] {
        let adapter = Counting::memory();
        let fault = Fault::new(Arc::new(adapter.clone()));
        let session = Sessions::new(Arc::new(fault.clone())).unwrap().session("a", "s").unwrap();
        session.save("first").await.unwrap();
        for attempt in 1..=10 {
            let lost = ErrorKind::Timeout;
            fault.inject(
                Operation::Put,
                if attempt == arrived { Injection::After(lost) } else { Injection::Before(lost) },
            );
            fault.inject(Operation::Get, Injection::Before(ErrorKind::Unavailable));
            // What has arrived is met by the attempts behind it, whose look fails as well.
            assert!(session.save(format!("attempt {attempt}")).await.is_err());
        }
        let commit = session.save("last").await.unwrap();
        assert_eq!(commit.seq, 3);
        assert_eq!(session.load(2).await.unwrap().state, format!("attempt {arrived}"));
        assert_eq!(session.load(3).await.unwrap().state, "last");
    }
}

#[tokio::test]
async fn a_fresh_writer_behind_a_long_stream_does_not_read_it() {
    let adapter = Counting::memory();
    let sessions = sessions(&adapter, &TestClock::new(21)).inline_limit(1000).stream_limit(6000);
    let mut random = Random(21);
    let mut long = || (0..50_000).map(|_| random.next() as u8).collect::<Vec<u8>>();
    let first = sessions.session("a", "s").unwrap();
    first.save_stream(std::io::Cursor::new(long())).await.unwrap();
    let before = adapter.counts();
    let state = long();
    let second = sessions.session("a", "s").unwrap();
    second.save_stream(std::io::Cursor::new(state.clone())).await.unwrap();
    let cost = adapter.counts() - before;
    // The small commit object, and whether a prune has seen a newer one; then body and commit.
    assert_eq!((cost.list, cost.get, cost.put), (1, 2, 2));
    let before = adapter.counts();
    let third = sessions.session("a", "s").unwrap().save("short").await.unwrap();
    let cost = adapter.counts() - before;
    assert_eq!((third.seq, cost.list, cost.get, cost.put), (3, 1, 2, 1));
    assert_eq!(second.load(2).await.unwrap().state, state);
    // It is a writer like any other.
    assert_eq!(first.save("late").await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_load_does_not_wait_for_a_long_save_of_a_clone() {
    let sessions = sessions(&Counting::memory(), &TestClock::new(22)).inline_limit(1000).stream_limit(6000);
    let session = sessions.session("a", "s").unwrap();
    session.save("one").await.unwrap();
    let writer = session.clone();
    let (mut feed, input) = tokio::io::duplex(64);
    let save = tokio::spawn(async move { writer.save_stream(input).await });
    // More than is held back before the session is taken.
    tokio::io::AsyncWriteExt::write_all(&mut feed, &[1; 7000]).await.unwrap();
    assert!(session.rebase().now_or_never().is_none(), "the save is under way");
    assert_eq!(session.seen().now_or_never(), Some(Some(1)), "nor does this wait");
    assert_eq!(session.load(At::Latest).await.unwrap().state, "one");
    drop(feed);
    assert_eq!(save.await.unwrap().unwrap().seq, 2);
}

/// What others save and tag while an archive is written is not in it; what is in it can be imported.
#[tokio::test]
async fn an_archive_names_no_commit_that_it_does_not_hold() {
    let fault = Fault::new(Arc::new(MemoryAdapter::new()));
    let session = Sessions::new(Arc::new(fault.clone())).unwrap().session("a", "s").unwrap();
    session.save("one").await.unwrap();
    session.tag("first", 1).await.unwrap();
    session.tag("moves", 1).await.unwrap();
    let go_on = Arc::new(tokio::sync::Notify::new());
    // Behind the look at the newest.
    fault.inject_later(Operation::Get, 1, Injection::Hold(go_on.clone()));
    let mut archive = Vec::new();
    let mut export = Box::pin(session.export(&mut archive));
    // The commits are listed by now.
    assert!((&mut export).now_or_never().is_none());
    session.save("two").await.unwrap();
    session.move_tag("moves", 2).await.unwrap();
    session.tag("second", 2).await.unwrap();
    go_on.notify_one();
    assert_eq!(export.await.unwrap().tags, 1);
    let copy = Sessions::new(Arc::new(MemoryAdapter::new())).unwrap().session("a", "s").unwrap();
    copy.import(&mut &archive[..]).await.unwrap();
    assert_eq!(copy.load(At::Tag("first".into())).await.unwrap().state, "one");
}

/// A removed session is gone for everybody, and no writer brings a piece of it back.
#[tokio::test]
async fn a_removed_session_is_gone_and_can_begin_anew() {
    let (adapter, clock) = (Counting::memory(), TestClock::new(77));
    let aged = Aged { inner: adapter.clone(), clock: clock.clone() };
    let sessions =
        Sessions::new(Arc::new(aged)).unwrap().clock(clock.clone()).inline_limit(3000).stream_limit(60_000);
    let open = |name: &str| sessions.session("a", name).unwrap();
    let session = open("s");
    assert_eq!(session.remove().await.unwrap_err().kind(), ErrorKind::NotFound);
    for state in growing(77, 20) {
        session.save(state).await.unwrap();
    }
    session.save_stream(std::io::Cursor::new(vec![7; 100_000])).await.unwrap();
    session.tag("good", 3).await.unwrap();
    let fork = session.fork("branch", 5).await.unwrap();
    fork.save("of the fork").await.unwrap();
    let error = session.remove().await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Conflict, Some("remove")));
    assert!(error.to_string().contains("a/branch was forked from commit 5 of a/s"), "{error}");
    assert_eq!(session.load(At::Latest).await.unwrap().commit.seq, 21);

    // What is young stays, for the sake of writers that have just looked; nobody reads it as the newest
    // state.
    let late = open("s");
    late.rebase().await.unwrap();
    clock.pass(2 * 3_600_000);
    fork.remove().await.unwrap();
    let kept = session.remove().await.unwrap();
    assert_eq!((kept.kept, kept.removed.len()), (1, 21), "{kept:?}");
    for other in [&session, &open("s")] {
        assert_eq!(other.load(At::Latest).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(other.load_with_fallback(At::Latest).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(other.show(At::Latest).await.unwrap_err().kind(), ErrorKind::NotFound);
        let streamed = other.load_stream(At::Latest).await.err();
        let loads = [other.load(At::Tag("good".into())).await.err(), other.load(3).await.err()];
        for gone in loads.into_iter().chain([streamed]) {
            assert_eq!(gone.unwrap().kind(), ErrorKind::NotFound);
        }
        assert_eq!(other.fork("again", At::Latest).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    let left: Vec<String> = adapter.keys().await.iter().map(ToString::to_string).collect();
    let of_session = |key: &&String| key.starts_with("sessions/a/s/");
    assert_eq!(left.iter().filter(of_session).count(), 2, "the marker and the line: {left:?}");
    // A writer that did not know is told, and so is one that slept.
    assert_eq!(late.save("late").await.unwrap_err().kind(), ErrorKind::Conflict);
    clock.pass(9 * 3_600_000);
    assert_eq!(session.remove().await.unwrap().kept, 1);
    assert!(late.rebase().await.unwrap().is_none());
    assert_eq!(late.save("anew").await.unwrap().seq, 23);
    let reader = open("s");
    assert_eq!(reader.load(At::Latest).await.unwrap().state, "anew");
    let verified = reader.verify().await.unwrap();
    assert!(verified.is_good() && verified.good == 1 && verified.garbage == 0, "{verified:?}");
    assert_eq!(open("s").save("next").await.unwrap().seq, 24);
}

/// Young commits go when they are older; a damaged session can be removed, too.
#[tokio::test]
async fn what_is_young_when_a_session_is_removed_goes_later() {
    let (adapter, clock) = (Counting::memory(), TestClock::new(78));
    let aged = Aged { inner: adapter.clone(), clock: clock.clone() };
    let sessions = Sessions::new(Arc::new(aged)).unwrap().clock(clock.clone());
    let session = sessions.session("a", "s").unwrap();
    for state in growing(78, 3) {
        session.save(state).await.unwrap();
    }
    let writer = sessions.session("a", "s").unwrap();
    writer.rebase().await.unwrap();
    let newest = adapter.keys().await.into_iter().find(|key| key.as_str().ends_with("-3")).unwrap();
    adapter.set(&newest, b"damage".to_vec()).await;
    let removed = session.remove().await.unwrap();
    assert_eq!((removed.kept, removed.removed.len()), (4, 0));
    assert_eq!(session.load(At::Latest).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(writer.save("late").await.unwrap_err().kind(), ErrorKind::Conflict);
    clock.pass(2 * 3_600_000);
    let removed = session.remove().await.unwrap();
    assert_eq!((removed.kept, removed.removed), (1, vec![3, 2, 1]));
    // A handle goes on behind its own removal.
    assert_eq!(session.save("anew").await.unwrap().seq, 5);
    assert_eq!(session.load(At::Latest).await.unwrap().state, "anew");
}

#[tokio::test]
async fn who_asks_several_values_for_one_json_hears_of_their_names() {
    let session = sessions(&Counting::memory(), &TestClock::new(60)).session("a", "s").unwrap();
    let commit = session.save_values(&[("state", "{}".into()), ("shot", "x".into())]).await.unwrap();
    // A commit of a log names itself, also to another handle's load.
    let restored = session.load(&commit).await.unwrap();
    let error = restored.json::<serde_json::Value>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("; it has the values state, shot: use `value_json`"), "{error}");
    assert_eq!(restored.value_json::<serde_json::Value>("state").unwrap(), Some(serde_json::json!({})));
    let error = restored.value_json::<u8>("state").unwrap_err();
    assert!(!error.to_string().contains("it has the values"), "{error}");
}
