//! `persist verify`

use std::{collections::BTreeSet, sync::Arc};

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt};
use persist::{
    Error, ErrorKind, Key, ListOptions, LoadOptions, SnapshotAdapter, SnapshotAdapterExt,
    layers::Namespace,
    sessions::{SessionName, Sessions},
};
use serde_json::{Value, json};

use crate::{
    args::Verify,
    cmd::{
        PARALLEL,
        session::{
            elsewhere,
            history::{damage, verified_row},
        },
    },
    output::{Output, cell, count, fault, human, reason, worse},
    place::{Owner, Place},
    progress::Progress,
    storage::Storage,
};

pub(crate) async fn run(args: Verify, storage: &Storage, output: &Output) -> Result<()> {
    let progress = Progress::new(output.interactive());
    if let Some(text) = args.key {
        let (store, key) = storage.locate(&text).await?;
        return match read_all(progress.over(store).as_ref(), &key).await {
            Ok(read) => good(&key, read, output),
            Err(error) => {
                // Else the error says all.
                if output.json {
                    bad(&key, &error, output)?;
                }
                Err(error.into())
            }
        };
    }
    let store = progress.counting(storage.open().await?);
    let place = storage.place()?;
    let mut sessions = Sum::default();
    let mut has_damage_below = false;
    let Listed { snapshots, unchecked, roots, parts, whole } = all_snapshots(&store, &place, output).await?;
    for root in roots {
        let before = sessions.damaged;
        all_sessions(&store, &root, &mut sessions, output).await?;
        has_damage_below |= sessions.damaged > before && !root.is_empty();
    }
    drop(progress);
    if snapshots.all() + sessions.all() + sessions.unlisted + parts == 0 {
        let message = format!("there is nothing to verify in {store}; is it the right storage?");
        return Err(Error::new(ErrorKind::NotFound, message).into());
    }
    let (some, all) = (count(snapshots.all(), "snapshot"), count(sessions.all(), "session"));
    let mut told = Vec::new();
    let restore =
        "cannot be loaded; restore those objects from a copy or an older version, or save them again";
    told.extend(snapshots.damage(&some, restore));
    told.extend(snapshots.doubt(&some, "read"));
    let are = if sessions.damaged == 1 { "is" } else { "are" };
    // From here it would look at another session of the same ids.
    let there = if has_damage_below { ", in the folder that its row names" } else { "" };
    told.extend(sessions.damage(&all, &format!("{are} damaged; see `persist session verify`{there}")));
    told.extend(sessions.doubt(&all, "verified"));
    if sessions.unlisted > 0 {
        told.push(format!("the sessions of {} cannot be listed", count(sessions.unlisted, "folder")));
    }
    let mut worst = worse(snapshots.worst(), sessions.worst());
    if parts > 0 {
        let whole: Result<Vec<String>> =
            whole.into_iter().map(|folders| Ok(quoted(storage.ancestor_url(folders)?))).collect();
        let has_namespace = storage.sources()?.resolve()?.namespace.is_some();
        told.push(format!(
            "{} here {} of sessions, which can be verified only from the folder that `sessions` is in{}: persist verify --all --storage {}",
            count(parts, "object"),
            if parts == 1 { "is a part" } else { "are parts" },
            if has_namespace { ", and without a namespace" } else { "" },
            whole?.join(", and ")
        ));
        worst = worse(worst, Some(ErrorKind::InvalidInput));
    }
    if output.json {
        let row = json!({"ok": worst.is_none(), "snapshots": snapshots.all(), "sessions": sessions.all()});
        output.row(|| row, String::new)?;
    }
    match worst {
        Some(kind) => Err(Error::new(kind, told.join("; ")).into()),
        None if output.json => Ok(()),
        None => {
            let have = if unchecked == 1 { "has" } else { "have" };
            let doubt = match unchecked {
                0 => String::new(),
                _ => format!(" ({unchecked} of them {have} nothing to be checked by)"),
            };
            output.row(|| json!({}), || format!("all well: {some}{doubt}, {all}"))
        }
    }
}

/// What is in a storage.
struct Listed {
    snapshots: Sum,
    /// So many of them say nothing that they can be checked by.
    unchecked: u64,
    /// The folders that sessions lie in: of this storage, and of those that are a folder of it.
    roots: BTreeSet<String>,
    /// Parts of sessions whose storage is above this one.
    parts: u64,
    /// So many folders.
    whole: BTreeSet<usize>,
}

/// Reads every plain snapshot.
async fn all_snapshots(store: &Arc<dyn SnapshotAdapter>, place: &Place, output: &Output) -> Result<Listed> {
    let roots = BTreeSet::from([String::new()]);
    let mut all = Listed { snapshots: Sum::default(), unchecked: 0, roots, parts: 0, whole: BTreeSet::new() };
    let rows = store.list(ListOptions::new());
    let objects = rows.try_filter_map(|entry| std::future::ready(Ok(entry.into_object())));
    // As results: a listing that fails does so behind what it had listed.
    let read = objects.map(|meta| async move {
        let key = meta?.key;
        let found = match place.storage_of(&key) {
            Some(owner) => Err(owner),
            None => Ok(read_all(store.as_ref(), &key).await),
        };
        Ok::<_, Error>((key, found))
    });
    let mut read = Box::pin(read.buffered(PARALLEL));
    while let Some((key, found)) = read.try_next().await? {
        match found {
            Err(Owner::Below(root)) => drop(all.roots.insert(root)),
            Err(Owner::Above(folders)) => {
                all.parts += 1;
                all.whole.insert(folders);
            }
            Ok(Ok(read)) => {
                good(&key, read, output)?;
                all.snapshots.whole += 1;
                all.unchecked += u64::from(!read.checked);
            }
            // Removed since it was listed: nothing to verify.
            Ok(Err(error)) if error.kind() == ErrorKind::NotFound => {}
            Ok(Err(error)) => {
                bad(&key, &error, output)?;
                all.snapshots.add(error.kind());
            }
        }
    }
    Ok(all)
}

/// A word as shells take it.
fn quoted(word: String) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:.,_-+@%".contains(c);
    if word.chars().all(plain) { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// How many of them are what.
#[derive(Default)]
struct Sum {
    whole: u64,
    damaged: u64,
    /// Nobody can say: it was a limit, a permission, or the service.
    unknown: u64,
    /// Folders of which nobody can say what is in them.
    unlisted: u64,
    /// Why, of the first of these.
    why: Option<ErrorKind>,
}

impl Sum {
    fn all(&self) -> u64 {
        self.whole + self.damaged + self.unknown
    }

    fn add(&mut self, failure: ErrorKind) {
        if failure == ErrorKind::Corrupt {
            self.damaged += 1;
        } else {
            self.unknown += 1;
            self.why.get_or_insert(failure);
        }
    }

    fn worst(&self) -> Option<ErrorKind> {
        if self.damaged > 0 { Some(ErrorKind::Corrupt) } else { self.why }
    }

    fn damage(&self, all: &str, what: &str) -> Option<String> {
        (self.damaged > 0).then(|| format!("{} of {all} {what}", self.damaged))
    }

    fn doubt(&self, all: &str, done: &str) -> Option<String> {
        (self.unknown > 0).then(|| format!("{} of {all} cannot be {done}; their rows say why", self.unknown))
    }
}

/// The key that this storage has for what is `key` in its folder `root`. Restored under any other, an object
/// would replace that of another session.
fn outward(root: &str, key: &str) -> String {
    if root.is_empty() { key.to_owned() } else { format!("{root}/{key}") }
}

/// The sessions of the storage that is the folder `root` of this one, or this itself.
async fn all_sessions(
    store: &Arc<dyn SnapshotAdapter>,
    root: &str,
    all: &mut Sum,
    output: &Output,
) -> Result<()> {
    let (store, within): (Arc<dyn SnapshotAdapter>, _) = match root {
        "" => (store.clone(), String::new()),
        _ => (Arc::new(Namespace::new(store.clone(), root)?), format!(" in {root}")),
    };
    let named = |mut row: serde_json::Value| {
        if !root.is_empty() {
            row["root"] = json!(root);
        }
        row
    };
    let from_here = |error: Error| match error.key().map(|key| Key::new(outward(root, key.as_str()))) {
        Some(Ok(key)) => error.with_key(&key),
        _ => error,
    };
    let sessions = Sessions::new(store)?;
    let mut verified = sessions.verify_all(None);
    loop {
        let (name, found) = match verified.next().await {
            Some(Ok(verified)) => verified,
            None => return Ok(()),
            Some(Err(error)) => {
                let error = from_here(error);
                all.unlisted += 1;
                all.why.get_or_insert(error.kind());
                let kind = error.kind().as_str();
                return output.row(
                    || named(failed(json!({}), &error)),
                    || cell(&format!("{kind:<8} sessions{within}: {}", reason(&error, None))),
                );
            }
        };
        let found = match (found, elsewhere(&name)) {
            (Ok(found), Some(error)) if found.is_good() => Err(error),
            (found, _) => found,
        };
        let SessionName { agent, session, .. } = name;
        let found = match found {
            // Of a removed one, or one that is only begun, there is nothing to verify.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            // Half an import, a limit, a permission or the service: that one alone.
            Err(error) => {
                let error = from_here(error);
                all.add(error.kind());
                let (kind, why) = (error.kind().as_str(), reason(&error, None));
                output.row(
                    || named(failed(json!({"agent": agent, "session": session}), &error)),
                    || cell(&format!("{kind:<8} session {agent}/{session}{within}: {why}")),
                )?;
                continue;
            }
            Ok(mut found) => {
                for key in found.damaged.iter_mut().filter_map(|damaged| damaged.key.as_mut()) {
                    *key = outward(root, key);
                }
                found
            }
        };
        if found.is_good() {
            all.whole += 1;
            let good = count(found.good, "commit");
            output.note(|| format!("ok       session {agent}/{session}{within} ({good})"));
        } else {
            all.damaged += 1;
        }
        if output.json {
            output.row(|| named(verified_row(&agent, &session, &found)), String::new)?;
        } else {
            for fault in damage(&found) {
                let line = || cell(&format!("corrupt  session {agent}/{session}{within}: {fault}"));
                output.row(|| json!({}), line)?;
            }
        }
    }
}

/// What was read of a snapshot that is good as far as anybody can say.
#[derive(Clone, Copy)]
struct Read {
    size: u64,
    /// Else it says nothing about itself.
    checked: bool,
}

/// Reads a snapshot to its verified end.
async fn read_all(store: &dyn SnapshotAdapter, key: &Key) -> persist::Result<Read> {
    let options = LoadOptions::new().verify_digest();
    let mut reader = store.load_stream_with(key, options).await?;
    let mut read = Read { size: 0, checked: reader.is_checked() };
    while let Some(chunk) = reader.chunk().await? {
        read.size += chunk.len() as u64;
    }
    Ok(read)
}

fn good(key: &Key, Read { size, checked }: Read, output: &Output) -> Result<()> {
    if output.json {
        let row = || json!({"key": key.as_str(), "ok": true, "checked": checked, "size": size});
        return output.row(row, String::new);
    }
    let doubt = if checked { "" } else { ", nothing to be checked by" };
    output.note(|| format!("ok       {key} ({}{doubt})", human(size)));
    Ok(())
}

fn bad(key: &Key, error: &Error, output: &Output) -> Result<()> {
    let kind = error.kind().as_str();
    output.row(
        || {
            let mut row = failed(json!({}), error);
            row["key"] = json!(key.as_str());
            row
        },
        || cell(&format!("{kind:<8} {key}: {}", reason(error, Some(key)))),
    )
}

/// The row of what cannot be verified, which `named` says.
fn failed(named: Value, error: &Error) -> Value {
    let mut row = fault(error);
    row["ok"] = json!(false);
    if let (Some(row), Value::Object(named)) = (row.as_object_mut(), named) {
        row.extend(named);
    }
    row
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
