//! From a configuration to an adapter.

use std::{path::Path, sync::Arc};

use futures_util::FutureExt;

use super::{Sources, StorageBackend, StorageConfig, bad, url, values, variables::variables};
use crate::{
    Codec, Error, ErrorKind, Result, SnapshotAdapter, adapters::memory::MemoryAdapter, layers,
    sessions::WINDOWS,
};

impl StorageConfig {
    /// From the variables of this process and the configuration file: that which `PERSIST_CONFIG` names, else
    /// `persist/persist.toml` in the platform's configuration directory, if it is there. A file in the
    /// current folder is not read unless it is named: agents work in folders that others filled, and those
    /// must not decide where states go. With `PERSIST_STORAGE_URL=s3://bucket/prefix` this saves to S3:
    ///
    /// ```no_run
    /// # async fn example() -> persist::Result<()> {
    /// use persist::{SnapshotAdapterExt, StorageConfig};
    ///
    /// let store = StorageConfig::from_env()?.open().await?;
    /// store.save("state", "agents/42/state.json.gz").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A bucket in a variable that other programs know too (`AWS_S3_BUCKET`) chooses no backend: alone, it is
    /// logged as a warning.
    ///
    /// # Errors
    /// `InvalidConfig` that names the variable or key, and the nearest right name of an unknown one.
    pub fn from_env() -> Result<Self> {
        let sources = Sources::new().environment(variables()?)?.configuration_file(None)?;
        let config = sources.resolve()?;
        if let Some(reason) = sources.unused_bucket() {
            tracing::warn!(reason, "a bucket is named, and snapshots go to local disk");
        }
        Ok(config)
    }

    /// From a storage URL, or a path for local disk.
    ///
    /// # Errors
    /// `InvalidConfig` for a URL that cannot be used.
    pub fn from_url(url: &str) -> Result<Self> {
        Sources::new().url(url, "the storage URL")?.resolve()
    }

    /// From a file: `.toml`, or `.yaml` with the feature `yaml`.
    ///
    /// # Errors
    /// `InvalidConfig` that names the key, and the nearest right name of an unknown one.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        Sources::new().file(path.as_ref())?.resolve()
    }

    /// Opens the storage. What it gives can be shared and cloned; clients of a service are shared between
    /// adapters that are configured alike.
    ///
    /// Around the adapter are [layers]: `Namespace` for prefix and namespace, `Defaults` and `Timeout` where
    /// something is set for them, and `Observe` outermost. One more `Observe` would count everything twice.
    ///
    /// # Errors
    /// `InvalidConfig` that names the setting, `Unsupported` for a backend that this build does not have, and
    /// what the backend fails with.
    ///
    /// # Panics
    /// Outside of a tokio runtime. With an `idle_timeout`, operations panic in one without a time driver: use
    /// `enable_all`.
    pub async fn open(&self) -> Result<Arc<dyn SnapshotAdapter>> {
        self.check_values()?;
        let below = self.below()?;
        // Boxed: the futures of cloud clients nest so deep that a caller's compiler would give up on them.
        let mut adapter = self.adapter().boxed().await?;
        if let Some(prefix) = below {
            adapter = Arc::new(layers::Namespace::new(adapter, prefix)?);
        }
        adapter = self.with_defaults(adapter)?;
        if let Some(timeout) = self.idle_timeout {
            adapter = Arc::new(layers::Timeout::new(adapter, timeout));
        }
        Ok(Arc::new(layers::Observe::new(adapter, self.backend.as_str())))
    }

    /// What [`open`](Self::open) finds wrong before it makes a request, for `persist env`; whether this build
    /// has the backend is not asked.
    ///
    /// # Errors
    /// As `open`.
    #[doc(hidden)]
    pub async fn check(&self) -> Result<()> {
        self.check_values()?;
        self.below()?;
        #[cfg(feature = "s3")]
        if self.backend == StorageBackend::S3 {
            crate::adapters::s3::check(self.bucket()?, &self.s3)?;
        }
        #[cfg(feature = "gcs")]
        if self.backend == StorageBackend::Gcs {
            // It makes no request.
            self.adapter().boxed().await?;
        }
        Ok(())
    }

    /// What is wrong whichever backend it is.
    fn check_values(&self) -> Result<()> {
        if let Some(Codec::Zstd { .. }) = self.codec
            && !cfg!(feature = "zstd")
        {
            return Err(missing_feature("the codec zstd", "zstd"));
        }
        if let Some(codec) = self.codec {
            codec.check().map_err(|error| bad(format!("compression {codec}: {}", error.message())))?;
        }
        for (setting, zero) in [
            ("idle_timeout", self.idle_timeout.is_some_and(|timeout| timeout.is_zero())),
            ("max_bytes", self.max_bytes == Some(0)),
            ("max_ratio", self.max_ratio == Some(0)),
        ] {
            if zero {
                return Err(bad(format!(
                    "{setting} is 0, which lets nothing through; give more or leave it out"
                )));
            }
        }
        if let Some(bucket) = &self.bucket
            && !self.backend.has_bucket()
            && self.backend.is_written()
        {
            let (name, bucket) = (self.backend.as_str(), url::without_secrets(bucket));
            return Err(bad(format!(
                "bucket {bucket:?} is named, but the backend is {name}; set it to s3 or gcs"
            )));
        }
        Ok(())
    }

    /// What callers need not say, because it is configured.
    fn with_defaults(&self, adapter: Arc<dyn SnapshotAdapter>) -> Result<Arc<dyn SnapshotAdapter>> {
        let StorageConfig { codec, max_bytes, max_ratio, fence_window, .. } = self;
        if (codec, max_bytes, max_ratio, fence_window) == (&None, &None, &None, &None) {
            return Ok(adapter);
        }
        let mut limits = adapter.capabilities().settings.limits;
        limits.max_bytes = max_bytes.unwrap_or(limits.max_bytes);
        limits.max_ratio = max_ratio.unwrap_or(limits.max_ratio);
        let mut defaults = layers::Defaults::new(adapter).limits(limits);
        if let Some(codec) = codec {
            defaults = defaults.codec(*codec);
        }
        if let Some(window) = fence_window {
            if !WINDOWS.contains(window) {
                return Err(bad(format!("fence_window {window:?}: {}", values::BAD_WINDOW)));
            }
            defaults = defaults.fence_window(*window);
        }
        Ok(Arc::new(defaults))
    }

    /// The S3 adapter itself, with the prefix below which this configuration stores, for what S3 alone has
    /// (see [`S3Adapter::list_uploads`](crate::adapters::s3::S3Adapter::list_uploads)); `None` for another
    /// backend.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[cfg(feature = "s3")]
    pub async fn open_s3(&self) -> Result<Option<(crate::adapters::s3::S3Adapter, Option<crate::Key>)>> {
        if self.backend != StorageBackend::S3 {
            return Ok(None);
        }
        Ok(Some((self.s3().await?, self.below()?)))
    }

    #[cfg(feature = "s3")]
    async fn s3(&self) -> Result<crate::adapters::s3::S3Adapter> {
        let below = self.below()?;
        // The probe writes where the credentials may.
        let prefix = below.as_ref().map_or("", crate::Key::as_str);
        crate::adapters::s3::S3Adapter::open_under(self.bucket()?, prefix, &self.s3, &self.retry)
            .boxed()
            .await
    }

    async fn adapter(&self) -> Result<Arc<dyn SnapshotAdapter>> {
        match self.backend {
            StorageBackend::Memory => Ok(Arc::new(MemoryAdapter::new())),
            #[cfg(not(unix))]
            StorageBackend::Local => {
                let message = "the backend local needs a Unix system (`openat`, `flock`, and `rename` over a file); use s3, gcs or memory";
                Err(Error::new(ErrorKind::Unsupported, message))
            }
            #[cfg(unix)]
            StorageBackend::Local => {
                let folder = self.folder()?;
                let deadline = self.retry.deadline;
                // It reads directories.
                let open = move || crate::adapters::local::LocalAdapter::open_with(folder, deadline);
                Ok(Arc::new(crate::threads::run(open).await?))
            }
            #[cfg(feature = "s3")]
            StorageBackend::S3 => Ok(Arc::new(self.s3().await?)),
            #[cfg(feature = "gcs")]
            StorageBackend::Gcs => Ok(Arc::new(
                crate::adapters::gcs::GcsAdapter::open(self.bucket()?, &self.gcs, &self.retry)
                    .boxed()
                    .await?,
            )),
            #[cfg(not(feature = "s3"))]
            StorageBackend::S3 => Err(missing_feature("the backend s3", "s3")),
            #[cfg(not(feature = "gcs"))]
            StorageBackend::Gcs => Err(missing_feature("the backend gcs", "gcs")),
            StorageBackend::Azure
            | StorageBackend::Sqlite
            | StorageBackend::Postgres
            | StorageBackend::Mysql => Err(self.backend.planned()),
        }
    }
}

fn missing_feature(what: &str, feature: &str) -> Error {
    let message = format!("{what} is not compiled in; build persist with `--features {feature}`");
    Error::new(ErrorKind::Unsupported, message)
}
