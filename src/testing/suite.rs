//! What is tested and how large, and what the cases share.

use std::{any::Any, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Failure, Outcome};
use crate::{
    Body, Capabilities, DeleteOptions, GetOptions, Key, ListEntry, ListOptions, ObjectMeta, PutOptions,
    Result, SnapshotAdapter,
};

/// An adapter to be tested, and how hard.
#[derive(Clone)]
#[must_use]
pub struct Suite {
    pub(super) adapter: Arc<dyn SnapshotAdapter>,
    pub(super) prefix: String,
    pub(super) large: usize,
    pub(super) objects: usize,
    pub(super) racers: usize,
    pub(super) longest_key: usize,
    pub(super) content_versions: bool,
    pub(super) wide_backslash: bool,
    pub(super) dated_when_begun: bool,
    pub(super) patience: Duration,
    pub(super) secrets: Vec<String>,
    guards: Vec<Arc<dyn Any + Send + Sync>>,
}

impl Suite {
    /// Tests `adapter` with bodies of 3 MiB, listings of 1,100 objects and races of 12 tasks.
    pub fn new(adapter: impl SnapshotAdapter) -> Self {
        Suite::from(Arc::new(adapter) as Arc<dyn SnapshotAdapter>)
    }

    /// How many bytes a large body has: more than the adapter sends in one request.
    pub fn large(mut self, bytes: usize) -> Self {
        self.large = bytes;
        self
    }

    /// How many objects a long listing has: more than the service gives in one page.
    pub fn objects(mut self, count: usize) -> Self {
        self.objects = count.max(10);
        self
    }

    /// How many tasks race for a key.
    pub fn racers(mut self, count: usize) -> Self {
        self.racers = count.max(2);
        self
    }

    /// How many bytes a key may have, where a prefix that the adapter adds leaves fewer than
    /// [`Key::MAX_BYTES`].
    pub fn longest_key(mut self, bytes: usize) -> Self {
        self.longest_key = bytes.min(Key::MAX_BYTES);
        self
    }

    /// Says that the service makes versions from content, as S3 does with its ETags: equal bytes under one
    /// key may then have equal versions.
    pub fn content_versions(mut self) -> Self {
        self.content_versions = true;
        self
    }

    /// Says that the adapter has to store `\` as two bytes, because the service takes it for `/`: a segment
    /// can then hold half as many of them.
    pub fn wide_backslash(mut self) -> Self {
        self.wide_backslash = true;
        self
    }

    /// Says that the service dates an object that was uploaded in parts by when the upload was begun, as
    /// Amazon S3 does: only what goes in one request is then looked at for that.
    pub fn dated_when_begun(mut self) -> Self {
        self.dated_when_begun = true;
        self
    }

    /// How long a case may take, of which one that waits for ever fails. Default: 5 minutes.
    pub fn patience(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// A credential that the adapter was opened with: nothing that it shows of itself may hold it.
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.secrets.push(secret.into());
        self
    }

    /// Keeps a temporary directory, a server or the like alive for as long as the adapter is tested.
    pub fn keep(mut self, guard: impl Any + Send + Sync) -> Self {
        self.guards.push(Arc::new(guard));
        self
    }

    /// The same for one case, below a prefix of its own.
    pub(super) fn below(&self, case: &str) -> Self {
        Suite { prefix: format!("{}/{case}", self.prefix), ..self.clone() }
    }

    /// Removes everything below the prefix.
    pub(super) async fn clean(&self) -> Outcome {
        let keys: Vec<String> = self.names(ListOptions::new()).await?;
        stream::iter(keys)
            .map(
                |name| async move { Ok(self.adapter.delete(&self.key(&name)?, DeleteOptions::new()).await?) },
            )
            .buffer_unordered(8)
            .try_collect::<()>()
            .await
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        self.adapter.capabilities()
    }

    /// The key `name` of this case.
    pub(super) fn key(&self, name: &str) -> Result<Key> {
        Key::new(format!("{}/{name}", self.prefix))
    }

    /// Stores bytes that are in memory, whatever was there before.
    pub(super) async fn put(&self, key: &Key, bytes: impl Into<Bytes>) -> Result<ObjectMeta> {
        self.put_with(key, bytes, PutOptions::new()).await
    }

    pub(super) async fn put_with(
        &self,
        key: &Key,
        bytes: impl Into<Bytes>,
        options: PutOptions,
    ) -> Result<ObjectMeta> {
        self.adapter.put(key, Body::from(bytes.into()), options).await
    }

    /// The whole object.
    pub(super) async fn read(&self, key: &Key) -> Result<Bytes> {
        self.adapter.get(key, GetOptions::new()).await?.body.collect(u64::MAX).await
    }

    /// The names that a listing gives, without this case's prefix. The options' texts are taken as names of
    /// this case.
    pub(super) async fn names(&self, options: ListOptions) -> Outcome<Vec<String>> {
        let entries: Vec<ListEntry> = self.adapter.list(self.within(options)).try_collect().await?;
        entries.iter().map(|entry| self.own(entry.name()).map(str::to_owned)).collect()
    }

    /// Options with texts relative to this case made absolute.
    pub(super) fn within(&self, mut options: ListOptions) -> ListOptions {
        options.prefix = format!("{}/{}", self.prefix, options.prefix);
        options.start_after = options.start_after.map(|name| format!("{}/{name}", self.prefix));
        options
    }

    /// A listed name without this case's prefix.
    pub(super) fn own<'a>(&self, name: &'a str) -> Outcome<&'a str> {
        let own = name.strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix('/'));
        own.ok_or_else(|| Failure::new(format!("the listing gave {name:?}, which is not below its prefix")))
    }
}

/// A task that ends with the case that began it: one that goes on would write to a user's storage behind its
/// back.
pub(super) struct Task<T>(tokio::task::JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    pub(super) fn start(work: impl Future<Output = T> + Send + 'static) -> Self {
        Task(tokio::spawn(work))
    }

    pub(super) fn handle(&self) -> tokio::task::AbortHandle {
        self.0.abort_handle()
    }

    /// What it came to. `who` is named where it panicked.
    pub(super) async fn end(mut self, who: &str) -> Outcome<T> {
        (&mut self.0).await.map_err(|error| Failure::new(format!("{who} died: {error}")))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// With the default sizes.
impl From<Arc<dyn SnapshotAdapter>> for Suite {
    fn from(adapter: Arc<dyn SnapshotAdapter>) -> Self {
        Suite {
            adapter,
            prefix: format!("conformance-{}", ulid::Ulid::generate()),
            large: 3 * 1024 * 1024 + 12_345,
            objects: 1100,
            racers: 12,
            longest_key: Key::MAX_BYTES,
            content_versions: false,
            wide_backslash: false,
            dated_when_begun: false,
            patience: Duration::from_secs(300),
            secrets: Vec::new(),
            guards: Vec::new(),
        }
    }
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite").field("adapter", &self.adapter).field("prefix", &self.prefix).finish()
    }
}

/// How far two times of one moment may be apart: services keep whole seconds, and have more than one clock.
pub(super) const SAME_TIME: Duration = Duration::from_secs(3);

/// Bytes that do not compress and differ with `seed`, so that mixed-up parts show.
pub(super) fn pattern(len: usize, seed: u64) -> Bytes {
    // xorshift64*: https://www.jstatsoft.org/article/view/v008i14
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    Bytes::from(bytes)
}

/// A body of unknown length in chunks of an odd size.
pub(super) fn streamed(bytes: &Bytes) -> Body {
    Body::from_stream(stream::iter(chunks(bytes).into_iter().map(Ok)))
}

/// The chunks of [`streamed`].
pub(super) fn chunks(bytes: &Bytes) -> Vec<Bytes> {
    let mut rest = bytes.clone();
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        chunks.push(rest.split_to(rest.len().min(37_003)));
    }
    chunks
}
