//! Which storage is meant: by command line, environment and file, or by a key that is a whole URL.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use persist::{
    Key, SnapshotAdapter, StorageBackend, StorageConfig,
    config::{Sources, split_key, split_prefix, variables},
};
use tokio::sync::OnceCell;

/// The configuration of this call, opened when it is needed, once.
pub(crate) struct Storage {
    url: Option<String>,
    config: Option<PathBuf>,
    opened: OnceCell<Arc<dyn SnapshotAdapter>>,
}

impl Storage {
    pub(crate) fn new(url: Option<String>, config: Option<PathBuf>) -> Self {
        Storage { url, config, opened: OnceCell::new() }
    }

    /// All that is configured, the strongest first; a snapshot's own URL stands in place of `--storage`.
    fn sources_for(&self, snapshot: Option<&str>) -> persist::Result<Sources> {
        let sources = match (snapshot, &self.url) {
            (Some(url), _) => Sources::new().snapshot_url(url)?,
            (None, Some(url)) => Sources::new().url(url, "--storage")?,
            (None, None) => Sources::new(),
        };
        sources.environment(variables()?)?.configuration_file(self.config.as_deref())
    }

    pub(crate) fn sources(&self) -> persist::Result<Sources> {
        self.sources_for(None)
    }

    /// The configured storage.
    pub(crate) async fn open(&self) -> Result<Arc<dyn SnapshotAdapter>> {
        let open = || async { open(&self.sources()?.resolve()?).await };
        Ok(self.opened.get_or_try_init(open).await?.clone())
    }

    async fn open_url(&self, url: &str) -> Result<Arc<dyn SnapshotAdapter>> {
        open(&self.sources_for(Some(url))?.resolve()?).await
    }

    /// The snapshot that `text` names, a key or a URL, and where it is.
    pub(crate) async fn locate(&self, text: &str) -> Result<(Arc<dyn SnapshotAdapter>, Key)> {
        match split_key(text)? {
            Some((url, key)) => Ok((self.open_url(&url).await?, key)),
            None => {
                let key = Key::new(text)?; // before the storage is opened: a wrong key is cheap to find
                Ok((self.open().await?, key))
            }
        }
    }

    /// The same, without opening the storage.
    pub(crate) fn describe(&self, text: &str) -> Result<(StorageConfig, Key)> {
        match split_key(text)? {
            Some((url, key)) => Ok((self.sources_for(Some(&url))?.resolve()?, key)),
            None => Ok((self.sources()?.resolve()?, Key::new(text)?)),
        }
    }

    /// Where the names that start with `text`, or with the path of a URL, are.
    pub(crate) async fn locate_prefix(&self, text: String) -> Result<(Arc<dyn SnapshotAdapter>, String)> {
        match split_prefix(&text)? {
            Some((url, prefix)) => Ok((self.open_url(&url).await?, prefix)),
            None => Ok((self.open().await?, text)),
        }
    }
}

async fn open(config: &StorageConfig) -> Result<Arc<dyn SnapshotAdapter>> {
    if config.backend == StorageBackend::Memory {
        tracing::warn!("memory:// is gone when this command ends; name another storage to keep snapshots");
    }
    if *config == StorageConfig::default() && Path::new("persist.toml").exists() {
        tracing::warn!(
            "./persist.toml is not read unless it is named: use --config persist.toml or PERSIST_CONFIG"
        );
    }
    Ok(config.open().await?)
}
