//! One thing that is damaged, as reports name it.

use std::fmt;

use serde::Serialize;

use super::wire::wrong;
use crate::Error;

/// Something that is damaged: found by a verification, or passed over by a load with fallback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Damaged {
    /// The commit that cannot be loaded for it; `None` for what is no commit, or where it is not known.
    pub seq: Option<u64>,
    /// The object's key, where one object is at fault.
    pub key: Option<String>,
    /// What is wrong.
    pub reason: String,
}

impl Damaged {
    pub(super) fn new(seq: Option<u64>, error: &Error) -> Self {
        Damaged { seq, key: error.key().map(ToString::to_string), reason: wrong(error).to_owned() }
    }
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(seq) = self.seq {
            write!(f, "commit {seq} is damaged: ")?;
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.reason)
    }
}
