//! `persist cp`

use anyhow::Result;
use persist::{GetOptions, PutOptions};

use crate::{
    args::Cp,
    output::{self, Output, human},
    progress::Progress,
    storage::Storage,
};

pub(crate) async fn run(args: Cp, storage: &Storage, output: &Output) -> Result<()> {
    let (from, source) = storage.locate(&args.source).await?;
    let (to, destination) = storage.locate(&args.destination).await?;
    let progress = Progress::new(output);
    // The bytes as they are stored: what was compressed is not compressed again, and its checksums go along.
    let object = from.get(&source, GetOptions::new()).await?;
    // Tags are not part of every service's answer to a read.
    let meta = if from.capabilities().tags { from.head(&source).await? } else { object.meta };
    let mut put = if args.if_absent { PutOptions::new().create() } else { PutOptions::new() };
    (put.content_type, put.metadata, put.tags) = (meta.content_type, meta.metadata, meta.tags);
    let body = match object.body.len() {
        Some(_) => object.body,
        None => object.body.with_len(meta.size),
    };
    progress.expect(Some(meta.size));
    let copied = to.put(&destination, progress.watch(body), put).await?;
    drop(progress);
    if output.json {
        return output.row(|| output::object(&copied), String::new);
    }
    output.note(|| format!("copied {} to {to}, {}", human(copied.size), copied.key));
    Ok(())
}
