//! What others see of an import while it runs, and at its end.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::{FutureExt, TryStreamExt};
use persist::{
    ErrorKind, Key,
    layers::{Injection, Operation},
    sessions::*,
};

use super::{
    Bench, commit_key,
    imports::{exported, whole},
    noise, seqs,
};

/// The part of an archive in front of a commit.
pub(super) fn until(archive: &[u8], seq: u64) -> &[u8] {
    let key = commit_key("s", seq);
    let name = &key.as_str()[key.as_str().find("c/").unwrap()..];
    let at = archive.windows(name.len()).position(|window| window == name.as_bytes()).unwrap();
    &archive[..at]
}

/// An archive of five commits, a minute apart, and a session of which two have come.
pub(super) async fn half(seed: u64) -> (Bench, Vec<u8>, Vec<Commit>) {
    let source = Bench::new(seed);
    let session = source.session("s");
    let mut commits = Vec::new();
    for seed in 0..5 {
        source.clock.pass(60_000);
        commits.push(session.save(noise(seed, 600)).await.unwrap());
    }
    let archive = exported(&session).await;
    let bench = Bench::new(seed + 1);
    bench.hours(1);
    bench.session("copy").import(&mut until(&archive, 3)).await.unwrap_err();
    (bench, archive, commits)
}

/// What came can be read by its number, and not continued.
#[tokio::test]
async fn nobody_saves_behind_a_commit_of_half_an_import() {
    let (bench, archive, commits) = half(1).await;
    for way in 0..4 {
        let handle = bench.session("copy");
        match way {
            0 => drop(handle.load(2).await.unwrap()),
            1 => drop(handle.load_stream(2).await.unwrap()),
            2 => drop(handle.load(commits[1].id).await.unwrap_err()),
            _ => drop(handle.load_with_fallback(2).await.unwrap()),
        }
        let before = bench.adapter.keys().await;
        for _ in 0..2 {
            let error = handle.save("mine").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict, "{way}: {error}");
            assert!(error.to_string().contains("is being imported"), "{way}: {error}");
        }
        assert_eq!(bench.adapter.keys().await, before);
    }
    let late = bench.session("copy");
    late.load(2).await.unwrap();
    bench.session("copy").import(&mut &archive[..]).await.unwrap();
    assert_eq!(seqs(&bench.session("copy")).await, [5, 4, 3, 2, 1]);
    assert_eq!(late.save("mine").await.unwrap_err().kind(), ErrorKind::Conflict);
    let newest = bench.session("copy");
    newest.load(5).await.unwrap();
    assert_eq!(newest.save("next").await.unwrap().seq, 6);
}

/// The newest that is not younger than a time may have yet to come.
#[tokio::test]
async fn half_an_import_has_no_newest_at_a_time() {
    let (bench, archive, commits) = half(3).await;
    let copy = bench.session("copy");
    for at in [At::Time(bench.clock.time()), At::Time(commits[3].time), At::Id(commits[4].id)] {
        for error in [
            copy.load(at.clone()).await.map(drop).unwrap_err(),
            copy.load_with_fallback(at.clone()).await.map(drop).unwrap_err(),
            copy.show(at.clone()).await.map(drop).unwrap_err(),
            copy.fork("fork", at.clone()).await.map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{at}: {error}");
        }
    }
    assert!(bench.keys("/fork/").await.is_empty());
    // In front of those that are there, nothing comes any more.
    assert_eq!(copy.load(At::Time(commits[0].time)).await.unwrap().commit.seq, 1);
    copy.import(&mut &archive[..]).await.unwrap();
    assert_eq!(copy.load(At::Time(commits[3].time)).await.unwrap().commit.seq, 4);
    // One that was removed is no import any more.
    let (bench, ..) = half(5).await;
    let copy = bench.session("copy");
    copy.remove().await.unwrap();
    copy.save("anew").await.unwrap();
    let now = At::Time(bench.clock.time() + Duration::from_secs(1));
    assert_eq!(copy.load(now).await.unwrap().state, "anew");
    assert_eq!(copy.load(At::Time(commits[3].time)).await.unwrap_err().kind(), ErrorKind::NotFound);
}

/// Holds a request of `work` while an import ends. `None` where there is no such request.
async fn beside<T>(
    begun: bool,
    (held, skip): (Operation, usize),
    work: impl AsyncFnOnce(Session) -> T,
) -> Option<(Bench, T)> {
    let (bench, archive, _) = half(7).await;
    let copy = bench.session(if begun { "copy" } else { "other" });
    bench.hours(5);
    let (fault, sessions) = bench.faulty();
    let go_on = Arc::new(tokio::sync::Notify::new());
    fault.inject_later(held, skip, Injection::Hold(go_on.clone()));
    let mut work = pin!(work(sessions.session("a", copy.name()).unwrap()));
    loop {
        if (&mut work).now_or_never().is_some() {
            return None;
        }
        if fault.calls(held) > skip {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    copy.import(&mut &archive[..]).await.unwrap();
    go_on.notify_one();
    let result = work.await;
    assert!(bench.session(copy.name()).verify().await.unwrap().is_good());
    Some((bench, result))
}

/// All requests that there may be, of a session that is half there, or not at all.
fn all() -> impl Iterator<Item = (bool, (Operation, usize))> {
    let places = [false, true]
        .into_iter()
        .flat_map(|begun| [Operation::Get, Operation::List].map(|operation| (begun, operation)));
    places.flat_map(|(begun, operation)| (0..12).map(move |skip| (begun, (operation, skip))))
}

#[tokio::test]
async fn the_end_of_an_import_is_no_damage() {
    let mut held = 0;
    for (begun, at) in all() {
        let verify = async |session: Session| session.verify().await;
        if let Some((_, verified)) = beside(begun, at, verify).await {
            held += 1;
            match verified {
                Ok(verified) => {
                    assert!(verified.is_good() && verified.good == 5, "{begun} {at:?}: {verified:?}")
                }
                Err(error) => {
                    let fine = matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound);
                    assert!(fine, "{begun} {at:?}: {error}");
                }
            }
        }
        let log = async |session: Session| session.log().try_collect::<Vec<Commit>>().await;
        if let Some((_, log)) = beside(begun, at, log).await {
            held += 1;
            match log {
                Ok(log) => assert!(matches!(log.len(), 0 | 5), "{begun} {at:?}: {log:?}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{begun} {at:?}: {error}"),
            }
        }
    }
    assert!(held > 10, "{held}");
}

/// It took the numbers that were still to come for lost ones, and as old as what kept the newest.
#[tokio::test]
async fn a_prune_beside_the_end_of_an_import_keeps_what_has_just_come() {
    let mut held = 0;
    for (begun, at) in all() {
        let prune = async |session: Session| session.prune(Retention::new().last(1)).await;
        let Some((bench, pruned)) = beside(begun, at, prune).await else { continue };
        held += 1;
        match pruned {
            Ok(pruned) => assert!(pruned.removed.iter().all(|seq| *seq < 3), "{at:?}: {pruned:?}"),
            Err(error) => {
                let fine = matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound);
                assert!(fine, "{begun} {at:?}: {error}");
            }
        }
        let name = if begun { "copy" } else { "other" };
        assert_eq!(seqs(&bench.session(name)).await[..3], [5, 4, 3], "{begun} {at:?}");
    }
    assert!(held > 3, "{held}");
}

/// It began before the import did, and lists what is half there; then the rest comes.
#[tokio::test]
async fn a_prune_that_listed_half_an_import_waits_for_the_next_one() {
    let (_, archive, _) = half(13).await;
    let mut listed = 0;
    for skip in 0..6 {
        let bench = Bench::new(14);
        // Of a writer that died: something to prune.
        let body = Key::new("sessions/a/copy/b/1-01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap();
        bench.adapter.set(&body, b"nothing".to_vec()).await;
        let (fault, sessions) = bench.faulty();
        let (announce, look) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
        fault.inject(Operation::Put, Injection::Hold(announce.clone()));
        let pruner = sessions.session("a", "copy").unwrap();
        let mut prune = pin!(pruner.prune(Retention::new().last(1)));
        assert!((&mut prune).now_or_never().is_none());
        let copy = bench.session("copy");
        copy.import(&mut until(&archive, 3)).await.unwrap_err();
        bench.hours(5);
        fault.inject_later(Operation::Get, skip, Injection::Hold(look.clone()));
        announce.notify_one();
        if (&mut prune).now_or_never().is_some() {
            continue;
        }
        listed += 1;
        copy.import(&mut &archive[..]).await.unwrap();
        look.notify_one();
        let _ = prune.await;
        assert_eq!(seqs(&copy).await[..3], [5, 4, 3], "{skip}");
    }
    assert!(listed > 0);
}

/// However long it takes: a prune comes behind the tags.
#[tokio::test]
async fn no_prune_takes_what_an_archive_tags() {
    let source = Bench::new(9);
    let session = whole(&source, "s", 4).await;
    session.tag("two", 2).await.unwrap();
    session.tag("four", 4).await.unwrap();
    let archive = exported(&session).await;
    let bench = Bench::new(10);
    let copy = bench.session("copy");
    let tags = archive.windows(4).position(|window| window == b"t/1\0").unwrap();
    let (mut writer, mut reader) = tokio::io::duplex(1 << 20);
    tokio::io::AsyncWriteExt::write_all(&mut writer, &archive[..tags]).await.unwrap();
    let mut import = pin!(copy.import(&mut reader));
    for _ in 0..100 {
        assert!((&mut import).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    bench.hours(5);
    let pruned = bench.session("copy").prune(Retention::new().last(1)).await;
    assert_eq!(pruned.unwrap_err().kind(), ErrorKind::Conflict);
    tokio::io::AsyncWriteExt::write_all(&mut writer, &archive[tags..]).await.unwrap();
    drop(writer);
    assert_eq!(import.await.unwrap().tags, 2);
    bench.hours(5);
    bench.session("copy").prune(Retention::new().last(1)).await.unwrap();
    let reader = bench.session("copy");
    for (tag, seq) in [("two", 2), ("four", 4)] {
        assert_eq!(reader.load(At::Tag(tag.into())).await.unwrap().state, noise(seq, 600));
    }
}

/// One that could not read what both have stored leaves it to the other.
#[tokio::test]
async fn an_import_that_fails_takes_no_body_of_another_one() {
    let source = Bench::new(11);
    let session = source.sessions.clone().inline_limit(1000).stream_limit(6000).session("a", "s").unwrap();
    for seed in 0..4 {
        session.save(noise(seed, 3000)).await.unwrap();
    }
    let archive = exported(&session).await;
    let bench = Bench::new(12);
    let (fault, sessions) = bench.faulty();
    let slow = sessions.session("a", "copy").unwrap();
    let start = until(&archive, 3);
    let (mut writer, mut reader) = tokio::io::duplex(1 << 20);
    tokio::io::AsyncWriteExt::write_all(&mut writer, start).await.unwrap();
    let mut import = pin!(slow.import(&mut reader));
    while bench.keys("/copy/b/").await.len() < 3 {
        assert!((&mut import).now_or_never().is_none());
        // Bodies are read by threads.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bench.session("copy").import(&mut &archive[..]).await.unwrap();
    fault.inject(Operation::Get, Injection::Before(ErrorKind::Timeout));
    tokio::io::AsyncWriteExt::write_all(&mut writer, &archive[start.len()..]).await.unwrap();
    assert_eq!(import.await.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(bench.session("copy").verify().await.unwrap().is_good());
    assert_eq!(bench.keys("/copy/b/").await.len(), 4);
}

/// An archive of five commits, of which a prune left the newest and a tagged one.
async fn pruned_archive() -> Vec<u8> {
    let source = Bench::new(28);
    let session = whole(&source, "s", 5).await;
    session.tag("two", 2).await.unwrap();
    source.hours(5);
    session.prune(Retention::new().last(1)).await.unwrap();
    exported(&session).await
}

/// The slower one finds what it was about to write.
#[tokio::test]
async fn two_imports_of_one_pruned_archive_both_succeed() {
    let archive = pruned_archive().await;
    for held in 0..9 {
        let bench = Bench::new(29);
        let (fault, sessions) = bench.faulty();
        let (first, go_on) = (sessions.session("a", "copy").unwrap(), Arc::new(tokio::sync::Notify::new()));
        fault.inject_later(Operation::Put, held, Injection::Hold(go_on.clone()));
        let mut input = &archive[..];
        let mut first = Box::pin(first.import(&mut input));
        if (&mut first).now_or_never().is_some() {
            assert!(held > 4, "{held}");
            break;
        }
        bench.session("copy").import(&mut &archive[..]).await.unwrap();
        go_on.notify_one();
        first.await.unwrap_or_else(|error| panic!("{held}: {error}"));
        assert_eq!(seqs(&bench.session("copy")).await, [5, 2]);
    }
}

/// On a local disk it can be read before it is durable, and the sync may have failed.
#[tokio::test]
async fn what_an_import_finds_behind_an_error_is_put_once_more() {
    let archive = exported(&whole(&Bench::new(20), "s", 3).await).await;
    let bench = Bench::new(21);
    let (fault, sessions) = bench.faulty();
    sessions.session("a", "copy").unwrap().import(&mut &archive[..]).await.unwrap();
    let puts = fault.calls(Operation::Put);
    assert_eq!(puts, 5, "two numbers and three commits");
    for put in 0..puts {
        for fails in [false, true] {
            let bench = Bench::new(22);
            let (fault, sessions) = bench.faulty();
            let copy = sessions.session("a", "copy").unwrap();
            fault.inject_later(Operation::Put, put, Injection::After(ErrorKind::Io));
            if fails {
                fault.inject(Operation::Put, Injection::Before(ErrorKind::Timeout));
            }
            let imported = copy.import(&mut &archive[..]).await;
            assert_eq!(imported.err().map(|error| error.kind()), fails.then_some(ErrorKind::Io), "{put}");
            assert_eq!(fault.calls(Operation::Put), if fails { put + 2 } else { puts + 1 });
            copy.import(&mut &archive[..]).await.unwrap();
            assert_eq!(seqs(&bench.session("copy")).await, [3, 2, 1]);
        }
    }
}

/// The line that an earlier try of it has put, perhaps without the last sync.
#[tokio::test]
async fn an_import_puts_a_line_that_is_there_once_more() {
    let archive = pruned_archive().await;
    // The line comes last but for the newest commit.
    let other = Bench::new(34);
    let (fault, sessions) = other.faulty();
    sessions.session("a", "copy").unwrap().import(&mut &archive[..]).await.unwrap();
    let puts = fault.calls(Operation::Put);
    let bench = Bench::new(33);
    let (fault, sessions) = bench.faulty();
    let copy = sessions.session("a", "copy").unwrap();
    fault.inject_later(Operation::Put, puts - 2, Injection::After(ErrorKind::Io));
    assert_eq!(copy.import(&mut &archive[..]).await.unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(bench.keys("/copy/line").await.len(), 1, "it was the line");
    fault.reset_calls();
    copy.import(&mut &archive[..]).await.unwrap();
    let after = fault.calls(Operation::Put);
    assert_eq!(after, 4, "what is there, the line, and the newest");
    assert_eq!(seqs(&bench.session("copy")).await, [5, 2]);
}
