//! Where snapshots go and how, as plain data.
//!
//! [`StorageConfig`] is made by hand, by builder methods, or from the environment, a URL and a file. Its
//! builder methods never fail. Reading the environment, a URL or a file does, and so does
//! [`open`](StorageConfig::open), with an error that names the setting.
//!
//! What is set in several places is decided so: explicit > command line > environment > file > generic
//! variables (`STORAGE_*`) > default. A storage URL names the whole location: it replaces backend, bucket,
//! path and prefix of every place below it.
//!
//! # Layout
//! - `table`: the one table of settings, all their names, meanings and defaults; `values`, `duration`: how
//!   their text is read
//! - `url`, `file`, `folders`: what a URL says, what a file says, where the file and the snapshots are by
//!   default
//! - `variables`: those of the process; `source`, `sources`, `effective`: what one place says, how places lie
//!   over each other, and how that is shown
//! - `suggest`: the nearest right name for a wrong one
//! - `build`, `services`, `services_build`: the data, its constructors and builder methods
//! - `place`: the place that a configuration names
//! - `open`: from a configuration to an adapter
//! - `copy`: what a service copies by itself

mod build;
mod copy;
mod duration;
mod effective;
mod file;
mod folders;
mod open;
mod place;
mod services;
mod services_build;
mod source;
mod sources;
mod suggest;
mod table;
mod url;
mod values;
mod variables;

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

pub use effective::Effective;
pub use services::{GcsConfig, S3Config};
pub use sources::Sources;
pub use table::{SETTINGS, Setting};
#[cfg(feature = "gcs")]
pub(crate) use values::{CONTENT, is_content, is_googles};

// For the command line and the fuzz targets.
#[doc(hidden)]
pub use self::{
    duration::parse_duration,
    file::{parse_toml, parse_yaml},
    url::{split_key, split_prefix},
    variables::variables,
};

use crate::{Codec, Error, ErrorKind, Result, RetryConfig};

/// A kind of storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum StorageBackend {
    /// A folder of this machine.
    #[default]
    Local,
    /// The memory of this process.
    Memory,
    /// Amazon S3, or a server that speaks its API.
    S3,
    /// Google Cloud Storage.
    Gcs,
    // Planned: they have names so that their URLs get an answer.
    #[doc(hidden)]
    Azure,
    #[doc(hidden)]
    Sqlite,
    #[doc(hidden)]
    Postgres,
    #[doc(hidden)]
    Mysql,
}

impl StorageBackend {
    /// Its name, as `PERSIST_BACKEND` takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            StorageBackend::Local => "local",
            StorageBackend::Memory => "memory",
            StorageBackend::S3 => "s3",
            StorageBackend::Gcs => "gcs",
            StorageBackend::Azure => "azure",
            StorageBackend::Sqlite => "sqlite",
            StorageBackend::Postgres => "postgres",
            StorageBackend::Mysql => "mysql",
        }
    }

    /// Whether a bucket is a part of its location.
    pub(crate) fn has_bucket(self) -> bool {
        matches!(self, StorageBackend::S3 | StorageBackend::Gcs)
    }

    /// Whether there is an adapter for it, in this build or another.
    pub(crate) fn is_written(self) -> bool {
        self.has_bucket() || matches!(self, StorageBackend::Local | StorageBackend::Memory)
    }

    /// The error for a backend that has a name and no adapter.
    fn planned(self) -> Error {
        let name = self.as_str();
        let message = format!(
            "the backend {name} is planned, as the feature `{name}`, but not written yet; use local, memory, s3 or gcs"
        );
        Error::new(ErrorKind::Unsupported, message)
    }
}

impl fmt::Display for StorageBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StorageBackend {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Ok(match name {
            "local" | "file" => StorageBackend::Local,
            "memory" => StorageBackend::Memory,
            "s3" => StorageBackend::S3,
            "gcs" | "gs" => StorageBackend::Gcs,
            "azure" | "az" => StorageBackend::Azure,
            "sqlite" => StorageBackend::Sqlite,
            "postgres" => StorageBackend::Postgres,
            "mysql" => StorageBackend::Mysql,
            _ => {
                let names = ["local", "memory", "s3", "gcs", "azure", "sqlite", "postgres", "mysql"];
                let hint = suggest::hint(name, names);
                return Err(bad(format!("there is no such backend; use local, memory, s3 or gcs{hint}")));
            }
        })
    }
}

/// Everything that [`open`](StorageConfig::open) needs to know.
///
/// Struct literals are welcome, here and for [`S3Config`], [`GcsConfig`] and [`RetryConfig`]. End them with
/// `..Default::default()`: a new field is no breaking change.
///
/// ```
/// # use std::path::PathBuf;
/// use persist::{StorageBackend, StorageConfig};
///
/// let by_hand = StorageConfig {
///     backend: StorageBackend::Local,
///     local_base_path: Some(PathBuf::from("/var/lib/agents")),
///     ..Default::default()
/// };
/// assert_eq!(by_hand, StorageConfig::local("/var/lib/agents"));
/// let on_s3 = StorageConfig::s3_with_bucket("states".into()).with_namespace("team-a");
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use]
pub struct StorageConfig {
    /// The kind of storage; local by default.
    pub backend: StorageBackend,
    /// The folder of the local backend; by default `persist` in the platform's data directory.
    pub local_base_path: Option<PathBuf>,
    /// The bucket of S3 and GCS. There is no default bucket.
    pub bucket: Option<String>,
    /// A path inside the bucket or folder, below which all keys lie.
    pub prefix: Option<String>,
    /// A path below the prefix, for one of several tenants or runtimes that share a location.
    pub namespace: Option<String>,
    /// The form in which snapshots are saved; gzip, level 6, by default.
    pub codec: Option<Codec>,
    /// The longest silence within one operation, its retries included; by default as long as the retries
    /// allow.
    pub idle_timeout: Option<Duration>,
    /// The most bytes of a state that a load gives; by default without limit.
    pub max_bytes: Option<u64>,
    /// How many times a load expands what is stored, beyond the first 64 MiB; 250 by default.
    pub max_ratio: Option<u64>,
    /// Prune removes no commit younger than this, and a writer that paused for half of it looks before it
    /// acknowledges a save. The same for all users of a storage; an hour by default.
    pub fence_window: Option<Duration>,
    /// How cloud adapters retry. Its deadline is also the longest wait for a directory's lock on local disk.
    pub retry: RetryConfig,
    /// What only S3 needs.
    pub s3: S3Config,
    /// What only GCS needs.
    pub gcs: GcsConfig,
}

/// What a text says. The error is the end of a sentence, and repeats nothing that may be a secret.
type Parsed<T> = std::result::Result<T, String>;

/// The error for a setting that is missing, unknown, contradictory or not what it should be.
fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
