//! Google Cloud Storage, by its JSON API (<https://cloud.google.com/storage/docs/json_api>).
//!
//! # Layout
//!
//! - `settings`: what configuration and environment come to
//! - `auth`: credentials and tokens
//! - `client`: how a request goes out
//! - `errors`: what a refusal means
//! - `said`: its words
//! - `model`: the object resource
//! - `names`: how names are encoded
//! - `put`: a save, in one request where it fits a chunk
//! - `resumable`: an upload of any length, in one session or several
//! - `session`: the requests of one upload session
//! - `doubt`: what a write may do after an attempt whose outcome is unknown
//! - `write_rate`: one write a second to the same object
//! - `known`: the generations that this process has seen or stored
//! - `open`: metadata and bytes of one generation
//! - `get`: loads, which resume, widen and are verified
//! - `list`: listings
//! - `delete`: removals
//! - `rewrite`: the tier of an object
//! - `copy`: copies inside the service
//! - `sum`: the checksum of what arrives in pieces
//! - `encryption`: Cloud KMS and customer-supplied keys

mod auth;
mod client;
mod copy;
mod delete;
mod doubt;
mod encryption;
mod errors;
mod get;
mod known;
mod list;
mod model;
mod names;
mod open;
mod put;
mod resumable;
mod rewrite;
mod said;
mod session;
mod settings;
mod sum;
mod write_rate;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use reqwest::Method;

use crate::{
    Body, Capabilities, DeleteOptions, Error, GcsConfig, GetOptions, Key, ListEntry, ListOptions, Object,
    ObjectMeta, PutOptions, Result, RetryConfig, SnapshotAdapter, Tier,
};
use client::{Call, Client};
use known::Known;
use settings::Settings;
use write_rate::WriteRate;

/// A bucket of Google Cloud Storage. Clones, and adapters of the same configuration, share connections, token
/// and retry budget.
///
/// ```no_run
/// # async fn example() -> persist::Result<()> {
/// use persist::{GcsConfig, RetryConfig, SnapshotAdapterExt, adapters::gcs::GcsAdapter};
///
/// let store = GcsAdapter::open("my-bucket", &GcsConfig::default(), &RetryConfig::default()).await?;
/// store.save("state", "agents/42/state.gz").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct GcsAdapter(Arc<Bucket>);

/// The bucket, and how to talk to it.
struct Bucket {
    client: Arc<Client>,
    name: String,
    retry: RetryConfig,
    known: Known,
    writes: WriteRate,
}

impl GcsAdapter {
    /// Opens `bucket`. Reads the credentials, but makes no request: what the service thinks of them, and
    /// whether there is such a bucket, the first operation tells. A listing of one row is the check that
    /// needs no permission beyond those on objects.
    ///
    /// # Errors
    /// `InvalidConfig` that names the setting, or the credentials file and its field.
    pub async fn open(bucket: &str, config: &GcsConfig, retry: &RetryConfig) -> Result<Self> {
        names::check_bucket(bucket)?;
        let settings =
            Settings::new(config, &|name| std::env::var(name).ok().filter(|value| !value.is_empty())).await?;
        let client = Client::shared(settings).await?;
        let writes = WriteRate::new(client.settings.is_google());
        Ok(GcsAdapter(Arc::new(Bucket {
            client,
            name: bucket.into(),
            retry: retry.clone(),
            known: Known::default(),
            writes,
        })))
    }
}

#[async_trait]
impl SnapshotAdapter for GcsAdapter {
    fn capabilities(&self) -> Capabilities {
        put::can()
    }

    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<ObjectMeta> {
        self.0.put(key, body, options).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        self.0.get(key, options).await
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        self.0.head(key).await
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        self.0.delete(key, options).await
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
        self.0.list(options)
    }

    async fn set_tier(&self, key: &Key, tier: Tier) -> Result<()> {
        self.0.set_tier(key, tier).await
    }
}

impl Bucket {
    fn object(&self, method: Method, key: &Key) -> Call {
        self.client.object(method, &self.name, key.as_str())
    }
}

fn named(operation: &'static str, key: &Key, error: Error) -> Error {
    error.with_backend("gcs").with_operation(operation).with_key(key)
}

impl fmt::Display for GcsAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gs://{}", self.0.name)
    }
}

impl fmt::Debug for GcsAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GcsAdapter").field("bucket", &self.0.name).field("client", &self.0.client).finish()
    }
}
