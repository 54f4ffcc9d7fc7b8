//! A load beside a clone that has the writer: what it shows is what saves continue, whatever becomes of the
//! clone's call.

use futures_util::{FutureExt, future::BoxFuture};
use persist::{
    ErrorKind, Result,
    layers::Operation,
    sessions::{At, CommitOptions, Session},
};
use std::sync::Arc;
use tokio::sync::Notify;

use super::{Bench, hold};

/// A call that has the writer while it looks for the newest commit, and how many listings come before that.
fn calls(handle: &Session) -> Vec<(&'static str, usize, BoxFuture<'static, Result<()>>)> {
    let clone = || handle.clone();
    let (save, rebase, take_over, remove) = (clone(), clone(), clone(), clone());
    vec![
        ("save", 0, async move { save.save("heartbeat").await.map(drop) }.boxed()),
        ("rebase", 0, async move { rebase.rebase().await.map(drop) }.boxed()),
        ("take_over", 0, async move { take_over.take_over().await.map(drop) }.boxed()),
        ("remove", 1, async move { remove.remove().await.map(drop) }.boxed()),
    ]
}

const CALLS: usize = 4;

/// A handle that has seen nothing, a call of its clone that is held at its look, and what lets that go on.
fn beside(
    bench: &Bench,
    call: usize,
) -> (Session, &'static str, BoxFuture<'static, Result<()>>, Arc<Notify>) {
    let (fault, sessions) = bench.faulty();
    let handle = sessions.session("a", "s").unwrap();
    let (name, skip, mut held) = calls(&handle).swap_remove(call);
    let go_on = hold(&fault, Operation::List, skip);
    assert!((&mut held).now_or_never().is_none(), "{name}");
    (handle, name, held, go_on)
}

#[tokio::test]
async fn a_load_beside_a_call_that_is_given_up_is_what_saves_continue() {
    for call in 0..CALLS {
        for way in ["latest", "number", "stream"] {
            let bench = Bench::new(1);
            bench.saved("s", 2).await;
            let (handle, name, held, _) = beside(&bench, call);
            let shown = match way {
                "latest" => handle.load(At::Latest).await.unwrap().commit,
                "number" => handle.load(2).await.unwrap().commit,
                _ => handle.load_stream(At::Latest).await.unwrap().0,
            };
            assert_eq!(shown.seq, 2);
            // The first one counts, as always.
            handle.load(1).await.unwrap();
            drop(held);
            bench.session("s").save("a rival's").await.unwrap();
            let lost = handle.save("made of 2").await.unwrap_err();
            assert_eq!(lost.kind(), ErrorKind::Conflict, "{name}, {way}");
            assert_eq!(handle.seen().await, Some(2), "{name}, {way}");
            handle.rebase().await.unwrap();
            assert_eq!(handle.save("made of 3").await.unwrap().seq, 4, "{name}, {way}");
        }
    }
}

#[tokio::test]
async fn so_is_a_load_that_found_no_commit() {
    for call in 0..CALLS {
        let bench = Bench::new(2);
        let (handle, name, held, go_on) = beside(&bench, call);
        assert_eq!(handle.load(At::Latest).await.unwrap_err().kind(), ErrorKind::NotFound);
        bench.session("s").save("a rival's").await.unwrap();
        // Of no use to anybody, or too late.
        drop((held, go_on));
        assert_eq!(handle.save("the first").await.unwrap_err().kind(), ErrorKind::Conflict, "{name}");
        assert_eq!(handle.seen().await, Some(0), "{name}");
    }
}

/// The clone's own look finds more than the load has shown: its save is made of neither.
#[tokio::test]
async fn a_first_save_goes_on_from_what_a_load_shows_meanwhile() {
    let bench = Bench::new(3);
    bench.saved("s", 2).await;
    let (handle, _, held, go_on) = beside(&bench, 0);
    assert_eq!(handle.load(At::Latest).await.unwrap().commit.seq, 2);
    bench.session("s").save("a rival's").await.unwrap();
    go_on.notify_one();
    assert_eq!(held.await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(handle.save("made of 2").await.unwrap_err().kind(), ErrorKind::Conflict);

    // Where nobody was faster, it follows the commit that was loaded; and who names a newer one has seen
    // that.
    for rival in [false, true] {
        let bench = Bench::new(4);
        bench.saved("s", 2).await;
        let (fault, sessions) = bench.faulty();
        let (handle, go_on) = (sessions.session("a", "s").unwrap(), hold(&fault, Operation::List, 0));
        let (clone, options) = (handle.clone(), CommitOptions::new());
        let options = if rival { options.after(3) } else { options };
        let mut save = clone.save_with("state", options).boxed();
        assert!((&mut save).now_or_never().is_none());
        handle.load(At::Latest).await.unwrap();
        if rival {
            bench.session("s").save("a rival's").await.unwrap();
        }
        go_on.notify_one();
        assert_eq!(save.await.unwrap().seq, 3 + u64::from(rival));
    }
}

/// What a call of the clone has brought to its end is what saves continue: clones are one writer.
#[tokio::test]
async fn a_call_that_succeeds_is_what_saves_continue() {
    for call in 1..3 {
        let bench = Bench::new(5);
        bench.saved("s", 2).await;
        let (handle, name, held, go_on) = beside(&bench, call);
        assert_eq!(handle.load(At::Latest).await.unwrap().commit.seq, 2);
        bench.session("s").save("a rival's").await.unwrap();
        go_on.notify_one();
        held.await.unwrap();
        let seen = handle.seen().await.unwrap();
        assert_eq!((name, seen), if call == 1 { ("rebase", 3) } else { ("take_over", 4) });
        assert_eq!(handle.save("next").await.unwrap().seq, seen + 1);
    }
}

/// A take-over that came before the load's commit was followed keeps the handle out.
#[tokio::test]
async fn a_handle_is_of_the_epoch_that_its_load_showed() {
    let bench = Bench::new(6);
    bench.saved("s", 2).await;
    let (handle, _, held, go_on) = beside(&bench, 0);
    handle.load(At::Latest).await.unwrap();
    bench.session("s").take_over().await.unwrap();
    go_on.notify_one();
    assert_eq!(held.await.unwrap_err().kind(), ErrorKind::Conflict);
    handle.rebase().await.unwrap();
    let late = handle.save("of the old owner").await.unwrap_err();
    assert!(late.kind() == ErrorKind::Conflict && late.message().contains("epoch 1"), "{late}");
}

/// A clone's first save looks for itself, finds more than a slow load is about to show, and is given up:
/// nobody was told of that.
#[tokio::test]
async fn what_a_first_save_has_found_gives_way_to_a_load_that_shows_less() {
    for (taken_over, given_up_first) in [(false, false), (false, true), (true, false), (true, true)] {
        let bench = Bench::new(8);
        bench.saved("s", 2).await;
        let (fault, sessions) = bench.faulty();
        let handle = sessions.session("a", "s").unwrap();
        let go_on = hold(&fault, Operation::Get, 0);
        let mut load = Box::pin(handle.load(At::Latest));
        assert!((&mut load).now_or_never().is_none());
        let rival = bench.session("s");
        if taken_over {
            drop(rival.take_over().await.unwrap())
        } else {
            drop(rival.save("a rival's").await.unwrap())
        }
        let _never = hold(&fault, Operation::Put, 0);
        let mut save = Some(Box::pin(handle.save("heartbeat")));
        assert!(save.as_mut().unwrap().now_or_never().is_none() && fault.calls(Operation::Put) == 1);
        if given_up_first {
            save = None;
        }
        go_on.notify_one();
        assert_eq!(load.await.unwrap().commit.seq, 2);
        drop(save);
        assert_eq!(handle.save("made of 2").await.unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(handle.seen().await, Some(2));
        handle.rebase().await.unwrap();
        match handle.save("made of 3").await {
            Ok(commit) => assert!(commit.seq == 4 && !taken_over),
            Err(late) => assert!(taken_over && late.message().contains("epoch 1"), "{late}"),
        }
    }
}

/// That it saw no commit is no conflict with what it has brought itself.
#[tokio::test]
async fn a_handle_goes_on_behind_its_own_import_beside_a_call_that_is_given_up() {
    for call in 0..CALLS {
        let bench = Bench::new(9);
        let mut archive = Vec::new();
        bench.saved("source", 2).await.0.export(&mut archive).await.unwrap();
        let (handle, name, held, _) = beside(&bench, call);
        assert_eq!(handle.load(At::Latest).await.unwrap_err().kind(), ErrorKind::NotFound);
        handle.import(&mut &archive[..]).await.unwrap();
        drop(held);
        assert_eq!(handle.save("next").await.unwrap().seq, 3, "{name}");
    }
}

/// Ten tasks count, each from what it loads. As clones that say no more they are one writer; who says what
/// the state is made of loses nothing.
#[tokio::test]
async fn tasks_that_share_a_handle_say_what_their_states_are_made_of() {
    let bench = Bench::new(7);
    let handle = bench.session("s");
    handle.save("0").await.unwrap();
    let count = |session: Session, says: bool| async move {
        loop {
            let newest = if says {
                session.rebase().await.unwrap().unwrap()
            } else {
                session.load(At::Latest).await.unwrap()
            };
            // All of them have loaded before the first one saves.
            tokio::task::yield_now().await;
            let options = CommitOptions::new();
            let options = if says { options.after(newest.commit.seq) } else { options };
            let next = newest.json::<u64>().unwrap() + 1;
            match session.save_with(next.to_string(), options).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                saved => return saved.unwrap().seq,
            }
        }
    };
    for (says, sum) in [(false, "1"), (true, "11")] {
        let tasks = (0..10).map(|_| count(handle.clone(), says));
        futures_util::future::join_all(tasks).await;
        assert_eq!(handle.load(At::Latest).await.unwrap().state, sum);
    }
}

/// A load by number ends first, and a slow load of the latest shows less than the clone's save has found: it
/// is made of what neither of the two has shown.
#[tokio::test]
async fn a_load_by_number_does_not_hide_a_slower_load_of_the_latest() {
    let bench = Bench::new(10);
    bench.saved("s", 2).await;
    let (fault, sessions) = bench.faulty();
    let handle = sessions.session("a", "s").unwrap();
    let go_on = hold(&fault, Operation::Get, 0);
    let mut load = Box::pin(handle.load(At::Latest));
    assert!((&mut load).now_or_never().is_none());
    bench.session("s").save("a rival's").await.unwrap();
    let _never = hold(&fault, Operation::Put, 0);
    let mut save = Box::pin(handle.save("heartbeat"));
    assert!((&mut save).now_or_never().is_none() && fault.calls(Operation::Put) == 1);
    assert_eq!(handle.load(1).await.unwrap().commit.seq, 1);
    go_on.notify_one();
    assert_eq!(load.await.unwrap().commit.seq, 2);
    drop(save);
    assert_eq!(handle.save("made of 2").await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(handle.seen().await, Some(2));
}
