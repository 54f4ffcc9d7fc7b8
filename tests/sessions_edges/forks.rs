//! Forks whose answers are lost, and differences.

use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::At,
};

use super::Bench;

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
}

#[tokio::test]
async fn a_fork_whose_answer_was_lost_is_found_by_another_try() {
    let bench = Bench::new(1);
    let (main, states) = bench.saved("main", 5).await;
    let (fault, sessions) = bench.faulty();
    let flaky = sessions.session("a", "main").unwrap();
    // The reference, then the origin. Commit and line are read to find it and to pin it; then comes the look behind the origin.
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
