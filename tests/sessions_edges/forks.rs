//! Forks and saves whose answers are lost, differences and numbers.

use futures_util::TryStreamExt;
use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::{At, Retention},
};

use super::{
    Bench, hold,
    sessions_support::{Random, noise},
};

/// A writer that slept is not sure of its own commit before it has read the line; that may fail as well.
#[tokio::test]
async fn a_lost_answer_and_a_lost_line_make_no_second_commit() {
    let bench = Bench::new(3);
    let (fault, sessions) = bench.faulty();
    let session = sessions.session("a", "s").unwrap();
    session.save("one").await.unwrap();
    bench.hours(2);
    fault.inject(Operation::Put, Injection::After(ErrorKind::Timeout));
    fault.inject(Operation::Get, Injection::Before(ErrorKind::Unavailable));
    assert_eq!(session.save("two").await.unwrap_err().kind(), ErrorKind::Timeout);
    // It is found, and then the line is not read.
    fault.inject_later(Operation::Get, 1, Injection::Before(ErrorKind::Unavailable));
    assert_eq!(session.save("two").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(session.save("two").await.unwrap().seq, 2);
    assert_eq!(session.save("three").await.unwrap().seq, 3);
    assert_eq!(session.load(2).await.unwrap().state, "two");
}

/// What a parser of JSON would round, or not follow.
#[tokio::test]
async fn a_diff_rounds_no_number_and_says_how_deep_it_goes() {
    let bench = Bench::new(2);
    let session = bench.session("s");
    for number in ["18446744073709551616", "18446744073709551617"] {
        session.save(format!(r#"{{"n":{number},"m":1}}"#)).await.unwrap();
    }
    for depth in [100, 200] {
        session.save("[".repeat(depth) + &"]".repeat(depth)).await.unwrap();
    }
    let changes = serde_json::to_value(session.diff(1, 2).await.unwrap()).unwrap();
    let changed = serde_json::json!([
        {"op": "replace", "path": "/n", "old": "18446744073709551616", "value": "18446744073709551617"}
    ]);
    assert_eq!(changes, changed);
    assert!(!session.diff(2, 3).await.unwrap().is_empty());
    let error = session.diff(3, 4).await.unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains("commit 4 is intact, but nested more than 128 deep"), "{error}");
    let values = |number: &'static str| [("v", number.into())];
    session.save_values(&values("18446744073709551616")).await.unwrap();
    session.save_values(&values("18446744073709551617")).await.unwrap();
    assert_eq!(session.diff(5, 6).await.unwrap().len(), 1);
    // A number that 64 bits hold is the same in every spelling, and a number.
    for text in [
        r#"{"a":2.2345678901234567e-05,"b":4.828522789907076e+16,"c":0.5}"#,
        r#"{"a":0.000022345678901234567,"b":48285227899070760.0,"c":0.7234567890123457}"#,
    ] {
        session.save(text).await.unwrap();
    }
    let changes = serde_json::to_value(session.diff(7, 8).await.unwrap()).unwrap();
    let changed =
        serde_json::json!([{"op": "replace", "path": "/c", "old": 0.5, "value": 0.7234567890123457}]);
    assert_eq!(changes, changed);
}

#[tokio::test]
async fn a_number_comes_back_from_json_bit_by_bit() {
    let session = Bench::new(11).session("s");
    let mut random = Random(2);
    let numbers: Vec<f64> = (0..200).map(|_| random.next() as f64 / u64::MAX as f64).collect();
    session.save_json(&numbers).await.unwrap();
    assert_eq!(session.load(At::Latest).await.unwrap().json::<Vec<f64>>().unwrap(), numbers);
}

#[tokio::test]
async fn a_fork_whose_answer_was_lost_is_found_by_another_try() {
    let bench = Bench::new(1);
    let (main, states) = bench.saved("main", 5).await;
    let (fault, sessions) = bench.faulty();
    let flaky = sessions.session("a", "main").unwrap();
    // The reference, then the origin. Commit and line are read to find it and to pin it; then comes the look
    // behind the origin.
    fault.inject_later(Operation::Put, 1, Injection::After(ErrorKind::Timeout));
    fault.inject_later(Operation::Get, 4, Injection::Before(ErrorKind::Unavailable));
    assert_eq!(flaky.fork("fork", 5).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(bench.keys("/fork/c/").await.len(), 1);
    let references = bench.keys("/f/").await;
    let fork = flaky.fork("fork", 5).await.unwrap();
    assert!(fork.load(At::Latest).await.unwrap().state == states[4]);
    assert_eq!(bench.keys("/f/").await, references);
    // Another commit, another session, and one that has gone on are not that fork.
    let (other, _) = bench.saved("other", 5).await;
    assert_eq!(main.fork("fork", 4).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(other.fork("fork", 5).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    fork.save("its own").await.unwrap();
    assert_eq!(main.fork("fork", 5).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(bench.keys("/f/").await, references);
}

/// The origin of a first attempt comes while the second one is on its way.
#[tokio::test]
async fn a_fork_that_arrives_beside_another_try_of_it_is_that_fork() {
    for target in [5, 4] {
        let bench = Bench::new(10);
        let (main, states) = bench.saved("main", 5).await;
        main.fork("fork", target).await.unwrap();
        // On its way: its reference is there already.
        let origin = bench.lose("fork", 1).await;
        let (fault, sessions) = bench.faulty();
        let flaky = sessions.session("a", "main").unwrap();
        let awake = std::sync::Arc::new(tokio::sync::Notify::new());
        fault.inject_later(Operation::Put, 1, Injection::Hold(awake.clone()));
        let mut again = Box::pin(flaky.fork("fork", 5));
        assert!(futures_util::FutureExt::now_or_never(&mut again).is_none());
        bench.set("fork", 1, origin).await;
        awake.notify_one();
        let forked = again.await;
        assert_eq!(bench.keys("/main/f/").await.len(), 1, "of the origin that is there");
        if target == 5 {
            assert!(forked.unwrap().load(At::Latest).await.unwrap().state == states[4]);
        } else {
            assert_eq!(forked.map(drop).unwrap_err().kind(), ErrorKind::AlreadyExists);
        }
    }
}

/// The fork took so long that its caller is told to do it again: until then it is no fork, and then what it
/// starts from is kept.
#[tokio::test]
async fn a_fork_that_failed_is_made_whole_by_the_next_try() {
    let bench = Bench::new(9);
    let (main, states) = bench.saved("main", 40).await;
    let (fault, sessions) = bench.faulty();
    let slow = sessions.session("a", "main").unwrap();
    // The process sleeps between the reference and the origin.
    let awake = hold(&fault, Operation::Put, 1);
    let mut fork = Box::pin(slow.fork("fork", 2));
    assert!(futures_util::FutureExt::now_or_never(&mut fork).is_none());
    assert_eq!(bench.keys("/main/f/").await.len(), 1);
    assert_eq!(bench.keys("/fork/c/").await.len(), 0);
    bench.hours(13);
    awake.notify_one();
    assert_eq!(fork.await.map(drop).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(bench.keys("/fork/c/").await.len(), 0, "nobody has heard of a fork");
    let fork = slow.fork("fork", 2).await.unwrap();
    bench.hours(40);
    main.save("another").await.unwrap();
    main.prune(Retention::new().last(1)).await.unwrap();
    assert!(fork.load(At::Latest).await.unwrap().state == states[1]);
    // An origin whose reference is gone: to fork again is what heals it.
    for key in bench.keys("/main/f/").await {
        bench.adapter.remove(&key).await;
    }
    main.fork("fork", 2).await.unwrap();
    assert_eq!(bench.keys("/main/f/").await.len(), 1);
    bench.hours(40);
    main.save("yet another").await.unwrap();
    main.prune(Retention::new().last(1)).await.unwrap();
    assert!(fork.load(At::Latest).await.unwrap().state == states[1]);
}

/// The start of a fork was lost: what the fork is made of stays for a copy of it, as it does where the start
/// is damaged.
#[tokio::test]
async fn a_prune_of_the_source_keeps_what_a_fork_without_its_start_is_made_of() {
    for damaged in [false, true] {
        let bench = Bench::new(4);
        let (source, states) = bench.saved("source", 3).await;
        let fork = source.fork("fork", 3).await.unwrap();
        let state = [&states[2][..], b" and on"].concat();
        assert!(!fork.save(state.clone()).await.unwrap().keyframe);
        source.save(noise(1, 900)).await.unwrap();
        let start = if damaged { bench.damage("fork", 1).await } else { bench.lose("fork", 1).await };
        bench.hours(30);
        let pruned = source.prune(Retention::new().last(1)).await.unwrap();
        assert!(pruned.removed.is_empty() && pruned.garbage == 0, "{pruned:?}");
        assert_eq!(bench.session("source").remove().await.unwrap_err().kind(), ErrorKind::Conflict);
        bench.set("fork", 1, start).await;
        assert!(bench.session("fork").load(At::Latest).await.unwrap().state == state);
        assert!(bench.session("fork").verify().await.unwrap().is_good());
    }
}

/// A fork that never came to be, whatever has its name since, keeps nothing.
#[tokio::test]
async fn a_reference_of_no_fork_keeps_nothing() {
    for used in [false, true] {
        let bench = Bench::new(5);
        let session = bench.session("source");
        for seed in 0..4 {
            session.save(noise(seed, 900)).await.unwrap();
        }
        session.fork("fork", 2).await.unwrap();
        bench.lose("fork", 1).await;
        if used {
            for seed in 0..3 {
                bench.session("fork").save(noise(seed, 900)).await.unwrap();
            }
            bench.hours(5);
            bench.session("fork").prune(Retention::new().last(1)).await.unwrap();
        }
        bench.hours(30);
        let pruned = session.prune(Retention::new().last(1)).await.unwrap();
        assert_eq!((pruned.removed, pruned.garbage), (vec![3, 2, 1], 1), "{used}");
    }
}

/// What is missing of the shared history is told by the fork's own check, and the log.
#[tokio::test]
async fn a_check_of_a_fork_tells_what_its_source_lacks() {
    let bench = Bench::new(6);
    let (source, _) = bench.saved("source", 6).await;
    let fork = source.fork("fork", 6).await.unwrap();
    fork.save(noise(1, 900)).await.unwrap();
    let lost = bench.lose("source", 5).await;
    let verified = fork.verify().await.unwrap();
    let told: Vec<_> =
        verified.damaged.iter().filter(|damaged| damaged.reason == "commit 5 is missing").collect();
    assert_eq!(told.len(), 1, "{verified:?}");
    assert_eq!(told[0].key.as_deref(), Some(super::commit_key("source", 5).as_str()));
    let of_source = bench.session("source").verify().await.unwrap();
    assert_eq!((of_source.damaged, of_source.good + 1), (verified.damaged, verified.good));
    bench.set("source", 5, lost).await;
    assert!(fork.verify().await.unwrap().is_good());
}

/// On a local disk it can be read before it is durable, and the sync may have failed.
#[tokio::test]
async fn an_origin_that_is_found_behind_an_error_is_put_once_more() {
    let bench = Bench::new(11);
    bench.saved("main", 2).await;
    let (fault, sessions) = bench.faulty();
    let flaky = sessions.session("a", "main").unwrap();
    for (name, fails) in [("one", false), ("two", true)] {
        fault.reset_calls();
        fault.inject_later(Operation::Put, 1, Injection::After(ErrorKind::Io));
        if fails {
            fault.inject(Operation::Put, Injection::Before(ErrorKind::Timeout));
        }
        let forked = flaky.fork(name, 2).await;
        assert_eq!(forked.err().map(|error| error.kind()), fails.then_some(ErrorKind::Io));
        assert_eq!(fault.calls(Operation::Put), 3);
        assert_eq!(flaky.fork(name, 2).await.unwrap().save("on").await.unwrap().seq, 3);
    }
}

/// An adapter that is told of its own attempt as of a rival's, and then nothing more is heard.
#[tokio::test]
async fn a_fork_that_may_be_there_keeps_its_reference() {
    let bench = Bench::new(12);
    let (main, states) = bench.saved("main", 2).await;
    let (fault, sessions) = bench.faulty();
    let flaky = sessions.session("a", "main").unwrap();
    let (gets, lists) = {
        let bench = Bench::new(12);
        bench.saved("main", 2).await;
        let (fault, sessions) = bench.faulty();
        sessions.session("a", "main").unwrap().fork("fork", 2).await.unwrap();
        (fault.calls(Operation::Get), fault.calls(Operation::List))
    };
    fault.inject_later(Operation::Put, 1, Injection::After(ErrorKind::AlreadyExists));
    fault.inject_later(Operation::Get, gets, Injection::Before(ErrorKind::Timeout));
    fault.inject_later(Operation::List, lists, Injection::Before(ErrorKind::Timeout));
    let error = flaky.fork("fork", 2).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Timeout && error.retryable(), "{error}");
    fault.heal();
    bench.hours(30);
    main.save(noise(1, 900)).await.unwrap();
    bench.hours(30);
    main.prune(Retention::new().last(1)).await.unwrap();
    assert!(bench.session("fork").load(At::Latest).await.unwrap().state == states[1]);
}

/// Ids are any text, so an origin that carries them may be longer than what is read of an object's end.
#[tokio::test]
async fn a_fork_with_a_very_long_name_is_a_fork() {
    let bench = Bench::new(30);
    let (session, states) = bench.saved("s", 3).await;
    for name in ["x".repeat(20_000), "\0".repeat(20_000)] {
        let fork = bench.session(&name);
        session.fork_to(&fork, At::Latest).await.unwrap();
        // After a lost answer.
        session.fork_to(&fork, At::Latest).await.unwrap();
    }
    let forks = ["x".repeat(20_000), "\0".repeat(20_000)].map(|name| bench.session(&name));
    bench.hours(25);
    bench.clock.pass(1);
    session.save("on").await.unwrap();
    bench.hours(5);
    let pruned = session.prune(Retention::new().last(1)).await.unwrap();
    assert_eq!((pruned.removed.len(), pruned.garbage), (0, 0), "{pruned:?}");
    for fork in forks {
        let log: Vec<u64> = fork.log().map_ok(|commit| commit.seq).try_collect().await.unwrap();
        assert_eq!(log, [3, 2, 1]);
        assert!(fork.load(At::Latest).await.unwrap().state == states[2]);
        assert!(fork.verify().await.unwrap().is_good());
        assert_eq!(fork.save("mine").await.unwrap().seq, 4);
    }
}

/// Who removes all that is one user's removes forks first, and can tell which those are.
#[tokio::test]
async fn a_session_tells_its_forks_and_where_it_comes_from() {
    let bench = Bench::new(31);
    let (session, _) = bench.saved("s", 3).await;
    let long = bench.session(&"x".repeat(300));
    let other = bench.sessions.session("b", "another agent's").unwrap();
    for (fork, seq) in [(&long, 2), (&other, 3)] {
        session.fork_to(fork, seq).await.unwrap();
        // The answer was lost.
        session.fork_to(fork, seq).await.unwrap();
        let (source, number) = fork.origin().await.unwrap().unwrap();
        assert_eq!((source.agent.as_str(), source.session.as_str(), number), ("a", "s", seq));
    }
    assert!(session.origin().await.unwrap().is_none());
    assert!(bench.session("nobody").origin().await.unwrap().is_none());
    let names = async || -> Vec<(String, String)> {
        let forks = session.forks().await.unwrap();
        forks.into_iter().map(|fork| (fork.agent, fork.session)).collect()
    };
    let [of_long, of_other] = [&long, &other].map(|fork| (fork.agent().to_owned(), fork.name().to_owned()));
    assert_eq!(names().await, [of_long.clone(), of_other]);
    assert_eq!(session.remove().await.unwrap_err().kind(), ErrorKind::Conflict);
    other.remove().await.unwrap();
    assert!(other.origin().await.unwrap().is_none());
    assert_eq!(names().await, [of_long]);
    for fork in session.forks().await.unwrap() {
        bench.sessions.named(&fork).remove().await.unwrap();
    }
    assert!(session.forks().await.unwrap().is_empty());
    session.remove().await.unwrap();
    // Once more is no error, and the name stays.
    session.remove().await.unwrap();
    let listed: Vec<_> = bench.sessions.list(Some("a")).try_collect().await.unwrap();
    assert!(listed.iter().any(|name| name.session == "s"));
}
