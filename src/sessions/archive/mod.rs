//! A session as one file, a tar archive of its objects: for copies, moves and repairs.
//!
//! `docs/sessions-format.md` specifies it.
//!
//! While an import is under way, *origins* of nothing keep the numbers of its first and of its newest commit:
//! small objects in the commits' places, which say whose they are
//! ([`Origin::of_import`](super::refs::Origin::of_import)). Whoever finds one as the newest knows that there
//! is more to come.

mod check;
mod claim;
mod export;
mod import;
mod tar;

use serde::{Deserialize, Serialize};

/// The first entry.
const HEADER: &str = "persist-session";
const LINE: &str = "line";

/// What the first entry says.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    agent: String,
    session: String,
}

/// What an export or an import moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Moved {
    /// Commits.
    pub commits: u64,
    /// Tags.
    pub tags: u64,
    /// Bytes of all objects.
    pub bytes: u64,
}
