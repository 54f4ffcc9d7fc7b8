//! Where snapshots go, as plain data.

mod services;

pub use services::{GcsConfig, S3Config};
