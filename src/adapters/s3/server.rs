//! What is known about a server.

use std::{collections::HashMap, time::Instant};

use futures_util::FutureExt;

use super::{
    bucket::Bucket,
    fail::retold,
    names::Backslash,
    probe::{Scope, is_away, probe},
};
use crate::{Capabilities, Error, Result, RetryConfig};

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

/// What the probes of one bucket have found.
#[derive(Debug, Default)]
pub(super) struct Known {
    everywhere: Option<Found>,
    /// By prefix.
    here: HashMap<String, Found>,
    /// When the server was away last, from whom, and with what patience.
    away: Option<(Instant, RetryConfig, Error)>,
}

impl Bucket {
    /// What the server of this bucket does: as it is known, or as a probe finds it out with objects under `prefix`.
    ///
    /// # Errors
    /// As [`probe`].
    pub(super) async fn find_out(&self, prefix: &str) -> Result<Found> {
        let (asked, known) = (Instant::now(), self.shared.known(&self.name));
        // Held over the probe, so that tasks that open the same bucket at once wait for one probe.
        let mut known = known.lock().await;
        if let Some(found) = known.everywhere.or_else(|| known.here.get(prefix).copied()) {
            return Ok(found);
        }
        // Those who have waited for one that failed would wait for theirs in a row.
        if let Some((told, retry, error)) = &known.away
            && *told > asked
            && *retry == self.retry
        {
            return Err(retold(error, "open"));
        }
        let (found, scope) = probe(self, prefix).boxed().await.inspect_err(|error| {
            let away = || (Instant::now(), self.retry.clone(), retold(error, "open"));
            known.away = is_away(error).then(away);
        })?;
        // What is not allowed under one prefix, or was out of order for a moment, says nothing about the server.
        match scope {
            Scope::Everywhere => known.everywhere = Some(found),
            Scope::Prefix => drop(known.here.insert(prefix.into(), found)),
            Scope::Once => {}
        }
        Ok(found)
    }
}
