//! Imports of archives that the storage has met before, beside others, and of archives that were made to
//! harm.

use std::sync::Arc;

use futures_util::FutureExt;
use persist::{
    ErrorKind, Key,
    layers::{Injection, Operation},
    sessions::*,
};

use super::{Bench, commit_key, noise, seqs};

pub(super) async fn exported(session: &Session) -> Vec<u8> {
    let mut archive = Vec::new();
    session.export(&mut archive).await.unwrap();
    archive
}

/// A session of whole states, of which a prune can remove any.
pub(super) async fn whole(bench: &Bench, name: &str, commits: u64) -> Session {
    let session = bench.session(name);
    for seq in 1..=commits {
        session.save(noise(seq, 600)).await.unwrap();
    }
    session
}

/// Says that the session is there, and changes nothing.
async fn refused(bench: &Bench, name: &str, archive: &[u8], says: &str) {
    let before = bench.adapter.keys().await;
    let error = bench.session(name).import(&mut &*archive).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert!(error.to_string().contains(says), "{error}");
    assert_eq!(bench.adapter.keys().await, before);
}

/// What has not come yet is not damage, for which another commit would do.
#[tokio::test]
async fn numbers_that_an_import_has_yet_to_bring_are_not_lost() {
    let source = Bench::new(1);
    let archive = exported(&whole(&source, "s", 4).await).await;
    let bench = Bench::new(2);
    let name = |seq| commit_key("s", seq).as_str().rsplit('/').next().unwrap().to_owned();
    let of_third = name(3);
    let cut = archive.windows(of_third.len()).position(|window| window == of_third.as_bytes()).unwrap();
    let copy = bench.session("copy");
    copy.import(&mut &archive[..cut]).await.unwrap_err();
    assert_eq!(copy.load(2).await.unwrap().commit.seq, 2);
    for error in [copy.load(3).await.unwrap_err(), copy.load_with_fallback(3).await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().contains("is being imported"), "{error}");
    }
    copy.import(&mut &archive[..]).await.unwrap();
    assert_eq!(copy.load(3).await.unwrap().commit.seq, 3);
}

/// The undo of a removal by mistake: it must not say that it has done something, and has to be done under
/// another name.
#[tokio::test]
async fn no_session_is_imported_into_itself_after_its_removal() {
    for commits in [1, 2, 4] {
        for (tagged, anew) in [(false, false), (true, false), (false, true), (true, true)] {
            let bench = Bench::new(1);
            let (session, states) = bench.saved("s", commits).await;
            if tagged {
                session.tag("first", 1).await.unwrap();
            }
            let archive = exported(&session).await;
            session.remove().await.unwrap();
            if anew {
                bench.session("s").save("anew").await.unwrap();
            }
            let says = if anew { "exists already" } else { "was removed" };
            refused(&bench, "s", &archive, says).await;
            bench.hours(5);
            let retention = Retention::new().last(1);
            bench.session("s").prune(retention).await.unwrap();
            refused(&bench, "s", &archive, says).await;
            let other = bench.session("other");
            assert_eq!(other.import(&mut &archive[..]).await.unwrap().commits, commits as u64);
            assert!(other.load(At::Latest).await.unwrap().state == states[commits - 1]);
        }
    }
}

/// A removal whose process died before its prune leaves the line as it was: the marker alone says it.
#[tokio::test]
async fn no_session_is_imported_into_itself_after_half_a_removal() {
    for anew in [false, true] {
        let bench = Bench::new(2);
        let (session, _) = bench.saved("s", 3).await;
        let archive = exported(&session).await;
        let (fault, sessions) = bench.faulty();
        // The marker, then the announcement.
        fault.inject_later(Operation::Put, 1, Injection::Before(ErrorKind::Unavailable));
        assert_eq!(
            sessions.session("a", "s").unwrap().remove().await.unwrap_err().kind(),
            ErrorKind::Unavailable
        );
        if anew {
            bench.session("s").save("anew").await.unwrap();
        }
        refused(&bench, "s", &archive, if anew { "exists already" } else { "was removed" }).await;
    }
}

#[tokio::test]
async fn what_was_imported_and_removed_is_not_imported_again() {
    let archive = exported(&whole(&Bench::new(3), "s", 4).await).await;
    // Whole, and of one that broke off.
    for cut in [archive.len(), archive.len() / 2] {
        let bench = Bench::new(4);
        let copy = bench.session("copy");
        assert_eq!(copy.import(&mut &archive[..cut]).await.is_ok(), cut == archive.len());
        copy.remove().await.unwrap();
        refused(&bench, "copy", &archive, "was removed").await;
        bench.hours(5);
        bench.session("copy").prune(Retention::new().last(1)).await.unwrap();
        refused(&bench, "copy", &archive, "was removed").await;
        assert_eq!(bench.session("copy").load(At::Latest).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

/// What prunes have given up does not come back unseen.
#[tokio::test]
async fn nothing_is_imported_where_its_numbers_were_given_up() {
    let bench = Bench::new(5);
    let session = whole(&bench, "s", 5).await;
    let archive = exported(&session).await;
    bench.hours(5);
    session.prune(Retention::new().last(1)).await.unwrap();
    refused(&bench, "s", &archive, "exists already").await;
    // The commits are lost, and the line is not.
    bench.lose("s", 5).await;
    assert!(bench.keys("/s/c/").await.is_empty());
    refused(&bench, "s", &archive, "exists already").await;
    // A commit that was lost alone comes back.
    let other = whole(&bench, "other", 5).await;
    let archive = exported(&other).await;
    let lost = bench.lose("other", 3).await;
    bench.session("other").import(&mut &archive[..]).await.unwrap();
    assert!(bench.adapter.raw(&commit_key("other", 3)).await == lost);
}

/// It looked, and slept while others made and pruned what it creates then.
#[tokio::test]
async fn an_import_that_slept_leaves_the_session_of_others_alone() {
    for commits in [1, 4] {
        let archive = exported(&whole(&Bench::new(6), "s", commits).await).await;
        for made in [2, commits + 2] {
            let bench = Bench::new(7);
            let (fault, sessions) = bench.faulty();
            let (import, go_on) =
                (sessions.session("a", "copy").unwrap(), Arc::new(tokio::sync::Notify::new()));
            fault.inject_later(Operation::Put, 0, Injection::Hold(go_on.clone()));
            let mut input = &archive[..];
            let mut import = Box::pin(import.import(&mut input));
            assert!((&mut import).now_or_never().is_none());
            let copy = whole(&bench, "copy", made).await;
            bench.hours(5);
            copy.prune(Retention::new().last(1)).await.unwrap();
            go_on.notify_one();
            assert_eq!(import.await.unwrap_err().kind(), ErrorKind::AlreadyExists);
            let reader = bench.session("copy");
            assert_eq!(reader.load(At::Latest).await.unwrap().commit.seq, made);
            assert_eq!(seqs(&reader).await, [made]);
            assert_eq!(reader.save("next").await.unwrap().seq, made + 1);
            bench.hours(5);
            reader.prune(Retention::new().last(2)).await.unwrap();
            assert!(reader.verify().await.unwrap().is_good());
            assert_eq!(bench.keys("/copy/c/").await.len(), 2);
        }
    }
}

/// Whatever request fails, it says why, and the next import finishes.
#[tokio::test]
async fn a_failure_is_told_as_what_it_is() {
    let archive = exported(&whole(&Bench::new(8), "s", 3).await).await;
    let mut failed = 0;
    for put in 0..10 {
        for injection in [Injection::Before(ErrorKind::Unavailable), Injection::After(ErrorKind::Unavailable)]
        {
            let bench = Bench::new(9);
            let (fault, sessions) = bench.faulty();
            fault.inject_later(Operation::Put, put, injection);
            let error = sessions.session("a", "copy").unwrap().import(&mut &archive[..]).await.err();
            failed += u64::from(error.is_some());
            assert!(error.is_none_or(|error| error.kind() == ErrorKind::Unavailable), "{put}");
            bench.session("copy").import(&mut &archive[..]).await.unwrap();
            assert_eq!(seqs(&bench.session("copy")).await, [3, 2, 1]);
        }
    }
    assert!(failed >= 5, "{failed}");
}

/// Two imports of one archive finish it together.
#[tokio::test]
async fn two_imports_of_one_archive_do_not_end_each_other() {
    let source = Bench::new(10);
    let session = source.sessions.clone().inline_limit(1000).stream_limit(6000).session("a", "s").unwrap();
    for seed in 0..3 {
        session.save(noise(seed, 3000)).await.unwrap();
    }
    let archive = exported(&session).await;
    for held in 0..9 {
        let bench = Bench::new(11);
        let (fault, sessions) = bench.faulty();
        let (first, go_on) = (sessions.session("a", "copy").unwrap(), Arc::new(tokio::sync::Notify::new()));
        fault.inject_later(Operation::Put, held, Injection::Hold(go_on.clone()));
        let mut input = &archive[..];
        let mut first = Box::pin(first.import(&mut input));
        let done = loop {
            if (&mut first).now_or_never().is_some() {
                break true;
            }
            if fault.calls(Operation::Put) > held {
                break false;
            }
            // Bodies are read by threads.
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        };
        assert_eq!(done, held == 8, "{held}");
        if done {
            continue;
        }
        // The other one breaks off behind what the first one tries.
        let other = bench.session("copy").import(&mut &archive[..archive.len() * 2 / 3]).await;
        assert_eq!(other.unwrap_err().kind(), ErrorKind::Corrupt);
        go_on.notify_one();
        first.await.unwrap_or_else(|error| panic!("{held}: {error}"));
        assert_eq!(seqs(&bench.session("copy")).await, [3, 2, 1]);
        assert!(bench.session("copy").verify().await.unwrap().is_good());
    }
}

/// It had looked before the import began, and decides when it is under way.
#[tokio::test]
async fn a_prune_beside_an_import_gives_up_none_of_its_numbers() {
    let archive = exported(&whole(&Bench::new(12), "s", 4).await).await;
    let bench = Bench::new(13);
    // Of a writer that died.
    let body = Key::new("sessions/a/copy/b/1-01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap();
    bench.adapter.set(&body, b"nothing".to_vec()).await;
    let (fault, sessions) = bench.faulty();
    let (pruner, go_on) = (sessions.session("a", "copy").unwrap(), Arc::new(tokio::sync::Notify::new()));
    fault.inject_later(Operation::Put, 0, Injection::Hold(go_on.clone()));
    let mut prune = Box::pin(pruner.prune(Retention::new().last(1)));
    assert!((&mut prune).now_or_never().is_none());
    let copy = bench.session("copy");
    assert_eq!(copy.import(&mut &archive[..archive.len() / 2]).await.unwrap_err().kind(), ErrorKind::Corrupt);
    go_on.notify_one();
    assert_eq!(prune.await.unwrap_err().kind(), ErrorKind::Conflict);
    copy.import(&mut &archive[..]).await.unwrap();
    assert_eq!(seqs(&copy).await, [4, 3, 2, 1]);
}

fn file(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut block = [0; 512];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(124, format!("{:011o}\0", bytes.len()).as_bytes());
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut file = [&block[..], bytes].concat();
    file.resize(file.len().next_multiple_of(512), 0);
    file
}

pub(super) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let header = file("persist-session", br#"{"format":1,"agent":"a","session":"s"}"#);
    let files = files.iter().map(|(name, bytes)| file(name, bytes));
    [header].into_iter().chain(files).chain([vec![0; 1024]]).collect::<Vec<_>>().concat()
}

pub(super) fn number(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 127 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

pub(super) fn small(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut out = [b"PSR\x01", &[kind][..], content].concat();
    out.extend(crc32c::crc32c(&out).to_le_bytes());
    out
}

/// A line that ends where no number is left for a removal would burn the name.
#[tokio::test]
async fn an_archive_of_the_last_number_is_refused() {
    let source = Bench::new(14);
    whole(&source, "s", 1).await;
    let commit = source.adapter.raw(&commit_key("s", 1)).await;
    for (upto, good) in
        [(1, true), (0, false), (999_999_999_997, false), (999_999_999_998, false), (u64::MAX, false)]
    {
        let content = [number(upto), number(1), number(0), number(upto.saturating_sub(1)), vec![0]].concat();
        let archive = archive(&[("line", &small(b'l', &content)), ("c/999999999/998-1", &commit)]);
        let bench = Bench::new(15);
        let result = bench.session("copy").import(&mut &archive[..]).await;
        assert_eq!(
            result.as_ref().map(|_| ()).map_err(|error| error.kind()),
            if good { Ok(()) } else { Err(ErrorKind::Corrupt) },
            "{upto}"
        );
        assert_eq!(bench.adapter.keys().await.is_empty(), !good, "{upto}");
    }
}

#[tokio::test]
async fn an_archive_of_tags_alone_changes_no_session() {
    let bench = Bench::new(16);
    whole(&bench, "s", 2).await;
    let before = bench.adapter.keys().await;
    let tag = small(b't', &[number(1), vec![0; 16], number(4), b"evil".to_vec()].concat());
    for files in [&[("t/1", &tag[..])][..], &[("line", &small(b'l', &[2, 1, 0, 1, 0])), ("t/1", &tag)]] {
        let error = bench.session("s").import(&mut &archive(files)[..]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains("in front of its commits"), "{error}");
        assert_eq!(bench.adapter.keys().await, before);
    }
}

/// What becomes 12 times as long in memory has a limit of its own.
#[tokio::test]
async fn small_entries_have_small_limits() {
    let bench = Bench::new(17);
    for (name, size, limit) in [("line", (8 << 20) + 1, 8 << 20), ("t/1", (64 << 10) + 1, 64 << 10)] {
        let archive = archive(&[(name, &vec![0; size])]);
        let error = bench.session("s").import(&mut &archive[..]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&format!("the limit is {limit}; export")), "{error}");
    }
}

#[tokio::test]
async fn an_archive_of_a_session_with_a_very_long_name_comes_back() {
    let bench = Bench::new(19);
    let name = "\u{1}".repeat(20_000);
    bench.session(&name).save("state").await.unwrap();
    let mut archive = Vec::new();
    bench.session(&name).export(&mut archive).await.unwrap();
    bench.session("copy").import(&mut &archive[..]).await.unwrap();
    assert_eq!(bench.session("copy").load(At::Latest).await.unwrap().state, "state");
}

/// An archive is believed to be whole until it is needed.
#[tokio::test]
async fn an_export_of_damaged_objects_fails() {
    let bench = Bench::new(18);
    let session = bench.sessions.clone().inline_limit(1000).stream_limit(6000).session("a", "s").unwrap();
    let mut state = noise(1, 500);
    for seed in 0..5 {
        state.extend(noise(seed, if seed == 2 { 3000 } else { 40 }));
        session.save(state.clone()).await.unwrap();
    }
    session.tag("tag", 2).await.unwrap();
    let archive = exported(&session).await;
    let keys = bench.adapter.keys().await;
    assert!(keys.iter().filter(|key| key.as_str().contains("/b/")).count() > 0, "{keys:?}");
    for key in keys {
        let whole = bench.adapter.raw(&key).await;
        let cut = (1..whole.len()).step_by(7).map(|at| whole[..at].to_vec());
        let flipped = (0..whole.len()).step_by(3).map(|at| {
            let mut bad = whole.clone();
            bad[at] ^= 0x10;
            bad
        });
        for bad in cut.chain(flipped) {
            bench.adapter.set(&key, bad).await;
            let error = bench.session("s").export(&mut Vec::new()).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported), "{key}: {error}");
            assert_eq!(error.key(), Some(&key), "{error}");
        }
        bench.adapter.set(&key, whole).await;
    }
    assert!(exported(&session).await == archive);
}

/// A session whose first commits were pruned is exported again after its import, to the same bytes.
#[tokio::test]
async fn an_imported_session_is_exported_to_the_same_archive() {
    let bench = Bench::new(19);
    let session = whole(&bench, "s", 5).await;
    session.tag("tag", 5).await.unwrap();
    let fork = session.fork("f", 3).await.unwrap();
    fork.save("of the fork").await.unwrap();
    bench.hours(5);
    session.prune(Retention::new().last(2)).await.unwrap();
    for (name, kept) in [("s", [5, 4, 3].as_slice()), ("f", &[4])] {
        let archive = exported(&bench.session(name)).await;
        let elsewhere = Bench::new(20);
        let copy = elsewhere.session(name);
        copy.import(&mut &archive[..]).await.unwrap();
        assert_eq!(seqs(&copy).await, kept);
        assert!(exported(&copy).await == archive, "{name}");
    }
}

/// Its marker is no state in another storage either.
#[tokio::test]
async fn a_session_that_began_anew_is_exported_from_there() {
    for unfinished in [false, true] {
        for forked in [false, true] {
            let bench = Bench::new(21);
            let (mut session, _) = bench.saved("s", 3).await;
            if forked {
                session = session.fork("f", 3).await.unwrap();
                session.save("of the fork").await.unwrap();
            }
            let (fault, sessions) = bench.faulty();
            if unfinished {
                fault.inject_later(Operation::Put, 1, Injection::Before(ErrorKind::Unavailable));
            }
            let removed = sessions.session("a", session.name()).unwrap().remove().await;
            assert_eq!(removed.is_err(), unfinished);
            let writer = bench.session(session.name());
            let first = writer.save("anew").await.unwrap().seq;
            writer.save("anew, and on").await.unwrap();
            let mut archive = Vec::new();
            assert_eq!(writer.export(&mut archive).await.unwrap().commits, 2, "{unfinished} {forked}");
            let elsewhere = Bench::new(22);
            let copy = elsewhere.session("copy");
            copy.import(&mut &archive[..]).await.unwrap();
            assert_eq!(seqs(&copy).await, [first + 1, first]);
            assert_eq!(copy.load(first).await.unwrap().state, "anew");
            assert!(copy.verify().await.unwrap().is_good());
            copy.export(&mut Vec::new()).await.unwrap();
        }
    }
}

/// Six days of a session, which another one got in a moment.
async fn days(seed: u64) -> (Bench, Session, Session) {
    let source = Bench::new(seed);
    let session = source.session("s");
    for seed in 0..6 {
        session.save(noise(seed, 600)).await.unwrap();
        source.hours(24);
    }
    let bench = Bench::new(seed + 1);
    bench.hours(24 * 10);
    let copy = bench.session("copy");
    copy.import(&mut &exported(&session).await[..]).await.unwrap();
    bench.hours(5);
    (bench, copy, session)
}

/// A history that came in a moment still has its days.
#[tokio::test]
async fn rules_of_days_see_when_imported_commits_were_made() {
    let (_bench, copy, session) = days(23).await;
    assert!(copy.prune(Retention::new().daily(30)).await.unwrap().removed.is_empty());
    assert_eq!(copy.prune(Retention::new().daily(4).hourly(2)).await.unwrap().removed, [2, 1]);
    // Where the storage has seen them come, its clock alone counts.
    assert_eq!(session.prune(Retention::new().daily(4)).await.unwrap().removed, [2, 1]);
}

/// The first commits are damaged: the next one shows that all were imported.
#[tokio::test]
async fn damage_does_not_hide_when_imported_commits_were_made() {
    let (bench, copy, _) = days(25).await;
    bench.damage("copy", 1).await;
    bench.damage("copy", 2).await;
    let pruned = copy.prune_dry_run(Retention::new().daily(3)).await.unwrap();
    assert!([4, 5, 6].iter().all(|seq| !pruned.removed.contains(seq)), "{pruned:?}");
    assert!(pruned.removed.contains(&3), "{pruned:?}");
}

/// A commit that is lost was the only one of its day, when it was made: its object may come back.
#[tokio::test]
async fn missing_commits_that_were_imported_have_their_days() {
    let (bench, copy, _) = days(27).await;
    bench.lose("copy", 3).await;
    assert!(copy.prune(Retention::new().daily(30)).await.unwrap().removed.is_empty());
    assert!(!copy.verify().await.unwrap().is_good(), "the missing commit is forgotten");
    assert_eq!(copy.prune(Retention::new().daily(3)).await.unwrap().removed, [2, 1]);
    assert!(copy.verify().await.unwrap().is_good());
}
