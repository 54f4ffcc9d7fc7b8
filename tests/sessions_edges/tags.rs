//! Tags that are made, moved and removed beside prunes and other tags.

use futures_util::FutureExt;
use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::{At, Retention, Session},
};

use super::{Bench, hold, sessions_support::noise};

/// Works while a prune is held that has listed forks and tags and decides by those.
async fn beside_a_prune(bench: &Bench, work: impl AsyncFnOnce(&Bench)) {
    let (fault, sessions) = bench.faulty();
    let session = sessions.session("a", "s").unwrap();
    let go_on = hold(&fault, Operation::List, 4);
    let mut prune = Box::pin(session.prune(Retention::new().last(1)));
    assert!((&mut prune).now_or_never().is_none() && fault.calls(Operation::Put) == 1);
    work(bench).await;
    go_on.notify_one();
    prune.await.unwrap();
}

async fn tagged(session: &Session) -> Vec<u8> {
    session.load(At::Tag("kept".into())).await.unwrap().state.to_vec()
}

/// The first try arrived and its answer was lost: the second finds its tag, which the prune has not seen.
#[tokio::test]
async fn a_tag_that_is_there_already_is_kept_beside_a_prune() {
    let bench = Bench::new(131);
    bench.unrelated("s", 4).await;
    bench.hours(3);
    beside_a_prune(&bench, async |bench| {
        let (fault, sessions) = bench.faulty();
        let session = sessions.session("a", "s").unwrap();
        fault.inject(Operation::Put, Injection::After(ErrorKind::Timeout));
        session.tag("kept", 1).await.unwrap_err();
        session.tag("kept", 1).await.unwrap();
    })
    .await;
    assert!(tagged(&bench.session("s")).await == noise(1, 600));
}

#[tokio::test]
async fn a_tag_that_moves_beside_a_prune_keeps_what_it_moves_to() {
    let bench = Bench::new(132);
    let session = bench.unrelated("s", 4).await;
    bench.hours(3);
    session.tag("kept", 4).await.unwrap();
    beside_a_prune(&bench, async |bench| {
        bench.session("s").move_tag("kept", 1).await.unwrap();
    })
    .await;
    assert!(tagged(&bench.session("s")).await == noise(1, 600));
}

#[tokio::test]
async fn a_tag_that_another_moved_meanwhile_is_neither_moved_nor_removed() {
    for moves in [true, false] {
        let bench = Bench::new(133);
        let rival = bench.unrelated("s", 4).await;
        rival.tag("kept", 1).await.unwrap();
        let (fault, sessions) = bench.faulty();
        let session = sessions.session("a", "s").unwrap();
        // The attempt to create it, the guard, the move.
        let (operation, skip) = if moves { (Operation::Put, 2) } else { (Operation::Delete, 0) };
        let go_on = hold(&fault, operation, skip);
        let mut late = Box::pin(async {
            if moves {
                session.move_tag("kept", 2).await.map(drop)
            } else {
                session.untag("kept").await.map(drop)
            }
        });
        assert!((&mut late).now_or_never().is_none() && fault.calls(operation) == skip + 1);
        rival.move_tag("kept", 3).await.unwrap();
        go_on.notify_one();
        assert_eq!(late.await.unwrap_err().kind(), ErrorKind::Conflict, "{moves}");
        assert!(tagged(&bench.session("s")).await == noise(3, 600), "{moves}");
    }
}
