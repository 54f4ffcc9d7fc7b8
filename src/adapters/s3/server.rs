//! What is known about a server.

use std::{collections::HashMap, time::Instant};

use super::names::Backslash;
use crate::{Capabilities, Error, RetryConfig};

/// What a bucket's server does.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Server {
    /// It is Amazon's.
    pub(super) amazon: bool,
    pub(super) capabilities: Capabilities,
    /// It lists in byte order. One that walks folders gives `a/x` before `a-x`.
    pub(super) ordered: bool,
    pub(super) backslash: Backslash,
    /// Each of its refusals has the id of the request: one without it is another's.
    pub(super) names_requests: bool,
}

impl Server {
    /// Amazon S3, by its documentation.
    pub(super) fn amazon() -> Server {
        Server {
            amazon: true,
            capabilities: Capabilities::default().with_tags().with_tiers(),
            ordered: true,
            backslash: Backslash::Kept,
            names_requests: true,
        }
    }

    /// A server that nothing is known about, except that it stores and gives back.
    pub(super) fn unknown() -> Server {
        Server {
            amazon: false,
            capabilities: Capabilities::default().unconditional(),
            ordered: false,
            backslash: Backslash::Unknown,
            names_requests: false,
        }
    }
}

/// What the probes of one bucket have found.
#[derive(Debug, Default)]
pub(super) struct Probes {
    pub(super) everywhere: Option<Server>,
    /// By prefix.
    pub(super) here: HashMap<String, Server>,
    /// When the server was away last, from whom, and with what patience.
    pub(super) away: Option<(Instant, RetryConfig, Error)>,
}
