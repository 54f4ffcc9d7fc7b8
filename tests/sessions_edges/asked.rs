//! What a handle knows can be asked for beside a call that has its writer and that nobody polls.

use futures_util::FutureExt;
use persist::{
    ErrorKind,
    layers::Operation,
    sessions::{At, Rival},
};

use super::{Bench, hold};

/// A loop over its own saves, or `select!` with a pinned one: the save goes on only behind the answer.
#[tokio::test]
async fn what_was_seen_is_told_beside_a_save_that_nobody_polls() {
    let bench = Bench::new(271);
    let (fault, sessions) = bench.faulty();
    let session = sessions.session("a", "s").unwrap();
    session.save("one").await.unwrap();
    let go_on = hold(&fault, Operation::Put, 0);
    let mut save = Box::pin(session.save("two"));
    assert!((&mut save).now_or_never().is_none());
    // The next one in turn has the writer as soon as the first ends, and is not polled either.
    let mut next = Box::pin(session.save("three"));
    assert!((&mut next).now_or_never().is_none());
    assert_eq!(session.seen().now_or_never(), Some(Some(1)));
    assert_eq!(session.rival().now_or_never(), Some(None));
    go_on.notify_one();
    assert_eq!(save.await.unwrap().seq, 2);
    assert_eq!(session.seen().now_or_never(), Some(Some(2)));
    assert_eq!(next.await.unwrap().seq, 3);
    assert_eq!(session.seen().now_or_never(), Some(Some(3)));
}

/// What the conflict of one save of many is about.
#[tokio::test]
async fn who_was_faster_is_told_while_the_next_save_has_its_turn() {
    let bench = Bench::new(272);
    let session = bench.session("s");
    session.save("one").await.unwrap();
    bench.session("s").save("a rival's").await.unwrap();
    let (fault, sessions) = bench.faulty();
    let late = sessions.session("a", "s").unwrap();
    late.load(1).await.unwrap();
    let go_on = hold(&fault, Operation::Put, 0);
    let mut saves = [Box::pin(late.save("two")), Box::pin(late.save("three"))];
    for save in &mut saves {
        assert!(save.now_or_never().is_none());
    }
    go_on.notify_one();
    let [first, next] = saves;
    assert_eq!(first.await.unwrap_err().kind(), ErrorKind::Conflict);
    let Some(Some(Rival::Faster(commit))) = late.rival().now_or_never() else { panic!("nobody is told") };
    assert_eq!((commit.seq, late.seen().now_or_never()), (2, Some(Some(1))));
    drop(next);
    late.rebase().await.unwrap();
    assert_eq!(late.rival().now_or_never(), Some(None));
    assert_eq!(late.save("both").await.unwrap().seq, 3);
}

/// Also where a call is given up, and for what a load shows beside a call.
#[tokio::test]
async fn what_a_load_shows_beside_a_call_is_seen() {
    let bench = Bench::new(273);
    bench.saved("s", 2).await;
    let (fault, sessions) = bench.faulty();
    let session = sessions.session("a", "s").unwrap();
    let go_on = hold(&fault, Operation::List, 0);
    let mut save = Box::pin(session.save("heartbeat"));
    assert!((&mut save).now_or_never().is_none());
    assert_eq!(session.seen().now_or_never(), Some(None), "it looks yet");
    assert_eq!(session.load(At::Latest).await.unwrap().commit.seq, 2);
    assert_eq!(session.seen().now_or_never(), Some(Some(2)));
    // The save goes on from that, and is held again.
    let never = hold(&fault, Operation::Put, 0);
    go_on.notify_one();
    assert!((&mut save).now_or_never().is_none() && fault.calls(Operation::Put) == 1);
    assert_eq!(session.seen().now_or_never(), Some(Some(2)));
    drop((save, never));
    assert_eq!(session.seen().now_or_never(), Some(Some(2)));
    assert_eq!(session.save("three").await.unwrap().seq, 3);
    assert_eq!(session.seen().now_or_never(), Some(Some(3)));
}
