//! How `save` encodes when its caller does not say.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::{
    Body, Capabilities, Codec, DeleteOptions, GetOptions, Key, ListEntry, ListOptions, Object, ObjectMeta,
    PutOptions, Result, SnapshotAdapter, Tier,
};

/// Sets [`Capabilities::codec`], the form that `save` writes when its caller does not choose one.
#[derive(Debug)]
pub struct DefaultCodec {
    inner: Arc<dyn SnapshotAdapter>,
    codec: Codec,
}

impl DefaultCodec {
    /// `inner`, on which `save` writes `codec`.
    pub fn new(inner: Arc<dyn SnapshotAdapter>, codec: Codec) -> Self {
        DefaultCodec { inner, codec }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl SnapshotAdapter for DefaultCodec {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities().with_codec(self.codec)
    }

    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<ObjectMeta> {
        self.inner.put(key, body, options).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        self.inner.get(key, options).await
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

impl fmt::Display for DefaultCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}
