//! `persist rm`

use anyhow::Result;
use persist::DeleteOptions;
use serde_json::json;

use crate::{
    args::Rm,
    output::Output,
    storage::{Storage, not_of_session},
};

pub(crate) async fn run(args: Rm, storage: &Storage, output: &Output) -> Result<()> {
    // All names are checked before the first is removed.
    let mut snapshots = Vec::new();
    for text in &args.keys {
        let (store, key) = storage.locate(text).await?;
        let instead = "`persist session prune` removes commits, `persist session tag --delete` a tag, `persist session rm` all";
        not_of_session(&key, instead)?;
        snapshots.push((store, key));
    }
    for (store, key) in snapshots {
        if args.must_exist {
            store.head(&key).await?;
        }
        store.delete(&key, DeleteOptions::new()).await?;
        if output.json {
            output.row(|| json!({"key": key.as_str()}), String::new)?;
        }
    }
    Ok(())
}
