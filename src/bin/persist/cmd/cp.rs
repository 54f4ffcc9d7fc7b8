//! `persist cp`

use anyhow::Result;
use persist::{GetOptions, ObjectMeta, PutOptions, SnapshotAdapter};

use crate::{
    args::Cp,
    output::{self, Output, human},
    progress::Progress,
    storage::Storage,
};

pub(crate) async fn run(args: Cp, storage: &Storage, output: &Output) -> Result<()> {
    let mut put = if args.if_absent { PutOptions::new().create() } else { PutOptions::new() };
    let (from, source) = storage.describe(&args.source)?;
    let (to, destination) = storage.describe(&args.destination)?;
    if let Some(copied) = from.copy_inside(&source, &to, &destination, put.mode.clone()).await? {
        let (to, _) = storage.locate(&args.destination).await?;
        return report(&copied, to.as_ref(), output);
    }
    let (from, source) = storage.locate(&args.source).await?;
    let (to, destination) = storage.locate(&args.destination).await?;
    let progress = Progress::new(output);
    // The bytes as they are stored: what was compressed is not compressed again, and its checksums go along.
    let object = from.get(&source, GetOptions::new()).await?;
    // Tags are not part of every service's answer to a read.
    let meta = if from.capabilities().tags { from.head(&source).await? } else { object.meta };
    (put.content_type, put.metadata, put.tags) = (meta.content_type, meta.metadata, meta.tags);
    let body = match object.body.len() {
        Some(_) => object.body,
        None => object.body.with_len(meta.size),
    };
    progress.expect(Some(meta.size));
    let copied = to.put(&destination, progress.watch(body), put).await?;
    drop(progress);
    report(&copied, to.as_ref(), output)
}

fn report(copied: &ObjectMeta, to: &dyn SnapshotAdapter, output: &Output) -> Result<()> {
    if output.json {
        return output.row(|| output::object(copied), String::new);
    }
    output.note(|| format!("copied {} to {to}, {}", human(copied.size), copied.key));
    Ok(())
}
