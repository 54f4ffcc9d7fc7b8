//! What is known about a server.

use super::names::Backslash;
use crate::Capabilities;

/// What a bucket's server does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Found {
    /// It is Amazon's.
    pub(super) amazon: bool,
    pub(super) capabilities: Capabilities,
    /// It lists in byte order. One that walks folders gives `a/x` before `a-x`.
    pub(super) ordered: bool,
    pub(super) backslash: Backslash,
}

impl Found {
    /// Amazon S3, by its documentation.
    pub(super) fn amazon() -> Found {
        Found {
            amazon: true,
            capabilities: Capabilities::default().with_tags().with_tiers(),
            ordered: true,
            backslash: Backslash::Kept,
        }
    }

    /// A server that nothing is known about, except that it stores and gives back.
    pub(super) fn unknown() -> Found {
        Found {
            amazon: false,
            capabilities: Capabilities::default().unconditional(),
            ordered: false,
            backslash: Backslash::Unknown,
        }
    }
}
