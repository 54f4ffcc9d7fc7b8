//! Snapshots on a local disk: one ordinary file each.
//!
//! A save writes a temporary file beside its target, syncs it, renames it and syncs the directory: readers
//! see the old or the new state and never a torn one, whenever the process or the machine stops. Writers of
//! all processes agree by a lock on the directory that is held for "look and rename" only. `docs/backends.md`
//! says what to expect of network file systems, and `docs/adr/0004-local-layout.md` why it is as it is.
//!
//! # Layout
//! - `name`: keys as paths
//! - `dir`: opening directories below the root, without following links; `entries`: what lies in one; `lock`:
//!   their locks
//! - `write`: saving and deleting; `hollow`: empty directories in the way
//! - `read`, `list`: the way back; `cached`: the short one
//! - `stamp`: versions
//! - `strange`: names that other programs gave
//! - `sidecar`: metadata, content type and tags; `copied`: those of files whose times a copy has cut
//! - `media`: the type that the first bytes show
//! - `hop`: threads that may block; `sweep`: removing what killed processes left
//! - `fail`: errors of the operating system

#[cfg(target_os = "linux")]
mod cached;
mod copied;
mod dir;
mod entries;
mod fail;
mod hollow;
mod hop;
mod list;
mod lock;
mod media;
mod name;
mod own;
mod read;
mod sidecar;
mod stamp;
mod strange;
mod sweep;
mod write;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

pub(crate) use self::name::{folder_of, is_plain};
use self::{
    dir::Root,
    hop::{Between, hop, label},
    name::Location,
    write::Staged,
};
use crate::{
    Body, Capabilities, DeleteOptions, Error, ErrorKind, GetOptions, Key, ListEntry, ListOptions, Object,
    ObjectMeta, PutOptions, Result, SnapshotAdapter, Tier,
};

/// How much of a stream is taken before it is written: a hop to a blocking thread costs some ten
/// microseconds.
const BATCH: usize = 1024 * 1024;

/// An adapter that keeps every snapshot in a file below one directory.
///
/// Directories are made with mode 0700 and files with 0600. Several adapters, also in several processes, may
/// work in the same directory.
///
/// ```
/// use persist::{SnapshotAdapterExt, adapters::local::LocalAdapter};
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let store = LocalAdapter::open(folder)?;
/// store.save("state", "agents/42/state.gz").await?; // durable: also after a power cut
/// assert!(folder.join("agents/42/state.gz").is_file()); // an ordinary .gz
/// # Ok::<(), persist::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct LocalAdapter {
    root: Arc<Root>,
}

impl LocalAdapter {
    /// Opens the directory `root`. Where there is none, the first save makes it; until then the storage is
    /// empty. Leftovers of killed processes are removed, as far as 65,536 directory entries go.
    ///
    /// This blocks for some system calls.
    ///
    /// # Errors
    /// `InvalidConfig` for an empty path, for one that is no directory and for a link to what is not there;
    /// `Io` with what to do.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        Self::open_with(root, crate::RetryConfig::default().deadline)
    }

    /// [`open`](Self::open), with the longest wait for the lock that a stopped process may hold (default: 120
    /// s). It is held for "look and rename", some microseconds.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(root: impl Into<PathBuf>, lock_timeout: Duration) -> Result<Self> {
        Self::open_when(root, lock_timeout, Duration::ZERO)
    }

    /// [`open`](Self::open), at a later time as far as leftovers are concerned.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    pub fn open_later(root: impl Into<PathBuf>, later: Duration) -> Result<Self> {
        Self::open_when(root, crate::RetryConfig::default().deadline, later)
    }

    fn open_when(root: impl Into<PathBuf>, lock_timeout: Duration, ahead: Duration) -> Result<Self> {
        let path: PathBuf = root.into();
        let about = |error: Error| error.with_backend("local").with_operation("open");
        if path.as_os_str().is_empty() {
            let message = "the path of the storage is empty; name a directory, such as `./snapshots`";
            return Err(about(Error::new(ErrorKind::InvalidConfig, message)));
        }
        dir::check_root(&path).map_err(about)?;
        // An absolute path, so that a change of the working directory does not lead elsewhere.
        let path =
            std::path::absolute(&path).map_err(|error| about(fail::io_error("opening the root", error)))?;
        let mut root = Root::new(path, lock_timeout);
        root.ahead = ahead;
        sweep::tree(&root);
        Ok(LocalAdapter { root: Arc::new(root) })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root.path
    }
}

/// Takes chunks until there is a batch of them. True at the end of the body.
async fn fill(body: &mut Body, batch: &mut Vec<Bytes>) -> Result<bool> {
    if let Some(bytes) = body.in_memory() {
        batch.push(bytes.clone());
        return Ok(true);
    }
    let mut size = 0;
    while size < BATCH {
        let Some(chunk) = body.chunk().await? else { return Ok(true) };
        size += chunk.len();
        batch.push(chunk);
    }
    Ok(false)
}

#[async_trait]
impl SnapshotAdapter for LocalAdapter {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_tags()
    }

    async fn put(&self, key: &Key, mut body: Body, options: PutOptions) -> Result<ObjectMeta> {
        let refused = |error| label(error, "put", Some(key));
        options.check(&self.capabilities()).map_err(refused)?;
        let place = Arc::new(Location::of(key));
        let mut between = Between(None);
        loop {
            let mut batch = Vec::new();
            let filled = fill(&mut body, &mut batch).await;
            let staged: Option<Staged> = between.0.take();
            let end = match filled {
                Ok(end) => end,
                Err(error) => {
                    // What the body comes from may hold a thread that this waits for.
                    drop(body);
                    if staged.is_some() {
                        let remove = move |_: &_| {
                            drop(staged);
                            Ok(())
                        };
                        let _ = hop("put", Some(key), remove).await;
                    }
                    return Err(error);
                }
            };
            let (root, name, place) = (self.root.clone(), key.clone(), place.clone());
            let stage = move || -> Result<_> {
                let mut file = match staged {
                    Some(file) => file,
                    None => Staged::new(root, &name, place)?,
                };
                file.write(&batch)?;
                Ok((file, name))
            };
            if end {
                let commit = move |given_up: &_| {
                    let (file, name) = stage()?;
                    file.commit(&name, &options, given_up)
                };
                return hop("put", Some(key), commit).await;
            }
            between.0 = Some(hop("put", Some(key), move |_| Ok(stage()?.0)).await?);
        }
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        let (root, name, place) = (self.root.clone(), key.clone(), Location::of(key));
        #[cfg(target_os = "linux")]
        if let Some(object) = cached::get(&root, key, &place, &options) {
            return object.map_err(|error| label(error, "get", Some(key)));
        }
        hop("get", Some(key), move |_| read::get(&root, &name, &place, &options)).await
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        let (root, name) = (self.root.clone(), key.clone());
        hop("head", Some(key), move |_| read::head(&root, &name, &Location::of(&name))).await
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        let (root, name) = (self.root.clone(), key.clone());
        hop("delete", Some(key), move |given_up| write::delete(&root, &name, &options, given_up)).await
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
        list::list(&self.root, options)
    }

    async fn set_tier(&self, key: &Key, _: Tier) -> Result<()> {
        let message = "a local disk has no storage tiers";
        Err(label(Error::new(ErrorKind::Unsupported, message), "set_tier", Some(key)))
    }
}

impl fmt::Display for LocalAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file://{}", self.root.path.display())
    }
}
