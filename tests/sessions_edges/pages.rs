//! A log in pages: each costs what it shows, and shows what the whole log does.

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use persist::{
    ErrorKind, Result,
    layers::Operation,
    sessions::{At, Commit, Session},
};

use super::{Bench, half::half, hold, sessions_support::noise};

/// Numbers, and `None` where a row is an error of this kind.
async fn page(session: &Session, before: impl Into<At>, damage: ErrorKind) -> Vec<Option<u64>> {
    let number = |row: Result<Commit>| match row {
        Ok(commit) => Some(commit.seq),
        Err(error) => {
            assert_eq!(error.kind(), damage, "{error}");
            None
        }
    };
    session.log_before(before).map(number).collect().await
}

async fn refused(session: &Session, before: impl Into<At>) -> ErrorKind {
    session.log_before(before).try_next().await.unwrap_err().kind()
}

#[tokio::test]
async fn a_page_costs_what_it_shows() {
    let bench = Bench::new(211);
    let (session, _) = bench.saved("s", 200).await;
    for before in [190, 100, 11] {
        let earlier = bench.adapter.counts();
        let rows = session.log_before(before).take(10).try_collect::<Vec<_>>().await.unwrap();
        assert_eq!(
            rows.iter().map(|row| row.seq).collect::<Vec<_>>(),
            (before - 10..before).rev().collect::<Vec<_>>()
        );
        let cost = bench.adapter.counts() - earlier;
        // The page, 16 that are read ahead, and what finds its start.
        assert!(cost.get <= 10 + 16 + 6 && cost.list <= 2, "before {before}: {cost:?}");
    }
}

#[tokio::test]
async fn pages_show_what_the_whole_log_does() {
    let bench = Bench::new(212);
    let (source, _) = bench.saved("s", 6).await;
    let fork = source.fork("f", 4).await.unwrap();
    for seed in 1..=3 {
        bench.clock.pass(60_000);
        fork.save(noise(seed, 100)).await.unwrap();
    }
    source.tag("third", 3).await.unwrap();
    for session in [&source, &fork] {
        let all: Vec<Commit> = session.log().try_collect().await.unwrap();
        for (at, commit) in all.iter().enumerate() {
            for before in [At::Seq(commit.seq), At::Id(commit.id), At::Time(commit.time)] {
                let rows: Vec<Commit> = session.log_before(before).try_collect().await.unwrap();
                assert_eq!(rows, all[at + 1..]);
            }
        }
    }
    assert_eq!(page(&source, At::Tag("third".into()), ErrorKind::Internal).await, [Some(2), Some(1)]);
    assert_eq!(page(&fork, At::Latest, ErrorKind::Internal).await.len(), 6);
    // A fork without commits of its own.
    let bare = source.fork("bare", 3).await.unwrap();
    assert_eq!(page(&bare, 3, ErrorKind::Internal).await, [Some(2), Some(1)]);
}

#[tokio::test]
async fn damage_has_its_place_in_a_page() {
    let bench = Bench::new(213);
    let session = bench.unrelated("s", 8).await;
    // A record of the line, without which nothing is known to be missing.
    bench.hours(2);
    session.prune(persist::sessions::Retention::new().last(8)).await.unwrap();
    bench.lose("s", 5).await;
    bench.damage("s", 3).await;
    assert_eq!(page(&session, 7, ErrorKind::Corrupt).await, [Some(6), None, Some(4), None, Some(2), Some(1)]);
    // Of a number the page is known without its commit.
    for before in [5, 3] {
        let rows = page(&session, before, ErrorKind::Corrupt).await;
        assert_eq!(rows.len() as u64, before - 1, "{rows:?}");
        assert_eq!(rows.iter().filter(|row| row.is_none()).count() as u64, (before - 1) / 4);
    }
}

#[tokio::test]
async fn a_page_before_no_commit_is_an_error() {
    let bench = Bench::new(214);
    let (session, _) = bench.saved("s", 3).await;
    assert_eq!(refused(&session, 9).await, ErrorKind::NotFound);
    assert_eq!(refused(&session, 0).await, ErrorKind::InvalidInput);
    assert_eq!(refused(&session, u64::MAX).await, ErrorKind::InvalidInput);
    assert_eq!(refused(&session, At::Tag("none".into())).await, ErrorKind::NotFound);
    assert_eq!(refused(&bench.session("none"), At::Latest).await, ErrorKind::NotFound);
    assert!(page(&session, 1, ErrorKind::Internal).await.is_empty());
    session.remove().await.unwrap();
    assert_eq!(refused(&session, 2).await, ErrorKind::NotFound);
    bench.session("s").save("anew").await.unwrap();
    assert!(page(&session, 5, ErrorKind::Internal).await.is_empty());
}

/// Of half an import, what has come. Its commits come in their order: nothing is missing before one.
#[tokio::test]
async fn half_an_import_has_pages_of_what_has_come() {
    let (bench, archive, _) = half(215).await;
    let copy = bench.session("copy");
    assert_eq!(page(&copy, 2, ErrorKind::Internal).await, [Some(1)]);
    assert_eq!(refused(&copy, 4).await, ErrorKind::Conflict);
    copy.import(&mut &archive[..]).await.unwrap();
    assert_eq!(page(&copy, 4, ErrorKind::Internal).await, [Some(3), Some(2), Some(1)]);
}

/// A read that nobody polls runs into its timeout while the caller works on a commit.
#[tokio::test]
async fn behind_a_commit_of_the_log_no_read_is_left_under_way() {
    let bench = Bench::new(274);
    bench.saved("s", 40).await;
    let (fault, sessions) = bench.faulty();
    let session = sessions.session("a", "s").unwrap();
    // The line and the origin; then 16 commits side by side.
    let last = hold(&fault, Operation::Get, 17);
    let mut log = session.log();
    assert!(log.next().now_or_never().is_none() && fault.calls(Operation::Get) == 18);
    last.notify_one();
    for seq in (25..=40).rev() {
        assert_eq!(log.next().await.unwrap().unwrap().seq, seq);
        assert_eq!(fault.calls(Operation::Get), 18, "no further one is begun");
    }
    let rest: Vec<_> = log.map_ok(|commit| commit.seq).try_collect().await.unwrap();
    assert_eq!(rest, (1..=24).rev().collect::<Vec<_>>());
    assert_eq!(fault.calls(Operation::Get), 42);
}

/// Each session of a line of forks takes requests of its own before its first commit. A fork without a commit
/// of its own has none to show.
#[tokio::test]
async fn the_newest_commits_do_not_wait_for_the_sessions_behind() {
    let bench = Bench::new(283);
    let (mut session, _) = bench.saved("s", 1).await;
    for generation in 2..=9 {
        session = session.fork(&format!("f-{generation}"), At::Latest).await.unwrap();
        session.save(noise(generation, 100)).await.unwrap();
    }
    let bare = session.fork("bare", At::Latest).await.unwrap();
    // Of each session on the way: line, origin and a listing; then the commit.
    for (session, sessions) in [(session, 1), (bare, 2)] {
        let before = bench.adapter.counts();
        let mut log = session.log();
        assert_eq!(log.try_next().await.unwrap().unwrap().seq, 9);
        let cost = bench.adapter.counts() - before;
        assert_eq!((cost.get, cost.list), (2 * sessions + 1, sessions));
        let rest: Vec<_> = log.map_ok(|commit| commit.seq).try_collect().await.unwrap();
        assert_eq!(rest, (1..=8).rev().collect::<Vec<_>>());
        let whole = bench.adapter.counts() - before;
        assert_eq!((whole.get, whole.list), (2 * (sessions + 8) + 9, sessions + 8));
    }
}
