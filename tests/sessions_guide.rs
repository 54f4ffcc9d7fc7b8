//! The guide `docs/sessions.md`: every piece of Rust in it stands in this file (`tests/pages.rs` looks), is
//! compiled and run.
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use futures_util::TryStreamExt;
use persist::{ErrorKind, Result, adapters::memory::MemoryAdapter, sessions::*};

#[tokio::test]
async fn first_steps() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().to_str().unwrap();
    use persist::{
        StorageConfig,
        sessions::{At, CommitOptions, Sessions},
    };

    let storage = StorageConfig::from_url(url)?.open().await?;
    let sessions = Sessions::new(storage)?.writer("host-1/4711");
    let session = sessions.session("support-bot", "conversation-7")?;

    session.save(r#"{"step": 1}"#).await?;
    let options = CommitOptions::new().label("after tool call").step(2).metadata("model", "m1");
    let commit = session.save_with(r#"{"step": 2}"#, options).await?;
    assert_eq!(commit.seq, 2);

    let newest = session.load(At::Latest).await?;
    let first = session.load(At::Seq(1)).await?;
    assert_eq!((&newest.state[..], &first.state[..]), (&br#"{"step": 2}"#[..], &br#"{"step": 1}"#[..]));
    Ok(())
}

#[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
struct State {
    step: u64,
}

#[tokio::test]
async fn begin_or_go_on() -> Result<()> {
    let sessions = sessions();
    for step in 0..3 {
        let session = sessions.session("a", "s")?;
        let mut state: State = match session.rebase().await? {
            Some(newest) => newest.json()?,
            None => State::default(),
        };
        assert_eq!(state, State { step });
        state.step += 1;
        session.save_json(&state).await?;
    }
    Ok(())
}

fn sessions() -> Sessions {
    Sessions::new(Arc::new(MemoryAdapter::new())).unwrap()
}

#[tokio::test]
async fn values() -> Result<()> {
    let session = sessions().session("a", "s")?;
    let (state, writes, image) = ("{}", "[]", vec![7; 100]);
    let values = [("state", state.into()), ("writes", writes.into()), ("screenshot", image.into())];
    session.save_values(&values).await?;
    let restored = session.load(At::Latest).await?;
    assert_eq!(restored.value("writes").as_deref(), Some(&b"[]"[..]));
    Ok(())
}

async fn save_merged(session: &Session, mut state: String) -> Result<()> {
    while let Err(error) = session.save(state.clone()).await {
        if error.kind() != ErrorKind::Conflict {
            return Err(error);
        }
        match session.rival().await {
            // The new owner's commit: this handle can write no more, also behind a rebase. Stop, or fork.
            Some(Rival::TookOver(_)) => return Err(error),
            // A rebase and a save would begin it anew: only where that is meant.
            Some(Rival::Removed(_)) => return Err(error),
            // `Faster` has the commit: who, when, what. `None`: that cannot be read, or was pruned.
            _ => match session.rebase().await? {
                Some(newest) => state = merge(&state, newest), // theirs; the next save follows it
                None => return Err(error),                     // removed meanwhile
            },
        }
    }
    Ok(())
}

#[tokio::test]
async fn conflicts() -> Result<()> {
    let sessions = sessions();
    let (session, rival) = (sessions.session("a", "s")?, sessions.session("a", "s")?);
    session.save("one").await?;
    rival.save("theirs").await?;
    save_merged(&session, "mine".into()).await?;
    assert_eq!(session.load(At::Latest).await?.state, "theirs and mine");
    let state = "another way";
    let mine = session.fork("what-i-did-instead", 1).await?;
    mine.save(state).await?;
    assert_eq!(mine.load(At::Latest).await?.commit.seq, 2);
    mine.remove().await?;
    rival.take_over().await?;
    let stopped = save_merged(&session, "late".into()).await.unwrap_err();
    assert!(stopped.to_string().contains("taken over"));
    rival.remove().await?;
    let fresh = sessions.session("a", "s")?;
    fresh.save("anew").await?;
    rival.rebase().await?;
    rival.remove().await?;
    let stopped = save_merged(&fresh, "late".into()).await.unwrap_err();
    assert!(stopped.to_string().contains("removed"));
    assert_eq!(rival.load(At::Latest).await.unwrap_err().kind(), ErrorKind::NotFound);
    Ok(())
}

#[tokio::test]
async fn clones() -> Result<()> {
    let handle = sessions().session("a", "counter")?;
    handle.save("0").await?;
    let session = handle.clone();
    let newest = session.load(At::Latest).await?;
    let count: u64 = newest.json()?;
    session.save_with((count + 1).to_string(), CommitOptions::new().after(newest.commit.seq)).await?;
    assert_eq!(handle.load(At::Latest).await?.state, "1");
    let late = handle.save_with("1", CommitOptions::new().after(newest.commit.seq)).await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Conflict);
    Ok(())
}

fn merge(state: &str, newest: Restored) -> String {
    format!("{} and {state}", String::from_utf8_lossy(&newest.state))
}

#[tokio::test]
async fn owners() -> Result<()> {
    let sessions = sessions();
    let (old_handle, session) = (sessions.session("a", "s")?, sessions.session("a", "s")?);
    old_handle.save("one").await?;
    let taken = session.take_over().await?; // commits the newest state again, in the next epoch
    assert_eq!(taken.commit.epoch, 1);
    old_handle.rebase().await?;
    assert_eq!(old_handle.save("late").await.unwrap_err().kind(), ErrorKind::Conflict);
    Ok(())
}

#[tokio::test]
async fn durability() -> Result<()> {
    let session = sessions().session("a", "s")?;
    let (state, next) = ("one", "two");
    let background = session.background(16); // at most 16 states wait
    background.save(state, CommitOptions::new().step(1)).await?; // also tells of an earlier failure
    background.save(next, CommitOptions::new().step(2)).await?;
    let newest = background.flush().await?; // from here on they are as durable as any save
    assert_eq!(newest.unwrap().seq, 2);
    Ok(())
}

#[tokio::test]
async fn checkpoints() -> Result<()> {
    let session = sessions().session("a", "s")?;
    let steps = 25;
    let mut checkpoints = Checkpoints::new(session).every_steps(10).every(Duration::from_secs(30));
    let mut state: State = match checkpoints.resume().await? {
        Some(restored) => restored.json()?,
        None => State::default(),
    };
    while state.step < steps {
        state.step += 1; // and what else a step does
        checkpoints.step_json(state.step, &state).await?; // saves if it is time
    }
    checkpoints.save_now_json(state.step, &state).await?;
    assert_eq!(checkpoints.resume().await?.unwrap().commit.step, Some(25));
    Ok(())
}

#[tokio::test]
async fn fallback() -> Result<()> {
    let session = sessions().session("a", "s")?;
    session.save("good").await?;
    let restored = session.load_with_fallback(At::Latest).await?;
    for skipped in &restored.skipped {
        eprintln!("{skipped}"); // its number, its object, and what is wrong
    }
    assert!(restored.skipped.is_empty());
    Ok(())
}

#[tokio::test]
async fn history() -> Result<()> {
    let session = sessions().session("a", "s")?;
    session.save(r#"{"n":1}"#).await?;
    session.save(r#"{"n":2}"#).await?;
    let commits: Vec<Commit> = session.log().try_collect().await?; // a stream, newest first
    let about = session.show(At::Seq(1)).await?; // one commit; its state is not read
    session.tag("good", 1).await?; // keeps the commit until `untag`
    session.move_tag("good", 2).await?; // `tag` refuses a name that another commit has
    let fork = session.fork("what-if", At::Tag("good".into())).await?; // nothing is copied
    for change in session.diff(1, At::Latest).await? {
        println!("{}", serde_json::to_string(&change).unwrap());
    }
    assert_eq!((commits.len(), about.size, fork.load(At::Latest).await?.commit.seq), (2, 7, 2));
    Ok(())
}

#[tokio::test]
async fn going_back() -> Result<()> {
    let sessions = sessions();
    let before = sessions.session("bot", "chat")?;
    for state in ["one", "two", "three"] {
        before.save_json(&state).await?;
    }
    let session = sessions.session("bot", "chat")?;
    session.rebase().await?; // what the next save follows; a load behind it only looks
    let old = session.load(At::Seq(1)).await?;
    let back = session.save_with(old.state, CommitOptions::new().label("back to 1")).await?;
    assert_eq!(back.seq, 4);
    assert_eq!(session.load(At::Latest).await?.json::<String>()?, "one");
    // Without a look at the newest.
    let fresh = sessions.session("bot", "chat")?;
    let old = fresh.load(1).await?;
    assert_eq!(fresh.save(old.state).await.unwrap_err().kind(), ErrorKind::Conflict);
    // Several values.
    let session = sessions.session("bot", "values")?;
    for state in ["one", "two"] {
        session.save_values(&[("state", state.into()), ("step", "1".into())]).await?;
    }
    let old = session.load(1).await?;
    let values: Vec<_> = old.values().collect();
    session.save_values_with(&values, CommitOptions::new()).await?;
    assert_eq!(session.load(At::Latest).await?.value("state").as_deref(), Some(&b"one"[..]));
    // Forks: one stores no state, and a second call of the same is no error before the first save.
    let fork = session.fork("another way", 1).await?;
    assert_eq!(session.fork("another way", 1).await?.load(At::Latest).await?.commit.seq, 1);
    fork.save("two").await?;
    assert_eq!(session.fork("another way", 1).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    Ok(())
}

#[tokio::test]
async fn retention() -> Result<()> {
    let session = sessions().session("a", "s")?;
    session.save("one").await?;
    let keep = Retention::new().last(100).within(Duration::from_secs(7 * 86_400)).daily(30).weekly(52);
    let would_go = session.prune_dry_run(keep).await?;
    let went = session.prune(keep).await?;
    assert_eq!(would_go.removed, went.removed);
    Ok(())
}

#[tokio::test]
async fn removal() -> Result<()> {
    let session = sessions().session("a", "s")?;
    session.save("one").await?;
    let removed = session.remove().await?;
    assert_eq!(removed.kept, 2);
    Ok(())
}

#[tokio::test]
async fn archives() -> Result<()> {
    let (sessions, mut archive) = (sessions(), Vec::new());
    let session = sessions.session("a", "s")?;
    session.save("one").await?;
    session.export(&mut archive).await?;
    sessions.session("a", "copy")?.import(&mut &archive[..]).await?;
    let verified = sessions.session("a", "copy")?.verify().await?;
    assert!(verified.is_good() && verified.good == 1);
    Ok(())
}
