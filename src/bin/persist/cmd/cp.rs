//! `persist cp`

use std::sync::Arc;

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt};
use persist::{
    Error, ErrorKind, GetOptions, Key, ListOptions, Object, ObjectMeta, PutMode, PutOptions, SnapshotAdapter,
};

use crate::{
    args::Cp,
    output::{self, Output, human},
    progress::Progress,
    storage::Storage,
};

/// Snapshots under way at once.
const PARALLEL: usize = 8;

pub(crate) async fn run(args: Cp, storage: &Storage, output: &Output) -> Result<()> {
    let mode = if args.if_absent { PutMode::Create } else { PutMode::Overwrite };
    if args.recursive {
        return folder(args, mode, storage, output).await;
    }
    let (from, source) = storage.describe(&args.source)?;
    let (to, destination) = storage.describe(&args.destination)?;
    if let Some(copied) = from.copy_inside(&source, &to, &destination, mode.clone()).await? {
        let (to, _) = storage.locate(&args.destination).await?;
        return report(&copied, to.as_ref(), output);
    }
    let (from, source) = storage.locate(&args.source).await?;
    let (to, destination) = storage.locate(&args.destination).await?;
    let progress = Progress::new(output);
    let object = from.get(&source, GetOptions::new()).await?;
    let copied = copy(object, from.as_ref(), to.as_ref(), &destination, mode, &progress).await?;
    drop(progress);
    report(&copied, to.as_ref(), output)
}

/// The bytes as they are stored: what was compressed is not compressed again, and its checksums go along.
async fn copy(
    object: Object,
    from: &dyn SnapshotAdapter,
    to: &dyn SnapshotAdapter,
    destination: &Key,
    mode: PutMode,
    progress: &Progress,
) -> persist::Result<ObjectMeta> {
    let Object { mut meta, body, .. } = object;
    // Tags are not part of every service's answer to a read.
    if from.capabilities().tags {
        meta = from.head(&meta.key).await?;
    }
    let mut put = PutOptions::new().mode(mode);
    (put.content_type, put.metadata, put.tags) = (meta.content_type, meta.metadata, meta.tags);
    let body = match body.len() {
        Some(_) => body,
        None => body.with_len(meta.size),
    };
    progress.expect(Some(meta.size));
    to.put(destination, progress.watch(body), put).await
}

fn report(copied: &ObjectMeta, to: &dyn SnapshotAdapter, output: &Output) -> Result<()> {
    if output.json {
        return output.row(|| output::object(copied), String::new);
    }
    output.note(|| format!("copied {} to {to}, {}", human(copied.size), copied.key));
    Ok(())
}

/// All below one folder to the same names below another.
async fn folder(args: Cp, mode: PutMode, storage: &Storage, output: &Output) -> Result<()> {
    let (from, source) = below(&args.source, storage).await?;
    let (to, destination) = below(&args.destination, storage).await?;
    if format!("{to}/{destination}").starts_with(&format!("{from}/{source}")) {
        let message = "the destination lies in the source; choose another folder";
        return Err(Error::new(ErrorKind::InvalidInput, message).into());
    }
    let progress = Progress::new(output);
    let rows = from.list(ListOptions::new().prefix(&source));
    let objects = rows.try_filter_map(|entry| std::future::ready(Ok(entry.into_object())));
    let copies = objects.map_ok(|meta| {
        let (from, to, mode, progress) = (&from, &to, mode.clone(), &progress);
        let name = meta.key.as_str().strip_prefix(&source).unwrap_or(meta.key.as_str());
        let name = format!("{destination}{name}");
        async move {
            let name = Key::new(name)?;
            // Before its bytes are read.
            if mode == PutMode::Create && there(to.as_ref(), &name).await? {
                return Ok(None);
            }
            let object = match from.get(&meta.key, GetOptions::new()).await {
                // Removed since it was listed.
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                object => object?,
            };
            match copy(object, from.as_ref(), to.as_ref(), &name, mode, progress).await {
                // Somebody else was faster.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
                copied => copied.map(Some),
            }
        }
    });
    let (mut copied, mut bytes, mut skipped) = (0_u64, 0, 0_u64);
    let mut copies = Box::pin(copies.try_buffered(PARALLEL));
    loop {
        match copies.next().await {
            None => break,
            Some(Ok(None)) => skipped += 1,
            Some(Ok(Some(meta))) => {
                (copied, bytes) = (copied + 1, bytes + meta.size);
                if output.json {
                    output.row(|| output::object(&meta), String::new)?;
                }
            }
            Some(Err(error)) => {
                let message = format!(
                    "{copied} snapshots were copied before this failed; with --if-absent those are skipped"
                );
                return Err(anyhow::Error::new(error).context(message));
            }
        }
    }
    drop(copies);
    drop(progress);
    if copied + skipped == 0 {
        let message = format!("there is no snapshot below {source:?} in {from}; see `persist ls --folders`");
        return Err(Error::new(ErrorKind::NotFound, message).into());
    }
    output.note(|| {
        let rest = if skipped == 0 { String::new() } else { format!("; {skipped} skipped") };
        format!("copied {copied} snapshots, {}, to {to}/{destination}{rest}", human(bytes))
    });
    Ok(())
}

/// A folder: a text with a `/` at the end that names begin with, or nothing for all.
async fn below(text: &str, storage: &Storage) -> Result<(Arc<dyn SnapshotAdapter>, String)> {
    let slash = text.contains("://") && !text.contains('?') && !text.ends_with('/');
    let (store, prefix) = storage.locate_prefix(format!("{text}{}", if slash { "/" } else { "" })).await?;
    let prefix = prefix.trim_end_matches('/');
    Ok((store, if prefix.is_empty() { String::new() } else { format!("{prefix}/") }))
}

async fn there(to: &dyn SnapshotAdapter, key: &Key) -> persist::Result<bool> {
    match to.head(key).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
