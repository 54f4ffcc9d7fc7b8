//! A session: the handle that callers hold.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::Mutex;

use super::{
    Commit, CommitOptions, Rival, Sessions,
    draft::{Draft, Payload, joined, json},
    head::FirstLoad,
    held::{Asked, Held},
    names,
    names::Place,
    rival::conflict,
    store::Store,
    writer::{Ground, Writer},
};
use crate::{Result, lock::lock};

/// A handle of one session: reads its history, and continues it.
///
/// Two handles are rivals:
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
///
/// # Clones are one writer
/// Clones, and tasks that share a handle, know the same of the newest commit: a save follows whatever a clone
/// has saved before, and nobody is told. Where each makes its states from what it loads, give each a handle
/// of its own, or say what the state is made of. A write (a rebase is one, too) that was begun and is not
/// polled holds up all others; loads, [`seen`](Session::seen) and [`rival`](Session::rival) wait for none.
///
/// ```
/// # use std::sync::Arc;
/// # use persist::{ErrorKind, adapters::memory::MemoryAdapter, sessions::{At, CommitOptions, Sessions}};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let sessions = Sessions::new(Arc::new(MemoryAdapter::new()))?;
/// let counter = sessions.session("bot", "counter")?;
/// counter.save("0").await?;
/// let (mine, theirs) = (counter.clone(), counter.clone());
/// let newest = mine.load(At::Latest).await?;
/// theirs.save("1").await?;
///
/// // A plain save of 1 would be acknowledged as well, and one of the two would not have counted.
/// let next = newest.json::<u64>()? + 1;
/// let late = mine.save_with(next.to_string(), CommitOptions::new().after(newest.commit.seq)).await.unwrap_err();
/// assert_eq!(late.kind(), ErrorKind::Conflict);
/// let newest = mine.rebase().await?.expect("there is one");
/// let next = newest.json::<u64>()? + 1;
/// mine.save_with(next.to_string(), CommitOptions::new().after(newest.commit.seq)).await?;
/// assert_eq!(counter.load(At::Latest).await?.state, "2");
/// # Ok::<(), persist::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    of: Sessions,
    place: Place,
    agent: String,
    session: String,
    writer: Mutex<Writer>,
    /// What `seen` and `rival` tell while a call has the writer.
    asked: std::sync::Mutex<Asked>,
    /// How often the writer was told to go on from what others saved.
    rebases: AtomicU64,
    /// How many saves of callers that waited for them were acknowledged.
    saves: AtomicU64,
    /// A read has met damage, and the writer does not know yet.
    damage: AtomicBool,
    /// What first loads showed while the writer was busy, which does not know yet: the first of all, and
    /// where that one asked for a commit by name, the first of the latest.
    first_loads: std::sync::Mutex<Vec<FirstLoad>>,
}

impl Session {
    pub(super) fn new(of: Sessions, place: Place, agent: String, session: String) -> Self {
        let inner = Inner {
            of,
            place,
            agent,
            session,
            writer: Mutex::default(),
            asked: std::sync::Mutex::default(),
            rebases: AtomicU64::new(0),
            saves: AtomicU64::new(0),
            damage: AtomicBool::new(false),
            first_loads: std::sync::Mutex::default(),
        };
        Session { inner: Arc::new(inner) }
    }

    /// Whose session it is.
    pub fn agent(&self) -> &str {
        &self.inner.agent
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.inner.session
    }

    /// Saves a state (owned bytes or text, or a literal), durably: the commit behind the one that this handle
    /// continues, which is its own last one, or the first that it loaded, or what it was
    /// [rebased](Session::rebase) to. A handle that has not loaded or saved yet continues the newest.
    ///
    /// # Errors
    /// `Conflict` that says who was faster: nothing was saved. [`rival`](Session::rival) tells whether to
    /// [`rebase`](Session::rebase) (or [`fork`](Session::fork)) and save again, or to stop; another load
    /// changes nothing. `Conflict` as well where a clone was rebased to something newer, or has taken the
    /// session over, while this save waited for it.
    ///
    /// After `Timeout`, `Unavailable`, `RateLimited` or `Io`, and where the future is dropped
    /// (`tokio::time::timeout`, `select!`), it is not known whether the commit exists. Save the same state
    /// again: that finds out, and never makes it twice. A newer state will do as well: it follows the one in
    /// doubt, if that arrived. [`seen`](Session::seen) tells the old number until then.
    pub async fn save(&self, state: impl Into<Bytes> + Send) -> Result<Commit> {
        self.save_with(state, CommitOptions::new()).await
    }

    /// [`save`](Session::save) with notes and conditions. Every other form of save has such a form, too.
    ///
    /// # Errors
    /// As [`save`](Session::save); `Conflict` also where the newest commit is not the one that the options
    /// expect.
    pub async fn save_with(&self, state: impl Into<Bytes> + Send, options: CommitOptions) -> Result<Commit> {
        self.write(self.rebases(), Payload::State(state.into()), Vec::new(), options).await
    }

    /// Saves a value as JSON; [`Restored::json`](super::Restored::json) of a [load](Session::load) reads it
    /// back.
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
        self.save_with(json(value)?, options).await
    }

    /// Saves several values as one commit: they become visible together or not at all.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use persist::{adapters::memory::MemoryAdapter, sessions::{At, Sessions}};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let session = Sessions::new(Arc::new(MemoryAdapter::new()))?.session("bot", "run-1")?;
    /// session.save_values(&[("plan", "[1, 2]".into()), ("screenshot", vec![7; 100].into())]).await?;
    /// let newest = session.load(At::Latest).await?;
    /// assert_eq!(newest.value_json::<Vec<u32>>("plan")?, Some(vec![1, 2]));
    /// assert_eq!(newest.value("screenshot").map(|image| image.len()), Some(100));
    /// assert_eq!(newest.value("other"), None);
    /// # Ok::<(), persist::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
        let (state, table) = joined(values)?;
        self.write(self.rebases(), Payload::State(state), table, options).await
    }

    /// Saves `content`. `rebases` is [`Session::rebases`] of the moment when it was made: a `Conflict` if the
    /// handle was rebased since.
    pub(super) async fn write(
        &self,
        rebases: u64,
        content: Payload,
        values: Vec<(String, u64)>,
        options: CommitOptions,
    ) -> Result<Commit> {
        let saved = async {
            options.check()?;
            let mut writer = self.writer_since(rebases, &options).await?;
            self.write_as(&mut writer, content, values, options).await.inspect(|_| self.saved())
        };
        saved.await.map_err(|error| error.with_operation("save"))
    }

    pub(super) async fn write_as(
        &self,
        writer: &mut Writer,
        content: Payload,
        values: Vec<(String, u64)>,
        options: CommitOptions,
    ) -> Result<Commit> {
        self.follow(writer, &options).await?;
        self.make_sure(writer).await?;
        let draft = Draft { content, values, ids: self.ids(), options };
        writer.commit(self.store(), self.place(), draft).await
    }

    /// Who was there first, after a save that was a `Conflict`, and what that means: to merge, to stop, or
    /// that the session was removed. `None` where its commit cannot be read or was pruned, and where the
    /// conflict was another. Never waits: while a call of a clone is under way, this tells what was before it.
    pub async fn rival(&self) -> Option<Rival> {
        lock(&self.inner.asked).rival.clone()
    }

    /// The number of the commit that saves of this handle continue: 0 if there was none, that of the marker
    /// in a removed session, `None` before its first look. A second load does not change it. Never waits:
    /// while a save of a clone is under way, this tells what was before it.
    pub async fn seen(&self) -> Option<u64> {
        // It is told of what loads have shown while it was busy.
        drop(self.idle_writer());
        let loaded = lock(&self.inner.first_loads).first().map(|first| first.head.seq);
        lock(&self.inner.asked).seen.or(loaded)
    }

    /// How often this handle was rebased to something else, or has taken the session over.
    pub(super) fn rebases(&self) -> u64 {
        self.inner.rebases.load(Ordering::SeqCst)
    }

    pub(super) fn rebased(&self) {
        self.inner.rebases.fetch_add(1, Ordering::SeqCst);
    }

    /// How many saves were acknowledged, those in the background aside.
    pub(super) fn saves(&self) -> u64 {
        self.inner.saves.load(Ordering::SeqCst)
    }

    pub(super) fn saved(&self) {
        self.inner.saves.fetch_add(1, Ordering::SeqCst);
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
        // The agent's folder as it is: of a long id that nobody knows, the name is all there is.
        let place = Place { agent: self.place().agent.clone(), ..Place::new(self.agent(), name)? };
        Ok(Session::new(self.inner.of.clone(), place, self.agent().to_owned(), name.to_owned()))
    }

    pub(super) fn store(&self) -> &Store {
        self.inner.of.store()
    }

    pub(super) fn place(&self) -> &Place {
        &self.inner.place
    }

    pub(super) async fn writer(&self) -> Held<'_> {
        self.told(Held::new(self.inner.writer.lock().await, &self.inner.asked))
    }

    /// Locks the writer for a state that was made when the handle had been rebased `rebases` times. A state
    /// from before a rebase knows nothing of what others saved.
    ///
    /// # Errors
    /// `Conflict`.
    pub(super) async fn writer_since(&self, rebases: u64, options: &CommitOptions) -> Result<Held<'_>> {
        let writer = self.writer().await;
        // `after` with the head's number proves that the caller has seen it.
        let is_head = |expected| writer.head.as_ref().is_some_and(|head| head.is(expected));
        if self.rebases() == rebases || options.expect.is_some_and(is_head) {
            Ok(writer)
        } else {
            Err(conflict(
                self.place(),
                "this handle was rebased after the state was made; save one that is made of the newest",
            ))
        }
    }

    /// `None` while a clone of this handle writes.
    fn idle_writer(&self) -> Option<Held<'_>> {
        let writer = self.inner.writer.try_lock().ok()?;
        Some(self.told(Held::new(writer, &self.inner.asked)))
    }

    /// Whether nothing is known that decides what saves continue, so that a load does.
    pub(super) fn has_yet_to_begin(&self) -> bool {
        match self.idle_writer() {
            Some(writer) => writer.head.is_none() || writer.ground == Ground::Untold,
            None => lock(&self.inner.first_loads).iter().all(FirstLoad::is_named),
        }
    }

    /// What a load shows is what saves continue, if this is the first. A load does not wait for a writer that
    /// is busy: that one may hang, and may end without a head. Whoever has the writer next tells it.
    pub(super) fn begin_with(&self, mut first: FirstLoad) {
        match self.idle_writer() {
            Some(mut writer) if writer.takes(&first) => writer.begin(first),
            Some(_) => {}
            None => {
                // It may lie here for long, and a state is large.
                first.head.base = None;
                let mut laid = lock(&self.inner.first_loads);
                if laid.is_empty() || (!first.is_named() && laid.iter().all(FirstLoad::is_named)) {
                    laid.push(first);
                }
            }
        }
    }

    /// Tells the writer what a load has shown while it was busy. Where a call has told of a head, that was
    /// there first.
    pub(super) fn told_of_load(&self, writer: &mut Writer) {
        let mut laid = lock(&self.inner.first_loads);
        if let Some(first) = std::mem::take(&mut *laid).into_iter().find(|first| writer.takes(first)) {
            // Before it is gone from there: `seen` looks at both.
            lock(&self.inner.asked).seen = Some(first.head.seq);
            writer.begin(first);
        }
    }

    /// Notes that a read met damage: the next commit must not be a delta on it. A save that is under way is
    /// told after its commit.
    pub(super) fn heard_of_damage(&self) {
        self.inner.damage.store(true, Ordering::SeqCst);
    }

    /// Tells the writer what others have found while it was busy.
    fn told<'a>(&self, mut writer: Held<'a>) -> Held<'a> {
        self.told_of_load(&mut writer);
        if self.inner.damage.swap(false, Ordering::SeqCst) {
            writer.forget_states();
        }
        writer
    }

    /// This handle itself has begun the session in another way than by a save: that it saw no commit before
    /// is nobody's conflict.
    pub(super) fn has_begun(&self) {
        let mut writer = self.idle_writer();
        if writer.is_none() {
            lock(&self.inner.first_loads).retain(|first| first.head.seq != 0);
        }
        if let Some(writer) = &mut writer
            && writer.head.as_ref().is_some_and(|head| head.seq == 0)
        {
            **writer = Writer::default();
        }
    }
}

/// As logs name it.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({})", self.place().logged())
    }
}
