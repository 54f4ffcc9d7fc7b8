//! Many writers at once: whatever happens, one of them wins and no update is lost.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Barrier;

use crate::{
    Body, ErrorKind, GetOptions, Key, ObjectMeta, PutMode, PutOptions,
    testing::{
        Failure, Outcome, Suite,
        check::fails,
        suite::{Task, pattern, streamed},
    },
};

/// Lets every body of `bodies` be put to `key` in `mode` at the same moment; the winner's index and answer.
///
/// Fails unless there is exactly one winner, all others get `lost`, and the object is the winner's.
async fn race(suite: &Suite, key: &Key, mode: PutMode, bodies: &[Bytes], lost: ErrorKind) -> Outcome {
    let barrier = Arc::new(Barrier::new(bodies.len()));
    let mut tasks = Vec::new();
    for (index, bytes) in bodies.iter().enumerate() {
        let (adapter, key, barrier) = (suite.adapter.clone(), key.clone(), barrier.clone());
        let options = PutOptions::new().mode(mode.clone());
        // Every other writer streams, so that both ways into the adapter race with each other.
        let body = if index % 2 == 0 { Body::from(bytes.clone()) } else { streamed(bytes) };
        tasks.push(Task::start(async move {
            barrier.wait().await;
            adapter.put(&key, body, options).await
        }));
    }
    let mut won: Vec<(usize, ObjectMeta)> = Vec::new();
    for (index, task) in tasks.into_iter().enumerate() {
        match task.end("a writer").await? {
            Ok(meta) => won.push((index, meta)),
            lost_race => drop(fails(lost_race, lost, "a writer that lost the race")?),
        }
    }
    check_eq!(won.len(), 1, "number of winners");
    let object = suite.adapter.get(key, GetOptions::new()).await?;
    check_eq!(object.meta.version, won[0].1.version, "version after the race");
    let content = object.body.collect(u64::MAX).await?;
    check!(content == bodies[won[0].0], "the content is not that of the writer who won");
    Ok(())
}

/// One body for each racer, all different in content and length.
fn bodies(suite: &Suite, len: usize, count: usize) -> Vec<Bytes> {
    (0..count).map(|index| pattern(len + index % suite.racers, index as u64)).collect()
}

pub(crate) async fn create_race_has_one_winner(suite: &Suite) -> Outcome {
    if !suite.capabilities().create {
        let result = suite.put_with(&suite.key("state")?, "state", PutOptions::new().create()).await;
        return fails(result, ErrorKind::Unsupported, "create").map(drop);
    }
    let bodies = bodies(suite, 1000, suite.racers);
    for round in 0..8 {
        // A folder of its own: racers also create it together.
        let key = suite.key(&format!("round {round}/state"))?;
        race(suite, &key, PutMode::Create, &bodies, ErrorKind::AlreadyExists).await?;
    }
    Ok(())
}

pub(crate) async fn create_race_of_large_bodies_has_one_winner(suite: &Suite) -> Outcome {
    let (key, bodies) = (suite.key("state")?, bodies(suite, suite.large, 3));
    let capabilities = suite.capabilities();
    if !(capabilities.create && capabilities.create_large) {
        return refused(suite, &key, PutMode::Create, &bodies[0]).await;
    }
    race(suite, &key, PutMode::Create, &bodies, ErrorKind::AlreadyExists).await
}

pub(crate) async fn replace_race_has_one_winner(suite: &Suite) -> Outcome {
    let key = suite.key("state")?;
    let first = suite.put(&key, "first").await?.version;
    if !suite.capabilities().replace {
        let result = suite.put_with(&key, "state", PutOptions::new().replace(first)).await;
        return fails(result, ErrorKind::Unsupported, "replace").map(drop);
    }
    for round in 0..8 {
        let bodies = bodies(suite, 1000 + 100 * round, suite.racers);
        let version = suite.adapter.head(&key).await?.version;
        race(suite, &key, PutMode::Replace(version), &bodies, ErrorKind::Conflict).await?;
    }
    Ok(())
}

pub(crate) async fn replace_race_of_large_bodies_has_one_winner(suite: &Suite) -> Outcome {
    let (key, bodies) = (suite.key("state")?, bodies(suite, suite.large, 3));
    let mode = PutMode::Replace(suite.put(&key, "first").await?.version);
    let capabilities = suite.capabilities();
    if !(capabilities.replace && capabilities.create_large) {
        return refused(suite, &key, mode, &bodies[0]).await;
    }
    race(suite, &key, mode, &bodies, ErrorKind::Conflict).await
}

/// An adapter whose conditions hold for one request only must not start a large conditional write.
async fn refused(suite: &Suite, key: &Key, mode: PutMode, bytes: &Bytes) -> Outcome {
    let before = suite.adapter.head(key).await.ok().map(|meta| meta.version);
    let result = suite.adapter.put(key, streamed(bytes), PutOptions::new().mode(mode)).await;
    fails(result, ErrorKind::Unsupported, "a large conditional write")?;
    let after = suite.adapter.head(key).await.ok().map(|meta| meta.version);
    check_eq!(after, before, "version after a refused write");
    Ok(())
}

pub(crate) async fn replace_loses_no_update(suite: &Suite) -> Outcome {
    let key = suite.key("counter")?;
    let first = suite.put(&key, "0").await?.version;
    if !suite.capabilities().replace {
        let result = suite.put_with(&key, "1", PutOptions::new().replace(first)).await;
        return fails(result, ErrorKind::Unsupported, "replace").map(drop);
    }
    let each = 3;
    let tasks: Vec<_> = (0..suite.racers)
        .map(|_| {
            let (suite, key) = (suite.clone(), key.clone());
            Task::start(async move {
                for _ in 0..each {
                    increment(&suite, &key).await?;
                }
                Outcome::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.end("a writer").await??;
    }
    check_eq!(suite.read(&key).await?, (each * suite.racers).to_string(), "counter");
    Ok(())
}

/// Adds one, as often as another writer was faster.
async fn increment(suite: &Suite, key: &Key) -> Outcome {
    loop {
        let object = suite.adapter.get(key, GetOptions::new()).await?;
        let version = object.meta.version.clone();
        let text = match object.body.collect(100).await {
            // The backend could not go on with the version that was opened.
            Err(error) if error.kind() == ErrorKind::Conflict => continue,
            text => text?,
        };
        let count: Option<u64> = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
        let Some(count) = count else {
            return Err(Failure::new(format!("a reader saw {text:?}, which no writer wrote")));
        };
        let next = PutOptions::new().replace(version);
        match suite.put_with(key, (count + 1).to_string(), next).await {
            // Where nothing waits, whoever limits the time must come to his turn.
            Err(error) if error.kind() == ErrorKind::Conflict => tokio::task::yield_now().await,
            result => return result.map(drop).map_err(Failure::from),
        }
    }
}
