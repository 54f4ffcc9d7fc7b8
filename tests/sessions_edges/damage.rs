//! Objects that are empty, or that nobody knows.

use futures_util::StreamExt;
use persist::{
    ErrorKind, Key,
    layers::{Injection, Operation},
    sessions::*,
};

use super::{Bench, commit_key, sessions_support::noise};

/// What the log says: numbers, and `None` for damage.
async fn log(session: &Session) -> Vec<Option<u64>> {
    let rows: Vec<persist::Result<Commit>> = session.log().collect().await;
    rows.into_iter().map(|row| row.ok().map(|commit| commit.seq)).collect()
}

/// The commonest damage after a crash of a file system.
#[tokio::test]
async fn an_empty_commit_is_damage_like_any_other() {
    for empty in [1, 4, 9] {
        let bench = Bench::new(1);
        let (session, states) = bench.saved("s", 9).await;
        let commits: Vec<Commit> = futures_util::TryStreamExt::try_collect(session.log()).await.unwrap();
        let whole = bench.lose("s", empty).await;
        bench.set("s", empty, Vec::new()).await;
        let key = commit_key("s", empty);
        let reader = bench.session("s");
        for result in [
            reader.load(empty).await.map(drop),
            reader.load_stream(empty).await.map(drop),
            reader.show(empty).await.map(drop),
            reader.tag("t", empty).await.map(drop),
            reader.fork("f", empty).await.map(drop),
        ] {
            let error = result.unwrap_err();
            assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&key)), "{error}");
        }
        let shown: Vec<Option<u64>> = (1..=9).rev().map(|seq| (seq != empty).then_some(seq)).collect();
        assert_eq!(log(&reader).await, shown);
        // A search steps over it.
        for commit in commits.iter().filter(|commit| commit.seq != empty) {
            assert_eq!(reader.show(commit.id).await.unwrap().seq, commit.seq);
        }
        let verified = reader.verify().await.unwrap();
        assert!(
            verified.damaged.iter().any(|damaged| damaged.key.as_deref() == Some(key.as_str())),
            "{verified:?}"
        );
        bench.hours(5);
        match reader.prune(Retention::new().last(3)).await {
            Ok(pruned) => assert!(!pruned.removed.contains(&9)),
            Err(error) => assert_eq!((empty, error.kind()), (1, ErrorKind::Corrupt), "{error}"),
        }
        bench.set("s", empty, whole).await;
        assert!(bench.session("s").load(At::Latest).await.unwrap().state == states[8]);
    }
}

/// Nor is it a mistake of the caller who meets it.
#[tokio::test]
async fn an_empty_commit_of_a_rival_is_met_and_gone_behind() {
    let bench = Bench::new(2);
    let (session, _) = bench.saved("s", 2).await;
    bench.set("s", 3, Vec::new()).await;
    let error = session.save("mine").await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Corrupt), "{error}");
    let fresh = bench.session("s");
    assert_eq!(fresh.load(At::Latest).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(fresh.load_with_fallback(At::Latest).await.unwrap().commit.seq, 2);
    assert_eq!(fresh.save("behind it").await.unwrap().seq, 4);
}

/// An object that a hand left among the commits hides nothing.
#[tokio::test]
async fn a_stray_object_is_told_and_hides_nothing() {
    let bench = Bench::new(3);
    let (session, states) = bench.saved("s", 3).await;
    let commits: Vec<Commit> = futures_util::TryStreamExt::try_collect(session.log()).await.unwrap();
    bench.damage("s", 1).await;
    let stray = Key::new("sessions/a/s/c/999999999/997-note").unwrap();
    bench.adapter.set(&stray, b"who was here".to_vec()).await;
    let reader = bench.session("s");
    assert_eq!(log(&reader).await, [Some(3), Some(2), None, None]);
    let verified = reader.verify().await.unwrap();
    let keys: Vec<_> =
        verified.damaged.iter().map(|damaged| damaged.key.as_deref().unwrap_or_default()).collect();
    assert!(keys.contains(&stray.as_str()) && keys.contains(&commit_key("s", 1).as_str()), "{keys:?}");
    assert_eq!(reader.show(commits[1].id).await.unwrap().seq, 2);
    bench.damage("s", 1).await;
    assert!(reader.load(At::Time(commits[1].time)).await.unwrap().state == states[1]);
    bench.damage("s", 3).await;
    assert_eq!(reader.load_with_fallback(At::Latest).await.unwrap().commit.seq, 2);
    // Nobody knows what it is, so a prune removes nothing before somebody has looked.
    let error = reader.prune(Retention::new().last(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&stray)));
}

/// One that sorts in front of all commits: a desktop's, a copying tool's, a file system's. It is nobody's
/// newest commit.
#[tokio::test]
async fn a_stray_object_in_front_of_the_newest_stops_nobody() {
    for stray in ["c/.DS_Store", "c/999999999/.998-1.AbCdEf"] {
        let bench = Bench::new(4);
        let (session, states) = bench.saved("s", 3).await;
        let stray = Key::new(format!("sessions/a/s/{stray}")).unwrap();
        bench.adapter.set(&stray, b"who was here".to_vec()).await;
        let reader = bench.session("s");
        assert!(reader.load(At::Latest).await.unwrap().state == states[2]);
        assert_eq!(reader.save("four").await.unwrap().seq, 4);
        assert_eq!(session.rebase().await.unwrap().unwrap().commit.seq, 4);
        assert_eq!(session.take_over().await.unwrap().commit.seq, 5);
        session.export(&mut Vec::new()).await.unwrap();
        bench.damage("s", 5).await;
        let late = bench.session("s");
        assert_eq!(late.load_with_fallback(At::Latest).await.unwrap().commit.seq, 4);
        assert_eq!(late.save("six").await.unwrap().seq, 6);
        // It is told, with what to do.
        let verified = late.verify().await.unwrap();
        assert!(
            verified.damaged.iter().any(|damaged| damaged.key.as_deref() == Some(stray.as_str())),
            "{verified:?}"
        );
        let error = late.prune(Retention::new().last(1)).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&stray)));
        assert!(error.to_string().contains("remove it"), "{error}");
        // The end of the session leaves it.
        bench.hours(5);
        late.remove().await.unwrap();
        assert_eq!(bench.session("s").load(At::Latest).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(bench.keys("/s/").await.iter().filter(|key| **key == stray).count(), 1);
        assert_eq!(bench.session("s").save("anew").await.unwrap().seq, 8);
    }
}

/// A whole state of another line under a commit's number: put back from the wrong copy, or under the wrong
/// key.
#[tokio::test]
async fn a_commit_of_another_line_is_damage() {
    let bench = Bench::new(20);
    let (session, _) = bench.saved("s", 5).await;
    let fork = session.fork("fork", 5).await.unwrap();
    for seq in 6..=8 {
        session.save(noise(seq, 900)).await.unwrap();
        fork.save(noise(100 + seq, 900)).await.unwrap();
    }
    for session in [&session, &fork] {
        assert!(session.verify().await.unwrap().is_good());
    }
    for seq in [7, 8] {
        let other = bench.adapter.raw(&commit_key("fork", seq)).await;
        let own = bench.lose("s", seq).await;
        bench.set("s", seq, other).await;
        let verified = bench.session("s").verify().await.unwrap();
        let told = verified.damaged.iter().find(|damaged| damaged.seq == Some(seq));
        let told = told.unwrap_or_else(|| panic!("{seq} {verified:?}"));
        assert_eq!(told.key.as_deref(), Some(commit_key("s", seq).as_str()));
        assert!(told.reason.contains("is not on this line"), "{told:?}");
        bench.set("s", seq, own).await;
        assert!(bench.session("s").verify().await.unwrap().is_good());
    }
}

/// A fallback goes on from an older commit than the one before. That is no other line, also once the damaged
/// one is back, and a prune has been.
#[tokio::test]
async fn a_commit_behind_a_fallback_is_none_of_another_line() {
    let bench = Bench::new(21);
    let (session, _) = bench.saved("s", 6).await;
    let whole = bench.damage("s", 6).await;
    let reader = bench.session("s");
    assert_eq!(reader.load_with_fallback(At::Latest).await.unwrap().commit.seq, 5);
    reader.save("on top of the fifth").await.unwrap();
    reader.save("and so on").await.unwrap();
    bench.set("s", 6, whole).await;
    assert!(session.verify().await.unwrap().is_good());
    session.tag("kept", 6).await.unwrap();
    bench.hours(5);
    for last in [3, 2, 1] {
        bench.session("s").prune(Retention::new().last(last)).await.unwrap();
        let verified = session.verify().await.unwrap();
        assert!(verified.is_good(), "{last} {verified:?}");
    }
}

/// Its advice would be to restore what is whole.
#[tokio::test]
async fn what_a_storage_cannot_give_is_no_damage() {
    let bench = Bench::new(22);
    bench.saved("s", 3).await;
    for get in 0.. {
        let (fault, sessions) = bench.faulty();
        fault.inject_later(Operation::Get, get, Injection::Before(ErrorKind::Unsupported));
        let verified = sessions.session("a", "s").unwrap().verify().await;
        if fault.calls(Operation::Get) <= get {
            assert!(get > 2 && verified.unwrap().is_good());
            return;
        }
        assert_eq!(verified.unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
