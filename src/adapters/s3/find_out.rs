//! Which server it is: each bucket's is probed once in a process.

use std::time::Instant;

use futures_util::FutureExt;

use super::{
    bucket::Bucket,
    fail::retold,
    probe::{Scope, is_away, probe},
    server::Server,
};
use crate::Result;

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
