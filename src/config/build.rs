//! Constructors and builder methods that never fail: `open` checks.

use std::{path::PathBuf, time::Duration};

use super::{StorageBackend, StorageConfig};
use crate::{Codec, GcsConfig, RetryConfig, S3Config};

impl StorageConfig {
    /// Local disk, in the platform's data directory.
    pub fn default_local() -> Self {
        Self::default()
    }

    /// Local disk, in `folder`.
    pub fn local(folder: impl Into<PathBuf>) -> Self {
        Self::default_local().with_local_path(folder)
    }

    /// The memory of this process: a new, empty one for each [`open`](Self::open).
    pub fn memory() -> Self {
        StorageConfig { backend: StorageBackend::Memory, ..Self::default() }
    }

    /// S3, in `bucket`.
    pub fn s3_with_bucket(bucket: String) -> Self {
        StorageConfig { backend: StorageBackend::S3, bucket: Some(bucket), ..Self::default() }
    }

    /// S3, in `bucket` of `region`.
    pub fn s3_with_bucket_and_region(bucket: String, region: String) -> Self {
        let s3 = S3Config { region: Some(region), ..S3Config::default() };
        StorageConfig { s3, ..Self::s3_with_bucket(bucket) }
    }

    /// GCS, in `bucket`, with Application Default Credentials.
    pub fn gcs_with_bucket(bucket: String) -> Self {
        StorageConfig { backend: StorageBackend::Gcs, bucket: Some(bucket), ..Self::default() }
    }

    /// GCS, in `bucket`, with a credentials file.
    pub fn gcs_with_bucket_and_credentials(bucket: String, credentials: PathBuf) -> Self {
        let gcs = GcsConfig { credentials_path: Some(credentials), ..GcsConfig::default() };
        StorageConfig { gcs, ..Self::gcs_with_bucket(bucket) }
    }

    /// GCS, below `prefix` in `bucket`, perhaps with a credentials file.
    pub fn gcs_with_bucket_prefix_and_credentials(
        bucket: String,
        prefix: String,
        credentials: Option<PathBuf>,
    ) -> Self {
        let gcs = GcsConfig { credentials_path: credentials, ..GcsConfig::default() };
        StorageConfig { gcs, ..Self::gcs_with_bucket(bucket).with_prefix(prefix) }
    }

    /// The kind of storage.
    pub fn with_backend(mut self, backend: StorageBackend) -> Self {
        self.backend = backend;
        self
    }

    /// The folder of the local backend.
    pub fn with_local_path(mut self, folder: impl Into<PathBuf>) -> Self {
        self.local_base_path = Some(folder.into());
        self
    }

    /// The bucket.
    pub fn with_bucket(mut self, bucket: impl Into<String>) -> Self {
        self.bucket = Some(bucket.into());
        self
    }

    /// The path inside the bucket or folder.
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// The path below the prefix.
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// The form in which snapshots are saved.
    pub fn with_codec(mut self, codec: Codec) -> Self {
        self.codec = Some(codec);
        self
    }

    /// The longest silence within one operation.
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// The most bytes of a state that a load gives.
    pub fn with_max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// How many times a load expands what is stored, beyond the first 64 MiB.
    pub fn with_max_ratio(mut self, ratio: u64) -> Self {
        self.max_ratio = Some(ratio);
        self
    }

    /// The fence window of sessions, the same for all users of a storage; a minute to 30 days.
    pub fn with_fence_window(mut self, window: Duration) -> Self {
        self.fence_window = Some(window);
        self
    }

    /// How cloud adapters retry.
    pub fn with_retry(mut self, retry: RetryConfig) -> Self {
        self.retry = retry;
        self
    }

    /// What only S3 needs, all of it.
    pub fn with_s3(mut self, s3: S3Config) -> Self {
        self.s3 = s3;
        self
    }

    /// What only GCS needs, all of it.
    pub fn with_gcs(mut self, gcs: GcsConfig) -> Self {
        self.gcs = gcs;
        self
    }
}
