//! persist saves and restores the state of agents: atomic, verified snapshots on local disk, S3, GCS or in
//! memory, and the history of an agent's session on top of them.
//!
//! - **Nothing is lost or silently forked.** A save is all or nothing, and durable. Of two writers one wins,
//!   and the other gets an error.
//! - **Cost follows the change.** [`sessions`] store a growing state in the bytes that changed.
//! - **Bounded memory.** States of any size stream through save and load.
//! - **Verified.** What `save` compressed is checked to the last byte by every load. Damage is an error, not
//!   a wrong state.
//! - **Plain bytes.** What `save` writes is an ordinary `.gz`.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use persist::{
//!     SnapshotAdapterExt, StorageConfig,
//!     sessions::{At, Sessions},
//! };
//!
//! // Here memory. With `StorageConfig::from_env()` a variable names a folder, s3://bucket or gs://bucket.
//! let store = StorageConfig::from_url("memory://")?.open().await?;
//!
//! // One state under a key: the last save counts.
//! store.save("{\"step\": 7}", "agents/42/state.json.gz").await?;
//! assert_eq!(store.load("agents/42/state.json.gz").await?, "{\"step\": 7}");
//!
//! // Or its history: each save is a commit, and of two writers one gets `Conflict`.
//! let session = Sessions::new(store)?.session("support-bot", "conversation-7")?;
//! session.save("{\"step\": 1}").await?;
//! session.save("{\"step\": 2}").await?;
//! assert_eq!(session.load(At::Latest).await?.state, "{\"step\": 2}");
//! assert_eq!(session.load(1).await?.state, "{\"step\": 1}");
//! # Ok::<(), persist::Error>(()) }).unwrap();
//! ```
//!
//! Next: [`SnapshotAdapterExt`] (save, load, streams, files, JSON), [`sessions`], [`StorageConfig`],
//! [`ErrorKind`]. The [guide to sessions](https://docs.rs/crate/agent-persist/latest/source/docs/sessions.md) and the
//! [other pages](https://docs.rs/crate/agent-persist/latest/source/docs/) are in the package.
//!
//! # Runtime
//! Everything runs in a tokio runtime with all of its drivers: `#[tokio::main]`, or `enable_all` of a
//! builder. Without a runtime, or where a timeout or a retry needs the clock and there is no time driver,
//! tokio panics.
//!
//! # Features
//! The package is `agent-persist`, the library `persist`. Without what the command line needs:
//! `cargo add agent-persist --no-default-features`, and `--features s3` or `gcs`. Local disk (Unix) and memory
//! are always there.
//!
//! | feature | what it adds |
//! |---|---|
//! | `cli` (default) | the command line `persist` |
//! | `s3` | Amazon S3 and servers with its API |
//! | `s3-sso` | profiles of `aws sso login`; not part of `full` |
//! | `gcs` | Google Cloud Storage |
//! | `zstd` | the codec `zstd`, and loads of zstd files that other tools wrote |
//! | `yaml` | `persist.yaml` beside `persist.toml` |
//! | `metrics` | counters and histograms through the facade `metrics` |
//! | `testing` | the conformance suite |
//! | `full` | all of these but `s3-sso` |
//!
//! # How the data flows
//! ```text
//! save: state -> SHA-256 -> gzip segments in parallel -> Body -> layers -> adapter.put -> parts -> retry -> service
//! load: adapter.get -> resumed on a broken line -> segments in parallel, each checked -> state
//! ```
//!
//! # Layout
//! In the order of dependency. [`Settings`] alone looks down the list: it holds a [`Codec`] and [`Limits`].
//!
//! | module | job |
//! |---|---|
//! | `error`, `key`, `body`, `meta`, `options`, `secret` | the words of the contract |
//! | `adapter` | [`SnapshotAdapter`]: what a backend must do, and nothing else |
//! | `lock`, `threads`, `buffers` | locks, blocking work and its memory |
//! | `clock` | time and chance, which a test replaces |
//! | `began`, `retry` | [`RetryConfig`] and the one retry loop, by clocks that count sleep |
//! | `cleanup` | [`cleaned_up`]: what goes on behind saves and prunes that failed or were dropped |
//! | `tls` | whom the clouds' connections trust |
//! | [`transfer`] | replayable parts, resumed and parallel ranges |
//! | `http` | what HTTP backends share: sending, redaction |
//! | [`adapters`] | the backends |
//! | `codec` | gzip, zstd, none; digests; limits |
//! | `ext` | [`SnapshotAdapterExt`]: `save`, `load` and their kin |
//! | [`layers`] | adapters around adapters: namespace, observation, faults |
//! | [`sessions`] | the history of an agent's session |
//! | [`config`] | [`StorageConfig`]: builders, variables, URLs, files, `open` |
//! | `testing` | the conformance suite, for any adapter (feature `testing`) |
//!
//! Items that are `#[doc(hidden)]` are for the command line and the fuzz targets of this package, and no part
//! of the API.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod adapter;
pub mod adapters;
mod began;
mod body;
mod buffers;
mod cleanup;
mod clock;
mod codec;
pub mod config;
mod error;
mod ext;
#[cfg(feature = "gcs")]
mod http;
mod key;
pub mod layers;
mod lock;
mod meta;
mod options;
mod retry;
mod secret;
pub mod sessions;
#[cfg(feature = "testing")]
pub mod testing;
mod threads;
#[cfg(any(feature = "gcs", feature = "s3"))]
mod tls;
pub mod transfer;

pub use adapter::{Capabilities, Settings, SnapshotAdapter};
pub use body::Body;
// In the signature of every save and load: users need no dependency of the right major version for it.
pub use bytes::Bytes;
pub use cleanup::cleaned_up;
pub use codec::{Codec, Description, Digest, Format, Limits};
pub use config::{GcsConfig, S3Config, StorageBackend, StorageConfig};
pub use error::{Error, ErrorKind, Result};
// For the command line: files that are written as `download` does.
#[doc(hidden)]
pub use ext::FileTarget;
pub use ext::{IntoKey, LoadOptions, Optional, SaveOptions, Saved, SnapshotAdapterExt, SnapshotReader};
pub use key::Key;
pub use meta::{ListEntry, Object, ObjectMeta, Tier, Version};
pub use options::{ByteRange, DeleteOptions, GetOptions, ListOptions, PutMode, PutOptions};
pub use retry::{RetryBudget, RetryConfig, retry};
pub use secret::Secret;
