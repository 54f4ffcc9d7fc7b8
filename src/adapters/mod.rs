//! The one list of backends.

#[cfg(feature = "gcs")]
pub mod gcs;
pub mod memory;
