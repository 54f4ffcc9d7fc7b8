//! `persist save`

use std::{
    fs::File,
    io::{IsTerminal, stdin},
    path::Path,
};

use anyhow::{Context, Result};
use persist::{Body, Codec, PutMode, PutOptions, SaveOptions, SnapshotAdapterExt, Version};
use serde_json::json;

use crate::{
    args::Save,
    output::{self, Output, human},
    progress::Progress,
    storage::Storage,
};

pub(crate) async fn run(args: Save, storage: &Storage, output: &Output) -> Result<()> {
    let (store, key) = storage.locate(&args.key).await?;
    let mut put = PutOptions::new().mode(mode(&args));
    put.metadata.extend(args.metadata);
    put.tags.extend(args.tag);
    let mut codec = match &args.codec {
        Some(name) => name.parse()?,
        None => store.capabilities().codec,
    };
    if let Some(level) = args.level {
        codec = Codec::with_level(codec, level)?;
    }
    let (body, total) = source(args.file.as_deref(), output)?;
    let progress = Progress::new(output, total);
    let saved =
        store.save_body_with(progress.watch(body), key, SaveOptions::new().codec(codec).put(put)).await?;
    drop(progress);
    if output.json {
        let mut row = output::object(&saved.meta);
        row["size"] = json!(saved.raw_size);
        row["digest"] = json!(format!("sha256:{}", saved.digest));
        row["codec"] = json!(saved.codec.to_string());
        return output.row(|| row, String::new);
    }
    output.note(|| {
        format!("saved {} as {} ({})", human(saved.raw_size), human(saved.meta.size), saved.meta.key)
    });
    Ok(())
}

fn mode(args: &Save) -> PutMode {
    match (&args.if_match, args.if_absent) {
        (Some(version), _) => PutMode::Replace(Version::new(version)),
        (None, true) => PutMode::Create,
        (None, false) => PutMode::Overwrite,
    }
}

/// The bytes to save and, of a file, how many.
fn source(file: Option<&Path>, output: &Output) -> Result<(Body, Option<u64>)> {
    match file.filter(|path| *path != Path::new("-")) {
        Some(path) => {
            let open = || format!("the file {} cannot be read", path.display());
            let file = File::open(path).with_context(open)?;
            let meta = file.metadata().with_context(open)?;
            anyhow::ensure!(
                !meta.is_dir(),
                "{} is a folder; name a file, or pipe an archive of it",
                path.display()
            );
            Ok((Body::from_blocking(file), meta.is_file().then_some(meta.len())))
        }
        None => {
            if stdin().is_terminal() {
                output.note(|| "reading standard input; end with Ctrl-D".into());
            }
            Ok((Body::from_blocking(stdin()), None))
        }
    }
}
