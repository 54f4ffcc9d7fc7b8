//! Readers and removers beside writers: what each sees is whole, and one of them wins.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Barrier;

use crate::{
    ByteRange, DeleteOptions, ErrorKind, GetOptions, Key, ListOptions, ObjectMeta, PutOptions, Result,
    testing::{Failure, Outcome, Suite, check::fails, suite::Task},
};

/// How often the writer writes.
const WRITES: usize = 100;

/// A state of which every byte, the length and the metadata depend on its number.
fn state(number: usize) -> (Bytes, PutOptions) {
    let text = format!("{number:04} ").repeat(200 + 37 * number);
    (Bytes::from(text), PutOptions::new().metadata("number", number.to_string()))
}

pub(crate) async fn put_shows_readers_whole_versions(suite: &Suite) -> Outcome {
    let key = suite.key("folder/state")?;
    let (bytes, options) = state(0);
    suite.put_with(&key, bytes, options).await?;
    let writer = Task::start({
        let (suite, key) = (suite.clone(), key.clone());
        async move {
            for number in 1..WRITES {
                let (bytes, options) = state(number);
                suite.put_with(&key, bytes, options).await?;
                tokio::task::yield_now().await;
            }
            Outcome::Ok(())
        }
    });
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (suite, key, writer) = (suite.clone(), key.clone(), writer.handle());
            Task::start(async move {
                let mut newest = 0;
                while !writer.is_finished() {
                    newest = look(&suite, &key, newest).await?;
                    tokio::task::yield_now().await;
                }
                Outcome::Ok(())
            })
        })
        .collect();
    for reader in readers {
        reader.end("a reader").await??;
    }
    writer.end("the writer").await??;
    check!(suite.read(&key).await? == state(WRITES - 1).0, "the last content is not what was put last");
    Ok(())
}

/// Reads in three ways; the number of the newest state that it saw.
async fn look(suite: &Suite, key: &Key, newest: usize) -> Outcome<usize> {
    let object = suite.adapter.get(key, GetOptions::new()).await?;
    let newest = number_of(&object.meta, newest)?;
    match object.body.collect(u64::MAX).await {
        Err(error) if error.kind() == ErrorKind::Conflict => {}
        bytes => {
            check!(bytes? == state(newest).0, "the content of state {newest} is not that of one version")
        }
    }
    let newest = number_of(&suite.adapter.head(key).await?, newest)?;
    let end = suite.adapter.get(key, GetOptions::new().range(ByteRange::Last(10))).await?;
    let newest = number_of(&end.meta, newest)?;
    match end.body.collect(10).await {
        Err(error) if error.kind() == ErrorKind::Conflict => {}
        bytes => check_eq!(bytes?, format!("{newest:04} ").repeat(2), "the end of the content"),
    }
    Ok(newest)
}

/// The number in the metadata, if the size is that of the state with that number and it is none before
/// `newest`.
fn number_of(meta: &ObjectMeta, newest: usize) -> Outcome<usize> {
    let number = meta.metadata.get("number").and_then(|text| text.parse().ok());
    let Some(number) = number else {
        return Err(Failure::new(format!("a reader saw the metadata {:?}", meta.metadata)));
    };
    check_eq!(meta.size, state(number).0.len() as u64, "size of state {number}");
    check!(number >= newest, "a reader saw state {newest}, and then {number}");
    Ok(number)
}

/// Puts of the options, and deletes of the others, to `key` at the same moment: the answers, in the order
/// given.
async fn crowd(suite: &Suite, key: &Key, all: Vec<Act>) -> Outcome<Vec<Result<Option<ObjectMeta>>>> {
    let barrier = Arc::new(Barrier::new(all.len()));
    let mut tasks = Vec::new();
    for act in all {
        let (suite, key, barrier) = (suite.clone(), key.clone(), barrier.clone());
        tasks.push(Task::start(async move {
            barrier.wait().await;
            match act {
                Act::Put(text, options) => suite.put_with(&key, text, options).await.map(Some),
                Act::Delete(options) => suite.adapter.delete(&key, options).await.map(|()| None),
            }
        }));
    }
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.end("a task").await?);
    }
    Ok(answers)
}

enum Act {
    Put(String, PutOptions),
    Delete(DeleteOptions),
}

pub(crate) async fn delete_race_with_replaces_has_one_winner(suite: &Suite) -> Outcome {
    let capabilities = suite.capabilities();
    if !(capabilities.conditional_delete && capabilities.replace) {
        let key = suite.key("state")?;
        let version = suite.put(&key, "state").await?.version;
        let (delete, replace) =
            (DeleteOptions::new().if_version(version.clone()), PutOptions::new().replace(version));
        if !capabilities.conditional_delete {
            fails(suite.adapter.delete(&key, delete).await, ErrorKind::Unsupported, "conditional delete")?;
        }
        if !capabilities.replace {
            fails(suite.put_with(&key, "new", replace).await, ErrorKind::Unsupported, "replace")?;
        }
        return Ok(());
    }
    for round in 0..8 {
        let key = suite.key(&format!("round {round}/state"))?;
        let version = suite.put(&key, format!("first {round}")).await?.version;
        // Who comes first is often who was started last: these take turns.
        let acts = (0..suite.racers).map(|index| match (index + round) % 2 {
            0 => Act::Delete(DeleteOptions::new().if_version(version.clone())),
            _ => Act::Put(format!("state {round} of {index}"), PutOptions::new().replace(version.clone())),
        });
        let answers = crowd(suite, &key, acts.collect()).await?;
        let winners: Vec<usize> = answers
            .iter()
            .enumerate()
            .filter(|(_, answer)| matches!(answer, Ok(Some(_))))
            .map(|(index, _)| index)
            .collect();
        check!(winners.len() <= 1, "{} writers replaced one version", winners.len());
        for (index, answer) in answers.into_iter().enumerate() {
            if winners.contains(&index) {
                continue;
            }
            match (answer, (index + round) % 2, winners.is_empty()) {
                // A missing key is fine for all that delete.
                (Ok(None), 0, true) => {}
                (answer, 0, true) => return Err(lost("a delete that no writer was ahead of", answer)),
                (answer, ..) => drop(fails(answer, ErrorKind::Conflict, "one that lost the race")?),
            }
        }
        match winners.first() {
            Some(index) => check_eq!(suite.read(&key).await?, format!("state {round} of {index}"), "content"),
            None => drop(fails(suite.read(&key).await, ErrorKind::NotFound, "get after the deletes won")?),
        }
    }
    Ok(())
}

fn lost(what: &str, answer: Result<Option<ObjectMeta>>) -> Failure {
    Failure::new(format!("{what}: {}", answer.err().map(|error| error.to_string()).unwrap_or_default()))
}

pub(crate) async fn delete_race_beside_a_put_leaves_all_or_nothing(suite: &Suite) -> Outcome {
    for round in 0..8 {
        let key = suite.key(&format!("deep/round {round}/state"))?;
        suite.put_with(&key, "old", PutOptions::new().metadata("a", "1")).await?;
        let deletes = (1..suite.racers).map(|_| Act::Delete(DeleteOptions::new()));
        let put = Act::Put("new".into(), PutOptions::new().metadata("a", "2"));
        for answer in crowd(suite, &key, deletes.chain([put]).collect()).await? {
            answer?;
        }
        let listed = suite.names(ListOptions::new()).await?;
        match suite.adapter.head(&key).await {
            Ok(head) => {
                check_eq!(head.metadata.get("a").map(String::as_str), Some("2"), "metadata");
                check_eq!(suite.read(&key).await?, "new", "content");
                check_eq!(listed, [format!("deep/round {round}/state")], "listing");
                suite.adapter.delete(&key, DeleteOptions::new()).await?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fails(suite.read(&key).await, ErrorKind::NotFound, "get, where head finds nothing")?;
                check!(listed.is_empty(), "head finds nothing, and the listing {listed:?}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

pub(crate) async fn create_race_with_overwrites_is_lost_to_them(suite: &Suite) -> Outcome {
    if !suite.capabilities().create {
        let result = suite.put_with(&suite.key("state")?, "state", PutOptions::new().create()).await;
        return fails(result, ErrorKind::Unsupported, "create").map(drop);
    }
    for round in 0..8 {
        let key = suite.key(&format!("round {round}/state"))?;
        // Who comes first is often who was started last: these take turns.
        let creates = |index: usize| (index + round).is_multiple_of(2);
        let act = |index: usize| {
            if creates(index) {
                Act::Put(format!("created by {index}"), PutOptions::new().create())
            } else {
                Act::Put(format!("overwritten by {index}"), PutOptions::new())
            }
        };
        let answers = crowd(suite, &key, (0..suite.racers).map(act).collect()).await?;
        let mut won = 0;
        for (index, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(_) if creates(index) => won += 1,
                Err(_) if creates(index) => drop(fails(answer, ErrorKind::AlreadyExists, "a late create")?),
                answer => drop(answer?),
            }
        }
        check!(won <= 1, "{won} writers created one key");
        // Only what overwrites can be last.
        let content = suite.read(&key).await?;
        check!(
            content.starts_with(b"overwritten by"),
            "a create took the place of what was there: {content:?}"
        );
    }
    Ok(())
}

pub(crate) async fn create_race_with_deletes_leaves_all_or_nothing(suite: &Suite) -> Outcome {
    if !suite.capabilities().create {
        let result = suite.put_with(&suite.key("state")?, "state", PutOptions::new().create()).await;
        return fails(result, ErrorKind::Unsupported, "create").map(drop);
    }
    for round in 0..8 {
        let key = suite.key(&format!("round {round}/state"))?;
        suite.put_with(&key, "old", PutOptions::new().metadata("by", "old")).await?;
        let creates = |index: usize| (index + round).is_multiple_of(2);
        let act = |index: usize| {
            if creates(index) {
                Act::Put(index.to_string(), PutOptions::new().create().metadata("by", index.to_string()))
            } else {
                Act::Delete(DeleteOptions::new())
            }
        };
        let answers = crowd(suite, &key, (0..suite.racers).map(act).collect()).await?;
        let mut created = Vec::new();
        for (index, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(Some(_)) => created.push(index.to_string()),
                Err(_) if creates(index) => drop(fails(answer, ErrorKind::AlreadyExists, "a late create")?),
                answer => drop(answer?),
            }
        }
        match suite.adapter.head(&key).await {
            Ok(head) => {
                let by = head.metadata.get("by").cloned().unwrap_or_default();
                check!(created.contains(&by), "what is left is of {by:?}, and {created:?} created it");
                check_eq!(suite.read(&key).await?, by, "content");
                suite.adapter.delete(&key, DeleteOptions::new()).await?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fails(suite.read(&key).await, ErrorKind::NotFound, "get, where head finds nothing")?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
