//! `persist stat`

use anyhow::Result;
use persist::SnapshotAdapterExt;
use serde_json::json;

use crate::{
    output::{self, Output, cell, human},
    storage::Storage,
};

pub(crate) async fn run(key: &str, storage: &Storage, output: &Output) -> Result<()> {
    let text = key;
    let (store, key) = storage.locate(text).await?;
    let location = storage.describe(text)?.0.location()?;
    let known = store.describe(&key).await?;
    // The answer to a read may know less than the answer to a question about the object.
    let meta = store.head(&key).await?;
    let unknown = || "unknown (not written by persist, or streamed without compression)".to_string();
    output.row(
        || {
            let mut row = output::object(&meta);
            row["size"] = json!(known.size);
            row["codec"] = json!(known.format.as_str());
            row["digest"] = json!(known.digest);
            row["location"] = json!(location);
            row
        },
        || {
            let mut lines = vec![
                format!("key           {}", meta.key),
                format!("location      {}", cell(&location)),
                format!(
                    "size          {}",
                    known.size.map_or_else(unknown, |size| format!("{} ({size} bytes)", human(size)))
                ),
                format!("stored size   {} ({} bytes)", human(meta.size), meta.size),
                format!("codec         {}", known.format),
                format!(
                    "digest        {}",
                    known.digest.map_or_else(unknown, |digest| format!("sha256:{digest}"))
                ),
                format!("version       {}", meta.version),
                format!("modified      {}", output::time(meta.modified)),
            ];
            let mut add = |name: &str, value: Option<String>| {
                lines.extend(value.map(|value| format!("{name:<13} {}", cell(&value))));
            };
            add("content type", meta.content_type.clone());
            add("tier", meta.tier.map(|tier| tier.to_string()));
            add("encryption", meta.encryption.clone());
            meta.metadata.iter().for_each(|(name, value)| add("metadata", Some(format!("{name}={value}"))));
            meta.tags.iter().for_each(|(name, value)| add("tag", Some(format!("{name}={value}"))));
            lines.join("\n")
        },
    )
}
