//! `persist load`

use std::io::Write;

use anyhow::{Context, Result};
use persist::{FileTarget, SnapshotAdapterExt};

use crate::{
    args::Load,
    output::{self, Output, is_on_screen},
    progress::Progress,
    storage::Storage,
};

pub(crate) async fn run(args: Load, storage: &Storage, output: &Output) -> Result<()> {
    let (store, key) = storage.locate(&args.key).await?;
    let progress = (!is_on_screen(args.output.as_deref())).then(|| Progress::new(output.interactive()));
    let store = match &progress {
        Some(progress) => progress.over(store),
        None => store,
    };
    if let Some(path) = args.output.filter(|path| path.as_os_str() != "-") {
        FileTarget::check(&path)?;
        let meta = store.download(key, &path).await?;
        drop(progress);
        if output.json {
            return output.row(|| output::object(&meta), String::new);
        }
        output.note(|| format!("loaded {} into {}", meta.key, path.display()));
        return Ok(());
    }
    let mut reader = store.load_stream(key).await?;
    let mut out = output::bulk().context("standard output cannot be used")?;
    // Written from this thread: it has nothing else to do, and the segments behind are decoded meanwhile.
    while let Some(chunk) = reader.chunk().await? {
        output::written(out.write_all(&chunk))?;
    }
    Ok(())
}
