//! Saves that a step does not wait for.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tracing::field::debug;

use super::{
    Commit, CommitOptions, Session,
    draft::{Payload, joined, json},
};
use crate::{Error, ErrorKind, Result};

/// Saves one after the other behind a queue of bounded length. What is in the queue is lost if the process
/// dies; what [`flush`](Background::flush) has answered is as durable as any save.
///
/// After a failure, what was queued behind it is not saved either, until a call has told of the failure: a
/// runtime that hears of a `Conflict` and [rebases](Session::rebase) does not find older states on top of
/// what it then makes.
#[must_use = "what waits is lost unless it is flushed"]
pub struct Background {
    queue: mpsc::Sender<Job>,
    session: Session,
    state: Arc<Mutex<State>>,
}

/// As logs name it, without ids and notes.
impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Background({:?})", self.session)
    }
}

#[derive(Debug, Default)]
struct State {
    /// The newest commit that this made.
    newest: Option<Commit>,
    /// States in the queue.
    waiting: u64,
    /// The first failure, until something newer is saved.
    failure: Option<Failure>,
    /// Failures that were told. What was queued before the last one is not saved.
    told: u64,
}

#[derive(Debug)]
struct Failure {
    /// Which state failed, and why.
    what: String,
    why: String,
    kind: ErrorKind,
    retryable: bool,
    /// States behind it that are not saved because of it.
    dropped: u64,
    told: bool,
    /// Saves of the handle by then.
    saves: u64,
}

#[derive(Debug)]
enum Job {
    Save {
        state: Bytes,
        values: Vec<(String, u64)>,
        options: CommitOptions,
        /// What was known when it was queued.
        told: u64,
        rebases: u64,
    },
    Flush(oneshot::Sender<()>),
}

impl Session {
    /// Saves of this handle in the background, at most `queue` (at least 1) waiting, each a whole state in
    /// memory; `usize::MAX` is as good as no limit.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    ///
    /// # What becomes of the queue
    /// When this is dropped, what waits is still saved, as long as the runtime lives. A failure that nobody
    /// can hear of any more, and states that the end of the runtime leaves unsaved, are logged as a warning.
    /// Where that is of one thread, the queue goes on only while it is driven: a [`flush`](Background::flush)
    /// from elsewhere, and writes of the handle, wait for it.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use persist::{adapters::memory::MemoryAdapter, sessions::{CommitOptions, Sessions}};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let session = Sessions::new(Arc::new(MemoryAdapter::new()))?.session("bot", "run-1")?;
    /// let background = session.background(16);
    /// background.save("after step 1", CommitOptions::new().step(1)).await?; // also tells of an earlier failure
    /// background.save("after step 2", CommitOptions::new().step(2)).await?;
    ///
    /// // At the end of the program, or wherever the states must be safe.
    /// let newest = background.flush().await?.expect("something was saved");
    /// assert_eq!((newest.seq, newest.step), (2, Some(2)));
    /// # Ok::<(), persist::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn background(&self, queue: usize) -> Background {
        let (sender, jobs) = mpsc::channel(queue.clamp(1, Semaphore::MAX_PERMITS));
        let state = Arc::new(Mutex::new(State::default()));
        let mut worker = Worker { jobs, state: state.clone(), session: self.clone(), saving: false };
        tokio::spawn(async move {
            while let Some(job) = worker.jobs.recv().await {
                match job {
                    Job::Save { state, values, options, told, rebases } => {
                        if !lock(&worker.state).goes_on(told) {
                            continue;
                        }
                        worker.saving = true;
                        let step = options.notes.step;
                        let saved = worker.session.save_queued(state, values, options, rebases).await;
                        let saved = saved.map_err(|error| error.with_operation("save"));
                        worker.saving = false;
                        lock(&worker.state).note(saved, step, &worker.session);
                    }
                    // Who asked may have gone.
                    Job::Flush(asked) => drop(asked.send(())),
                }
            }
        });
        Background { queue: sender, session: self.clone(), state }
    }

    /// A rebase since the state was queued means that the state knows nothing of what others saved.
    async fn save_queued(
        &self,
        state: Bytes,
        values: Vec<(String, u64)>,
        options: CommitOptions,
        rebases: u64,
    ) -> Result<Commit> {
        options.check()?;
        let mut writer = self.writer_since(rebases, &options).await?;
        self.write_as(&mut writer, Payload::State(state), values, options).await
    }
}

/// Takes from the queue. Ends with the handle and an empty queue, or with the runtime.
struct Worker {
    jobs: mpsc::Receiver<Job>,
    state: Arc<Mutex<State>>,
    session: Session,
    saving: bool,
}

impl Drop for Worker {
    fn drop(&mut self) {
        let state = lock(&self.state);
        // Under this lock, and before the queue is emptied: see `Background::put`.
        self.jobs.close();
        let failed = state.unsaved(&self.session).filter(|failure| !failure.told);
        let states = state.waiting + u64::from(self.saving) + failed.map_or(0, |failed| 1 + failed.dropped);
        if states > 0 {
            let (session, kind) = (self.session.place().logged(), failed.map(|failed| debug(failed.kind)));
            tracing::warn!(session, states, kind, "background saves ended before all states were saved");
        }
    }
}

// Not the crate's `lock`, whose rule the counters do not keep: they change together, in code that cannot
// panic between.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl State {
    /// Whether the state that is next in turn is saved; `told` as it was when that was queued.
    fn goes_on(&mut self, told: u64) -> bool {
        self.waiting -= 1;
        match &mut self.failure {
            Some(failure) if !failure.told => failure.dropped += 1,
            _ if told == self.told => return true,
            // It was counted when the failure was told.
            _ => {}
        }
        false
    }

    fn note(&mut self, saved: Result<Commit>, step: Option<u64>, session: &Session) {
        match saved {
            Ok(commit) => (self.newest, self.failure) = (Some(commit), None),
            Err(error) => {
                let of = session.place();
                let what = step.map_or_else(
                    || format!("a state of {of}"),
                    |step| format!("the state of step {step} of {of}"),
                );
                let saves = session.saves();
                let (why, kind, retryable) = (error.chain(), error.kind(), error.retryable());
                self.failure = Some(Failure { what, why, kind, retryable, dropped: 0, told: false, saves });
            }
        }
    }

    /// The failure behind which nothing newer was saved.
    fn unsaved(&self, session: &Session) -> Option<&Failure> {
        self.failure.as_ref().filter(|failure| failure.saves == session.saves())
    }

    /// Fails with a failure that no call has told yet.
    fn tell(&mut self) -> Result<()> {
        let Some(failure) = self.failure.as_mut().filter(|failure| !failure.told) else { return Ok(()) };
        failure.told = true;
        failure.dropped += self.waiting;
        self.told += 1;
        Err(failure.error())
    }
}

impl Failure {
    fn error(&self) -> Error {
        use ErrorKind::{Io, RateLimited, Timeout, Unavailable};
        // Of these, the answer may be what was lost.
        let unknown = matches!(self.kind, Timeout | Unavailable | RateLimited | Io);
        let behind = match (self.dropped, unknown) {
            (0, _) => String::new(),
            (1, true) => ", and 1 state behind it was not".into(),
            (1, false) => ", nor was 1 state behind it".into(),
            (more, true) => format!(", and {more} states behind it were not"),
            (more, false) => format!(", nor were {more} states behind it"),
        };
        let (what, why) = (&self.what, &self.why);
        let message = if unknown {
            format!("it is not known whether {what} was saved{behind}: {why}")
        } else {
            format!("{what} was not saved{behind}: {why}")
        };
        Error::new(self.kind, message).with_operation("save").with_retryable(self.retryable)
    }
}

impl Background {
    /// Puts a state into the queue; waits only while that is full. Behind a state whose
    /// [`after`](CommitOptions::after) names a commit of another writer, each says with its own what it is made
    /// of, or is queued once that one is saved: else it is a `Conflict`.
    ///
    /// # Errors
    /// The failure of an earlier save, once: then neither this state was queued, nor will those be saved that
    /// were queued before.
    pub async fn save(&self, state: impl Into<Bytes> + Send, options: CommitOptions) -> Result<()> {
        self.queue(state.into(), Vec::new(), options).await
    }

    /// [`save`](Background::save) of a value as JSON.
    ///
    /// # Errors
    /// `InvalidInput` for what JSON cannot say; else as [`save`](Background::save).
    pub async fn save_json<T: Serialize + Sync>(&self, value: &T, options: CommitOptions) -> Result<()> {
        self.queue(json(value)?.into(), Vec::new(), options).await
    }

    /// [`save`](Background::save) of several values as one commit.
    ///
    /// # Errors
    /// `InvalidInput` for a name that is given twice; else as [`save`](Background::save).
    pub async fn save_values(&self, values: &[(&str, Bytes)], options: CommitOptions) -> Result<()> {
        let (state, table) = joined(values)?;
        self.queue(state, table, options).await
    }

    async fn queue(&self, state: Bytes, values: Vec<(String, u64)>, options: CommitOptions) -> Result<()> {
        let rebases = self.session.rebases();
        let place = self.queue.reserve().await.map_err(|_| gone())?;
        self.put(place, |shared| {
            shared.tell()?;
            shared.waiting += 1;
            Ok(Job::Save { state, values, options, told: shared.told, rebases })
        })
    }

    /// A place may still be had while the queue ends, on another thread. What is put there behind that is never
    /// taken, nor dropped as long as this lives.
    fn put(&self, place: mpsc::Permit<'_, Job>, job: impl FnOnce(&mut State) -> Result<Job>) -> Result<()> {
        let mut shared = lock(&self.state);
        if self.queue.is_closed() {
            return Err(gone());
        }
        place.send(job(&mut shared)?);
        Ok(())
    }

    /// Waits until everything that was queued before is saved, and gives the newest commit that this made.
    /// Where this is dropped, it is saved all the same.
    ///
    /// # Errors
    /// The failure of an earlier save, also one that was told already: until something newer was saved, by
    /// this or by the handle itself, not everything is. Then save the newest state: those in doubt need not
    /// be kept.
    pub async fn flush(&self) -> Result<Option<Commit>> {
        let (asked, answer) = oneshot::channel();
        let place = self.queue.reserve().await.map_err(|_| gone())?;
        self.put(place, |_| Ok(Job::Flush(asked)))?;
        answer.await.map_err(|_| gone())?;
        let mut state = lock(&self.state);
        state.tell()?;
        match state.unsaved(&self.session) {
            Some(failure) => Err(failure.error()),
            None => Ok(state.newest.clone()),
        }
    }

    /// The failure of an earlier save, until something newer was saved, by this or by the handle itself. It
    /// counts as told only once [`save`](Background::save) or [`flush`](Background::flush) fails with it:
    /// this is for a look at the health of many. `Internal` where the queue has ended with its runtime, and no
    /// failure is known.
    pub fn failure(&self) -> Option<Error> {
        let known = lock(&self.state).unsaved(&self.session).map(Failure::error);
        known.or_else(|| self.queue.is_closed().then(gone))
    }
}

fn gone() -> Error {
    Error::new(
        ErrorKind::Internal,
        "the background saves ended with their runtime, or by a panic; start them anew",
    )
}

#[cfg(test)]
#[path = "background_tests.rs"]
mod tests;
