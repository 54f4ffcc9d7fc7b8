//! Forks whose answers are lost.

use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::At,
};

use super::Bench;

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
