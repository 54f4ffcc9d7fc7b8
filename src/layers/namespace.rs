//! All keys below a prefix.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};

use crate::{
    Body, Capabilities, DeleteOptions, Error, ErrorKind, GetOptions, Key, ListEntry, ListOptions, Object,
    ObjectMeta, PutOptions, Result, SnapshotAdapter, Tier,
};

/// Puts every key below `prefix/`, so that several deployments, teams or runs share one storage and do not
/// see each other.
///
/// The prefix counts towards [`Key::MAX_BYTES`]. What comes back, errors included, bears the caller's own
/// keys.
#[derive(Debug)]
pub struct Namespace {
    inner: Arc<dyn SnapshotAdapter>,
    /// With the `/` at its end.
    prefix: String,
}

impl Namespace {
    /// `inner`, below `prefix`, which follows the rules of a key; a `/` at its end may be there or not.
    ///
    /// # Errors
    /// `InvalidConfig` for a prefix that is not a key.
    pub fn new(inner: Arc<dyn SnapshotAdapter>, prefix: impl AsRef<str>) -> Result<Self> {
        let prefix = prefix.as_ref();
        let key = Key::new(prefix.strip_suffix('/').unwrap_or(prefix)).map_err(|error| {
            Error::new(ErrorKind::InvalidConfig, format!("the prefix cannot be used: {}", error.message()))
        })?;
        Ok(Namespace { inner, prefix: format!("{key}/") })
    }

    /// The inner adapter's name for `key`.
    fn inward(&self, key: &Key) -> Result<Key> {
        Key::new(format!("{}{key}", self.prefix)).map_err(|_| {
            let (prefix, len) = (self.prefix.len(), key.as_str().len());
            let message = format!(
                "the key has {len} bytes, and prefix and namespace take {prefix} of the {} bytes that all may have",
                Key::MAX_BYTES
            );
            Error::new(ErrorKind::InvalidInput, message).with_key(key)
        })
    }

    /// The caller's name for what the inner adapter calls `name`.
    fn outward<'a>(&self, name: &'a str) -> Result<&'a str> {
        name.strip_prefix(&self.prefix).ok_or_else(|| {
            Error::new(ErrorKind::Internal, "the adapter answered with a key outside of the prefix")
        })
    }

    fn outward_meta(&self, mut meta: ObjectMeta) -> Result<ObjectMeta> {
        meta.key = Key::new(self.outward(meta.key.as_str())?)?;
        Ok(meta)
    }

    /// An error of a put. One that came with the caller's body is about another storage's key, or about none,
    /// and stays as it is.
    fn outward_put(&self, error: Error, key: &Key) -> Error {
        match error.key().map(|inner| self.outward(inner.as_str())) {
            Some(Ok(name)) if name == key.as_str() => error.with_key(key),
            _ => error,
        }
    }

    /// An error of a listing, which may or may not be about one key.
    fn outward_error(&self, error: Error) -> Error {
        let key = error.key().and_then(|key| Key::new(self.outward(key.as_str()).ok()?).ok());
        match key {
            Some(key) => error.with_key(&key),
            None => error,
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl SnapshotAdapter for Namespace {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<ObjectMeta> {
        let meta = self.inner.put(&self.inward(key)?, body, options).await;
        self.outward_meta(meta.map_err(|error| self.outward_put(error, key))?)
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        let object = self.inner.get(&self.inward(key)?, options).await;
        let Object { meta, range, body } = object.map_err(|error| error.with_key(key))?;
        let name = key.clone();
        let body = body.map_stream(|stream| stream.map_err(move |error| error.with_key(&name)));
        Ok(Object { meta: self.outward_meta(meta)?, range, body })
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        let meta = self.inner.head(&self.inward(key)?).await;
        self.outward_meta(meta.map_err(|error| error.with_key(key))?)
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        self.inner.delete(&self.inward(key)?, options).await.map_err(|error| error.with_key(key))
    }

    fn list(&self, mut options: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
        options.prefix.insert_str(0, &self.prefix);
        if let Some(after) = &mut options.start_after {
            after.insert_str(0, &self.prefix);
        }
        let rows = self.inner.list(options).map(|row| match row {
            Ok(ListEntry::Object(meta)) => self.outward_meta(meta).map(ListEntry::Object),
            Ok(ListEntry::Prefix(prefix)) => Ok(ListEntry::Prefix(self.outward(&prefix)?.into())),
            Err(error) => Err(self.outward_error(error)),
        });
        rows.boxed()
    }

    async fn set_tier(&self, key: &Key, tier: Tier) -> Result<()> {
        self.inner.set_tier(&self.inward(key)?, tier).await.map_err(|error| error.with_key(key))
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner.to_string();
        write!(
            f,
            "{inner}{}{}",
            if inner.ends_with('/') { "" } else { "/" },
            self.prefix.trim_end_matches('/')
        )
    }
}
