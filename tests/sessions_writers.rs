//! Writers in trouble: lost answers, sleeps, queues and removed sessions.
#![allow(clippy::unwrap_used)]

mod sessions_support;

use std::{io::Cursor, sync::Arc, time::Duration};

use futures_util::{FutureExt, TryStreamExt};
use persist::{
    ErrorKind,
    adapters::memory::MemoryAdapter,
    layers::{Defaults, Injection, Operation},
    sessions::*,
};
use sessions_support::*;
use tokio::sync::Notify;

const HOUR: u64 = 3_600_000;

/// What comes next is as good as if nothing had been lost, also where each look fails as well.
#[tokio::test]
async fn a_lost_answer_and_a_look_that_fails_make_no_conflict() {
    let adapter = Counting::memory();
    let (fault, sessions) = faulty(&adapter);
    let session = sessions.session("a", "s").unwrap();
    session.save("one").await.unwrap();
    fault.inject(Operation::Put, Injection::After(ErrorKind::Timeout));
    fault.inject(Operation::Get, Injection::Before(ErrorKind::Timeout));
    assert_eq!(session.save("two").await.unwrap_err().kind(), ErrorKind::Timeout);
    // It is there, and nobody can say whose it is.
    for kind in [ErrorKind::Timeout, ErrorKind::Unavailable, ErrorKind::RateLimited, ErrorKind::AccessDenied]
    {
        fault.inject(Operation::Get, Injection::Before(kind));
        let error = session.save("two").await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    assert!(session.rival().await.is_none());
    assert_eq!(session.save("two").await.unwrap().seq, 2);
    assert_eq!(session.save("three").await.unwrap().seq, 3);
    assert_eq!(seqs(&session).await, [3, 2, 1]);
    // A rival's that is damaged is a conflict all the same.
    sessions.session("a", "s").unwrap().save("rival").await.unwrap();
    adapter.set(&adapter.key("-4").await, b"damage".to_vec()).await;
    for _ in 0..2 {
        let error = session.save("mine").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().contains("commit 4 is already there and cannot be read"), "{error}");
    }
}

/// The body must not be garbage when its commit comes: such a commit is not made.
#[tokio::test]
async fn a_body_that_took_too_long_gets_no_commit() {
    for stream in [false, true] {
        let (adapter, clock) = (Counting::memory(), TestClock::new(41));
        let (fault, sessions) = faulty(&adapter);
        let session =
            sessions.clock(clock.clone()).inline_limit(1000).stream_limit(6000).session("a", "s").unwrap();
        session.save("one").await.unwrap();
        // A machine that sleeps in the middle of the body.
        let awake = Arc::new(Notify::new());
        fault.inject(Operation::Put, Injection::Hold(awake.clone()));
        let mut save = if stream {
            session.save_stream(Cursor::new(noise(41, 9000))).boxed()
        } else {
            session.save(noise(41, 5000)).boxed()
        };
        while fault.calls(Operation::Put) < 2 {
            assert!((&mut save).now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        clock.pass(13 * HOUR);
        awake.notify_one();
        let error = save.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert!(error.to_string().contains("longer fence window"), "{error}");
        assert_eq!(seqs(&session).await, [1]);
        // Nothing was made, so there is nothing to rebase to.
        assert_eq!(session.save(noise(42, 5000)).await.unwrap().seq, 2);
    }
}

/// Where the sleep was between the request and its answer: a commit whose body is gone is taken back, any
/// other one stays.
#[tokio::test]
async fn a_commit_whose_body_was_pruned_is_taken_back() {
    for gone in [true, false] {
        let (adapter, clock) = (Counting::memory(), TestClock::new(43));
        let (fault, sessions) = faulty(&adapter);
        let sessions = sessions.clock(clock.clone()).inline_limit(1000).stream_limit(6000);
        let session = sessions.session("a", "s").unwrap();
        session.save("one").await.unwrap();
        let awake = Arc::new(Notify::new());
        fault.inject_later(Operation::Put, 1, Injection::Hold(awake.clone()));
        let mut save = session.save(noise(43, 5000)).boxed();
        assert!((&mut save).now_or_never().is_none());
        clock.pass(13 * HOUR);
        if gone {
            adapter.remove(&adapter.key("/b/").await).await;
        }
        awake.notify_one();
        assert_eq!(save.await.unwrap_err().kind(), ErrorKind::Timeout);
        let fresh = sessions.session("a", "s").unwrap();
        assert_eq!(fresh.load(At::Latest).await.unwrap().commit.seq, if gone { 1 } else { 2 });
        assert_eq!(session.save("late").await.unwrap_err().kind(), ErrorKind::Conflict);
        session.rebase().await.unwrap();
        session.save("again").await.unwrap();
    }
}

/// After a failure, nothing that was queued before is saved, until somebody has heard of it.
#[tokio::test]
async fn a_failure_in_the_background_stops_what_was_queued_behind_it() {
    let (fault, sessions) = faulty(&Counting::memory());
    let session = sessions.session("a", "s").unwrap();
    let background = session.background(8);
    fault.inject(Operation::Put, Injection::Before(ErrorKind::AccessDenied));
    for step in 1..=3 {
        background.save(format!("state {step}"), CommitOptions::new().step(step)).await.unwrap();
    }
    let error = background.flush().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AccessDenied);
    let text = error.to_string();
    assert!(text.contains("step 1") && text.contains("2 states behind it"), "{text}");
    assert_eq!(session.load(At::Latest).await.unwrap_err().kind(), ErrorKind::NotFound);
    // What was asked for is not so, until something newer is saved.
    let error = background.flush().await.unwrap_err();
    assert!(error.kind() == ErrorKind::AccessDenied && error.to_string().contains("step 1"), "{error}");
    background.save("state 4", CommitOptions::new().step(4)).await.unwrap();
    assert_eq!(background.flush().await.unwrap().unwrap().step, Some(4));

    // The same where a save hears of it: what is in the queue then is not saved either.
    fault.inject(Operation::Put, Injection::Before(ErrorKind::AccessDenied));
    background.save("state 5", CommitOptions::new().step(5)).await.unwrap();
    background.save("state 6", CommitOptions::new().step(6)).await.unwrap();
    while fault.calls(Operation::Put) < 3 {
        tokio::task::yield_now().await;
    }
    let error = background.save("state 7", CommitOptions::new().step(7)).await.unwrap_err();
    assert!(error.to_string().contains("step 5"), "{error}");
    assert_eq!(background.flush().await.unwrap_err().kind(), ErrorKind::AccessDenied);
    background.save("state 8", CommitOptions::new().step(8)).await.unwrap();
    assert_eq!(background.flush().await.unwrap().unwrap().step, Some(8));
    let steps: Vec<_> = session.log().map_ok(|commit| commit.step).try_collect().await.unwrap();
    assert_eq!(steps, [Some(8), Some(4)]);
}

/// The way out of a conflict is a save of what was merged, and not by the queue.
#[tokio::test]
async fn a_flush_forgets_a_failure_when_the_handle_has_saved_something_newer() {
    let sessions = sessions(&Counting::memory(), &TestClock::new(50));
    let session = sessions.session("a", "s").unwrap();
    session.save("one").await.unwrap();
    sessions.session("a", "s").unwrap().save("rival").await.unwrap();
    let background = session.background(8);
    background.save("mine", CommitOptions::new()).await.unwrap();
    assert_eq!(background.flush().await.unwrap_err().kind(), ErrorKind::Conflict);
    session.rebase().await.unwrap();
    // Nothing newer is saved yet, and neither by a take-over.
    assert_eq!(background.flush().await.unwrap_err().kind(), ErrorKind::Conflict);
    session.take_over().await.unwrap();
    assert_eq!(background.flush().await.unwrap_err().kind(), ErrorKind::Conflict);
    session.save("merged").await.unwrap();
    assert!(background.flush().await.unwrap().is_none(), "it made none itself");
    // What nobody has heard of yet is told first.
    sessions.session("a", "s").unwrap().save("another rival").await.unwrap();
    background.save("late", CommitOptions::new()).await.unwrap();
    while session.rival().await.is_none() {
        tokio::task::yield_now().await;
    }
    session.rebase().await.unwrap();
    session.save("merged again").await.unwrap();
    assert_eq!(background.flush().await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(background.flush().await.unwrap().is_none());
}

/// A state that was made before a rebase does not land on what the rebase found.
#[tokio::test]
async fn a_rebase_takes_nothing_along_that_was_queued_before() {
    for conflict in [true, false] {
        let (fault, sessions) = faulty(&Counting::memory());
        let session = sessions.session("a", "s").unwrap();
        session.save("one").await.unwrap();
        let background = session.background(8);
        if conflict {
            // The first state is under way when the rival comes, and the rebase is next in turn.
            let go_on = Arc::new(Notify::new());
            fault.inject(Operation::Put, Injection::Hold(go_on.clone()));
            background.save("stale 1", CommitOptions::new().step(1)).await.unwrap();
            background.save("stale 2", CommitOptions::new().step(2)).await.unwrap();
            while fault.calls(Operation::Put) < 2 {
                tokio::task::yield_now().await;
            }
            sessions.session("a", "s").unwrap().save("rival").await.unwrap();
            let clone = session.clone();
            let rebase = tokio::spawn(async move { clone.rebase().await });
            tokio::task::yield_now().await;
            go_on.notify_one();
            rebase.await.unwrap().unwrap();
        } else {
            sessions.session("a", "s").unwrap().save("rival").await.unwrap();
            background.save("stale 1", CommitOptions::new().step(1)).await.unwrap();
            assert_eq!(session.rebase().await.unwrap().unwrap().state, "rival");
        }
        let error = background.flush().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        let fresh = sessions.session("a", "s").unwrap();
        assert_eq!(fresh.load(At::Latest).await.unwrap().state, "rival", "{conflict}");
        session.rebase().await.unwrap();
        background.save("merged", CommitOptions::new()).await.unwrap();
        assert_eq!(background.flush().await.unwrap().unwrap().seq, 3);
        // A rebase that found nothing new is no reason.
        background.save("more", CommitOptions::new()).await.unwrap();
        session.rebase().await.unwrap();
        assert_eq!(background.flush().await.unwrap().unwrap().seq, 4);
    }
}

/// To everybody a removed session has no commit, and that can be a condition.
#[tokio::test]
async fn a_removed_session_is_begun_anew_on_the_condition_that_there_is_none() {
    let sessions = sessions(&Counting::memory(), &TestClock::new(47));
    let open = || sessions.session("a", "s").unwrap();
    let first = CommitOptions::new().first();
    let session = open();
    session.save_with("one", first.clone()).await.unwrap();
    assert_eq!(open().save_with("again", first.clone()).await.unwrap_err().kind(), ErrorKind::Conflict);
    session.remove().await.unwrap();
    let (one, two, three) = (open(), open(), open());
    assert!(two.rebase().await.unwrap().is_none());
    assert_eq!(
        three.save_with("x", CommitOptions::new().after(1)).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    assert_eq!(one.save_with("anew", first.clone()).await.unwrap().seq, 3);
    for late in [one, two, three, session] {
        assert_eq!(late.save_with("late", first.clone()).await.unwrap_err().kind(), ErrorKind::Conflict);
    }
    assert_eq!(open().load(At::Latest).await.unwrap().state, "anew");
    // The handle that removed it, too.
    let session = open();
    session.remove().await.unwrap();
    assert_eq!(session.save_with("third", first).await.unwrap().seq, 5);
}

/// A take-over that arrived is one, whatever its caller was told.
#[tokio::test]
async fn a_take_over_whose_answer_was_lost_is_found_again() {
    for (arrived, again, dropped) in [
        (true, true, false),
        (true, false, false),
        (false, true, false),
        (true, true, true),
        (true, false, true),
    ] {
        let (fault, sessions) = faulty(&Counting::memory());
        let open = || sessions.session("a", "s").unwrap();
        let (old, new) = (open(), open());
        old.save("one").await.unwrap();
        new.load(At::Latest).await.unwrap();
        let lost = ErrorKind::Timeout;
        fault.inject(Operation::Put, if arrived { Injection::After(lost) } else { Injection::Before(lost) });
        // The newest commit and the line are read, and whose the next one is not.
        let look =
            if dropped { Injection::Hold(Arc::default()) } else { Injection::Before(ErrorKind::Unavailable) };
        fault.inject_later(Operation::Get, 2, look);
        match new.take_over().now_or_never() {
            Some(result) => assert!(!dropped && result.unwrap_err().kind() == lost),
            None => assert!(dropped, "{arrived} {again}"),
        }
        if again {
            let taken = new.take_over().await.unwrap();
            assert_eq!((taken.commit.seq, taken.commit.epoch, &taken.state[..]), (2, 1, &b"one"[..]));
        } else {
            assert_eq!(new.rebase().await.unwrap().unwrap().commit.epoch, 1);
        }
        let next = new.save("two").await.unwrap();
        assert_eq!((next.seq, next.epoch), (3, 1), "{arrived} {again}");
        old.rebase().await.unwrap();
        assert_eq!(old.save("late").await.unwrap_err().kind(), ErrorKind::Conflict);
    }
}

#[tokio::test]
async fn checkpoints_by_time_alone_are_not_saved_at_each_step() {
    let clock = TestClock::new(49);
    let sessions = sessions(&Counting::memory(), &clock);
    let saved = async |mut checkpoints: Checkpoints| {
        let mut saved = Vec::new();
        checkpoints.resume().await.unwrap();
        for step in 1..=9 {
            clock.pass(10_000);
            saved.extend(checkpoints.step(step, || "x").await.unwrap().and_then(|commit| commit.step));
        }
        saved
    };
    let new = |name: &str| Checkpoints::new(sessions.session("a", name).unwrap());
    let time = Duration::from_secs(30);
    assert_eq!(saved(new("time").every(time)).await, [3, 6, 9]);
    assert_eq!(saved(new("no rule")).await, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(saved(new("steps").every_steps(4)).await, [4, 8]);
    assert_eq!(saved(new("both").every(time).every_steps(2)).await, [2, 4, 6, 8]);
}

/// A process that forgot to resume would put an empty state on top of its old run.
#[tokio::test]
async fn checkpoints_of_who_has_seen_nothing_are_refused() {
    let sessions = sessions(&Counting::memory(), &TestClock::new(53));
    let open = |name: &str| Checkpoints::new(sessions.session("a", name).unwrap());
    let old = sessions.session("a", "s").unwrap();
    old.save("a long run").await.unwrap();
    let refused = async |name: &str| {
        let error = open(name).step(1, || "new").await.unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains("resume"), "{error}");
        assert_eq!(open(name).save_now(1, "new").await.unwrap_err().kind(), ErrorKind::InvalidInput);
    };
    refused("s").await;
    // Nobody knows that it is new.
    refused("new").await;
    assert_eq!(old.load(At::Latest).await.unwrap().commit.seq, 1);

    // Each of these has said what it goes on from.
    let (first, after) = (CommitOptions::new().first(), CommitOptions::new().after(1));
    assert!(open("new").step_with(1, first, || "new").await.unwrap().is_some());
    assert_eq!(open("s").save_now_with(1, after, "more").await.unwrap().seq, 2);
    let mut loaded = open("s");
    loaded.session().load(At::Latest).await.unwrap();
    assert!(loaded.step(2, || "more").await.unwrap().is_some());
    let mut own = Checkpoints::new(old);
    assert_eq!(own.step(3, || "late").await.unwrap_err().kind(), ErrorKind::Conflict);
    own.resume().await.unwrap();
    assert!(own.step(4, || "merged").await.unwrap().is_some());
}

#[tokio::test]
async fn checkpoints_note_what_they_are_told() {
    let sessions = sessions(&Counting::memory(), &TestClock::new(52));
    let mut checkpoints = Checkpoints::new(sessions.session("a", "s").unwrap()).every_steps(2);
    checkpoints.resume().await.unwrap();
    let label = |label: &str| CommitOptions::new().label(label).step(99);
    assert!(checkpoints.step_with(1, label("no"), || "one").await.unwrap().is_none());
    let commit = checkpoints.step_with(2, label("two"), || "two").await.unwrap().unwrap();
    assert_eq!((commit.label.as_deref(), commit.step), (Some("two"), Some(2)));
    let commit = checkpoints.save_now_with(3, label("end").after(1), "three").await.unwrap();
    assert_eq!((commit.label.as_deref(), commit.step, commit.seq), (Some("end"), Some(3), 2));
    assert_eq!(
        checkpoints.save_now_with(4, label("late").after(1), "four").await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
}

/// Also where steps are counted from 0, and a resume found no count.
#[tokio::test]
async fn checkpoints_without_a_rule_save_the_first_step_as_well() {
    let sessions = sessions(&Counting::memory(), &TestClock::new(51));
    for (name, before) in [("new", false), ("without a step", true)] {
        let session = sessions.session("a", name).unwrap();
        if before {
            session.save("no step").await.unwrap();
        }
        let mut checkpoints = Checkpoints::new(session);
        assert_eq!(checkpoints.resume().await.unwrap().is_some(), before);
        let mut saved = Vec::new();
        for step in 0..3 {
            saved.extend(checkpoints.step(step, || "x").await.unwrap().and_then(|commit| commit.step));
        }
        assert_eq!(saved, [0, 1, 2], "{name}");
        // What was saved is not saved again.
        let mut resumed = Checkpoints::new(checkpoints.session().clone());
        resumed.resume().await.unwrap();
        assert!(resumed.step(2, || "x").await.unwrap().is_none());
    }
}

/// A window that fences nothing, or that no time can be added to, is refused wherever it comes from.
#[tokio::test]
async fn a_storage_with_a_fence_window_that_cannot_be_is_refused() {
    for (seconds, fine) in [(0, false), (1, false), (59, false), (60, true), (30 * 86_400, true)] {
        let storage =
            Defaults::new(Arc::new(MemoryAdapter::new())).fence_window(Duration::from_secs(seconds));
        assert_eq!(Sessions::new(Arc::new(storage)).is_ok(), fine, "{seconds}");
    }
    let storage = Defaults::new(Arc::new(MemoryAdapter::new())).fence_window(Duration::MAX);
    let error = Sessions::new(Arc::new(storage)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("use a minute to 30 days"), "{error}");
}

/// Of JSON and of values as of bytes: what is due is saved, with its step, and comes back.
#[tokio::test]
async fn checkpoints_save_json_and_values() {
    let sessions = sessions(&Counting::memory(), &TestClock::new(54));
    let open = |name: &str| Checkpoints::new(sessions.session("a", name).unwrap()).every_steps(2);
    let mut json = open("json");
    assert!(json.resume().await.unwrap().is_none());
    assert!(json.step_json(1, &Unwritable).await.unwrap().is_none(), "it is not even written as JSON");
    assert_eq!(json.step_json(2, &[2, 0]).await.unwrap().unwrap().step, Some(2));
    let commit = json.save_now_json(3, &[3, 0]).await.unwrap();
    assert_eq!((commit.seq, commit.step, commit.values.len()), (2, Some(3), 0));
    let mut again = open("json");
    assert_eq!(again.resume().await.unwrap().unwrap().json::<[u64; 2]>().unwrap(), [3, 0]);
    assert!(again.step_json(4, &[4]).await.unwrap().is_none(), "counted from the step that was saved");

    let mut values = open("values");
    assert!(values.resume().await.unwrap().is_none());
    assert!(values.step_values(1, || panic!("called before a save is due")).await.unwrap().is_none());
    let state = || "state".to_owned();
    let made = || vec![("state", state().into()), ("empty", "".into()), ("list", "[2]".into())];
    assert_eq!(values.step_values(2, made).await.unwrap().unwrap().step, Some(2));
    let commit = values.save_now_values(3, &[("list", "[3]".into())]).await.unwrap();
    assert_eq!((commit.seq, commit.step), (2, Some(3)));
    let mut again = open("values");
    let newest = again.resume().await.unwrap().unwrap();
    assert_eq!((newest.value_json::<[u64; 1]>("list").unwrap(), newest.values().count()), (Some([3]), 1));
    let first = again.session().load(1).await.unwrap();
    let first: Vec<_> = first.values().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(first, made().into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Vec<_>>());
}

/// And what cannot be saved fails as it does elsewhere, and is tried again by the next step.
#[tokio::test]
async fn checkpoints_of_json_and_values_fail_as_others_do() {
    let sessions = sessions(&Counting::memory(), &TestClock::new(55));
    let open = || Checkpoints::new(sessions.session("a", "s").unwrap());
    let twice = || vec![("x", "1".into()), ("x", "2".into())];
    let kinds = async |checkpoints: &mut Checkpoints| {
        let bad = [
            checkpoints.step_json(1, &Unwritable).await.unwrap_err(),
            checkpoints.save_now_json(1, &Unwritable).await.unwrap_err(),
            checkpoints.step_values(1, twice).await.unwrap_err(),
            checkpoints.save_now_values(1, &twice()).await.unwrap_err(),
        ];
        assert!(bad.iter().all(|error| error.kind() == ErrorKind::InvalidInput), "{bad:?}");
        [
            checkpoints.step_json(1, &1).await.map(|_| ()),
            checkpoints.save_now_json(1, &1).await.map(|_| ()),
            checkpoints.step_values(1, Vec::new).await.map(|_| ()),
            checkpoints.save_now_values(1, &[]).await.map(|_| ()),
        ]
        .map(|outcome| outcome.map_err(|error| error.kind()))
    };
    // Nothing was looked at.
    assert_eq!(kinds(&mut open()).await, [Err(ErrorKind::InvalidInput); 4]);
    // Somebody was faster.
    let mut checkpoints = open();
    checkpoints.resume().await.unwrap();
    sessions.session("a", "s").unwrap().save("theirs").await.unwrap();
    assert_eq!(kinds(&mut checkpoints).await, [Err(ErrorKind::Conflict); 4]);
    checkpoints.resume().await.unwrap();
    assert_eq!(kinds(&mut checkpoints).await, [Ok(()); 4]);
}

/// What JSON cannot say.
struct Unwritable;

impl serde::Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("this test's value"))
    }
}

/// Time passes between steps as well, where nobody asks.
#[tokio::test]
async fn checkpoints_by_time_are_saved_when_a_step_ends_and_by_save_now() {
    let clock = TestClock::new(59);
    let session = sessions(&Counting::memory(), &clock).session("a", "s").unwrap();
    let mut checkpoints = Checkpoints::new(session.clone()).every(Duration::from_secs(30));
    checkpoints.resume().await.unwrap();
    clock.pass(30_000);
    assert!(checkpoints.step(1, || "one").await.unwrap().is_some());
    clock.pass(10_000);
    assert!(checkpoints.step(2, || "two").await.unwrap().is_none());
    clock.pass(3_600_000);
    assert_eq!(seqs(&session).await, [1]);
    assert_eq!(checkpoints.save_now(2, "two").await.unwrap().step, Some(2));
    assert!(checkpoints.step(3, || "three").await.unwrap().is_none(), "counted from there");
}
