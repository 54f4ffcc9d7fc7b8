//! All sessions of a storage: what they have in common, and where their handles come from.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use super::{Clock, Session, SystemClock, fence::Fence, names::Place, store::Store};
use crate::{Codec, Error, ErrorKind, Limits, Result, Settings, SnapshotAdapter};

/// Fence windows that may be: clocks of stores count in seconds, and a body without a commit is garbage after
/// 24 windows.
pub(crate) const WINDOWS: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(30 * 24 * 3600);

/// New bytes that a commit's own object takes, at most: 8 MiB that do not compress, and what stands around
/// them.
const INLINE_LIMIT: u64 = (8 << 20) + (64 << 10);

/// All sessions in a storage.
#[derive(Debug, Clone)]
#[must_use]
pub struct Sessions {
    store: Arc<Store>,
}

impl Sessions {
    /// Sessions in this storage. What writes (saves, forks, tags, prunes, imports) is `Unsupported` on one
    /// that cannot create an object only if it is not there: nothing else keeps two writers apart. Reads work
    /// on any.
    ///
    /// # Errors
    /// `InvalidInput` where the storage's codec has a level that does not exist, or its fence window is
    /// shorter than a minute or longer than 30 days.
    pub fn new(adapter: Arc<dyn SnapshotAdapter>) -> Result<Self> {
        let Settings { codec, limits, fence_window } = adapter.capabilities().settings;
        codec.check()?;
        check_window(fence_window)?;
        let level = match codec {
            Codec::Gzip { level } => level,
            _ => 6,
        };
        let store = Store {
            adapter,
            clock: Arc::new(SystemClock::default()),
            writer: None,
            fence: Fence::new(fence_window),
            limits,
            level,
            inline_limit: INLINE_LIMIT,
            stream_limit: 64 << 20,
        };
        Ok(Sessions { store: Arc::new(store) })
    }

    fn with(self, change: impl FnOnce(&mut Store)) -> Self {
        let mut store = Store::clone(&self.store);
        change(&mut store);
        Sessions { store: Arc::new(store) }
    }

    /// The name that commits of these handles bear, and that a rival's conflict shows: a host and process,
    /// say. Default: none.
    pub fn writer(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.with(|store| store.writer = Some(name))
    }

    /// `prune` removes no commit younger than this. A writer that paused for half of it looks once more
    /// before its save is acknowledged, which is one request, and takes back a commit that others made and
    /// pruned meanwhile. **The same for all users of a storage**, from a minute to 30 days. Default: that of
    /// the storage's configuration (`fence_window`), else an hour.
    ///
    /// # Errors
    /// `InvalidInput` for any other length.
    pub fn fence_window(self, window: Duration) -> Result<Self> {
        check_window(window)?;
        Ok(self.with(|store| store.fence = Fence::new(window)))
    }

    /// The guard against states that are larger than expected. Default: that of the storage's configuration.
    pub fn limits(self, limits: Limits) -> Self {
        self.with(|store| store.limits = limits)
    }

    /// Deflate's level, 1 to 9: commits are gzip, also where the storage's codec is another. Default: the
    /// level of that codec where it is gzip, else 6.
    ///
    /// # Errors
    /// `InvalidInput` for another level.
    pub fn level(self, level: u8) -> Result<Self> {
        Codec::default().with_level(level)?;
        Ok(self.with(|store| store.level = level))
    }

    /// New bytes of a save beyond so many become an object of their own in front of the commit. Default: 8
    /// MiB and 64 KiB, so that 8 MiB that do not compress are one object. That is also the most, and more is
    /// taken for it: Amazon dates what goes up in parts by its beginning, and the
    /// [fence window](Sessions::fence_window) needs to know when a commit appeared.
    pub fn inline_limit(self, bytes: u64) -> Self {
        self.with(|store| store.inline_limit = bytes.min(INLINE_LIMIT))
    }

    /// A stream of more bytes is not held in memory, and is stored whole: it is not compared with the commit
    /// before. Default: 64 MiB.
    pub fn stream_limit(self, bytes: u64) -> Self {
        self.with(|store| store.stream_limit = bytes)
    }

    /// Another source of time and chance, for tests. Prunes go by the storage's clock: give the same one to
    /// [`MemoryAdapter::with_clock`](crate::adapters::memory::MemoryAdapter::with_clock).
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        self.with(|store| store.clock = clock)
    }

    /// A handle of one session, which need not exist. Any text is an id; beyond 160
    /// encoded bytes, keys have a digest of it. No request is made.
    ///
    /// # Errors
    /// `InvalidInput` for an empty id.
    pub fn session(&self, agent: impl AsRef<str>, session: impl AsRef<str>) -> Result<Session> {
        let (agent, session) = (agent.as_ref(), session.as_ref());
        let place = Place::new(agent, session)?;
        Ok(Session::new(self.clone(), place, agent.to_owned(), session.to_owned()))
    }

    /// The same settings over another storage.
    pub(super) fn on(&self, adapter: Arc<dyn SnapshotAdapter>) -> Self {
        Sessions { store: Arc::new(Store { adapter, ..(*self.store).clone() }) }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }
}

fn check_window(window: Duration) -> Result<()> {
    if WINDOWS.contains(&window) {
        return Ok(());
    }
    let message =
        format!("a fence window of {} s is out of range; use a minute to 30 days", window.as_secs());
    Err(Error::new(ErrorKind::InvalidInput, message))
}
