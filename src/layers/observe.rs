//! Logs and metrics.

use std::{fmt, future::Future, sync::Arc, time::Instant};

use async_trait::async_trait;
use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use tracing::{Instrument, Level, Span, info_span};

use crate::{
    Body, Capabilities, DeleteOptions, ErrorKind, GetOptions, Key, ListEntry, ListOptions, Object,
    ObjectMeta, PutOptions, Result, SnapshotAdapter, Tier,
};

/// A `tracing` span around each operation and an event at its end: operation, backend, bytes (none for a
/// listing), duration, outcome. With the feature `metrics` also counters and a histogram of the same through
/// the `metrics` facade.
///
/// Writes are logged at `INFO`, reads at `DEBUG`, failures at `WARN`; that something is missing, taken,
/// unchanged or was changed by another is an outcome and no failure. The body of a `get` has an event of its
/// own when it has been read or given up.
///
/// Keys appear as [`Key::pseudonym`] unless `DEBUG` is enabled for the target `persist::keys`, because ids of
/// users do not belong into logs. With `persist=debug` they appear, with `persist=debug,persist::keys=info`
/// they do not.
///
/// [`StorageConfig::open`](crate::StorageConfig::open) has put it around its storages already.
#[derive(Debug)]
pub struct Observe {
    inner: Arc<dyn SnapshotAdapter>,
    backend: &'static str,
}

impl Observe {
    /// `inner`, observed. `backend` is what logs and metrics call it: `local`, `s3`, `gcs` and so on.
    pub fn new(inner: Arc<dyn SnapshotAdapter>, backend: &'static str) -> Self {
        Observe { inner, backend }
    }

    fn start(&self, operation: &'static str, key: Option<&Key>) -> InFlight {
        let key = key.map(Key::logged);
        let span = info_span!("persist", operation, backend = self.backend, key);
        InFlight { operation, backend: self.backend, span, bytes: 0, started: Instant::now(), ended: false }
    }

    async fn watch<T>(
        &self,
        operation: &'static str,
        key: &Key,
        work: impl Future<Output = Result<T>>,
        bytes: impl FnOnce(&T) -> u64,
    ) -> Result<T> {
        let mut watch = self.start(operation, Some(key));
        let span = watch.span.clone();
        let result = work.instrument(span).await;
        watch.bytes = result.as_ref().map(bytes).unwrap_or_default();
        watch.end(result.as_ref().err().map(crate::Error::kind));
        result
    }
}

/// An operation under way. Whatever happens to it, it is reported once.
struct InFlight {
    operation: &'static str,
    backend: &'static str,
    span: Span,
    bytes: u64,
    started: Instant,
    ended: bool,
}

impl InFlight {
    fn end(&mut self, failed: Option<ErrorKind>) {
        use ErrorKind::{AlreadyExists, Conflict, NotFound, NotModified};
        let outcome = failed.map_or("ok", ErrorKind::as_str);
        let write = matches!(self.operation, "put" | "delete" | "set_tier");
        match failed {
            None if write => self.report(Level::INFO, outcome),
            None | Some(NotFound | AlreadyExists | Conflict | NotModified) => {
                self.report(Level::DEBUG, outcome)
            }
            Some(_) => self.report(Level::WARN, outcome),
        }
    }

    fn report(&mut self, level: Level, outcome: &'static str) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let elapsed = self.started.elapsed();
        // To the hundredth: more digits are noise.
        let (bytes, duration_ms) = (self.bytes, (elapsed.as_secs_f64() * 1e5).round() / 1e2);
        let _entered = self.span.enter();
        // The level of an event is part of its static description.
        match level {
            Level::INFO => tracing::info!(bytes, duration_ms, outcome, "done"),
            Level::DEBUG => tracing::debug!(bytes, duration_ms, outcome, "done"),
            _ => tracing::warn!(bytes, duration_ms, outcome, "failed"),
        }
        #[cfg(feature = "metrics")]
        {
            let (operation, backend) = (self.operation, self.backend);
            metrics::counter!("persist_operations_total", "operation" => operation, "backend" => backend, "outcome" => outcome)
                .increment(1);
            metrics::counter!("persist_bytes_total", "operation" => operation, "backend" => backend)
                .increment(bytes);
            metrics::histogram!("persist_operation_seconds", "operation" => operation, "backend" => backend)
                .record(elapsed.as_secs_f64());
        }
        #[cfg(not(feature = "metrics"))]
        let _ = self.backend;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.report(Level::DEBUG, "dropped");
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl SnapshotAdapter for Observe {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<ObjectMeta> {
        self.watch("put", key, self.inner.put(key, body, options), |meta| meta.size).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        let in_memory = |object: &Object| object.body.in_memory().map_or(0, |bytes| bytes.len() as u64);
        let mut object = self.watch("get", key, self.inner.get(key, options), in_memory).await?;
        if object.body.in_memory().is_some() {
            return Ok(object);
        }
        let watch = self.start("read", Some(key));
        object.body = object.body.map_stream(|body| {
            stream::try_unfold((body, watch), |(mut body, mut watch)| async move {
                let chunk = body.try_next().await;
                match &chunk {
                    Ok(Some(chunk)) => watch.bytes += chunk.len() as u64,
                    Ok(None) => watch.end(None),
                    Err(error) => watch.end(Some(error.kind())),
                }
                Ok(chunk?.map(|chunk| (chunk, (body, watch))))
            })
        });
        Ok(object)
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        self.watch("head", key, self.inner.head(key), |_| 0).await
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        self.watch("delete", key, self.inner.delete(key, options), |()| 0).await
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
        let state = (self.inner.list(options), self.start("list", None));
        let rows = stream::try_unfold(state, |(mut rows, mut watch)| async move {
            let span = watch.span.clone();
            let row = rows.try_next().instrument(span).await;
            match &row {
                Ok(Some(_)) => {}
                Ok(None) => watch.end(None),
                Err(error) => watch.end(Some(error.kind())),
            }
            Ok(row?.map(|row| (row, (rows, watch))))
        });
        rows.boxed()
    }

    async fn set_tier(&self, key: &Key, tier: Tier) -> Result<()> {
        self.watch("set_tier", key, self.inner.set_tier(key, tier), |()| 0).await
    }
}

impl fmt::Display for Observe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

// `tracing-subscriber` comes with the feature `cli`.
#[cfg(all(test, feature = "cli"))]
#[path = "observe_tests.rs"]
mod tests;
