//! The one list of backends.

#[cfg(feature = "gcs")]
pub mod gcs;
#[cfg(unix)]
pub mod local;
pub mod memory;
#[cfg(feature = "s3")]
pub mod s3;
