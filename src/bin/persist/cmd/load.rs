//! `persist load`

use std::{
    fs::File,
    io::{Write, stdout},
    os::fd::AsFd,
};

use anyhow::Result;
use persist::SnapshotAdapterExt;

use crate::{
    args::Load,
    output::{self, Output},
    progress::Progress,
    storage::Storage,
};

pub(crate) async fn run(args: Load, storage: &Storage, output: &Output) -> Result<()> {
    let (store, key) = storage.locate(&args.key).await?;
    if let Some(path) = args.output {
        let meta = store.download(key, &path).await?;
        if output.json {
            return output.row(|| output::object(&meta), String::new);
        }
        output.note(|| format!("loaded {} into {}", meta.key, path.display()));
        return Ok(());
    }
    let mut reader = store.load_stream(key).await?;
    let progress = Progress::new(output, None);
    // Written from this thread: it has nothing else to do, and the segments behind are decoded meanwhile. The descriptor itself,
    // because `Stdout` looks for line ends.
    let mut out = File::from(stdout().as_fd().try_clone_to_owned()?);
    while let Some(chunk) = reader.chunk().await? {
        progress.add(chunk.len());
        out.write_all(&chunk)?;
    }
    Ok(())
}
