//! The contract between persist and a storage backend, and nothing else.

use std::{
    fmt::{Debug, Display},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::{
    Body, Codec, DeleteOptions, GetOptions, Key, Limits, ListEntry, ListOptions, Object, ObjectMeta,
    PutOptions, Result, Tier,
};

/// A place that stores objects: bytes under a [`Key`], with a version each.
///
/// Adapters move bytes. They never compress, never hash content for the caller, and retry inside themselves,
/// so that what a caller sees is the outcome.
///
/// Every bullet below that can be seen through the trait is a test of the conformance suite (feature
/// `testing`), which any adapter can run with one line. Those marked † need power cuts, lost answers or
/// counted requests; each adapter of this crate tests them itself. The page `docs/backends.md` of the
/// repository teaches how to write an adapter.
///
/// `Display` is the location in one line and without secrets, such as `gs://bucket/prefix`; `Debug` and
/// errors show none either. Programs log `Debug` of what holds an adapter: it is short, and shows no key and
/// no content, which are their users'.
///
/// No method has a default: a wrapper that forgot one would silently lose what the inner adapter does.
#[async_trait]
pub trait SnapshotAdapter: Debug + Display + Send + Sync + 'static {
    /// What this adapter can do, found out when it was opened.
    fn capabilities(&self) -> Capabilities;

    /// Stores `body` under `key`.
    ///
    /// # Behavior
    /// - All or nothing: readers see what was there before or all of the new object, never a part. After
    ///   `Timeout`, `Unavailable`, `Io`, or a drop of the future, either may be there; after any other error,
    ///   what was there before.
    /// - † Durable: after `Ok` the object survives a crash of the process and of the machine; after
    ///   `AlreadyExists` or `Conflict`, what is there does.
    /// - [`PutMode::Create`](crate::PutMode::Create) on a taken key is `AlreadyExists`; of any number of
    ///   racers exactly one wins.
    /// - [`PutMode::Replace`](crate::PutMode::Replace) is `Conflict` when the version differs or the key is
    ///   gone; of any number of racers with one version exactly one wins.
    /// - By the backend's clock, [`ObjectMeta::modified`] is at most a few seconds before the version became
    ///   visible, however long its body took, and (†) however long its writer was stopped: prunes of sessions
    ///   rely on it.
    /// - † The writer's own earlier attempt, whose answer was lost, is a success and not a conflict.
    /// - A body that fails, or is not as long as it says, stores nothing; its error comes back as it is.
    /// - An empty body is an object of 0 bytes.
    /// - Content type, metadata and tags are those of the options, in every mode, and nothing of what was
    ///   there before.
    /// - A condition, tag or tier that the adapter cannot honour is `Unsupported`, never ignored.
    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<ObjectMeta>;

    /// Opens the object under `key`.
    ///
    /// # Behavior
    /// - No object: `NotFound`.
    /// - The body is of one version from the first byte to the last, whatever writers do meanwhile; where the
    ///   backend cannot go on with that version, the body ends with `Conflict`.
    /// - † A body that breaks off ends with an error, never as if complete.
    /// - A range past the end is cut; one that starts at or behind the end, and an empty one, is
    ///   `InvalidInput`.
    /// - `if_version` that is not current is `Conflict`, `if_not_version` that is current is `NotModified`.
    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object>;

    /// The metadata of the object under `key`.
    ///
    /// # Behavior
    /// - No object: `NotFound`.
    /// - The same version, size and metadata that `put` returned and `get` gives.
    async fn head(&self, key: &Key) -> Result<ObjectMeta>;

    /// Removes the object under `key`.
    ///
    /// # Behavior
    /// - A missing key is `Ok`, on every backend.
    /// - With `if_version`: `Conflict` when another version is there; a missing key is still `Ok`.
    /// - After `Ok`, `get`, `head` and `list` no longer see it.
    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()>;

    /// Lists objects.
    ///
    /// # Behavior
    /// - In byte order of the names, each name once.
    /// - † Pages are fetched as the stream is read, never ahead of need; with a limit of 1 that is one
    ///   request.
    /// - Every object that was there before and is not deleted meanwhile is listed; nothing unfinished ever
    ///   is.
    /// - `prefix` is a text prefix, not a folder; `start_after` is exclusive and need not be a key.
    /// - With `delimiter`, keys with a `/` behind the prefix come as one [`ListEntry::Prefix`] each, up to
    ///   and with that `/`.
    /// - A prefix under which nothing lies is an empty listing.
    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<ListEntry>>;

    /// Moves the object to another storage tier.
    ///
    /// # Behavior
    /// - `Unsupported` unless [`Capabilities::tiers`].
    /// - The content stays; the version may change.
    async fn set_tier(&self, key: &Key, tier: Tier) -> Result<()>;
}

/// What an adapter can do. A field that a later version adds is false by default, so that no adapter claims
/// by being compiled anew what it does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct Capabilities {
    /// `PutMode::Create` is atomic.
    pub create: bool,
    /// `PutMode::Create` and `Replace` stay atomic for bodies of any length (not only for those that take one
    /// request).
    pub create_large: bool,
    /// `PutMode::Replace` is atomic.
    pub replace: bool,
    /// `DeleteOptions::if_version` is atomic.
    pub conditional_delete: bool,
    /// Tags are kept.
    pub tags: bool,
    /// Storage tiers exist.
    pub tiers: bool,
    /// † Reading a part costs about that part. False where the adapter must read all before it.
    pub ranges: bool,
    /// What the deployment chose, for callers that do not say. An adapter leaves it alone; the layer
    /// [`Defaults`](crate::layers::Defaults), which [`StorageConfig::open`](crate::StorageConfig::open) adds,
    /// sets it.
    pub settings: Settings,
}

/// What a deployment chose, for callers that do not say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// The form in which `save` writes. Default: gzip, level 6.
    pub codec: Codec,
    /// The guard of loads against decompression bombs.
    pub limits: Limits,
    /// The window of sessions: see [`Sessions::fence_window`](crate::sessions::Sessions::fence_window).
    /// Default: an hour.
    pub fence_window: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            codec: Codec::default(),
            limits: Limits::default(),
            fence_window: Duration::from_secs(3600),
        }
    }
}

impl Default for Capabilities {
    /// Conditions and ranges, as plain object storage has them; nothing else, whatever later versions add.
    fn default() -> Self {
        Capabilities {
            create: true,
            create_large: true,
            replace: true,
            conditional_delete: true,
            tags: false,
            tiers: false,
            ranges: true,
            settings: Settings::default(),
        }
    }
}

impl Capabilities {
    /// Without any conditional write: no `create`, `create_large`, `replace` or `conditional_delete`.
    pub fn unconditional(mut self) -> Self {
        (self.create, self.create_large, self.replace, self.conditional_delete) =
            (false, false, false, false);
        self
    }

    /// With tags.
    pub fn with_tags(mut self) -> Self {
        self.tags = true;
        self
    }

    /// With tiers.
    pub fn with_tiers(mut self) -> Self {
        self.tiers = true;
        self
    }
}
