//! Imports that break off, beside writers, and of archives that lie.

use futures_util::{FutureExt, TryStreamExt};
use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::*,
};

use super::{
    Bench, commit_key,
    sessions_support::{Random, growing},
};

/// An archive of a session of twelve commits of which some were pruned; and the numbers that it has.
async fn pruned(bench: &Bench, keyframes: bool) -> (Vec<u8>, Vec<u64>) {
    let session = bench.session("source");
    let (mut random, states) = (Random(1), growing(1, 12));
    for state in &states {
        let mut noise = || (0..600).map(|_| random.next() as u8).collect();
        session.save(if keyframes { noise() } else { state.clone() }).await.unwrap();
    }
    session.tag("second", 2).await.unwrap();
    bench.hours(5);
    session.prune(Retention::new().last(3)).await.unwrap();
    let mut archive = Vec::new();
    session.export(&mut archive).await.unwrap();
    let seqs = session.log().map_ok(|commit| commit.seq).try_collect::<Vec<_>>().await.unwrap();
    assert!(seqs.len() < 12 && seqs.contains(&1) != keyframes, "{seqs:?}");
    (archive, seqs)
}

/// Until an import is finished nobody else writes there, and nothing that was acknowledged is lost.
#[tokio::test]
async fn a_save_never_goes_into_a_half_imported_session() {
    for keyframes in [false, true] {
        let (archive, seqs) = pruned(&Bench::new(1), keyframes).await;
        let mut refused = 0;
        for cut in (512..archive.len() - 1024).step_by(512) {
            let bench = Bench::new(2);
            let late = bench.session("copy");
            late.rebase().await.unwrap();
            assert_eq!(
                bench.session("copy").import(&mut &archive[..cut]).await.unwrap_err().kind(),
                ErrorKind::Corrupt
            );
            let there = bench.adapter.keys().await;
            if there.is_empty()
                || there.contains(&commit_key("copy", 12))
                    && bench.session("copy").load(At::Latest).await.is_ok()
            {
                continue;
            }
            refused += 1;
            assert_eq!(late.save("mine").await.unwrap_err().kind(), ErrorKind::Conflict, "{cut}");
            let error = bench.session("copy").save("mine").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict, "{cut}: {error}");
            assert!(error.to_string().contains("is being imported"), "{error}");
            let reader = bench.session("copy");
            for result in [
                reader.load(At::Latest).await.map(drop),
                reader.load_with_fallback(At::Latest).await.map(drop),
                reader.prune(Retention::new().last(1)).await.map(drop),
                reader.export(&mut Vec::new()).await.map(drop),
                reader.verify().await.map(drop),
                reader.show(At::Latest).await.map(drop),
                reader.rebase().await.map(drop),
                reader.fork("another", At::Latest).await.map(drop),
            ] {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::Conflict, "{cut}");
            }
            reader.import(&mut &archive[..]).await.unwrap();
            assert!(reader.verify().await.unwrap().is_good());
            let log: Vec<u64> = reader.log().map_ok(|commit| commit.seq).try_collect().await.unwrap();
            assert_eq!(log, seqs);
            assert_eq!(late.save("mine").await.unwrap_err().kind(), ErrorKind::Conflict);
            assert_eq!(reader.save("next").await.unwrap().seq, 13);
            assert_eq!(reader.import(&mut &archive[..]).await.unwrap().commits, seqs.len() as u64);
            bench.hours(5);
            reader.prune(Retention::new().last(1)).await.unwrap();
            assert_eq!(bench.session("copy").load(At::Latest).await.unwrap().state, "next");
            assert!(reader.verify().await.unwrap().is_good());
        }
        assert!(refused > 2, "{refused}");
    }
}

/// One that nobody finishes can be removed.
#[tokio::test]
async fn a_half_imported_session_can_be_removed() {
    let (archive, _) = pruned(&Bench::new(1), true).await;
    let bench = Bench::new(2);
    let copy = bench.session("copy");
    assert_eq!(copy.import(&mut &archive[..archive.len() / 2]).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(bench.keys("/copy/c/").await.len() > 1);
    bench.hours(5);
    copy.remove().await.unwrap();
    let left = bench.keys("/copy/c/").await;
    assert_eq!(left, [commit_key("copy", 13)], "the marker");
    assert_eq!(bench.session("copy").save("anew").await.unwrap().seq, 14);
}

/// Where it has only begun, its newest number may still arrive: the marker is behind that.
#[tokio::test]
async fn an_import_that_was_removed_hides_nothing_when_it_goes_on() {
    for keyframes in [false, true] {
        let (archive, _) = pruned(&Bench::new(1), keyframes).await;
        let bench = Bench::new(2);
        let (fault, sessions) = bench.faulty();
        let (import, go_on) =
            (sessions.session("a", "copy").unwrap(), std::sync::Arc::new(tokio::sync::Notify::new()));
        fault.inject_later(Operation::Put, 1, Injection::Hold(go_on.clone()));
        let mut input = &archive[..];
        let mut import = Box::pin(import.import(&mut input));
        assert!((&mut import).now_or_never().is_none());
        assert_eq!(bench.keys("").await, [commit_key("copy", 1)]);
        let error = bench.session("copy").load(At::Latest).await.unwrap_err();
        assert!(error.to_string().contains("is being imported"), "{error}");
        assert_eq!(bench.session("copy").verify().await.unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(bench.session("copy").save("mine").await.unwrap_err().kind(), ErrorKind::Conflict);
        bench.session("copy").remove().await.unwrap();
        assert_eq!(bench.session("copy").save("anew").await.unwrap().seq, 14);
        go_on.notify_one();
        assert_eq!(import.await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        let reader = bench.session("copy");
        assert_eq!(reader.load(At::Latest).await.unwrap().state, "anew");
        bench.hours(5);
        reader.prune(Retention::new().last(1)).await.unwrap();
        assert_eq!(bench.keys("/copy/c/").await, [commit_key("copy", 14)]);
    }
}

/// Who has the first number has the session: a writer keeps it, and the import leaves nothing there, or the
/// other way round.
#[tokio::test]
async fn an_import_that_comes_second_leaves_nothing() {
    for keyframes in [false, true] {
        let (archive, seqs) = pruned(&Bench::new(1), keyframes).await;
        for held in [0, 1] {
            let bench = Bench::new(2);
            let (fault, sessions) = bench.faulty();
            let (import, writer) = (sessions.session("a", "copy").unwrap(), bench.session("copy"));
            writer.rebase().await.unwrap();
            let go_on = std::sync::Arc::new(tokio::sync::Notify::new());
            fault.inject_later(Operation::Put, held, Injection::Hold(go_on.clone()));
            let mut input = &archive[..];
            let mut import = Box::pin(import.import(&mut input));
            assert!((&mut import).now_or_never().is_none());
            if held == 1 {
                assert_eq!(writer.save("mine").await.unwrap_err().kind(), ErrorKind::Conflict);
                go_on.notify_one();
                assert_eq!(import.await.unwrap().commits, seqs.len() as u64);
                assert!(bench.session("copy").verify().await.unwrap().is_good());
                continue;
            }
            writer.save("mine").await.unwrap();
            go_on.notify_one();
            assert_eq!(import.await.unwrap_err().kind(), ErrorKind::AlreadyExists);
            let reader = bench.session("copy");
            assert_eq!(reader.load(At::Latest).await.unwrap().state, "mine");
            assert_eq!(bench.keys("/copy/").await, [commit_key("copy", 1)]);
            assert!(reader.verify().await.unwrap().is_good());
            assert_eq!(writer.save("next").await.unwrap().seq, 2);
        }
    }
}

/// An archive that says of itself what is not so.
#[tokio::test]
async fn an_archive_whose_line_lies_becomes_no_session() {
    let (archive, _) = pruned(&Bench::new(1), true).await;
    let start = archive.windows(5).position(|bytes| bytes == b"PSR\x01l").unwrap();
    let size = std::str::from_utf8(&archive[start - 512 + 124..][..11]).unwrap();
    let end = start + usize::from_str_radix(size, 8).unwrap();
    assert_eq!((archive[start + 5], archive[start + 7]), (12, 0), "up to 12, and the first run ends there");
    // Up to 100 with the same runs; up to 100 with a run from there; one commit less than there are.
    for (upto, distance) in [(100, 88), (100, 0), (11, 0)] {
        let mut lie = archive.clone();
        (lie[start + 5], lie[start + 7]) = (upto, distance);
        let check = crc32c::crc32c(&lie[start..end - 4]);
        lie[end - 4..end].copy_from_slice(&check.to_le_bytes());
        let bench = Bench::new(2);
        let copy = bench.session("copy");
        let error = copy.import(&mut &lie[..]).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::InvalidInput), "{error}");
        let error = copy.load(At::Latest).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict), "{error}");
        if bench.adapter.keys().await.is_empty() {
            continue;
        }
        assert!(bench.session("copy").save("mine").await.is_err());
        bench.hours(5);
        copy.remove().await.unwrap();
        let seq = copy.save("anew").await.unwrap().seq;
        bench.hours(5);
        copy.prune(Retention::new().last(1)).await.unwrap();
        assert_eq!(bench.session("copy").load(seq).await.unwrap().state, "anew");
    }
}

/// The ids of commits are those of the session that they were exported from.
#[tokio::test]
async fn an_imported_session_with_a_long_name_is_listed_by_its_own() {
    let bench = Bench::new(3);
    let (one, two) = ("x".repeat(200), "y".repeat(200));
    let session = bench.session(&one);
    let mut random = Random(3);
    for _ in 0..2 {
        session.save((0..600).map(|_| random.next() as u8).collect::<Vec<u8>>()).await.unwrap();
    }
    let mut whole = Vec::new();
    session.export(&mut whole).await.unwrap();
    bench.hours(5);
    session.prune(Retention::new().last(1)).await.unwrap();
    let mut pruned = Vec::new();
    session.export(&mut pruned).await.unwrap();
    for (archive, found) in [(&pruned, true), (&whole, false)] {
        let bench = Bench::new(4);
        bench.session(&one).save("another").await.unwrap();
        let copy = bench.session(&two);
        copy.import(&mut &archive[..]).await.unwrap();
        let names = async || -> Vec<String> {
            bench.sessions.list(Some("a")).map_ok(|name| name.session).try_collect().await.unwrap()
        };
        let listed = names().await;
        assert!(listed[0] == one && listed[1].starts_with("yyyy"), "{listed:?}");
        assert_eq!(listed[1] == two, found);
        assert!(copy.show(At::Latest).await.unwrap().session.starts_with("yyyy"));
        copy.save("333").await.unwrap();
        assert_eq!(names().await, [one.clone(), two.clone()]);
        assert_eq!(copy.show(At::Latest).await.unwrap().session, two);
    }
}

/// An archive has all commits or none. What an export that meets damage says to do instead does it.
#[tokio::test]
async fn a_session_with_an_old_damaged_commit_is_exported_from_a_fork() {
    for missing in [false, true] {
        let bench = Bench::new(90);
        let (session, _) = bench.saved("s", 6).await;
        // Nothing that comes behind is made of it.
        session.save(super::sessions_support::noise(90, 900)).await.unwrap();
        let _ = if missing { bench.lose("s", 2).await } else { bench.damage("s", 2).await };
        let error = session.export(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let text = error.to_string();
        assert!(text.contains("from a copy, or fork from a good commit, take over the fork"), "{text}");
        assert!(!text.contains("fallback"), "{text}");
        let fork = bench.session("s").fork("ok", 7).await.unwrap();
        fork.take_over().await.unwrap();
        let mut archive = Vec::new();
        fork.export(&mut archive).await.unwrap();
        let copy = bench.session("copy");
        copy.import(&archive[..]).await.unwrap();
        assert!(copy.load(At::Latest).await.unwrap().state == super::sessions_support::noise(90, 900));
        assert!(copy.verify().await.unwrap().is_good());
    }
}
