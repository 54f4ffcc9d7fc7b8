//! `persist rm`

use anyhow::Result;
use persist::DeleteOptions;
use serde_json::json;

use crate::{args::Rm, output::Output, storage::Storage};

pub(crate) async fn run(args: Rm, storage: &Storage, output: &Output) -> Result<()> {
    // All names are checked before the first is removed.
    let mut snapshots = Vec::new();
    for text in &args.keys {
        snapshots.push(storage.locate(text).await?);
    }
    for (store, key) in snapshots {
        if args.must_exist {
            store.head(&key).await?;
        }
        store.delete(&key, DeleteOptions::new()).await?;
        if output.json {
            output.row(|| json!({"removed": key.as_str()}), String::new)?;
        }
    }
    Ok(())
}
