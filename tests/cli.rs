//! The command line, end to end on local disk: what it prints, where, and with which exit code.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

#[path = "cli/commands.rs"]
mod commands;
#[path = "cli/harness.rs"]
mod harness;
#[cfg(target_os = "linux")]
#[path = "cli/memory.rs"]
mod memory;
#[path = "cli/mistakes.rs"]
mod mistakes;
#[path = "cli/nothing.rs"]
mod nothing;
#[path = "cli/output.rs"]
mod output;
#[path = "cli/pages.rs"]
mod pages;
#[path = "cli/recursive.rs"]
mod recursive;
#[path = "cli/session.rs"]
mod session;
#[path = "cli/session_damage.rs"]
mod session_damage;
#[path = "cli/settings.rs"]
mod settings;
#[path = "cli/settings_wrong.rs"]
mod settings_wrong;
#[cfg(unix)]
#[path = "cli/stopped.rs"]
mod stopped;
#[path = "cli/verify_all.rs"]
mod verify_all;
#[cfg(unix)]
#[path = "cli/written.rs"]
mod written;
