//! `persist rm`

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt};
use persist::{DeleteOptions, Error, ErrorKind, Key, ListOptions};
use serde_json::json;

use crate::{
    args::Rm,
    cmd::PARALLEL,
    output::{Output, count, human},
    storage::{Folder, Storage, not_of_session},
};

/// What removes parts of a session.
const INSTEAD: &str =
    "`persist session prune` removes commits, `persist session tag --delete` a tag, `persist session rm` all";

pub(crate) async fn run(args: Rm, storage: &Storage, output: &Output) -> Result<()> {
    if args.recursive {
        return folders(args, storage, output).await;
    }
    // All names are checked before the first is removed.
    let mut snapshots = Vec::new();
    for text in &args.keys {
        let (store, key) = storage.locate(text).await?;
        not_of_session(&storage.root(text)?, &key, INSTEAD)?;
        if args.must_exist {
            store.head(&key).await?;
        }
        snapshots.push((store, key));
    }
    for (store, key) in snapshots {
        store.delete(&key, DeleteOptions::new()).await?;
        removed(&key, output)?;
    }
    Ok(())
}

fn removed(key: &Key, output: &Output) -> Result<()> {
    if output.json { output.row(|| json!({"key": key.as_str()}), String::new) } else { Ok(()) }
}

/// All below folders.
async fn folders(args: Rm, storage: &Storage, output: &Output) -> Result<()> {
    let mut folders = Vec::new();
    for text in &args.keys {
        let folder = storage.folder(text).await?;
        check(&folder, args.must_exist).await?;
        folders.push(folder);
    }
    let (mut gone, mut bytes) = (0, 0);
    for Folder { store, prefix, root, .. } in &folders {
        let rows = store.list(ListOptions::new().prefix(prefix));
        let objects = rows.try_filter_map(|entry| std::future::ready(Ok(entry.into_object())));
        let removals = objects.map_ok(|meta| async move {
            // A session that was begun since they were checked.
            not_of_session(root, &meta.key, INSTEAD)?;
            if !args.dry_run {
                store.delete(&meta.key, DeleteOptions::new()).await?;
            }
            Ok(meta)
        });
        let mut removals = Box::pin(removals.try_buffered(PARALLEL));
        while let Some(meta) = removals.next().await {
            let meta = meta.map_err(|error: Error| {
                let gone = count(gone, "snapshot");
                anyhow::Error::new(error)
                    .context(format!("this failed after {gone} had been removed; the same command goes on"))
            })?;
            (gone, bytes) = (gone + 1, bytes + meta.size);
            removed(&meta.key, output)?;
        }
    }
    let verb = if args.dry_run { "would remove" } else { "removed" };
    output.row(
        || json!({"removed": gone, "bytes": bytes, "dry_run": args.dry_run}),
        || format!("{verb} {}, {}", count(gone, "snapshot"), human(bytes)),
    )
}

/// All of it, before anything is removed.
async fn check(folder: &Folder, must_exist: bool) -> persist::Result<()> {
    let Folder { store, prefix, root, .. } = folder;
    if prefix.is_empty() {
        // An empty variable in a script, more often than not.
        let message = format!(
            "no folder is named, that would remove everything in {store}; name one, in a URL of this disk behind `//`: file:///storage//folder"
        );
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    let mut rows = store.list(ListOptions::new().prefix(prefix));
    let mut none = true;
    while let Some(entry) = rows.try_next().await? {
        none = false;
        if let Some(meta) = entry.into_object() {
            not_of_session(root, &meta.key, INSTEAD)?;
        }
    }
    let name = prefix.trim_end_matches('/');
    if none && store.head(&Key::new(name)?).await.is_ok() {
        let message = format!("{name:?} is no folder but a snapshot; remove it without --recursive");
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    if none && must_exist {
        let message = format!("there is no snapshot below {prefix:?} in {store}; see `persist ls --folders`");
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    Ok(())
}
