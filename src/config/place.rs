//! The place that a configuration names. Nothing is opened.

use std::{
    env,
    path::{self, PathBuf},
};

use super::{StorageBackend, StorageConfig, bad, folders, url};
use crate::{Key, Result};

impl StorageConfig {
    /// Where this stores: the URL of the storage, with prefix and namespace in its path and without its
    /// parameters. Nothing is opened.
    ///
    /// # Errors
    /// `InvalidConfig` where that is not configured.
    pub fn location(&self) -> Result<String> {
        let below = self.below()?;
        let (root, below) = match self.backend {
            StorageBackend::Local => {
                let folder = self.folder()?;
                let folder = path::absolute(&folder).map_err(|error| {
                    let message =
                        format!("local_path {folder:?} cannot be made a whole path; write it as one");
                    bad(message).with_source(error)
                })?;
                let folder = folder.display().to_string();
                let folder = folder.trim_end_matches('/');
                (
                    format!("file://{}{}", url::escaped(folder), if folder.is_empty() { "/" } else { "" }),
                    below.as_ref().map(on_disk),
                )
            }
            // It has no path, and ends with this process.
            StorageBackend::Memory => return Ok("memory://".into()),
            StorageBackend::Gcs => (format!("gs://{}", self.bucket()?), below.map(String::from)),
            other => (format!("{}://{}", other.as_str(), self.bucket()?), below.map(String::from)),
        };
        let slash = if root.ends_with('/') { "" } else { "/" };
        Ok(below.map_or(root.clone(), |below| format!("{root}{slash}{}", url::escaped(&below))))
    }

    /// The folder of local disk.
    pub(super) fn folder(&self) -> Result<PathBuf> {
        match &self.local_base_path {
            Some(folder) => Ok(folder.clone()),
            None => folders::data(&|name| env::var_os(name).map(PathBuf::from)),
        }
    }

    /// Prefix and namespace, checked before anything is opened or made.
    pub(super) fn below(&self) -> Result<Option<Key>> {
        let mut below: Option<Key> = None;
        for (setting, path) in [("prefix", &self.prefix), ("namespace", &self.namespace)] {
            let path = path.as_deref().unwrap_or_default();
            let path = path.strip_suffix('/').unwrap_or(path);
            if path.is_empty() {
                continue;
            }
            let joined = match &below {
                Some(prefix) => Key::parse(&format!("{prefix}/{path}")),
                None => Key::parse(path),
            };
            below = Some(joined.map_err(|rule| {
                let path = url::without_secrets(path);
                bad(format!("{setting} {path:?}: {rule}"))
            })?);
        }
        Ok(below)
    }

    /// The bucket, which has no default: a default bucket is one that somebody else can own.
    pub(super) fn bucket(&self) -> Result<&str> {
        let name = self.backend.as_str();
        match self.bucket.as_deref() {
            _ if !self.backend.is_written() => Err(self.backend.planned()),
            None | Some("") => Err(bad(format!(
                "the backend {name} needs a bucket; set PERSIST_BUCKET, or name it in the URL"
            ))),
            Some(bucket) if bucket.contains('/') => {
                let bucket = url::without_secrets(bucket);
                Err(bad(format!("bucket {bucket:?}: a bucket's name has no `/`; the rest is the prefix")))
            }
            Some(bucket) => Ok(bucket),
        }
    }
}

/// The folder below the root in which the keys with this prefix lie.
#[cfg(unix)]
fn on_disk(prefix: &Key) -> String {
    crate::adapters::local::folder_of(prefix)
}

#[cfg(not(unix))]
fn on_disk(prefix: &Key) -> String {
    prefix.as_str().into()
}
