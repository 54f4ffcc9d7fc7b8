//! Which storage is meant: by command line, environment and file, or by a key that is a whole URL.

use std::{path::PathBuf, sync::Arc};

use anyhow::Result;
use persist::{
    Key, SnapshotAdapter,
    config::{Layers, split_key, variables},
};

/// The configuration of this call, opened when it is needed.
pub(crate) struct Storage {
    url: Option<String>,
    config: Option<PathBuf>,
}

impl Storage {
    pub(crate) fn new(url: Option<String>, config: Option<PathBuf>) -> Result<Self> {
        Ok(Storage { url, config })
    }

    /// All that is configured, the strongest first; a snapshot's own URL stands in place of `--storage`.
    fn layers_for(&self, snapshot: Option<&str>) -> Result<Layers> {
        let layers = match (snapshot, &self.url) {
            (Some(url), _) => Layers::new().snapshot_url(url)?,
            (None, Some(url)) => Layers::new().url(url, "--storage")?,
            (None, None) => Layers::new(),
        };
        Ok(layers.environment(variables()?)?.configuration_file(self.config.as_deref())?)
    }

    pub(crate) fn layers(&self) -> Result<Layers> {
        self.layers_for(None)
    }

    /// The configured storage.
    pub(crate) async fn open(&self) -> Result<Arc<dyn SnapshotAdapter>> {
        Ok(self.layers()?.resolve()?.open().await?)
    }

    /// The snapshot that `text` names, a key or a URL, and where it is.
    pub(crate) async fn locate(&self, text: &str) -> Result<(Arc<dyn SnapshotAdapter>, Key)> {
        match split_key(text)? {
            Some((url, key)) => Ok((self.layers_for(Some(&url))?.resolve()?.open().await?, key)),
            None => {
                let key = Key::new(text)?; // before the storage is opened: a wrong key is cheap to find
                Ok((self.open().await?, key))
            }
        }
    }
}
