//! Amazon S3, and every server that speaks its API.
//!
//! # Layout
//! In the order in which a request meets them:
//!
//! - [`S3Adapter`]: the adapter, here.
//! - `settings`: the configuration, checked.
//! - `keys`: the credentials, checked.
//! - `client`: one SDK client per configuration.
//! - `amazon`: which addresses are S3's own.
//! - `server`: what a bucket's server does.
//! - `probe`: finds that out; `find_out`: once for each bucket.
//! - `names`: names that a server would change.
//! - `total`: the limit for an operation as a whole.
//! - `bucket`: how a request is made.
//! - `attributes`: what an object has besides its bytes.
//! - `put`: saves.
//! - `multipart`: those in parts.
//! - `open_upload`: an upload that has begun, and its end.
//! - `under_way`: the uploads of this process.
//! - `uploads`: those that nobody completes, and their clean-up.
//! - `doubt`: saves of unknown outcome.
//! - `progress`: whether a request's body moves.
//! - `answered`: whether an answer has begun.
//! - `get`: loads.
//! - `checksum`: of whole objects.
//! - `head`: metadata, and removal.
//! - `list`: listings.
//! - `tier`: storage classes.
//! - `errors`: what S3's answers mean.
//! - `genuine`: whether they are S3's.
//! - `fail`: errors of our own.

mod amazon;
mod answered;
mod attributes;
mod bucket;
mod checksum;
mod client;
mod doubt;
mod errors;
mod fail;
mod find_out;
mod genuine;
mod get;
mod head;
mod keys;
mod list;
mod multipart;
mod names;
mod open_upload;
mod probe;
mod progress;
mod put;
mod server;
mod settings;
mod tier;
mod total;
mod under_way;
mod uploads;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_util::{
    FutureExt, StreamExt,
    stream::{self, BoxStream},
};

use self::{
    bucket::Bucket,
    fail::{about, fail},
    server::Server,
    total::within,
};
use crate::{
    Body, Capabilities, DeleteOptions, ErrorKind, GetOptions, Key, ListEntry, ListOptions, Object,
    ObjectMeta, PutOptions, Result, RetryConfig, S3Config, SnapshotAdapter, Tier,
};

pub use uploads::Upload;

/// Snapshots in an S3 bucket. Clones share everything.
///
/// A version is the object's ETag, which S3 makes from the content: writing the same bytes again gives the
/// same version.
///
/// ```no_run
/// # async fn example() -> persist::Result<()> {
/// use persist::{RetryConfig, S3Config, SnapshotAdapterExt, adapters::s3::S3Adapter};
///
/// let config = S3Config { region: Some("eu-central-1".into()), ..Default::default() };
/// let store = S3Adapter::open("my-bucket", &config, &RetryConfig::default()).await?;
/// store.save("state", "agents/42/state.gz").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct S3Adapter {
    bucket: Arc<Bucket>,
}

/// What is wrong with the bucket's name or the configuration, as far as that shows without a request.
///
/// # Errors
/// As [`S3Adapter::open`].
pub(crate) fn check(bucket: &str, config: &S3Config) -> Result<()> {
    check_bucket(bucket)?;
    settings::Settings::new(config).map(drop)
}

fn check_bucket(bucket: &str) -> Result<()> {
    if bucket.is_empty() || bucket.chars().any(|c| c.is_whitespace() || c.is_control() || c == '?') {
        return Err(fail(
            ErrorKind::InvalidConfig,
            format!("no bucket can be named {bucket:?}; write s3://bucket"),
        ));
    }
    if bucket.ends_with("--x-s3") || bucket.ends_with("--xa-s3") {
        // They list in no order, keep no tags and have conditions of their own; what persist promises rests
        // on these.
        return Err(fail(
            ErrorKind::Unsupported,
            format!(
                "{bucket:?} is a directory bucket (S3 Express One Zone), which lists in no order; use a general purpose bucket"
            ),
        ));
    }
    Ok(())
}

impl S3Adapter {
    /// Opens a bucket.
    ///
    /// At Amazon S3, by its own addresses, that makes no request. Any other server is probed when the first
    /// adapter of a process opens the bucket: conditions are tried on objects named `.persist-probe-*`, which
    /// are removed again, and [`capabilities`](SnapshotAdapter::capabilities) tells what was found.
    ///
    /// # Errors
    /// `InvalidConfig` that names the setting; `Unsupported` for a directory bucket (S3 Express One Zone); on
    /// servers other than Amazon's also what the probe fails with.
    pub async fn open(bucket: &str, config: &S3Config, retry: &RetryConfig) -> Result<S3Adapter> {
        Self::open_under(bucket, "", config, retry).await
    }

    /// [`open`](Self::open), with the probe's objects under `prefix`, for credentials that may write only
    /// there.
    ///
    /// # Errors
    /// As `open`.
    pub async fn open_under(
        bucket: &str,
        prefix: &str,
        config: &S3Config,
        retry: &RetryConfig,
    ) -> Result<S3Adapter> {
        check_bucket(bucket)?;
        // Boxed: the SDK's futures are nested so deep that the compiler would give up on those who await this
        // one.
        let shared = client::shared(config).boxed().await?;
        let mut bucket = Bucket {
            name: bucket.into(),
            shared: shared.clone(),
            retry: retry.clone(),
            budget: shared.budget.clone(),
            server: Server::amazon(),
        };
        if shared.endpoint.is_some() {
            let found = within(bucket.total(), bucket.find_out(prefix.trim_matches('/'))).await;
            bucket.server = found.map_err(|error| error.with_operation("open"))?;
        }
        if shared.settings.atomic_multipart == Some(false) {
            bucket.server.capabilities.create_large = false;
        }
        Ok(S3Adapter { bucket: Arc::new(bucket) })
    }

    /// Uploads of objects whose name starts with `prefix` that were begun and neither completed nor removed:
    /// crashed writers leave them, and they are billed. Needs `s3:ListBucketMultipartUploads`.
    ///
    /// # Errors
    /// What the service fails with.
    pub async fn list_uploads(&self, prefix: &str) -> Result<Vec<Upload>> {
        self.bucket.uploads(prefix).boxed().await
    }

    /// Removes such an upload with its parts. If a writer is still at it, its save fails and leaves what was
    /// there before.
    ///
    /// # Errors
    /// What the service fails with; an upload that is gone is no error.
    pub async fn abort_upload(&self, upload: &Upload) -> Result<()> {
        self.bucket.abort(&upload.name, &upload.id).boxed().await
    }

    fn check_key(&self, key: &Key, operation: &'static str) -> Result<()> {
        self.bucket.check_name(key.as_str()).map_err(|error| about(error, operation, key))
    }
}

#[async_trait]
impl SnapshotAdapter for S3Adapter {
    fn capabilities(&self) -> Capabilities {
        self.bucket.server.capabilities.clone()
    }

    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<ObjectMeta> {
        self.check_key(key, "put")?;
        within(self.bucket.total(), self.bucket.put(key, body, options))
            .await
            .map_err(|error| about(error, "put", key))
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        self.check_key(key, "get")?;
        let total = self.bucket.total();
        let object = within(total, self.bucket.get(key, options)).await;
        object.map(|object| total::object(total, object)).map_err(|error| about(error, "get", key))
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        self.check_key(key, "head")?;
        within(self.bucket.total(), self.bucket.head(key)).await.map_err(|error| about(error, "head", key))
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        self.check_key(key, "delete")?;
        within(self.bucket.total(), self.bucket.delete(key, options))
            .await
            .map_err(|error| about(error, "delete", key))
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
        if let Err(error) = self.bucket.check_name(&options.prefix) {
            return stream::iter([Err(error.with_operation("list"))]).boxed();
        }
        total::rows(self.bucket.total(), self.bucket.list(options))
    }

    async fn set_tier(&self, key: &Key, tier: Tier) -> Result<()> {
        self.check_key(key, "set_tier")?;
        within(self.bucket.total(), self.bucket.set_tier(key, tier))
            .await
            .map_err(|error| about(error, "set_tier", key))
    }
}

impl fmt::Display for S3Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket.name)
    }
}

impl fmt::Debug for S3Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3Adapter({self}, {:?})", self.bucket.server.capabilities)
    }
}
