//! What tags and forks name.

use persist::{
    ErrorKind,
    layers::{Injection, Operation},
    sessions::{At, Retention},
};

use super::{Bench, Counting, sessions_support::noise};

/// The newest commit was lost and another one took its number: what named the lost one does not give the
/// other.
#[tokio::test]
async fn a_tag_and_a_fork_never_give_another_commit_than_they_name() {
    let bench = Bench::new(1);
    let (session, states) = bench.saved("s", 3).await;
    session.tag("release", 3).await.unwrap();
    let fork = session.fork("fork", 3).await.unwrap();
    let before = bench.adapter.counts();
    assert!(bench.session("s").load(At::Tag("release".into())).await.unwrap().state == states[2]);
    let cost = bench.adapter.counts() - before;
    let lost = bench.lose("s", 3).await;
    bench.session("s").save("an impostor").await.unwrap();
    let tag = &bench.keys("/t/").await[0];
    let at = At::Tag("release".into());
    let reader = bench.session("s");
    for result in [
        reader.load(at.clone()).await.map(drop),
        reader.load_stream(at.clone()).await.map(drop),
        reader.show(at.clone()).await.map(drop),
        reader.move_tag("other", at.clone()).await.map(drop),
        reader.fork("other", at.clone()).await.map(drop),
    ] {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(tag)), "{error}");
        assert!(error.to_string().contains("names commit 3"), "{error}");
    }
    let origin = super::commit_key("fork", 1);
    for at in [At::Latest, At::Seq(3)] {
        let error = bench.session("fork").load(at).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some(&origin)), "{error}");
    }
    assert_eq!(bench.session("fork").save("on top of it").await.unwrap_err().kind(), ErrorKind::Corrupt);
    // Older ones are those of both lines.
    assert!(bench.session("fork").load(2).await.unwrap().state == states[1]);
    for session in [&reader, &fork] {
        assert!(!session.verify().await.unwrap().is_good());
    }
    bench.set("s", 3, lost).await;
    assert!(fork.load(At::Latest).await.unwrap().state == states[2]);
    assert!(fork.verify().await.unwrap().is_good());
    // It costs no request.
    assert_eq!((cost.list, cost.put), (0, 0));
    assert!(cost.get <= 5, "{cost:?}");
}

/// A search by time or id beside a prune steps over what the prune removes.
#[tokio::test]
async fn a_search_beside_a_prune_finds_what_stays() {
    for latest in [true, false] {
        let bench = Bench::new(2);
        let (session, states) = bench.saved("s", 40).await;
        let wanted = session.show(At::Latest).await.unwrap();
        bench.hours(5);
        let (fault, sessions) = bench.faulty();
        let at = if latest { At::Id(wanted.id) } else { At::Time(wanted.time) };
        // The line, then the first probe: by then the commits are listed.
        let go_on = std::sync::Arc::new(tokio::sync::Notify::new());
        fault.inject_later(Operation::Get, 1, Injection::Hold(go_on.clone()));
        let reader = sessions.session("a", "s").unwrap();
        let mut load = Box::pin(reader.load(at.clone()));
        assert!(futures_util::FutureExt::now_or_never(&mut load).is_none());
        let pruned = session.prune(Retention::new().last(1)).await.unwrap();
        assert!(pruned.removed.len() > 20, "{pruned:?}");
        go_on.notify_one();
        let restored = load.await.unwrap_or_else(|error| panic!("{at}: {error}"));
        assert!(restored.commit.seq == 40 && restored.state == states[39]);
    }
}

/// A tag that was written beside a prune, and whose writer died before it could take it back.
#[tokio::test]
async fn a_tag_of_a_pruned_commit_is_garbage() {
    let bench = Bench::new(3);
    let (session, _) = bench.saved("s", 40).await;
    session.tag("late", 3).await.unwrap();
    let key = bench.keys("/t/").await.remove(0);
    let tag = bench.adapter.raw(&key).await;
    session.untag("late").await.unwrap();
    session.save("another").await.unwrap();
    bench.hours(5);
    assert!(session.prune(Retention::new().last(1)).await.unwrap().removed.contains(&3));
    bench.adapter.set(&key, tag).await;
    let verified = session.verify().await.unwrap();
    assert!(verified.is_good() && verified.garbage == 1, "{verified:?}");
    assert_eq!(session.load(At::Tag("late".into())).await.unwrap_err().kind(), ErrorKind::NotFound);
    // The next prune takes it away.
    assert_eq!(session.prune(Retention::new().last(1)).await.unwrap().garbage, 1);
    assert!(session.verify().await.unwrap().is_good() && session.tags().await.unwrap().is_empty());
    session.tag("late", 41).await.unwrap();
}

/// The same of a fork that was removed, or needs its source no more: a copy that is only added to has its
/// mark, and the line of later.
#[tokio::test]
async fn a_mark_of_a_fork_of_a_pruned_commit_is_garbage() {
    for removed in [true, false] {
        let bench = Bench::new(9);
        let (session, _) = bench.saved("s", 40).await;
        let fork = session.fork("fork", 3).await.unwrap();
        let key = bench.keys("/f/").await.remove(0);
        let mark = bench.adapter.raw(&key).await;
        fork.save(super::noise(9, 900)).await.unwrap();
        bench.hours(30);
        if removed {
            drop(fork.remove().await.unwrap())
        } else {
            drop(fork.prune(Retention::new().last(1)).await.unwrap())
        }
        session.prune(Retention::new().last(1)).await.unwrap();
        session.prune(Retention::new().last(1)).await.unwrap();
        assert!(bench.keys("sessions/a/s/f/").await.is_empty());
        bench.adapter.set(&key, mark).await;
        let verified = session.verify().await.unwrap();
        assert!(verified.is_good(), "{removed} {verified:?}");
        // Of a fork that is gone it names nothing.
        assert_eq!(verified.garbage, u64::from(!removed));
        bench.hours(30);
        assert_eq!(session.prune(Retention::new().last(1)).await.unwrap().garbage, 1);
        assert!(bench.keys("sessions/a/s/f/").await.is_empty());
        assert_eq!(session.verify().await.unwrap().garbage, 0);
    }
}

/// A move whose answer was lost may still arrive: until that is over, what it names is kept.
#[tokio::test]
async fn a_tag_that_may_still_move_keeps_both_commits() {
    let bench = Bench::new(4);
    let (session, states) = bench.saved("s", 40).await;
    session.tag("moves", 20).await.unwrap();
    let (fault, sessions) = bench.faulty();
    // The attempt to create it, the guard, the move.
    fault.inject_later(Operation::Put, 2, Injection::Before(ErrorKind::Timeout));
    let error = sessions.session("a", "s").unwrap().move_tag("moves", 3).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    bench.hours(5);
    session.save("another").await.unwrap();
    session.prune(Retention::new().last(1)).await.unwrap();
    for seq in [3, 20] {
        assert!(session.load(seq).await.unwrap().state == states[seq as usize - 1]);
    }
    // It expires.
    bench.hours(25);
    session.prune(Retention::new().last(1)).await.unwrap();
    session.prune(Retention::new().last(1)).await.unwrap();
    assert_eq!(bench.keys("/f/").await.len(), 0);
    // A refusal is known at once.
    let (fault, sessions) = bench.faulty();
    fault.inject_later(Operation::Put, 2, Injection::Before(ErrorKind::AccessDenied));
    assert_eq!(
        sessions.session("a", "s").unwrap().move_tag("moves", 41).await.unwrap_err().kind(),
        ErrorKind::AccessDenied
    );
    assert_eq!(bench.keys("/f/").await.len(), 0);
}

/// What reads as another commit is no name, however the tag was made before.
#[tokio::test]
async fn a_tag_that_reads_as_something_else_is_refused() {
    let bench = Bench::new(8);
    let (session, states) = bench.saved("s", 2).await;
    session.tag("v1", 1).await.unwrap();
    let id = session.show(2).await.unwrap().id.to_string();
    for (name, means) in [
        ("2", "commit 2"),
        ("+7", "commit 7"),
        ("latest", "latest"),
        (&id, "commit 01"),
        ("2026-11-21T20:05:00Z", "time 2026"),
        ("tag:x", "another tag"),
    ] {
        for error in [session.tag(name, 1).await.unwrap_err(), session.move_tag(name, 1).await.unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(&format!("would read as {means}")), "{error}");
        }
    }
    assert_eq!(session.tags().await.unwrap().len(), 1);
    // One from before: of 2 bytes as well, whose check is made anew.
    let key = bench.keys("/t/").await.remove(0);
    let mut bytes = bench.adapter.raw(&key).await;
    let end = bytes.len() - 4;
    bytes[end - 2..end].copy_from_slice(b"02");
    let check = crc32c::crc32c(&bytes[..end]);
    bytes[end..].copy_from_slice(&check.to_le_bytes());
    bench.adapter.set(&persist::Key::new(key.as_str().replace("v1", "02")).unwrap(), bytes).await;
    assert!(session.load(At::Tag("02".into())).await.unwrap().state == states[0]);
    let mut archive = Vec::new();
    assert_eq!(session.export(&mut archive).await.unwrap().tags, 2);
    let copy = bench.session("copy");
    assert_eq!(copy.import(&mut &archive[..]).await.unwrap().tags, 2);
    for session in [session, copy] {
        session.untag("02").await.unwrap();
        assert_eq!(session.tags().await.unwrap().len(), 1);
    }
}

/// A gateway in front of the storage changes versions on the way, or leaves them out.
#[tokio::test]
async fn listings_with_other_versions_than_reads_hide_no_commit() {
    for mark in ["", "1-gzip"] {
        let mut adapter = Counting::memory();
        let (session, states) = Bench::of(adapter.clone(), 70).saved("s", 3).await;
        session.tag("t", 2).await.unwrap();
        adapter.lists_version = Some(mark);
        let bench = Bench::of(adapter, 71);
        let reader = bench.session("s");
        assert!(reader.load(2).await.unwrap().state == states[1]);
        if mark.is_empty() {
            assert!(reader.load(At::Latest).await.unwrap().state == states[2]);
            assert_eq!(bench.session("s").save("next").await.unwrap().seq, 4);
            continue;
        }
        for error in [
            reader.load(At::Latest).await.map(drop).unwrap_err(),
            reader.rebase().await.map(drop).unwrap_err(),
            bench.session("s").save("next").await.map(drop).unwrap_err(),
            reader.prune_dry_run(Retention::new().last(1)).await.map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.to_string().contains("another version"), "{error}");
        }
    }
}

/// A reader that follows a writer asks for the next number until it is there.
#[tokio::test]
async fn a_commit_that_is_made_while_a_load_looks_for_it_is_loaded() {
    let bench = Bench::new(4);
    let (session, _) = bench.saved("s", 1).await;
    let (fault, sessions) = bench.faulty();
    let go_on = std::sync::Arc::new(tokio::sync::Notify::new());
    fault.inject(Operation::List, Injection::Hold(go_on.clone()));
    let reader = sessions.session("a", "s").unwrap();
    let mut load = Box::pin(reader.load(2));
    assert!(futures_util::FutureExt::now_or_never(&mut load).is_none());
    session.save("next").await.unwrap();
    go_on.notify_one();
    let restored = load.await.unwrap();
    assert!(restored.commit.seq == 2 && restored.state == "next");
}

/// Between its listing and the line, all that the listing has of the newest commits was pruned.
#[tokio::test]
async fn an_export_that_a_prune_overtakes_gives_no_old_archive() {
    let bench = Bench::new(5);
    let (session, _) = bench.saved("s", 3).await;
    session.tag("kept", 1).await.unwrap();
    let (fault, sessions) = bench.faulty();
    // The newest commit, then the line.
    let go_on = std::sync::Arc::new(tokio::sync::Notify::new());
    fault.inject_later(Operation::Get, 1, Injection::Hold(go_on.clone()));
    let reader = sessions.session("a", "s").unwrap();
    let mut archive = Vec::new();
    let mut export = Box::pin(reader.export(&mut archive));
    assert!(futures_util::FutureExt::now_or_never(&mut export).is_none());
    for seed in [4, 5] {
        bench.hours(5);
        // A keyframe: nothing before it is needed.
        session.save(noise(seed, 9000)).await.unwrap();
    }
    bench.hours(5);
    let pruned = session.prune(Retention::new().last(1)).await.unwrap();
    assert!(pruned.removed.contains(&3) && !pruned.removed.contains(&1), "{pruned:?}");
    go_on.notify_one();
    let error = export.await.unwrap_err();
    assert!(error.kind() == ErrorKind::Conflict && error.to_string().contains("export again"), "{error}");
    assert_eq!(reader.export(&mut Vec::new()).await.unwrap().commits, 2);
}

/// A call that died between a fork's reference and its start. Another session's fork has the name since.
#[tokio::test]
async fn a_reference_is_that_of_its_own_fork() {
    let bench = Bench::new(40);
    let (session, _) = bench.saved("s", 2).await;
    let (other, _) = bench.saved("other", 2).await;
    let (fault, sessions) = bench.faulty();
    fault.inject_later(Operation::Put, 1, Injection::Before(ErrorKind::Unavailable));
    sessions.session("a", "s").unwrap().fork("fork", 2).await.unwrap_err();
    let fork = other.fork("fork", 2).await.unwrap();
    assert!(session.forks().await.unwrap().is_empty());
    assert_eq!(other.forks().await.unwrap().len(), 1);
    session.remove().await.unwrap();
    assert_eq!(other.remove().await.unwrap_err().kind(), ErrorKind::Conflict);
    fork.load(At::Latest).await.unwrap();
}

/// Copies may bring both back.
#[tokio::test]
async fn a_fork_counts_whose_start_is_lost_and_whose_line_is_damaged() {
    let bench = Bench::new(41);
    let (session, states) = bench.saved("s", 2).await;
    let fork = session.fork("fork", 2).await.unwrap();
    for end in ["a", "an", "and"] {
        assert!(!fork.save([&states[1][..], end.as_bytes()].concat()).await.unwrap().keyframe);
    }
    bench.hours(30);
    fork.prune(Retention::new().last(1)).await.unwrap();
    let line = &bench.keys("/fork/line").await[0];
    bench.adapter.flip(line, 12).await;
    bench.lose("fork", 1).await;
    assert_eq!(session.forks().await.unwrap().len(), 1);
    assert_eq!(session.remove().await.unwrap_err().kind(), ErrorKind::Conflict);
}

/// A prune has found that it names nothing, and it is moved before the prune removes it.
#[tokio::test]
async fn a_prune_takes_no_tag_that_was_moved_since() {
    let bench = Bench::new(42);
    let session = bench.unrelated("s", 3).await;
    session.tag("moved", 1).await.unwrap();
    let key = bench.keys("/t/").await.remove(0);
    let tag = bench.adapter.raw(&key).await;
    session.untag("moved").await.unwrap();
    bench.hours(5);
    assert_eq!(session.prune(Retention::new().last(1)).await.unwrap().removed, [2, 1]);
    bench.adapter.set(&key, tag).await;
    let (fault, sessions) = bench.faulty();
    let go_on = super::hold(&fault, Operation::Delete, 0);
    let pruning = sessions.session("a", "s").unwrap();
    let prune = tokio::spawn(async move { pruning.prune(Retention::new().last(1)).await });
    while fault.calls(Operation::Delete) < 1 {
        tokio::task::yield_now().await;
    }
    session.move_tag("moved", 3).await.unwrap();
    go_on.notify_one();
    // Whether it tells of the tag or not: this one stays.
    let _ = prune.await.unwrap();
    assert_eq!(session.tags().await.unwrap()[0].seq, 3);
    assert!(session.load(At::Tag("moved".into())).await.unwrap().state == noise(3, 600));
}
