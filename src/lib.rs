//! persist: save and restore the state of agents. (Front page to be written with the README.)

mod adapter;
pub mod adapters;
mod body;
mod buffers;
mod codec;
pub mod config;
mod error;
mod ext;
#[cfg(feature = "gcs")]
mod http;
mod key;
pub mod layers;
mod meta;
mod options;
mod retry;
mod secret;
pub mod sessions;
#[cfg(feature = "testing")]
pub mod testing;
mod threads;
pub mod transfer;

pub use adapter::{Capabilities, SnapshotAdapter};
pub use body::Body;
pub use codec::{Codec, Description, Digest, Limits};
pub use config::{GcsConfig, S3Config, StorageBackend, StorageConfig};
pub use error::{Error, ErrorKind, Result};
pub use ext::{IntoKey, LoadOptions, SaveOptions, Saved, SnapshotAdapterExt, SnapshotReader};
pub use key::Key;
pub use meta::{ListEntry, Object, ObjectMeta, Tier, Version};
pub use options::{ByteRange, DeleteOptions, GetOptions, ListOptions, PutMode, PutOptions, check_metadata};
pub use retry::{RetryBudget, RetryConfig, retry};
pub use secret::Secret;
