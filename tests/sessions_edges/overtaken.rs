//! What a handle hears of who was there first: to merge, to stop, or that nobody wants the session any more.

use std::sync::Arc;

use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::*,
};
use tokio::sync::Notify;

use super::Bench;

/// Follows what a conflict advises, as runtimes do; with the state that is saved.
async fn save_merged(session: &Session, mut state: String) -> Result<Commit, Option<Rival>> {
    // More turns than a merge can need here.
    for _ in 0..3 {
        match session.save(state.clone()).await {
            Ok(commit) => return Ok(commit),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
        }
        match session.rival().await {
            Some(Rival::Faster(_)) => match session.rebase().await.unwrap() {
                Some(newest) => state = format!("{}, {state}", String::from_utf8_lossy(&newest.state)),
                None => return Err(session.rival().await),
            },
            stop => return Err(stop),
        }
    }
    panic!("it goes on for ever");
}

#[tokio::test]
async fn who_was_taken_over_hears_so_at_once_and_behind_a_rebase() {
    let bench = Bench::new(1);
    let old = bench.session("s");
    old.save("one").await.unwrap();
    let owner = bench.sessions.clone().writer("p2").session("a", "s").unwrap();
    owner.take_over().await.unwrap();
    for seq in [2, 3, 4] {
        // Behind a rebase to what the owner has made since, too.
        let before = bench.adapter.counts();
        for again in [false, true] {
            let error = old.save("late").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict);
            let text = error.to_string();
            assert!(text.contains("was taken over in epoch 1") && text.contains("by p2"), "{text}");
            assert!(text.contains("; stop, or fork") && !text.contains("rebase"), "{text}");
            let Some(Rival::TookOver(commit)) = old.rival().await else { panic!("{:?}", old.rival().await) };
            assert_eq!((commit.seq, commit.epoch, commit.writer.as_deref()), (seq, 1, Some("p2")));
            // Asked once.
            let cost = bench.adapter.counts() - before;
            assert!(cost.get <= 1 && cost.list == 0 && cost.put <= u64::from(seq == 2), "{again} {cost:?}");
        }
        let small = bench.sessions.clone().stream_limit(1).session("a", "s").unwrap();
        small.load(1).await.unwrap();
        assert_eq!(small.save_stream(&b"long"[..]).await.unwrap_err().kind(), ErrorKind::Conflict);
        owner.save("the owner's").await.unwrap();
        assert_eq!(old.rebase().await.unwrap().unwrap().commit.seq, seq + 1);
        assert!(old.rival().await.is_none());
    }
    // What is advised.
    let beside = old.fork("beside", At::Latest).await.unwrap();
    assert_eq!(beside.save("mine").await.unwrap().seq, 6);
}

/// A stream is not sent before it is known whether its writer is let in.
#[tokio::test]
async fn a_stream_of_who_was_taken_over_names_the_owner_too() {
    let bench = Bench::new(2);
    let old = bench.sessions.clone().stream_limit(1).inline_limit(1).session("a", "s").unwrap();
    old.save("one").await.unwrap();
    bench.session("s").take_over().await.unwrap();
    old.rebase().await.unwrap();
    let before = bench.adapter.counts();
    let error = old.save_stream(&b"long"[..]).await.unwrap_err();
    assert!(error.to_string().contains("taken over in epoch 1: commit 2 ("), "{error}");
    assert!(matches!(old.rival().await, Some(Rival::TookOver(owner)) if owner.seq == 2));
    assert_eq!((bench.adapter.counts() - before).put, 0);
}

#[tokio::test]
async fn who_did_not_notice_a_removal_hears_of_it() {
    let bench = Bench::new(3);
    let tab = bench.session("s");
    tab.save("one").await.unwrap();
    // A label of one's own is none.
    let labelled = bench.session("s");
    labelled.save_with("", CommitOptions::new().label("removed")).await.unwrap();
    let error = tab.save("late").await.unwrap_err().to_string();
    assert!(error.contains("is already there; rebase or fork"), "{error}");
    assert!(matches!(tab.rival().await, Some(Rival::Faster(commit)) if commit.seq == 2));
    tab.rebase().await.unwrap();
    bench.session("s").remove().await.unwrap();
    let error = tab.save("late").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let text = error.to_string();
    assert!(text.contains("the session was removed, with commit 3 (") && !text.contains("fork"), "{text}");
    assert!(text.ends_with("; rebase to begin it anew"), "{text}");
    assert!(matches!(tab.rival().await, Some(Rival::Removed(marker)) if marker.seq == 3));
    assert!(tab.rebase().await.unwrap().is_none());
    assert_eq!(tab.save("anew").await.unwrap().seq, 4);
}

/// The loop that everybody writes ends in each case, and brings nothing back that was removed.
#[tokio::test]
async fn a_loop_that_follows_the_advice_ends() {
    for what in ["faster", "took over", "removed", "faster, then took over", "faster, then removed"] {
        let bench = Bench::new(4);
        let session = bench.session("s");
        session.save("one").await.unwrap();
        let other = bench.session("s");
        if what.starts_with("faster") {
            other.save("two").await.unwrap();
        }
        if what.ends_with("took over") {
            other.take_over().await.unwrap();
        }
        if what.ends_with("removed") {
            other.remove().await.unwrap();
        }
        let saved = save_merged(&session, "three".into()).await;
        match (what, saved) {
            ("faster", Ok(commit)) => {
                assert_eq!(commit.seq, 3);
                assert_eq!(other.load(At::Latest).await.unwrap().state, "two, three");
            }
            ("took over" | "faster, then took over", Err(Some(Rival::TookOver(_)))) => {}
            ("removed", Err(Some(Rival::Removed(_)))) | ("faster, then removed", Err(None)) => {
                let error = bench.session("s").load(At::Latest).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NotFound);
            }
            (_, saved) => panic!("{what}: {saved:?}"),
        }
    }
}

/// It is the handle's own, and a rebase lets it in.
#[tokio::test]
async fn an_own_take_over_that_was_not_heard_of_is_nobody_elses() {
    for given_up in [false, true] {
        let bench = Bench::new(5);
        bench.saved("s", 1).await;
        let (fault, sessions) = bench.faulty();
        let owner = sessions.session("a", "s").unwrap();
        owner.load(At::Latest).await.unwrap();
        let reads = fault.calls(Operation::Get);
        fault.inject(Operation::Put, Injection::After(ErrorKind::Timeout));
        // Behind the newest commit and `line`, the third read looks for what became of it.
        let look = if given_up {
            Injection::Hold(Arc::new(Notify::new()))
        } else {
            Injection::Before(ErrorKind::Timeout)
        };
        fault.inject_later(Operation::Get, 2, look);
        tokio::select! {
            biased;
            done = owner.take_over() => drop(done.unwrap_err()),
            () = async {
                while fault.calls(Operation::Get) < reads + 3 {
                    tokio::task::yield_now().await;
                }
            } => assert!(given_up),
        }
        fault.heal();
        assert_eq!(bench.session("s").load(At::Latest).await.unwrap().commit.epoch, 1);
        assert_eq!(owner.save("mine").await.unwrap_err().kind(), ErrorKind::Conflict);
        let rival = owner.rival().await;
        assert!(matches!(&rival, Some(Rival::Faster(own)) if own.epoch == 1), "{given_up} {rival:?}");
        owner.rebase().await.unwrap();
        assert_eq!(owner.save("mine").await.unwrap().epoch, 1);
    }
}
