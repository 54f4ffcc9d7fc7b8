//! `persist verify`

use anyhow::Result;
use futures_util::TryStreamExt;
use persist::{Error, ErrorKind, Key, ListOptions, LoadOptions, SnapshotAdapter, SnapshotAdapterExt};
use serde_json::json;

use crate::{
    args::Verify,
    output::{Output, human},
    progress::Progress,
    storage::Storage,
};

pub(crate) async fn run(args: Verify, storage: &Storage, output: &Output) -> Result<()> {
    let progress = Progress::new(output);
    if let Some(text) = args.key {
        let (store, key) = storage.locate(&text).await?;
        let size = read_all(progress.over(store).as_ref(), &key).await?;
        return good(&key, size, output);
    }
    let store = progress.over(storage.open().await?);
    let mut rows = store.list(ListOptions::new());
    let (mut sound, mut failed, mut worst) = (0_u64, 0_u64, None);
    while let Some(entry) = rows.try_next().await? {
        let Some(meta) = entry.into_object() else { continue };
        match read_all(store.as_ref(), &meta.key).await {
            Ok(size) => {
                good(&meta.key, size, output)?;
                sound += 1;
            }
            // Removed since it was listed: nothing to verify.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                bad(&meta.key, &error, output)?;
                failed += 1;
                // Damage is the worst that can be said; else the first failure tells what is wrong.
                if worst.is_none() || error.kind() == ErrorKind::Corrupt {
                    worst = Some(error.kind());
                }
            }
        }
    }
    drop(progress);
    if let Some(kind) = worst {
        let total = sound + failed;
        let message = format!(
            "{failed} of {total} snapshots cannot be loaded; restore those objects from a copy or an older version, or save them again"
        );
        return Err(Error::new(kind, message).into());
    }
    output.note(|| format!("all {sound} snapshots are sound"));
    Ok(())
}

/// Reads a snapshot to its verified end; its size.
async fn read_all(store: &dyn SnapshotAdapter, key: &Key) -> persist::Result<u64> {
    let options = LoadOptions::new().verify_digest();
    let (mut reader, mut size) = (store.load_stream_with(key, options).await?, 0);
    while let Some(chunk) = reader.chunk().await? {
        size += chunk.len() as u64;
    }
    Ok(size)
}

fn good(key: &Key, size: u64, output: &Output) -> Result<()> {
    if output.json {
        return output.row(|| json!({"key": key.as_str(), "ok": true, "size": size}), String::new);
    }
    output.note(|| format!("ok       {key} ({})", human(size)));
    Ok(())
}

fn bad(key: &Key, error: &Error, output: &Output) -> Result<()> {
    let kind = error.kind().as_str();
    output.row(
        || json!({"key": key.as_str(), "ok": false, "kind": kind, "message": error.to_string()}),
        || format!("{kind:<8} {key}: {}", error.message()),
    )
}
