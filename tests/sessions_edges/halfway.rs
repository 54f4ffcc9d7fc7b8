//! What calls tell, and what they leave, where others act between two of their requests, or one of those
//! fails.

use std::io::Cursor;

use futures_util::FutureExt;
use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::{At, Retention},
};

use tokio::io::AsyncWriteExt;

use super::{
    Bench, commit_key, half, hold,
    imports::exported,
    sessions_support::{growing, noise},
};

/// A prune has decided before the tag came, and may have removed its commit or be about to.
#[tokio::test]
async fn a_tag_of_what_a_prune_has_given_up_is_refused_and_does_not_stay() {
    let bench = Bench::new(301);
    bench.unrelated("s", 3).await;
    bench.hours(30);
    let (fault, sessions) = bench.faulty();
    let session = sessions.session("a", "s").unwrap();
    let tag_goes_on = hold(&fault, Operation::Put, 0);
    let mut tag = Box::pin(session.tag("kept", 2));
    assert!((&mut tag).now_or_never().is_none() && fault.calls(Operation::Put) == 1);
    let (fault, sessions) = bench.faulty();
    let other = sessions.session("a", "s").unwrap();
    let prune_goes_on = hold(&fault, Operation::Delete, 0);
    let mut prune = Box::pin(other.prune(Retention::new().last(1)));
    assert!((&mut prune).now_or_never().is_none() && fault.calls(Operation::Delete) > 0);
    tag_goes_on.notify_one();
    assert_eq!(tag.await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(session.tags().await.unwrap().is_empty());
    prune_goes_on.notify_one();
    assert_eq!(prune.await.unwrap().removed, [2, 1]);
    assert!(bench.session("s").verify().await.unwrap().is_good());
}

/// Where the newest commit is damaged, no read that fails lets a prune take it for whole.
#[tokio::test]
async fn a_prune_removes_nothing_where_it_fails_to_read_the_newest() {
    for (kind, n) in [ErrorKind::Unavailable, ErrorKind::NotFound]
        .into_iter()
        .flat_map(|kind| (0..12).map(move |n| (kind, n)))
    {
        let bench = Bench::new(302);
        bench.unrelated("s", 2).await;
        let session = bench.session("s");
        session.rebase().await.unwrap();
        for state in growing(302, 5) {
            session.save(state).await.unwrap();
        }
        let newest = bench.session("s").load(At::Latest).await.unwrap().commit;
        assert!(newest.seq == 7 && !newest.keyframe);
        bench.adapter.flip(&commit_key("s", 3), 100).await;
        bench.hours(5);
        let before = bench.keys("/c/").await;
        let (fault, sessions) = bench.faulty();
        fault.inject_later(Operation::Get, n, Injection::Before(kind));
        let error = sessions.session("a", "s").unwrap().prune(Retention::new().last(1)).await.unwrap_err();
        assert_eq!(bench.keys("/c/").await, before, "{n}: {error}");
        if fault.calls(Operation::Get) <= n {
            assert!(error.kind() == ErrorKind::Corrupt && n > 3, "{n}: {error}");
        }
    }
}

/// All that such a commit may be made of stays anyway.
#[tokio::test]
async fn a_newest_commit_that_tells_nothing_holds_up_no_prune() {
    let bench = Bench::new(303);
    bench.unrelated("s", 4).await;
    bench.damage("s", 4).await;
    bench.hours(5);
    let pruned = bench.session("s").prune(Retention::new().last(1)).await.unwrap();
    assert_eq!(pruned.removed, [2, 1]);
    assert_eq!(bench.session("s").load_with_fallback(At::Latest).await.unwrap().commit.seq, 3);
}

/// Its body lies under the number that the earlier commit has.
#[tokio::test]
async fn a_stream_behind_a_commit_that_came_late_is_no_commit_without_its_body() {
    let bench = Bench::new(304);
    let (fault, sessions) = bench.faulty();
    let session = sessions.stream_limit(1).session("a", "s").unwrap();
    session.save("one").await.unwrap();
    fault.inject(Operation::Put, Injection::After(ErrorKind::Timeout));
    fault.inject(Operation::Get, Injection::Before(ErrorKind::Timeout));
    assert_eq!(session.save("late").await.unwrap_err().kind(), ErrorKind::Timeout);
    fault.heal();
    let stream = noise(304, 5000);
    let error = session.save_stream(Cursor::new(stream.clone())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(bench.session("s").load(At::Latest).await.unwrap().state, "late");
    assert_eq!(session.save_stream(Cursor::new(stream.clone())).await.unwrap().seq, 3);
    assert!(bench.session("s").load(At::Latest).await.unwrap().state == stream);
}

/// What is there is neither lost nor damaged where some reads do not find it.
#[tokio::test]
async fn a_load_by_number_takes_nothing_for_lost_that_is_listed() {
    for (name, seq) in [("s", 2), ("fork", 1), ("fork", 2), ("fork", 3)] {
        // A read, and another so many later; or all that follow.
        for gap in [Some(0), Some(1), Some(2), Some(3), Some(4), None] {
            for n in 0.. {
                let bench = Bench::new(305);
                let session = bench.unrelated("s", 3).await;
                let fork = session.fork("fork", 2).await.unwrap();
                fork.save(noise(9, 600)).await.unwrap();
                let (fault, sessions) = bench.faulty();
                fault.inject_later(Operation::Get, n, Injection::Before(ErrorKind::NotFound));
                for _ in 0..if gap.is_some() { 1 } else { 1000 } {
                    let skip = gap.unwrap_or(0);
                    fault.inject_later(Operation::Get, skip, Injection::Before(ErrorKind::NotFound));
                }
                let loaded = sessions.session("a", name).unwrap().load(seq).await;
                let done = fault.calls(Operation::Get) <= n;
                match loaded {
                    Ok(loaded) => assert_eq!(loaded.commit.seq, seq),
                    Err(error) => {
                        assert!(
                            !done && error.kind() == ErrorKind::Unavailable,
                            "{name} {seq} {n}, {gap:?}: {error}"
                        );
                    }
                }
                if done {
                    break;
                }
            }
        }
    }
}

/// What a prune removes after a verification has read the line is not missing.
#[tokio::test]
async fn a_verification_beside_a_prune_misses_nothing() {
    for operation in [Operation::List, Operation::Get] {
        for skip in 0.. {
            let bench = Bench::new(306);
            bench.unrelated("s", 5).await;
            bench.hours(30);
            let (fault, sessions) = bench.faulty();
            let (session, go_on) = (sessions.session("a", "s").unwrap(), hold(&fault, operation, skip));
            let mut verify = Box::pin(session.verify());
            if (&mut verify).now_or_never().is_some() {
                assert!(skip > 0);
                break;
            }
            assert_eq!(bench.session("s").prune(Retention::new().last(2)).await.unwrap().removed, [3, 2, 1]);
            go_on.notify_one();
            let verified = verify.await.unwrap();
            assert!(verified.is_good(), "{operation:?} {skip}: {verified:?}");
        }
    }
}

/// Nor is what an import brings meanwhile, or has yet to bring.
#[tokio::test]
async fn a_verification_beside_an_import_misses_nothing() {
    for operation in [Operation::List, Operation::Get] {
        for skip in 0.. {
            let (bench, archive, _) = half::half(307).await;
            let (fault, sessions) = bench.faulty();
            let (session, go_on) = (sessions.session("a", "copy").unwrap(), hold(&fault, operation, skip));
            let mut verify = Box::pin(session.verify());
            if let Some(verified) = (&mut verify).now_or_never() {
                assert!(skip > 0);
                assert_eq!(verified.unwrap_err().kind(), ErrorKind::Conflict);
                break;
            }
            bench.session("copy").import(&mut &archive[..]).await.unwrap();
            go_on.notify_one();
            match verify.await {
                Ok(verified) => assert!(verified.is_good(), "{operation:?} {skip}: {verified:?}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{operation:?} {skip}: {error}"),
            }
        }
    }
}

/// "Not found" is what a session without commits says. The newest is made of what a prune removes between its
/// read and theirs.
#[tokio::test]
async fn a_fallback_whose_objects_a_prune_removes_is_not_told_of_no_session() {
    for skip in 0.. {
        let bench = Bench::new(309);
        bench.saved("s", 6).await;
        bench.adapter.flip(&commit_key("s", 6), 40).await;
        let (fault, sessions) = bench.faulty();
        let (session, go_on) = (sessions.session("a", "s").unwrap(), hold(&fault, Operation::Get, skip));
        let mut load = Box::pin(session.load_with_fallback(At::Latest));
        if let Some(loaded) = (&mut load).now_or_never() {
            assert!(skip > 6 && loaded.unwrap().commit.seq == 5);
            break;
        }
        let rival = bench.session("s");
        assert_eq!(rival.load_with_fallback(At::Latest).await.unwrap().commit.seq, 5);
        assert!(rival.save(noise(9, 3000)).await.unwrap().keyframe);
        bench.hours(30);
        assert_eq!(rival.prune(Retention::new().last(1)).await.unwrap().removed.len(), 6);
        go_on.notify_one();
        match load.await {
            Ok(loaded) => assert!(loaded.commit.seq == 7 || loaded.commit.seq == 5, "{skip}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{skip}: {error}"),
        }
    }
}

/// What is known costs nothing: only a handle that saw nothing yet asks what a fork starts from.
#[tokio::test]
async fn a_load_in_a_fork_asks_nothing_that_is_known() {
    let bench = Bench::new(311);
    let session = bench.unrelated("s", 3).await;
    session.fork("fork", 3).await.unwrap();
    let fork = bench.session("fork");
    let mut costs = Vec::new();
    for at in [At::Latest, At::Latest, At::Seq(1)] {
        let before = bench.adapter.counts();
        fork.load(at).await.unwrap();
        costs.push(bench.adapter.counts() - before);
    }
    assert_eq!(costs[0], costs[1]);
    let before = bench.adapter.counts();
    bench.session("fork").load(1).await.unwrap();
    let first = bench.adapter.counts() - before;
    assert!(costs[2].get < first.get, "{:?} {first:?}", costs[2]);
}

/// A body that an import reads wrongly stays where another import of the archive has made a commit of it.
#[tokio::test]
async fn an_import_that_reads_wrongly_takes_no_body_from_another_one() {
    let source = Bench::new(312).sessions.inline_limit(100).session("a", "s").unwrap();
    for seed in 1..=2 {
        source.save(noise(seed, 600)).await.unwrap();
    }
    let archive = exported(&source).await;
    let (first, rest) = archive.split_at(half::until(&archive, 1).len());
    for others in [false, true] {
        let bench = Bench::new(313);
        let (fault, sessions) = bench.faulty();
        let (copy, (mut input, mut output)) =
            (sessions.session("a", "copy").unwrap(), tokio::io::duplex(1 << 20));
        input.write_all(first).await.unwrap();
        let mut import = Box::pin(copy.import(&mut output));
        while bench.keys("/b/").await.is_empty() {
            assert!((&mut import).now_or_never().is_none());
        }
        if others {
            bench.session("copy").import(&mut &archive[..]).await.unwrap();
        }
        fault.inject(Operation::Get, Injection::Flip(50));
        input.write_all(rest).await.unwrap();
        drop(input);
        assert_eq!(import.await.unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(bench.keys("/b/").await.len(), if others { 2 } else { 0 });
        fault.heal();
        bench.session("copy").import(&mut &archive[..]).await.unwrap();
        assert!(bench.session("copy").verify().await.unwrap().is_good());
    }
}

/// Number 1 of it holds its beginning, and no commit.
#[tokio::test]
async fn an_archive_that_begins_later_has_no_commit_1() {
    let bench = Bench::new(314);
    let session = bench.unrelated("s", 4).await;
    bench.hours(30);
    assert_eq!(session.prune(Retention::new().last(2)).await.unwrap().removed, [2, 1]);
    let archive = exported(&session).await;
    let copy = bench.session("copy");
    copy.import(&mut &archive[..]).await.unwrap();
    for reader in [copy, bench.session("copy")] {
        for missing in [1, 2] {
            let error = reader.load(missing).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{missing}: {error}");
        }
        assert!(reader.load(3).await.unwrap().state == noise(3, 600));
    }
}
