//! A session and all sessions of a storage: the handles that callers hold.

use std::{
    collections::HashSet,
    fmt,
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{Mutex, MutexGuard};

use super::{
    Clock, Commit, CommitOptions, Restored, SystemClock,
    clock::Moment,
    commit,
    head::Head,
    load::Latest,
    manifest::Manifest,
    names,
    names::Place,
    restore,
    store::Store,
    writer::{Draft, Payload, Writer, forked, head_of},
};
use crate::{Codec, Error, ErrorKind, Limits, Result, Settings, SnapshotAdapter};

/// Fence windows that may be: clocks of stores count in seconds, and a body without a commit is garbage after 24 windows.
pub(crate) const WINDOWS: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(30 * 24 * 3600);

/// All sessions in a storage.
#[derive(Debug, Clone)]
pub struct Sessions {
    store: Arc<Store>,
}

impl Sessions {
    /// Sessions in this storage.
    ///
    /// # Errors
    /// `Unsupported` for a storage that cannot create an object only if it is not there: nothing else keeps two writers apart. `InvalidInput` where
    /// the storage's codec has a level that does not exist, or its fence window is shorter than a minute or longer than 30 days.
    pub fn new(adapter: Arc<dyn SnapshotAdapter>) -> Result<Self> {
        if !adapter.capabilities().create {
            let message = format!(
                "sessions need a storage that creates an object only where there is none, {adapter} cannot; use another \
                 storage, or plain save and load"
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
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
            fence_window,
            limits,
            level,
            // 8 MiB of new bytes that do not compress, and what stands around them.
            inline: (8 << 20) + (64 << 10),
            buffered: 64 << 20,
        };
        Ok(Sessions { store: Arc::new(store) })
    }

    fn with(self, change: impl FnOnce(&mut Store)) -> Self {
        let mut store = Store::clone(&self.store);
        change(&mut store);
        Sessions { store: Arc::new(store) }
    }

    /// The name that commits of these handles bear, and that a rival's conflict shows: a host and process, say. Default: none.
    pub fn writer(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.with(|store| store.writer = Some(name))
    }

    /// `prune` removes no commit younger than this. A writer that paused for half of it looks before it saves, which is one request more.
    /// **The same for all users of a storage**, from a minute to 30 days. Default: that of the storage's configuration (`fence_window`), else an hour.
    ///
    /// # Errors
    /// `InvalidInput` for any other length.
    pub fn fence_window(self, window: Duration) -> Result<Self> {
        check_window(window)?;
        Ok(self.with(|store| store.fence_window = window))
    }

    /// The guard against states that are larger than expected. Default: that of the storage's configuration.
    pub fn limits(self, limits: Limits) -> Self {
        self.with(|store| store.limits = limits)
    }

    /// Deflate's level, 1 to 9. Default: that of the storage's codec, else 6.
    ///
    /// # Errors
    /// `InvalidInput` for another level.
    pub fn level(self, level: u8) -> Result<Self> {
        Codec::default().with_level(level)?;
        Ok(self.with(|store| store.level = level))
    }

    /// New bytes of a save beyond `inline` become an object of their own in front of the commit (default: 8 MiB); a stream beyond `buffered` is
    /// not held in memory and not compared with the commit before (default: 64 MiB).
    pub fn sizes(self, inline: usize, buffered: usize) -> Self {
        self.with(|store| (store.inline, store.buffered) = (inline, buffered))
    }

    /// Another source of time and chance, for tests.
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        self.with(|store| store.clock = clock)
    }

    /// A handle of one session, which need not exist. Any text is an id. No request is made.
    ///
    /// # Errors
    /// `InvalidInput` for an empty id.
    pub fn session(&self, agent: impl AsRef<str>, session: impl AsRef<str>) -> Result<Session> {
        let (agent, session) = (agent.as_ref(), session.as_ref());
        let place = Place::new(agent, session)?;
        let (agent, session) = (agent.to_owned(), session.to_owned());
        let (store, writer, rebases) = (self.store.clone(), Mutex::default(), AtomicU64::default());
        let inner = Inner { store, place, agent, session, writer, rebases };
        Ok(Session { inner: Arc::new(inner) })
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

/// A handle of one session: reads its history, and continues it.
///
/// Clones share what the handle knows of the newest commit, so they write one line together; two handles are rivals.
///
/// ```
/// use std::sync::Arc;
/// use persist::{ErrorKind, adapters::memory::MemoryAdapter, sessions::{At, Sessions}};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let sessions = Sessions::new(Arc::new(MemoryAdapter::new()))?;
/// let (mine, theirs) = (sessions.session("bot", "run-1")?, sessions.session("bot", "run-1")?);
/// mine.save("one").await?;
/// theirs.save("one, two").await?;
///
/// // Somebody was faster: nothing was saved. Continue theirs, or fork.
/// let late = mine.save("one, three").await.unwrap_err();
/// assert_eq!(late.kind(), ErrorKind::Conflict);
/// let newest = mine.rebase().await?.expect("there is one");
/// assert_eq!(newest.state, "one, two");
/// mine.save("one, two, three").await?;
/// assert_eq!(theirs.load(At::Latest).await?.commit.seq, 3);
/// # Ok::<(), persist::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<Store>,
    place: Place,
    agent: String,
    session: String,
    writer: Mutex<Writer>,
    /// How often the writer was told to go on from what others saved.
    rebases: AtomicU64,
}

impl Session {
    /// Whose session it is.
    pub fn agent(&self) -> &str {
        &self.inner.agent
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.inner.session
    }

    /// Saves a state, durably: the commit behind the one that this handle saw last. A handle that has not loaded or saved yet continues
    /// the newest.
    ///
    /// # Errors
    /// `Conflict` that says who was faster: nothing was saved. [`rebase`](Session::rebase) or [`fork`](Session::fork), then save again.
    /// After `Timeout` or `Unavailable` it is not known whether the commit exists; the next save finds out, and never makes it twice.
    pub async fn save(&self, state: impl Into<Bytes> + Send) -> Result<Commit> {
        self.save_with(state, CommitOptions::new()).await
    }

    /// [`save`](Session::save) with notes and conditions. Every other form of save has such a form, too.
    ///
    /// # Errors
    /// As [`save`](Session::save); `Conflict` also where the newest commit is not the one that the options expect.
    pub async fn save_with(&self, state: impl Into<Bytes> + Send, options: CommitOptions) -> Result<Commit> {
        self.write(Payload::State(state.into()), Vec::new(), options).await
    }

    /// Saves a value as JSON.
    ///
    /// # Errors
    /// `InvalidInput` for what JSON cannot say; else as [`save`](Session::save).
    pub async fn save_json<T: Serialize + Sync>(&self, value: &T) -> Result<Commit> {
        self.save_json_with(value, CommitOptions::new()).await
    }

    /// [`save_json`](Session::save_json) with notes and conditions.
    ///
    /// # Errors
    /// As [`save_json`](Session::save_json).
    pub async fn save_json_with<T: Serialize + Sync>(
        &self,
        value: &T,
        options: CommitOptions,
    ) -> Result<Commit> {
        let bad = |error| {
            Error::new(ErrorKind::InvalidInput, "the value cannot be written as JSON").with_source(error)
        };
        self.save_with(serde_json::to_vec(value).map_err(bad)?, options).await
    }

    /// Saves several values as one commit: they become visible together or not at all.
    ///
    /// # Errors
    /// `InvalidInput` for a name that is given twice; else as [`save`](Session::save).
    pub async fn save_values(&self, values: &[(&str, Bytes)]) -> Result<Commit> {
        self.save_values_with(values, CommitOptions::new()).await
    }

    /// [`save_values`](Session::save_values) with notes and conditions.
    ///
    /// # Errors
    /// As [`save_values`](Session::save_values).
    pub async fn save_values_with(&self, values: &[(&str, Bytes)], options: CommitOptions) -> Result<Commit> {
        let mut table: Vec<(String, u64)> = Vec::with_capacity(values.len());
        let mut names = HashSet::with_capacity(values.len());
        let mut state = Vec::with_capacity(values.iter().map(|(_, value)| value.len()).sum());
        for (name, value) in values {
            if !names.insert(*name) {
                let message = format!("the value {name:?} is given twice; give each value a name of its own");
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
            table.push(((*name).to_owned(), value.len() as u64));
            state.extend_from_slice(value);
        }
        self.write(Payload::State(state.into()), table, options).await
    }

    async fn write(
        &self,
        content: Payload,
        values: Vec<(String, u64)>,
        options: CommitOptions,
    ) -> Result<Commit> {
        options.check()?;
        let mut writer = self.writer().await;
        self.write_as(&mut writer, content, values, options).await
    }

    pub(super) async fn write_as(
        &self,
        writer: &mut Writer,
        content: Payload,
        values: Vec<(String, u64)>,
        options: CommitOptions,
    ) -> Result<Commit> {
        if writer.head.is_none() {
            self.look_ahead(writer).await?;
        }
        let draft = Draft { content, values, ids: self.ids(), options };
        writer.commit(self.store(), self.place(), draft).await
    }

    /// The newest commit becomes the head; `None` if there is none.
    pub(super) async fn look(&self, writer: &mut Writer) -> Result<Option<Restored>> {
        let looked = Moment::now(&*self.store().clock);
        match self.latest(Manifest::is_removed).await? {
            Some(Latest::Whole { restored, place, origin }) => {
                Ok(Some(self.adopt(writer, looked, restored, &place, origin)))
            }
            // It was removed: what comes next begins anew, behind the marker.
            Some(Latest::Manifest(manifest)) => {
                writer.adopt(head_of(&manifest, Some(looked), None));
                Ok(None)
            }
            None => {
                writer.adopt(Head::none(looked));
                Ok(None)
            }
        }
    }

    /// The same for a writer that does not need the state: that of a long stream, behind which no delta is written, is not read.
    pub(super) async fn look_ahead(&self, writer: &mut Writer) -> Result<()> {
        let looked = Moment::now(&*self.store().clock);
        let most = self.store().buffered as u64;
        let long = |manifest: &Manifest| {
            manifest.is_removed() || (manifest.number == 0 && manifest.body.is_some() && manifest.size > most)
        };
        match self.latest(long).await? {
            Some(Latest::Whole { restored, place, origin }) => {
                self.adopt(writer, looked, restored, &place, origin);
            }
            Some(Latest::Manifest(manifest)) => writer.adopt(head_of(&manifest, Some(looked), None)),
            None => writer.adopt(Head::none(looked)),
        }
        Ok(())
    }

    fn adopt(
        &self,
        writer: &mut Writer,
        looked: Moment,
        restored: restore::Restored,
        place: &Place,
        origin: bool,
    ) -> Restored {
        let base = match origin {
            true => forked(restored.base.clone(), restored.manifest.seq, place.clone()),
            false => restored.base.clone(),
        };
        writer.adopt(head_of(&restored.manifest, Some(looked), Some(base)));
        self.shown(restored, place, Vec::new())
    }

    /// Makes this handle the owner of the session, at once: it commits the newest state again, in an epoch of its own. A handle of an
    /// earlier epoch can then no longer write, not even after a rebase.
    ///
    /// # Errors
    /// `NotFound` in a session without commits, `Conflict` if another writer keeps being faster. After `Timeout` or `Unavailable` it is not known
    /// whether it was done; another call finds out, and does it once.
    pub async fn take_over(&self) -> Result<Restored> {
        let mut writer = self.writer().await;
        writer.taken_over();
        let mut attempts = 0;
        loop {
            // Until this has succeeded, the handle stays what it was: one of an earlier epoch must not write behind the newest commit.
            let mut owner = Writer { taking: writer.taking.clone(), ..Writer::default() };
            let seen = self.look(&mut owner).await?.ok_or_else(|| super::at::no_commit(self.place()))?;
            // What an earlier call did not hear of: it was carried out.
            if owner.taking.has(seen.commit.id) {
                *writer = owner;
                self.rebased();
                return Ok(seen);
            }
            // It may still arrive.
            owner.pending = owner.taking.clone();
            owner.epoch = Some(seen.commit.epoch.saturating_add(1));
            let options = CommitOptions { notes: commit::notes_of(&seen.commit), expect: None };
            let content = Payload::State(seen.state.clone());
            let owner = writer.owner.insert(Box::new(owner));
            let done = self.write_as(owner, content, seen.commit.table(), options).await;
            match (done, writer.owner.take()) {
                (Ok(commit), owner) => {
                    *writer = *owner.unwrap_or_default();
                    self.rebased();
                    return Ok(Restored { commit, ..seen });
                }
                (Err(error), _) if error.kind() == ErrorKind::Conflict && attempts < 3 => attempts += 1,
                (Err(error), owner) => {
                    writer.owner = owner;
                    writer.taken_over();
                    return Err(error);
                }
            }
        }
    }

    /// The commit that was there first, after a save that was a conflict. Waits for a save of a clone that is under way.
    pub async fn rival(&self) -> Option<Commit> {
        self.writer().await.rival.clone()
    }

    /// The number of the commit that this handle saw last: 0 if there was none, `None` before its first look. Waits for a save of a
    /// clone that is under way.
    pub async fn seen(&self) -> Option<u64> {
        self.writer().await.head.as_ref().map(|head| head.seq)
    }

    /// How often this handle was rebased to something else, or has taken the session over.
    pub(super) fn rebases(&self) -> u64 {
        self.inner.rebases.load(Ordering::SeqCst)
    }

    pub(super) fn rebased(&self) {
        self.inner.rebases.fetch_add(1, Ordering::SeqCst);
    }

    /// The ids, where the keys do not give them back.
    pub(super) fn ids(&self) -> Option<(String, String)> {
        let Inner { agent, session, place, .. } = &*self.inner;
        let back = |segment: &str, id: &str| names::unsegment(segment).is_some_and(|back| back == id);
        let kept = back(&place.agent, agent) && back(&place.session, session);
        (!kept).then(|| (agent.clone(), session.clone()))
    }

    /// A handle of another session of the same agent.
    pub(super) fn sibling(&self, name: &str) -> Result<Session> {
        Sessions { store: self.inner.store.clone() }.session(self.agent(), name)
    }

    pub(super) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(super) fn place(&self) -> &Place {
        &self.inner.place
    }

    pub(super) async fn writer(&self) -> MutexGuard<'_, Writer> {
        self.inner.writer.lock().await
    }

    /// `None` while a clone of this handle writes.
    pub(super) fn idle_writer(&self) -> Option<MutexGuard<'_, Writer>> {
        self.inner.writer.try_lock().ok()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({})", self.place())
    }
}
