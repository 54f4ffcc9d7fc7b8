//! A fallback beside rivals, prunes and clones, which act between any two of its requests.

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};
use persist::{
    ErrorKind, Result,
    layers::{Fault, Operation},
    sessions::{At, Restored, Retention, Session, Sessions},
};
use tokio::sync::Notify;

use super::{Bench, commit_key, hold};

/// A handle, and its fallback, which is held at one of its requests.
struct Held {
    fault: Fault,
    session: Session,
    load: BoxFuture<'static, Result<Restored>>,
    go_on: Arc<Notify>,
}

/// The fallback of a fresh handle, held behind `skip` requests of this kind; `None` where it makes no more.
fn held(bench: &Bench, name: &str, operation: Operation, skip: usize) -> Option<Held> {
    let (fault, sessions): (Fault, Sessions) = bench.faulty();
    let (session, go_on) = (sessions.session("a", name).unwrap(), hold(&fault, operation, skip));
    let clone = session.clone();
    let mut load = async move { clone.load_with_fallback(At::Latest).await }.boxed();
    (&mut load).now_or_never().is_none().then_some(Held { fault, session, load, go_on })
}

/// What it saves then is made of what it was shown, or refused: a rival's commit is never saved over.
async fn saves_over_nobody(held: Held, rivals: u64, context: &str) {
    held.go_on.notify_one();
    let shown = held.load.await;
    if let Err(error) = &shown {
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{context}: {error}");
    }
    let is_rivals = shown.is_ok_and(|shown| shown.commit.seq == rivals);
    match held.session.save("made of what was shown").await {
        Ok(next) => assert!(is_rivals && next.seq == rivals + 1, "{context}: {next:?}"),
        Err(late) => assert!(late.kind() == ErrorKind::Conflict && !is_rivals, "{context}: {late}"),
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Damage {
    /// A fork has no commit of its own, and its start is lost.
    Start,
    /// Of the only commit nothing can be read.
    Only,
    /// The newest of several.
    Newest,
}

/// A session "f" whose newest commit is damaged, and the number behind it.
async fn damaged(damage: Damage) -> (Bench, u64) {
    let bench = Bench::new(1);
    let name = if damage == Damage::Start { "s" } else { "f" };
    let session = bench.session(name);
    for seq in 1..=if damage == Damage::Only { 1 } else { 3 } {
        assert!(session.save(super::noise(seq, 3000)).await.unwrap().keyframe);
    }
    match damage {
        Damage::Start => {
            session.fork("f", 3).await.unwrap();
            bench.lose("s", 3).await;
        }
        Damage::Only => bench.adapter.flip(&commit_key("f", 1), 0).await,
        Damage::Newest => drop(bench.damage("f", 3).await),
    }
    (bench, if damage == Damage::Only { 2 } else { 4 })
}

#[tokio::test]
async fn a_fallback_saves_over_no_rival_that_came_meanwhile() {
    for damage in [Damage::Start, Damage::Only, Damage::Newest] {
        for operation in [Operation::List, Operation::Get] {
            for skip in 0.. {
                let (bench, next) = damaged(damage).await;
                let Some(held) = held(&bench, "f", operation, skip) else {
                    assert!(skip > 1, "it asks for more than that");
                    break;
                };
                let rival = bench.session("f");
                let good = rival.load_with_fallback(At::Latest).await;
                assert_eq!(good.is_ok(), damage != Damage::Only);
                assert_eq!(rival.save(super::noise(9, 3000)).await.unwrap().seq, next);
                saves_over_nobody(held, next, &format!("{damage:?}, {operation:?} {skip}")).await;
            }
        }
    }
}

/// A first save of a clone has found the rival's commit by itself, and is given up: nobody was told of that.
#[tokio::test]
async fn so_it_does_beside_a_first_save_of_a_clone() {
    for damage in [Damage::Start, Damage::Only, Damage::Newest] {
        for operation in [Operation::List, Operation::Get] {
            for skip in 0.. {
                let (bench, next) = damaged(damage).await;
                let Some(held) = held(&bench, "f", operation, skip) else { break };
                let rival = bench.session("f");
                let _ = rival.load_with_fallback(At::Latest).await;
                rival.save(super::noise(9, 3000)).await.unwrap();
                let _never = hold(&held.fault, Operation::Put, 0);
                let mut save = held.session.save("heartbeat").boxed();
                assert!((&mut save).now_or_never().is_none() && held.fault.calls(Operation::Put) == 1);
                drop(save);
                saves_over_nobody(held, next, &format!("{damage:?}, {operation:?} {skip}")).await;
            }
        }
    }
}

/// "Not found" is what a session without commits says, and who hears that begins anew.
#[tokio::test]
async fn a_fallback_beside_a_prune_does_not_take_the_session_for_a_new_one() {
    for operation in [Operation::List, Operation::Get] {
        for skip in 0.. {
            let bench = Bench::new(2);
            bench.saved("f", 6).await;
            bench.damage("f", 6).await;
            let Some(held) = held(&bench, "f", operation, skip) else {
                assert!(skip > 1);
                break;
            };
            let rival = bench.session("f");
            assert_eq!(rival.load_with_fallback(At::Latest).await.unwrap().commit.seq, 5);
            assert!(rival.save(super::noise(9, 3000)).await.unwrap().keyframe);
            bench.hours(30);
            assert_eq!(rival.prune(Retention::new().last(1)).await.unwrap().removed.len(), 6);
            saves_over_nobody(held, 7, &format!("{operation:?} {skip}")).await;
        }
    }
}
