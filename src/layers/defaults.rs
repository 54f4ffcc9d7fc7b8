//! What a deployment configured for callers that do not say.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::{
    Body, Capabilities, Codec, DeleteOptions, GetOptions, Key, Limits, ListEntry, ListOptions, Object,
    ObjectMeta, PutOptions, Result, SnapshotAdapter, Tier,
};

/// Sets [`Capabilities::settings`]: the form that `save` writes, the guard of loads, and the window of
/// sessions.
#[derive(Debug)]
#[must_use]
pub struct Defaults {
    inner: Arc<dyn SnapshotAdapter>,
    codec: Option<Codec>,
    limits: Option<Limits>,
    fence_window: Option<Duration>,
}

impl Defaults {
    /// `inner` as it is.
    pub fn new(inner: Arc<dyn SnapshotAdapter>) -> Self {
        Defaults { inner, codec: None, limits: None, fence_window: None }
    }

    /// `save` writes this form.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = Some(codec);
        self
    }

    /// Loads are guarded by these limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Sessions have this window: see [`Sessions::fence_window`](crate::sessions::Sessions::fence_window).
    pub fn fence_window(mut self, window: Duration) -> Self {
        self.fence_window = Some(window);
        self
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl SnapshotAdapter for Defaults {
    fn capabilities(&self) -> Capabilities {
        let mut can = self.inner.capabilities();
        let set = &mut can.settings;
        set.codec = self.codec.unwrap_or(set.codec);
        set.limits = self.limits.unwrap_or(set.limits);
        set.fence_window = self.fence_window.unwrap_or(set.fence_window);
        can
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

impl fmt::Display for Defaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}
