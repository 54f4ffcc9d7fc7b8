//! Answers that are lost or late, and what a writer that slept is told.

use futures_util::FutureExt;
use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::{At, CommitOptions, Retention},
};

use super::{Bench, commit_key, hold, sessions_support::noise};

/// The same bytes are another commit where its notes or the bounds of its values differ.
#[tokio::test]
async fn a_save_whose_answer_was_lost_is_recognised_by_its_notes_and_values() {
    let bench = Bench::new(141);
    let (fault, sessions) = bench.faulty();
    let session = sessions.session("a", "s").unwrap();
    session.save("one").await.unwrap();
    let lose = || {
        fault.inject(Operation::Put, Injection::After(ErrorKind::Timeout));
        fault.inject(Operation::Get, Injection::Before(ErrorKind::Timeout));
    };
    lose();
    session.save_with("two", CommitOptions::new().label("a")).await.unwrap_err();
    let told = session.save_with("two", CommitOptions::new().label("b")).await.unwrap();
    assert_eq!((told.seq, told.label.as_deref()), (3, Some("b")));
    lose();
    session.save_values(&[("x", "ab".into()), ("y", "c".into())]).await.unwrap_err();
    let told = session.save_values(&[("x", "a".into()), ("y", "bc".into())]).await.unwrap();
    assert_eq!((told.seq, told.values[0].size), (5, 1));
}

/// Rivals may have saved since it arrived.
#[tokio::test]
async fn a_save_counts_from_when_it_was_sent_however_late_its_answer() {
    let bench = Bench::new(142);
    let (fault, sessions) = bench.faulty();
    let session = sessions.session("a", "s").unwrap();
    session.save("one").await.unwrap();
    let go_on = hold(&fault, Operation::Put, 0);
    let mut save = Box::pin(session.save("two"));
    assert!((&mut save).now_or_never().is_none());
    bench.clock.pass(1_800_001);
    go_on.notify_one();
    save.await.unwrap();
    let before = fault.calls(Operation::List);
    session.save("three").await.unwrap();
    assert!(fault.calls(Operation::List) > before, "it did not look for newer commits");
}

/// A load that began before shows less, and takes the place of nothing.
#[tokio::test]
async fn a_commit_that_was_found_behind_a_lost_answer_is_what_the_handle_goes_on_from() {
    let mut met = false;
    for skip in 1..9 {
        let bench = Bench::new(143);
        bench.saved("s", 2).await;
        let (fault, sessions) = bench.faulty();
        let session = sessions.session("a", "s").unwrap();
        let go_on = hold(&fault, Operation::Get, 0);
        let mut load = Box::pin(session.load(At::Latest));
        assert!((&mut load).now_or_never().is_none());
        bench.session("s").save("a rival's").await.unwrap();
        // It arrives, and nothing tells: whichever look behind it fails.
        fault.inject(Operation::Put, Injection::After(ErrorKind::Timeout));
        fault.inject_later(Operation::Get, skip, Injection::Before(ErrorKind::RateLimited));
        let saved = session.save("mine").await;
        if !saved.is_err_and(|error| error.kind() == ErrorKind::Timeout) {
            continue;
        }
        met = true;
        assert_eq!(session.save("mine").await.unwrap().seq, 4);
        go_on.notify_one();
        assert_eq!(load.await.unwrap().commit.seq, 2);
        assert_eq!(session.save("next").await.unwrap().seq, 5);
    }
    assert!(met, "no answer was lost");
}

/// Its look behind its own number finds what nobody built on that.
#[tokio::test]
async fn a_writer_that_slept_is_not_told_of_a_lost_number_behind_which_a_fallback_went_on() {
    let bench = Bench::new(144);
    let sleeper = bench.unrelated("s", 3).await;
    let others = bench.session("s");
    others.rebase().await.unwrap();
    others.save(noise(4, 600)).await.unwrap();
    bench.damage("s", 4).await;
    let after = bench.session("s");
    after.load_with_fallback(At::Latest).await.unwrap();
    assert_eq!(after.save(noise(5, 600)).await.unwrap().parent, None);
    bench.lose("s", 4).await;
    bench.clock.pass(1_800_001);
    let error = sleeper.save("lost update").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}

#[tokio::test]
async fn a_writer_that_slept_leaves_nothing_under_a_pruned_number() {
    let bench = Bench::new(145);
    let sleeper = bench.unrelated("s", 1).await;
    let others = bench.session("s");
    others.rebase().await.unwrap();
    for seed in 2..6 {
        others.save(noise(seed, 600)).await.unwrap();
    }
    bench.hours(3);
    assert_eq!(others.prune(Retention::new().last(1)).await.unwrap().removed, [4, 3, 2, 1]);
    assert_eq!(sleeper.save("lost update").await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(bench.keys(commit_key("s", 2).as_str()).await.is_empty(), "it stays");
}

/// What cannot be read of it is no reason to call it anything else.
#[tokio::test]
async fn a_commit_of_a_rival_of_a_newer_release_is_a_conflict() {
    let bench = Bench::new(146);
    let (session, mut states) = bench.saved("s", 2).await;
    let rival = bench.session("s");
    rival.rebase().await.unwrap();
    let mut state = states.remove(1);
    state.extend(noise(0, 50));
    assert!(!rival.save(state).await.unwrap().keyframe);
    // The version in front, and the check of head and manifest at the end.
    let mut raw = bench.adapter.raw(&commit_key("s", 3)).await;
    raw[3] = 2;
    let end = raw.len() - 4;
    let manifest = u32::from_le_bytes(raw[end - 4..end].try_into().unwrap()) as usize;
    let sealed = [&raw[..4], &raw[end - 4 - manifest..end]].concat();
    raw[end..].copy_from_slice(&crc32c::crc32c(&sealed).to_le_bytes());
    bench.set("s", 3, raw).await;
    assert_eq!(session.load(3).await.unwrap_err().kind(), ErrorKind::Unsupported);
    let error = session.save("mine").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}
