//! The one list of backends.

pub mod memory;
