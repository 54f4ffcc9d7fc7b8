//! `persist ls`

use anyhow::Result;
use futures_util::TryStreamExt;
use persist::{Error, ErrorKind, ListEntry, ListOptions};
use serde_json::json;

use crate::{
    args::Ls,
    output::{self, Output, human},
    storage::{Storage, beginning},
};

pub(crate) async fn run(args: Ls, storage: &Storage, output: &Output) -> Result<()> {
    let (store, prefix) = storage.locate_prefix(args.prefix.unwrap_or_default()).await?;
    let mut options = ListOptions::new().prefix(&prefix);
    options.limit = args.limit;
    if let Some(after) = args.after.as_deref().filter(|after| after.contains("://")) {
        let message = format!("{after:?} is a URL; --after takes a key of the storage that is listed");
        return Err(Error::new(ErrorKind::InvalidInput, message).into());
    }
    options.start_after = args.after.map(beginning).transpose()?;
    options.delimiter = args.folders;
    let (mut rows, mut empty) = (store.list(options), true);
    while let Some(entry) = rows.try_next().await? {
        empty = false;
        match entry {
            ListEntry::Prefix(prefix) if args.long => {
                output.row(|| json!({"prefix": prefix}), || format!("{:>10}  {:<24}  {prefix}", "", ""))?;
            }
            ListEntry::Prefix(prefix) => output.row(|| json!({"prefix": prefix}), || prefix.clone())?,
            ListEntry::Object(meta) => {
                let line = || {
                    if args.long {
                        format!("{:>10}  {:<24}  {}", human(meta.size), output::time(meta.modified), meta.key)
                    } else {
                        meta.key.to_string()
                    }
                };
                output.row(|| output::object(&meta), line)?;
            }
            other => output.row(|| json!({"name": other.name()}), || other.name().to_owned())?,
        }
    }
    if empty {
        let such =
            if prefix.is_empty() { String::new() } else { format!(" whose key starts with {prefix:?}") };
        output.note(|| format!("there is no snapshot{such} in {store}"));
    }
    Ok(())
}
