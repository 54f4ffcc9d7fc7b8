//! Refuses to write.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::{
    Body, Capabilities, DeleteOptions, Error, ErrorKind, GetOptions, Key, ListEntry, ListOptions, Object,
    ObjectMeta, PutOptions, Result, SnapshotAdapter, Tier,
};

/// Reads pass; everything that would change something is `AccessDenied`, before a byte of it is looked at.
#[derive(Debug)]
pub struct ReadOnly {
    inner: Arc<dyn SnapshotAdapter>,
}

impl ReadOnly {
    /// `inner`, for reading only.
    pub fn new(inner: Arc<dyn SnapshotAdapter>) -> Self {
        ReadOnly { inner }
    }
}

fn refuse(operation: &'static str, key: &Key) -> Error {
    let message =
        "this program opened the storage for reading only (`layers::ReadOnly`); change it with another";
    Error::new(ErrorKind::AccessDenied, message).with_operation(operation).with_key(key)
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl SnapshotAdapter for ReadOnly {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn put(&self, key: &Key, _: Body, _: PutOptions) -> Result<ObjectMeta> {
        Err(refuse("put", key))
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        self.inner.get(key, options).await
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        self.inner.head(key).await
    }

    async fn delete(&self, key: &Key, _: DeleteOptions) -> Result<()> {
        Err(refuse("delete", key))
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
        self.inner.list(options)
    }

    async fn set_tier(&self, key: &Key, _: Tier) -> Result<()> {
        Err(refuse("set_tier", key))
    }
}

impl fmt::Display for ReadOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}
