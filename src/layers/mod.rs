//! Adapters that wrap adapters: each adds one thing and hands everything else on.
//!
//! Layers take and are [`SnapshotAdapter`](crate::SnapshotAdapter)s, so they stack in any order. Each writes
//! out every method of the contract, and the lint `clippy::missing_trait_methods` keeps it so: a method that
//! a layer forgets would be lost for all below it.
//!
//! The outermost sees what all others make of a call, so `Observe` tells of timeouts only from outside of
//! [`Timeout`]. This is the order of [`StorageConfig::open`](crate::StorageConfig::open):
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use persist::{Codec, SnapshotAdapter, adapters::memory::MemoryAdapter, layers};
//!
//! let mut store: Arc<dyn SnapshotAdapter> = Arc::new(MemoryAdapter::new());
//! store = Arc::new(layers::Namespace::new(store, "team-a")?);
//! store = Arc::new(layers::Defaults::new(store).codec(Codec::Gzip { level: 9 }));
//! store = Arc::new(layers::Timeout::new(store, Duration::from_secs(60)));
//! store = Arc::new(layers::Observe::new(store, "memory"));
//! # Ok::<(), persist::Error>(())
//! ```
//!
//! # Layout
//! - [`Namespace`]: all keys below a prefix
//! - [`Defaults`]: how `save` encodes, how loads are guarded and which window sessions have, when callers do
//!   not say
//! - [`Timeout`]: an end to waiting
//! - [`Observe`]: logs and metrics
//! - [`ReadOnly`]: refuses to write
//! - [`Fault`]: fails on purpose, for tests

mod defaults;
mod fault;
mod namespace;
mod observe;
mod read_only;
mod timeout;

pub use defaults::Defaults;
pub use fault::{Fault, Injection, Operation};
pub use namespace::Namespace;
pub use observe::Observe;
pub use read_only::ReadOnly;
pub use timeout::Timeout;

#[cfg(test)]
mod tests;
