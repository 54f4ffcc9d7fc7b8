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
    everywhere: Option<Server>,
    /// By prefix.
    here: HashMap<String, Server>,
    /// When the server was away last, from whom, and with what patience.
    away: Option<(Instant, RetryConfig, Error)>,
}

impl Bucket {
    /// What the server of this bucket does: as it is known, or as a probe finds it out with objects under
    /// `prefix`.
    ///
    /// # Errors
    /// As [`probe`].
    pub(super) async fn find_out(&self, prefix: &str) -> Result<Server> {
        let (asked, probes) = (Instant::now(), self.shared.probes(&self.name));
        // Held over the probe, so that tasks that open the same bucket at once wait for one probe.
        let mut probes = probes.lock().await;
        if let Some(found) = probes.everywhere.as_ref().or_else(|| probes.here.get(prefix)) {
            return Ok(found.clone());
        }
        // Those who have waited for one that failed would wait for theirs in a row.
        if let Some((told, retry, error)) = &probes.away
            && *told > asked
            && *retry == self.retry
        {
            return Err(retold(error, "open"));
        }
        let (found, scope) = probe(self, prefix).boxed().await.inspect_err(|error| {
            let away = || (Instant::now(), self.retry.clone(), retold(error, "open"));
            probes.away = is_away(error).then(away);
        })?;
        // What is not allowed under one prefix, or was out of order for a moment, says nothing about the
        // server.
        match scope {
            Scope::Everywhere => probes.everywhere = Some(found.clone()),
            Scope::Prefix => drop(probes.here.insert(prefix.into(), found.clone())),
            Scope::Once => {}
        }
        Ok(found)
    }
}
