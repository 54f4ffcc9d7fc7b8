//! A run that waits between two steps: what is not saved, and how long it may stay so.

use std::time::Duration;

use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::{Checkpoints, CommitOptions},
};

use super::Bench;

const EVERY: Duration = Duration::from_secs(30);

#[tokio::test]
async fn what_is_not_saved_is_due_by_the_time_of_its_rule() {
    let bench = Bench::new(251);
    let mut checkpoints = Checkpoints::new(bench.session("s")).every_steps(10).every(EVERY);
    assert_eq!((checkpoints.unsaved(), checkpoints.due_in()), (false, None));
    checkpoints.resume().await.unwrap();
    assert_eq!((checkpoints.unsaved(), checkpoints.due_in()), (false, None));

    bench.clock.pass(10_000);
    assert!(checkpoints.step(1, || "one").await.unwrap().is_none());
    assert_eq!((checkpoints.unsaved(), checkpoints.due_in()), (true, Some(Duration::from_secs(20))));
    // Time alone saves nothing.
    bench.clock.pass(3_600_000);
    assert_eq!((checkpoints.unsaved(), checkpoints.due_in()), (true, Some(Duration::ZERO)));
    assert!(bench.session("s").rebase().await.unwrap().is_none());
    checkpoints.save_now(1, "one").await.unwrap();
    assert_eq!((checkpoints.unsaved(), checkpoints.due_in()), (false, None));

    assert!(checkpoints.step_json(2, &2).await.unwrap().is_none());
    assert!(checkpoints.unsaved());
    checkpoints.resume().await.unwrap();
    assert!(!checkpoints.unsaved());
    bench.clock.pass(30_000);
    assert!(checkpoints.step_values(2, || vec![("a", "two".into())]).await.unwrap().is_some());
    assert!(!checkpoints.unsaved());
}

#[tokio::test]
async fn a_step_whose_save_failed_is_not_saved() {
    let bench = Bench::new(252);
    let (fault, sessions) = bench.faulty();
    let mut checkpoints = Checkpoints::new(sessions.session("a", "s").unwrap());
    checkpoints.resume().await.unwrap();
    fault.inject(Operation::Put, Injection::Before(ErrorKind::AccessDenied));
    checkpoints.step(1, || "one").await.unwrap_err();
    // Without a rule of time, nothing is due by it.
    assert_eq!((checkpoints.unsaved(), checkpoints.due_in()), (true, None));
    checkpoints.step(1, || "one").await.unwrap();
    assert!(!checkpoints.unsaved());
}

#[tokio::test]
async fn a_save_now_that_failed_leaves_something_to_save() {
    let bench = Bench::new(253);
    let (fault, sessions) = bench.faulty();
    let mut checkpoints = Checkpoints::new(sessions.session("a", "s").unwrap()).every(EVERY);
    // It has not resumed, so nothing tells since when.
    fault.inject(Operation::Put, Injection::Before(ErrorKind::AccessDenied));
    checkpoints.step_with(1, CommitOptions::new().first(), || "one").await.unwrap_err();
    assert_eq!((checkpoints.unsaved(), checkpoints.due_in()), (true, Some(Duration::ZERO)));
    checkpoints.save_now_with(1, CommitOptions::new().first(), "one").await.unwrap();
    assert!(!checkpoints.unsaved());
    fault.inject(Operation::Put, Injection::Before(ErrorKind::AccessDenied));
    checkpoints.save_now(2, "two").await.unwrap_err();
    assert_eq!((checkpoints.unsaved(), checkpoints.due_in()), (true, Some(EVERY)));
}

/// What is made of both after a conflict is nothing that was saved, whatever its number.
#[tokio::test]
async fn what_was_refused_is_owed_behind_a_resume() {
    let bench = Bench::new(265);
    for (name, every, refused, next) in [("each", 1, 1, 1), ("tens", 10, 10, 11)] {
        let open = || Checkpoints::new(bench.session(name)).every_steps(every);
        let (mut mine, mut theirs) = (open(), open());
        assert!(mine.resume().await.unwrap().is_none() && theirs.resume().await.unwrap().is_none());
        theirs.step(refused, || "theirs").await.unwrap().unwrap();
        let error = mine.step(refused, || "mine").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert_eq!(mine.resume().await.unwrap().unwrap().state, "theirs");
        let both = mine.step(next, || "both").await.unwrap();
        assert_eq!(both.map(|commit| (commit.seq, commit.step)), Some((2, Some(next))), "{name}");
        // Once.
        assert!(mine.step(next, || "both").await.unwrap().is_none());
    }
}
