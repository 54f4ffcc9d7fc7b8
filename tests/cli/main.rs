//! The command line, end to end on local disk: what it prints, where, and with which exit code.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod commands;
mod harness;
mod help;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod memory_fallback;
mod mistakes;
mod nothing;
mod output;
mod pages;
mod recursive;
mod removals;
mod session;
mod session_all;
mod session_damage;
mod session_lines;
mod settings;
mod settings_wrong;
#[cfg(unix)]
mod stopped;
mod verify_all;
#[cfg(unix)]
mod written;
