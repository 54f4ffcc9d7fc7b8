//! Google Cloud Storage: the adapter against a strict server in this process, and against fake-gcs-server.
#![cfg(all(feature = "gcs", feature = "testing"))]
#![allow(clippy::unwrap_used, unreachable_pub)]

mod answers;
mod auth;
mod auth_faults;
mod chaos;
#[cfg(feature = "cli")]
mod cli;
mod conformance;
mod copying;
mod doubt;
mod download;
mod encryption;
mod endings;
mod environment;
mod errors;
mod faults;
mod foreign;
mod listing;
mod names;
mod pages;
mod payer;
mod progress;
mod refusals;
mod restarts;
mod sleep;
mod strict;
mod support;
mod upload;
#[cfg(feature = "cli")]
mod widening;
#[path = "../support/mod.rs"]
mod wire;
mod words;
#[cfg(feature = "cli")]
mod write_rate;
