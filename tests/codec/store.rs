//! A store in memory that gives its objects as streams and counts what is read.

use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use persist::{
    Body, Capabilities, DeleteOptions, GetOptions, Key, ListEntry, ListOptions, Object, ObjectMeta,
    PutOptions, Result, SnapshotAdapter, SnapshotAdapterExt, Tier, adapters::memory::MemoryAdapter,
};

/// One segment of the format.
pub const SEGMENT: usize = 1 << 20;
/// One of a state that has no more than [`SEGMENT`].
pub const SHORT: usize = 1 << 18;

/// Text that compresses about as states do, the same at every run.
pub fn state(len: usize) -> Vec<u8> {
    let words = [
        "\"role\":\"",
        "assistant",
        "tool_calls",
        "{\"id\":",
        "content",
        "\",\"",
        "user",
        "\\n",
        "the ",
        "step ",
    ];
    let mut out = Vec::with_capacity(len + 32);
    let mut random = noise(len / 2 + 16).into_iter();
    while out.len() < len {
        let byte = random.next().unwrap_or(7);
        out.extend_from_slice(words[byte as usize % words.len()].as_bytes());
        if byte > 200 {
            out.extend_from_slice(format!("{:x}", random.next().unwrap_or(1)).as_bytes());
        }
    }
    out.truncate(len);
    out
}

/// Bytes that do not compress, the same at every run. Golden files hold what [`state`] makes of them.
pub fn noise(len: usize) -> Vec<u8> {
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        out.extend_from_slice(&seed.to_le_bytes());
    }
    out.truncate(len);
    out
}

/// `bytes` as a stream of chunks.
pub fn chunked(bytes: &[u8], size: usize) -> Body {
    let chunks: Vec<_> = bytes.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    Body::from_stream(stream::iter(chunks))
}

#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
pub struct Inner {
    pub inner: MemoryAdapter,
    chunk: usize,
    /// Requests for an object or a part of one.
    pub gets: AtomicUsize,
    /// Bytes of bodies that were read.
    pub read: AtomicU64,
    /// The lengths that bodies came with.
    pub lengths: Mutex<Vec<Option<u64>>>,
}

impl Store {
    /// A store whose bodies come in chunks of this size.
    pub fn new(chunk: usize) -> Self {
        let (gets, read, lengths) = Default::default();
        Store(Arc::new(Inner { inner: MemoryAdapter::new(), chunk, gets, read, lengths }))
    }

    /// The bytes of an object.
    pub async fn bytes(&self, key: &str) -> Bytes {
        let object = self.inner.get(&Key::new(key).unwrap(), GetOptions::new()).await.unwrap();
        object.body.collect(u64::MAX).await.unwrap()
    }

    /// Replaces the bytes of an object and keeps its metadata.
    pub async fn spoil(&self, key: &str, bytes: impl Into<Body>) {
        let key = Key::new(key).unwrap();
        let meta = self.inner.head(&key).await.unwrap();
        let mut options = PutOptions::new();
        (options.content_type, options.metadata) = (meta.content_type, meta.metadata);
        self.inner.put(&key, bytes.into(), options).await.unwrap();
    }

    /// An object that another tool wrote.
    pub async fn foreign(&self, key: &str, bytes: impl Into<Body>) {
        self.inner.put(&Key::new(key).unwrap(), bytes.into(), PutOptions::new()).await.unwrap();
    }

    /// Whether loading `key` gives `expected`; else the error must be `Corrupt`.
    pub async fn is_intact(&self, key: &str, expected: &[u8]) -> bool {
        match self.load(key).await {
            Ok(state) => {
                assert!(state == expected, "a wrong state was loaded");
                true
            }
            Err(error) => {
                assert_eq!(error.kind(), persist::ErrorKind::Corrupt, "{error}");
                false
            }
        }
    }

    /// How many requests there were since the last question.
    pub fn requests(&self) -> usize {
        self.gets.swap(0, Ordering::Relaxed)
    }
}

impl Deref for Store {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

#[async_trait]
impl SnapshotAdapter for Store {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<ObjectMeta> {
        self.lengths.lock().unwrap().push(body.len());
        self.inner.put(key, body, options).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        let Object { meta, range, body, .. } = self.inner.get(key, options).await?;
        let bytes = body.collect(u64::MAX).await?;
        let (store, size) = (self.clone(), self.chunk);
        let chunks =
            (0..bytes.len()).step_by(size).map(move |at| bytes.slice(at..(at + size).min(bytes.len())));
        let body = stream::iter(chunks.map(Ok)).inspect_ok(move |chunk: &Bytes| {
            store.read.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        });
        Ok(Object::new(meta, range, Body::from_stream(body.boxed())))
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        self.inner.head(key).await
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        self.inner.delete(key, options).await
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
        self.inner.list(options)
    }

    async fn set_tier(&self, key: &Key, tier: Tier) -> Result<()> {
        self.inner.set_tier(key, tier).await
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("store://")
    }
}

impl Inner {
    /// What is known of an object.
    pub async fn meta(&self, key: &str) -> ObjectMeta {
        self.inner.head(&Key::new(key).unwrap()).await.unwrap()
    }

    /// An object's version.
    pub async fn head_version(&self, key: &str) -> persist::Version {
        self.meta(key).await.version
    }
}
