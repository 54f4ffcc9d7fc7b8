//! `Timeout`: ends calls that bring nothing for too long.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{
    StreamExt, TryStreamExt,
    future::{self, Either},
    stream::{self, BoxStream},
};
use tokio::time::Instant;

use crate::{
    Body, Capabilities, DeleteOptions, Error, ErrorKind, GetOptions, Key, ListEntry, ListOptions, Object,
    ObjectMeta, PutOptions, Result, SnapshotAdapter, Tier, lock::lock,
};

/// Fails with `Timeout` where nothing happens for too long.
///
/// The limit is on silence and not on the whole, so that it need not grow with the size: each chunk that a
/// `put` takes, each chunk that a body gives and each row of a listing starts it anew. The time that the
/// caller takes to read on does not count.
///
/// All that a `put` shows of itself is that it takes from its body. While an adapter sends what it has taken
/// (S3: `part_size` times `parallel`, 32 MiB; GCS: a chunk) and while the service puts a large object
/// together, it seems silent: the limit must be longer than that takes. A body in memory is taken in one go,
/// so it has the limit's time for each 32 MiB.
///
/// A write that timed out may have taken effect; nobody will report it.
///
/// # Panics
/// Its operations panic in a runtime without a time driver (`enable_all` of tokio's builder, or
/// `enable_time`, gives it one).
#[derive(Debug)]
pub struct Timeout {
    inner: Arc<dyn SnapshotAdapter>,
    limit: Duration,
}

impl Timeout {
    /// `inner`, with `limit` as the longest silence.
    pub fn new(inner: Arc<dyn SnapshotAdapter>, limit: Duration) -> Self {
        Timeout { inner, limit }
    }
}

/// How much of a body in memory is sent within the limit: as much as adapters send side by side.
const WINDOW: usize = 32 << 20;

fn too_long(limit: Duration, operation: &'static str) -> Error {
    let message = format!("no answer for {limit:?}; check the connection, or raise the timeout");
    Error::new(ErrorKind::Timeout, message).with_operation(operation)
}

async fn in_time<T>(
    limit: Duration,
    operation: &'static str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(too_long(limit, operation)))
}

/// The items of `stream`, each in time.
fn each_in_time<'a, T: Send + 'a>(
    limit: Duration,
    operation: &'static str,
    stream: impl stream::Stream<Item = Result<T>> + Send + 'a,
) -> impl stream::Stream<Item = Result<T>> + Send + 'a {
    stream::try_unfold(stream.boxed(), move |mut stream| async move {
        let item = in_time(limit, operation, stream.try_next()).await?;
        Ok(item.map(|item| (item, stream)))
    })
}

/// What a put waits for.
#[derive(Debug, Clone)]
struct Silence(Arc<Mutex<(Instant, bool)>>);

impl Default for Silence {
    fn default() -> Self {
        Silence(Arc::new(Mutex::new((Instant::now(), false))))
    }
}

impl Silence {
    /// The body was polled; `waiting` if it had nothing.
    fn note(&self, waiting: bool) {
        *lock(&self.0) = (Instant::now(), waiting);
    }

    /// When the adapter last had something to do. While it waits for the caller's body that is now: the
    /// silence is the caller's.
    fn last(&self) -> Instant {
        match *lock(&self.0) {
            (_, true) => Instant::now(),
            (at, false) => at,
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl SnapshotAdapter for Timeout {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<ObjectMeta> {
        let windows = body.in_memory().map_or(1, |bytes| bytes.len().div_ceil(WINDOW).max(1));
        let limit = self.limit.saturating_mul(u32::try_from(windows).unwrap_or(u32::MAX));
        let silence = Silence::default();
        let seen = silence.clone();
        let body = body.map_stream(|mut stream| {
            stream::poll_fn(move |cx| {
                let item = stream.poll_next_unpin(cx);
                seen.note(item.is_pending());
                item
            })
        });
        let mut put = self.inner.put(key, body, options);
        loop {
            // Longer than any clock runs: no limit at all.
            let Some(silent_until) = silence.last().checked_add(limit) else { return put.await };
            if silent_until <= Instant::now() {
                return Err(too_long(limit, "put").with_key(key));
            }
            match future::select(put, Box::pin(tokio::time::sleep_until(silent_until))).await {
                Either::Left((result, _)) => return result,
                Either::Right((_, unfinished)) => put = unfinished,
            }
        }
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        let limit = self.limit;
        let object = in_time(limit, "get", self.inner.get(key, options)).await;
        let mut object = object.map_err(|error| error.with_key(key))?;
        let key = key.clone();
        object.body = object.body.map_stream(|stream| {
            each_in_time(limit, "get", stream).map_err(move |error| error.with_key(&key))
        });
        Ok(object)
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        in_time(self.limit, "head", self.inner.head(key)).await.map_err(|error| error.with_key(key))
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        let work = self.inner.delete(key, options);
        in_time(self.limit, "delete", work).await.map_err(|error| error.with_key(key))
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
        each_in_time(self.limit, "list", self.inner.list(options)).boxed()
    }

    async fn set_tier(&self, key: &Key, tier: Tier) -> Result<()> {
        let work = self.inner.set_tier(key, tier);
        in_time(self.limit, "set_tier", work).await.map_err(|error| error.with_key(key))
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}
