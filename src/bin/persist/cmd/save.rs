//! `persist save`

use std::{
    fs::File,
    io::{self, IsTerminal, stdin},
    path::Path,
};

use anyhow::Result;
use persist::{Body, Error, ErrorKind, PutMode, PutOptions, SaveOptions, SnapshotAdapterExt, Version};
use serde_json::json;

use crate::{
    args::Save,
    output::{self, Output, human},
    progress::Progress,
    storage::Storage,
};

pub(crate) async fn run(args: Save, storage: &Storage, output: &Output) -> Result<()> {
    // Opened before the storage, so that a wrong name of a file makes nothing.
    let (body, length) = source(args.file.as_deref(), output)?;
    let (store, key) = storage.locate(&args.key).await?;
    let mut put = PutOptions::new().mode(mode(&args));
    put.metadata.extend(args.metadata);
    put.tags.extend(args.tag);
    let mut codec = args.codec.unwrap_or_else(|| store.capabilities().settings.codec);
    if let Some(level) = args.level {
        codec = codec.with_level(level)?;
    }
    let progress = Progress::new(output);
    progress.expect(length);
    let options = SaveOptions::new().codec(codec).put(put);
    let saved = store.save_body_with(progress.watch(body), key, options).await?;
    drop(progress);
    if output.json {
        let mut row = output::object(&saved.meta);
        row["size"] = json!(saved.size);
        row["digest"] = json!(saved.digest);
        row["codec"] = json!(saved.codec.to_string());
        return output.row(|| row, String::new);
    }
    output.note(|| format!("saved {} as {} ({})", human(saved.size), human(saved.meta.size), saved.meta.key));
    Ok(())
}

fn mode(args: &Save) -> PutMode {
    match (&args.if_match, args.if_absent) {
        (Some(version), _) => PutMode::Replace(Version::new(version)),
        (None, true) => PutMode::Create,
        (None, false) => PutMode::Overwrite,
    }
}

/// The bytes to save and, of a file, how many. That is for the bar alone: a file that grows is saved as far as it goes.
pub(super) fn source(file: Option<&Path>, output: &Output) -> persist::Result<(Body, Option<u64>)> {
    let Some(path) = file.filter(|path| *path != Path::new("-")) else {
        if stdin().is_terminal() {
            output.note(|| "reading standard input; end with Ctrl-D".into());
        }
        return Ok((Body::from_blocking(stdin()), None));
    };
    let unreadable = |error: io::Error| {
        let message = format!("the file {} cannot be read", path.display());
        Error::new(ErrorKind::InvalidInput, message).with_source(error)
    };
    let file = File::open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    if meta.is_dir() {
        let message = format!("{} is a folder; name a file, or pipe an archive of it", path.display());
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Ok((Body::from_blocking(file), meta.is_file().then_some(meta.len())))
}
