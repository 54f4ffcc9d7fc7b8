//! What must hold after the storm, whatever it was.

use std::collections::BTreeSet;

use futures_util::TryStreamExt;
use persist::{ErrorKind, sessions::*};

use super::{Ledger, WINDOW, World, commit_key, copies::is_half, holds};

/// How the states begin that follow a damaged one.
const BEHIND: &str = "behind the damage";

/// The number of the marker of the last removal; 0 if there is none.
pub(crate) fn removed_with(world: &World, name: &str) -> u64 {
    let is_marker = |seq: &u64| {
        let lives = world.sim.lives(&commit_key(name, *seq));
        lives.first().is_some_and(|life| life.bytes.windows(15).any(|bytes| bytes == b"persist-removed"))
    };
    // No session becomes longer.
    (1..1000).rev().find(is_marker).unwrap_or(0)
}

/// After the storm: everything that was acknowledged, against what is there.
// The writers are gone: nobody else wants the lock, and nothing is sent to another thread.
#[allow(clippy::await_holding_lock, clippy::future_not_send)]
pub(crate) async fn check(world: &World, cleaned: bool) {
    let sessions = world.sessions(7);
    let names = world.ledger.lock().unwrap().sessions.clone();
    let mut half = BTreeSet::new();
    for name in &names {
        if is_half(world, &sessions.session("agent", name).unwrap()).await {
            half.insert(name);
        }
    }
    let ledger = world.ledger.lock().unwrap();
    for name in &names {
        if half.contains(name) {
            let acknowledged = ledger.commits.range((name.clone(), 0)..=(name.clone(), u64::MAX)).next();
            assert!(
                !cleaned && acknowledged.is_none(),
                "{name}: {acknowledged:?} is hidden by half an import"
            );
            continue;
        }
        let session = sessions.session("agent", name).unwrap();
        let log: Vec<Commit> = match session.log().try_collect().await {
            Ok(log) => log,
            Err(error) => panic!("{name}: log: {error}"),
        };
        let own: Vec<&Commit> = log.iter().filter(|commit| commit.session == *name).collect();
        let ended = removed_with(world, name);
        line_descends(&ledger, name, &log);
        nothing_behind_the_end(world, &ledger, &session, &own, ended).await;
        each_state_once(name, &own);
        everything_loads(&ledger, &session, &own).await;
        what_was_acknowledged_is_there_or_old(world, &ledger, name, &own, ended);
        let newest = own.first().map_or(0, |commit| commit.seq);
        if newest > 0 {
            assert_eq!(session.load(At::Latest).await.unwrap().commit.seq, newest);
        } else if ended > 0 {
            assert_eq!(session.load(At::Latest).await.unwrap_err().kind(), ErrorKind::NotFound, "{name}");
        }
        match session.verify().await {
            Ok(verified) => {
                assert!(verified.is_good(), "{name}: {verified:?}");
                // A tag whose writer died beside a prune is there until the next one.
                assert!(!cleaned || verified.garbage == 0, "{name}: {verified:?}");
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{name}: {error}"),
        }
    }
    let stays = |name: &String| ledger.removals.get(name).is_none_or(|times| *times == 0);
    for ((name, tag), state) in ledger.tags.iter().filter(|((name, _), _)| stays(name)) {
        let restored = sessions.session("agent", name).unwrap().load(At::Tag(tag.clone())).await;
        let restored = restored.unwrap_or_else(|error| panic!("{name} {tag}: {error}"));
        assert!(restored.state == *state, "{name} {tag}: another state");
    }
    for (name, (seq, state)) in ledger.forks.iter().filter(|(name, _)| stays(name)) {
        let session = sessions.session("agent", name).unwrap();
        let newest = session.load(At::Latest).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        if newest.commit.seq == *seq {
            assert!(newest.state == *state, "{name}: another state");
        }
    }
}

/// Each commit is the child of the one before, and epochs never come back.
fn line_descends(ledger: &Ledger, name: &str, log: &[Commit]) {
    let behind_damage = |commit: &Commit| {
        let known = ledger.commits.get(&(commit.session.clone(), commit.seq));
        known.is_some_and(|(_, state)| state.starts_with(BEHIND.as_bytes()))
    };
    for pair in log.windows(2) {
        assert!(pair[0].seq > pair[1].seq, "{name}: the line goes back");
        let parent = (!behind_damage(&pair[0])).then_some(pair[1].id);
        assert!(
            pair[0].seq > pair[1].seq + 1 || pair[0].parent == parent,
            "{name} {}: not a child of the one before",
            pair[0].seq
        );
    }
    // Where a take-over was damaged, nobody knows of it.
    let epochs = log.iter().filter(|commit| !behind_damage(commit)).map(|commit| commit.epoch);
    assert!(epochs.is_sorted_by(|newer, older| newer >= older), "{name}: an epoch came back");
}

/// A removal ends the session, but for what came at the same moment, and what was left undone.
#[allow(clippy::future_not_send)]
async fn nothing_behind_the_end(
    world: &World,
    ledger: &Ledger,
    session: &Session,
    own: &[&Commit],
    ended: u64,
) {
    let name = session.name();
    let references = format!("sessions/agent/{name}/f/");
    let forked = world.sim.keys().iter().any(|key| key.as_str().starts_with(&references));
    let unfinished = forked
        || ledger.unfinished.get(name).is_some_and(|times| *times > 0)
        || !session.tags().await.unwrap().is_empty();
    assert!(
        unfinished || own.iter().all(|commit| commit.seq > ended),
        "{name}: the log goes on behind the end, {ended}"
    );
}

/// Each state is committed once, but for those that an owner committed again.
fn each_state_once(name: &str, own: &[&Commit]) {
    let epoch_before = |at: usize| own.get(at + 1).map_or(0, |before: &&Commit| before.epoch);
    let saved = own.iter().enumerate().filter(|(at, commit)| commit.epoch == epoch_before(*at));
    let mut digests = BTreeSet::new();
    for (_, commit) in saved {
        let once = digests.insert(commit.digest.as_bytes().to_vec());
        assert!(once, "{name} {}: a state was committed twice", commit.seq);
    }
}

/// Everything on the line loads, acknowledged or not; what was acknowledged is what was saved.
#[allow(clippy::future_not_send)]
async fn everything_loads(ledger: &Ledger, session: &Session, own: &[&Commit]) {
    let name = session.name();
    for commit in own {
        let at = [At::Seq(commit.seq), At::Id(commit.id), At::Time(commit.time)];
        let restored = session.load(&at[(commit.seq % 3) as usize]).await;
        let restored = restored.unwrap_or_else(|error| panic!("{name} {}: {error}", commit.seq));
        assert!(restored.commit.time == commit.time, "{name} {}: another time", commit.seq);
        if restored.commit.seq != commit.seq {
            // Of the same millisecond.
            continue;
        }
        if let Some((id, state)) = ledger.commits.get(&(name.to_owned(), commit.seq)) {
            assert!(restored.commit.id == *id && restored.state == *state, "{name} {}: lost", commit.seq);
        }
    }
}

/// What is no longer on the line was there first under its number, for as long as prunes leave a commit
/// alone.
fn what_was_acknowledged_is_there_or_old(
    world: &World,
    ledger: &Ledger,
    name: &str,
    own: &[&Commit],
    ended: u64,
) {
    let newest = own.first().map_or(0, |commit| commit.seq);
    let acknowledged = ledger.commits.range((name.to_owned(), 0)..=(name.to_owned(), u64::MAX));
    for ((_, seq), (id, _)) in acknowledged {
        assert!(*seq <= newest.max(ended), "{name}: {seq} was acknowledged, {newest} is the newest");
        if own.iter().any(|commit| commit.seq == *seq) {
            continue;
        }
        let life = &world.sim.lives(&commit_key(name, *seq))[0];
        assert!(holds(&life.bytes, *id), "{name} {seq}: another commit was there first");
        let age = life.to.unwrap_or(world.sim.now()).duration_since(life.from).unwrap();
        assert!(age >= WINDOW, "{name} {seq}: pruned after {age:?}");
    }
}

/// The newest commit of each session is damaged for a while: what is older loads, a writer goes on behind it,
/// and no prune takes what it is made of.
pub(crate) async fn survive(world: &World) {
    let sessions = world.sessions(9);
    let names = world.ledger.lock().unwrap().sessions.clone();
    for name in &names {
        let open = || sessions.session("agent", name).unwrap();
        let log: Vec<Commit> = open().log().try_collect().await.unwrap();
        let Some(newest) = log.first().filter(|commit| commit.session == *name) else { continue };
        let state = open().load(newest.seq).await.unwrap().state;
        let whole = world.sim.damage(&commit_key(name, newest.seq));
        let handle = open();
        match handle.load_with_fallback(At::Latest).await {
            Ok(good) => {
                world.saw("passed over damage");
                assert!(
                    good.commit.seq < newest.seq && good.skipped[0].seq == Some(newest.seq),
                    "{name}: {good:?}"
                );
                assert!(good.state == open().load(good.commit.seq).await.unwrap().state, "{name}: {good:?}");
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error}"),
        }
        tokio::time::sleep(WINDOW * 2).await;
        open().prune(Retention::new().last(1)).await.unwrap();
        let behind = format!("{BEHIND} of {name}");
        let commit = handle.save(behind.clone()).await.unwrap();
        assert!(commit.seq == newest.seq + 1 && commit.keyframe, "{name}: {commit:?}");
        world.sim.repair(&commit_key(name, newest.seq), whole);
        assert!(
            open().load(newest.seq).await.unwrap().state == state,
            "{name}: a prune took what it is made of"
        );
        let saved = (commit.id, behind.into_bytes());
        world.ledger.lock().unwrap().commits.insert((name.clone(), commit.seq), saved);
        lose(world, &open(), commit.seq).await;
    }
}

/// The newest object is gone for a while: it is told, and what is saved then stays.
async fn lose(world: &World, session: &Session, newest: u64) {
    let name = session.name();
    tokio::time::sleep(WINDOW * 2).await;
    session.prune(Retention::new().last(1 + newest % 3)).await.unwrap();
    let object = world.sim.lose(&commit_key(name, newest));
    world.saw("lost the newest");
    let told = session.verify().await.unwrap();
    assert!(told.damaged.iter().any(|damaged| damaged.seq == Some(newest)), "{name} {newest}: {told:?}");
    let pruned = session.prune(Retention::new().last(1)).await.map(drop);
    let alone =
        world.sim.keys().iter().all(|key| !key.as_str().starts_with(&format!("sessions/agent/{name}/c/")));
    let kind = pruned.unwrap_err().kind();
    assert!(kind == ErrorKind::Corrupt || alone && kind == ErrorKind::NotFound, "{name} {newest}: {kind}");
    let writer = world.sessions(6).session("agent", name).unwrap();
    if newest.is_multiple_of(2) {
        let _ = writer.load(At::Latest).await;
    }
    // A fork of which nothing else is left, and whose start was pruned since: a writer says first that it
    // goes on without.
    if session.load(At::Latest).await.is_err_and(|error| error.kind() == ErrorKind::Corrupt) {
        world.saw("lost the newest of a fork");
        match writer.load_with_fallback(At::Latest).await {
            Ok(good) => assert!(!good.skipped.is_empty(), "{name}: {good:?}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error}"),
        }
    }
    let state = format!("{BEHIND} and the loss of {name}");
    let commit = writer.save(state.clone()).await.unwrap();
    assert_eq!(commit.seq, newest + 1, "{name}");
    tokio::time::sleep(WINDOW * 2).await;
    session.prune(Retention::new().last(3)).await.unwrap();
    assert!(session.load(At::Latest).await.unwrap().state == state, "{name}: what was saved then is gone");
    world.sim.put_back(&commit_key(name, newest), object);
    let saved = (commit.id, state.into_bytes());
    world.ledger.lock().unwrap().commits.insert((name.to_owned(), commit.seq), saved);
}

/// A last prune, long after: every object that is left is needed.
pub(crate) async fn clean(world: &World) {
    let sessions = world.sessions(8);
    let names = world.ledger.lock().unwrap().sessions.clone();
    // Twice: forks give up what they needed, then their sources can.
    for _ in 0..2 {
        tokio::time::sleep(WINDOW * 30).await;
        for name in &names {
            let session = sessions.session("agent", name).unwrap();
            let pruned = session.prune(Retention::new().last(1)).await;
            if let Err(error) = pruned {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{name}: {error}");
            }
        }
    }
    for key in world.sim.keys() {
        let Some((folder, body)) = key.as_str().split_once("/b/") else { continue };
        let (seq, id) = body.split_once('-').unwrap();
        let name = folder.rsplit('/').next().unwrap();
        let seq = seq.parse().unwrap();
        if seq == removed_with(world, name) {
            continue;
        }
        let commit = sessions.session("agent", name).unwrap().load(At::Seq(seq)).await;
        let commit = commit.unwrap_or_else(|error| panic!("{key}: {error}"));
        assert!(commit.commit.id == id.parse().unwrap(), "{key}: a body without a commit");
    }
}
