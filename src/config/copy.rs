//! Copies inside a service.

use super::{StorageBackend, StorageConfig};
use crate::{Key, ObjectMeta, PutMode, Result};

impl StorageConfig {
    /// Copies a snapshot to `target` of `to` inside the service, so that none of its bytes come here: within
    /// Google Cloud Storage, between storages whose settings for it are equal. `None` where that cannot be
    /// done, and nothing was: then load and save.
    ///
    /// # Errors
    /// As for opening a storage, and for [`put`](crate::SnapshotAdapter::put) with `mode`.
    // For the command line.
    #[doc(hidden)]
    pub async fn copy_inside(
        &self,
        source: &Key,
        to: &StorageConfig,
        target: &Key,
        mode: PutMode,
    ) -> Result<Option<ObjectMeta>> {
        if [self.backend, to.backend] != [StorageBackend::Gcs; 2] || self.gcs != to.gcs {
            return Ok(None);
        }
        #[cfg(feature = "gcs")]
        {
            use crate::adapters::gcs::GcsAdapter;
            let from_store = GcsAdapter::open(self.bucket()?, &self.gcs, &self.retry).await?;
            let to_store = GcsAdapter::open(to.bucket()?, &to.gcs, &to.retry).await?;
            if !from_store.can_copy_to(&to_store) {
                return Ok(None);
            }
            let (from, name) = (self.inward(source)?, to.inward(target)?);
            let mut copied = from_store.copy(&from, &to_store, &name, mode).await?;
            copied.key = target.clone();
            Ok(Some(copied))
        }
        #[cfg(not(feature = "gcs"))]
        {
            let _ = (source, target, mode);
            Ok(None)
        }
    }

    /// The storage's own name for `key`.
    #[cfg(feature = "gcs")]
    fn inward(&self, key: &Key) -> Result<Key> {
        match self.below()? {
            Some(prefix) => prefix.join(key.as_str()),
            None => Ok(key.clone()),
        }
    }
}
