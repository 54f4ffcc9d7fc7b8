//! What users call: save and load over any adapter.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, ReadBuf};

use crate::{
    Body, Codec, Digest, Error, ErrorKind, GetOptions, Key, Limits, ObjectMeta, PutMode, PutOptions, Result,
    SnapshotAdapter, Version, codec,
};

/// Options of the `save` family.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct SaveOptions {
    /// The form to write; by default what the deployment configured ([`Capabilities::codec`](crate::Capabilities::codec)).
    pub codec: Option<Codec>,
    /// Condition, metadata, tags and tier of the object.
    pub put: PutOptions,
}

impl SaveOptions {
    /// Overwrite, in the deployment's codec.
    pub fn new() -> Self {
        Self::default()
    }

    /// The form to write.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = Some(codec);
        self
    }

    /// When the save may take effect.
    pub fn mode(mut self, mode: PutMode) -> Self {
        self.put.mode = mode;
        self
    }

    /// Condition, metadata, tags and tier of the object.
    pub fn put(mut self, put: PutOptions) -> Self {
        self.put = put;
        self
    }
}

/// What a save did.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Saved {
    /// The stored object; `meta.size` is its size after compression.
    pub meta: ObjectMeta,
    /// The state's size before compression, in bytes.
    pub raw_size: u64,
    /// The state's SHA-256.
    pub digest: Digest,
    /// The form that was written.
    pub codec: Codec,
}

/// Options of the `load` family.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct LoadOptions {
    /// The guard against decompression bombs.
    pub limits: Limits,
    /// Only this version; else `Conflict`.
    pub if_version: Option<Version>,
    /// Only another version; else `NotModified`.
    pub if_not_version: Option<Version>,
}

impl LoadOptions {
    /// Any version, default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// The guard against decompression bombs.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Only this version.
    pub fn if_version(mut self, version: Version) -> Self {
        self.if_version = Some(version);
        self
    }

    /// Only another version.
    pub fn if_not_version(mut self, version: Version) -> Self {
        self.if_not_version = Some(version);
        self
    }
}

/// A snapshot being read: an `AsyncRead` of the state, or a `Stream` of its chunks.
///
/// What it gives is checked as it goes; **only a clean end says that the state is good**. Damage that shows at the end comes
/// as an error in place of the end.
#[derive(Debug)]
pub struct SnapshotReader {
    meta: ObjectMeta,
    body: Body,
    chunk: Bytes,
}

impl SnapshotReader {
    /// The stored object's metadata.
    pub fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    /// The next chunk of the state, `None` at its verified end.
    ///
    /// # Errors
    /// `Corrupt` for damage, `InvalidInput` where a limit is hit, and what the adapter fails with.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        self.try_next().await
    }
}

impl Stream for SnapshotReader {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.chunk.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.chunk))));
        }
        Pin::new(&mut self.body).poll_next(cx)
    }
}

impl AsyncRead for SnapshotReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.chunk.is_empty() {
            match std::task::ready!(Pin::new(&mut self.body).poll_next(cx)) {
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                None => return Poll::Ready(Ok(())),
            }
        }
        let most = self.chunk.len().min(buf.remaining());
        buf.put_slice(&self.chunk.split_to(most));
        Poll::Ready(Ok(()))
    }
}

/// `save`, `load` and their streaming, JSON and file forms, on every [`SnapshotAdapter`], `Arc<dyn SnapshotAdapter>` included.
///
/// Arguments run from source to destination: `save(state, key)`, `upload(path, key)`, `download(key, path)`. Text will do
/// wherever a key is wanted.
#[async_trait]
pub trait SnapshotAdapterExt: SnapshotAdapter {
    /// Saves a state that is in memory, in one atomic, durable step.
    async fn save<K: IntoKey>(&self, state: impl Into<Bytes> + Send, key: K) -> Result<Saved> {
        self.save_with(state, key, SaveOptions::new()).await
    }

    /// [`save`](Self::save) with options.
    async fn save_with<K: IntoKey>(
        &self,
        state: impl Into<Bytes> + Send,
        key: K,
        options: SaveOptions,
    ) -> Result<Saved> {
        let state = state.into();
        self.save_body_with(Body::from(state), key, options).await
    }

    /// Saves what `reader` gives, of any length, in bounded memory. If the reader fails, nothing is stored.
    async fn save_stream<R: AsyncRead + Send + 'static, K: IntoKey>(
        &self,
        reader: R,
        key: K,
    ) -> Result<Saved> {
        self.save_body_with(Body::from_reader(reader), key, SaveOptions::new()).await
    }

    /// Saves a [`Body`] with options: the general form of `save` and `save_stream`.
    async fn save_body_with<K: IntoKey>(&self, body: Body, key: K, options: SaveOptions) -> Result<Saved> {
        let key = key.into_key()?;
        let codec = options.codec.unwrap_or(self.capabilities().codec);
        let mut put = options.put;
        put.content_type.get_or_insert_with(|| codec.content_type().into());
        let (body, summary) = codec::encode(body, codec)?;
        let meta = self.put(&key, body, put).await?;
        let codec::Summary { raw_size, digest } = summary.get()?;
        Ok(Saved { meta, raw_size, digest, codec })
    }

    /// Loads a state whole. It is returned only after every check has passed.
    async fn load<K: IntoKey>(&self, key: K) -> Result<Bytes> {
        self.load_with(key, LoadOptions::new()).await
    }

    /// [`load`](Self::load) with options.
    async fn load_with<K: IntoKey>(&self, key: K, options: LoadOptions) -> Result<Bytes> {
        self.load_stream_with(key, options).await?.body.collect(u64::MAX).await
    }

    /// Opens a state as a stream, in bounded memory.
    async fn load_stream<K: IntoKey>(&self, key: K) -> Result<SnapshotReader> {
        self.load_stream_with(key, LoadOptions::new()).await
    }

    /// [`load_stream`](Self::load_stream) with options.
    async fn load_stream_with<K: IntoKey>(&self, key: K, options: LoadOptions) -> Result<SnapshotReader> {
        let key = key.into_key()?;
        let mut get = GetOptions::new();
        (get.if_version, get.if_not_version) = (options.if_version, options.if_not_version);
        let object = self.get(&key, get).await?;
        let meta = object.meta.clone();
        let body = codec::decode(object, options.limits).await.map_err(|error| error.with_key(&key))?;
        Ok(SnapshotReader { meta, body, chunk: Bytes::new() })
    }

    /// Saves a value as JSON.
    async fn save_json<T: Serialize + Sync, K: IntoKey>(&self, value: &T, key: K) -> Result<Saved> {
        let bad = |error| {
            Error::new(ErrorKind::InvalidInput, "the value cannot be written as JSON").with_source(error)
        };
        let state: Vec<u8> = serde_json::to_vec(value).map_err(bad)?;
        self.save(state, key).await
    }

    /// Loads a value from JSON, after every check of the whole snapshot has passed.
    async fn load_json<T: DeserializeOwned, K: IntoKey>(&self, key: K) -> Result<T> {
        let key = key.into_key()?;
        let bad = |error| {
            let message = "the snapshot is intact, but not the JSON that was asked for";
            Error::new(ErrorKind::InvalidInput, message)
                .with_operation("load")
                .with_key(&key)
                .with_source(error)
        };
        serde_json::from_slice(&self.load(&key).await?).map_err(bad)
    }

    /// Whether there is a snapshot.
    async fn exists<K: IntoKey>(&self, key: K) -> Result<bool> {
        match self.head(&key.into_key()?).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl<A: SnapshotAdapter + ?Sized> SnapshotAdapterExt for A {}

/// What names a snapshot: a [`Key`], a reference to one, or text that is checked now.
pub trait IntoKey: Send {
    /// The key.
    ///
    /// # Errors
    /// `InvalidInput` that names the broken rule.
    fn into_key(self) -> Result<Key>;
}

impl<T: TryInto<Key> + Send> IntoKey for T
where
    Error: From<T::Error>,
{
    fn into_key(self) -> Result<Key> {
        Ok(self.try_into()?)
    }
}
