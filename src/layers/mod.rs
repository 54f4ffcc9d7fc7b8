//! Adapters that wrap adapters: each adds one thing and hands everything else on.
//!
//! Layers take and are [`SnapshotAdapter`](crate::SnapshotAdapter)s, so they stack in any order. Each writes out every method of the
//! contract, and the lint `clippy::missing_trait_methods` keeps it so: a method that a layer forgets would be lost for all below it.
//!
//! # Layout
//! - [`Namespace`]: all keys below a prefix
//! - [`Defaults`]: how `save` encodes, how loads are guarded and which window sessions have, when callers do not say
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
