//! Snapshots in the memory of the process: for tests and caches.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Bound,
    sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};

use crate::{
    Body, Capabilities, DeleteOptions, Error, ErrorKind, GetOptions, Key, ListEntry, ListOptions, Object,
    ObjectMeta, PutOptions, Result, SnapshotAdapter, Tier, Version, clock::Clock, options::NONE,
};

/// An adapter that keeps everything in memory. Clones share the same objects; the last one to go takes them
/// along.
///
/// ```
/// use persist::{SnapshotAdapterExt, adapters::memory::MemoryAdapter};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let store = MemoryAdapter::new();
/// store.save("state", "agents/42/state.gz").await?;
/// assert_eq!(store.clone().load("agents/42/state.gz").await?, "state");
/// # Ok::<(), persist::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct MemoryAdapter {
    store: Arc<RwLock<Store>>,
    /// `None`: that of the machine.
    clock: Option<Arc<dyn Clock>>,
}

#[derive(Default)]
struct Store {
    objects: BTreeMap<Key, (ObjectMeta, Bytes)>,
    /// Counts writes; the version of each, so that a deleted and created key never repeats one.
    writes: u64,
}

impl MemoryAdapter {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store whose objects bear the time of this clock. Retention goes by the storage's time: a test
    /// of it gives the same clock to [`Sessions::clock`](crate::sessions::Sessions::clock).
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        MemoryAdapter { clock: Some(clock), ..Self::default() }
    }

    // A panic while the lock is held cannot leave the map half-changed: each change is a single insert or
    // remove.
    fn read(&self) -> RwLockReadGuard<'_, Store> {
        self.store.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write(&self) -> RwLockWriteGuard<'_, Store> {
        self.store.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn about(error: Error, operation: &'static str, key: &Key) -> Error {
    error.with_backend("memory").with_operation(operation).with_key(key)
}

fn missing(operation: &'static str, key: &Key) -> Error {
    about(Error::new(ErrorKind::NotFound, NONE), operation, key)
}

#[async_trait]
impl SnapshotAdapter for MemoryAdapter {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_tags().with_tiers()
    }

    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<ObjectMeta> {
        options.check(&self.capabilities()).map_err(|error| about(error, "put", key))?;
        let bytes = body.collect(u64::MAX).await?;
        let now = self.clock.as_ref().map_or_else(SystemTime::now, |clock| clock.now());
        let mut store = self.write();
        let current = store.objects.get(key).map(|(meta, _)| &meta.version);
        options.mode.check(current).map_err(|error| about(error, "put", key))?;
        store.writes += 1;
        let version = Version::new(store.writes.to_string());
        let meta = ObjectMeta {
            content_type: options.content_type,
            metadata: options.metadata,
            tags: options.tags,
            tier: Some(options.tier.unwrap_or(Tier::Hot)),
            ..ObjectMeta::new(key.clone(), bytes.len() as u64, version, now)
        };
        store.objects.insert(key.clone(), (meta.clone(), bytes));
        Ok(meta)
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        let (meta, bytes) = match self.read().objects.get(key) {
            Some(found) => found.clone(),
            None => return Err(missing("get", key)),
        };
        let range = options.resolve(&meta).map_err(|error| about(error, "get", key))?;
        let body = Body::from(bytes.slice(range.start as usize..range.end as usize));
        Ok(Object { meta, range, body })
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        let found = self.read().objects.get(key).map(|(meta, _)| meta.clone());
        found.ok_or_else(|| missing("head", key))
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        let mut store = self.write();
        if let Some((meta, _)) = store.objects.get(key) {
            options.check(&meta.version).map_err(|error| about(error, "delete", key))?;
        }
        store.objects.remove(key);
        Ok(())
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
        let limit = options.limit.unwrap_or(usize::MAX);
        let after = options.start_after.clone().map_or(Bound::Unbounded, Bound::Excluded);
        // Each row is looked up when it is asked for, behind the last one, so that no lock is held between
        // two rows.
        let rows = stream::unfold(after, move |after| {
            let row = self.next_row(&options, after);
            async move { row.map(|(entry, after)| (Ok(entry), after)) }
        });
        rows.take(limit).boxed()
    }

    async fn set_tier(&self, key: &Key, tier: Tier) -> Result<()> {
        match self.write().objects.get_mut(key) {
            Some((meta, _)) => {
                meta.tier = Some(tier);
                Ok(())
            }
            None => Err(missing("set_tier", key)),
        }
    }
}

impl MemoryAdapter {
    /// The first row behind `after`, and the bound behind that row.
    fn next_row(&self, options: &ListOptions, after: Bound<String>) -> Option<(ListEntry, Bound<String>)> {
        let store = self.read();
        let from = match &after {
            Bound::Excluded(name) if name.as_str() >= options.prefix.as_str() => {
                Bound::Excluded(name.as_str())
            }
            Bound::Included(name) if name.as_str() >= options.prefix.as_str() => {
                Bound::Included(name.as_str())
            }
            _ => Bound::Included(options.prefix.as_str()),
        };
        for (key, (meta, _)) in store.objects.range::<str, _>((from, Bound::Unbounded)) {
            let rest = key.as_str().strip_prefix(options.prefix.as_str())?;
            let Some(end) = rest.find('/').filter(|_| options.delimiter) else {
                return Some((ListEntry::Object(meta.clone()), Bound::Excluded(key.to_string())));
            };
            let prefix = &key.as_str()[..options.prefix.len() + end + 1];
            // A listing that continues behind the prefix itself must not give it again.
            if matches!(&after, Bound::Excluded(name) if name.as_str() >= prefix) {
                continue;
            }
            // `0` is the character after `/`: the next row starts behind everything that the prefix rolls up.
            let behind = format!("{}0", &prefix[..prefix.len() - 1]);
            return Some((ListEntry::Prefix(prefix.into()), Bound::Included(behind)));
        }
        None
    }
}

impl fmt::Display for MemoryAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory://")
    }
}

impl fmt::Debug for MemoryAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryAdapter({} objects)", self.read().objects.len())
    }
}
