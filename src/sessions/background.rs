//! Saves that a step does not wait for.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{Commit, CommitOptions, Session, draft::Payload};
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
        options: CommitOptions,
        /// What was known when it was queued.
        told: u64,
        rebases: u64,
    },
    Flush(oneshot::Sender<()>),
}

impl Session {
    /// Saves of this handle in the background, at most `queue` (at least 1) waiting; `usize::MAX` is as good
    /// as no limit. Must be called within a tokio runtime.
    ///
    /// When this is dropped, what waits is still saved, as long as the runtime lives; nobody hears of
    /// failures then.
    pub fn background(&self, queue: usize) -> Background {
        let (sender, mut jobs) = mpsc::channel(queue.clamp(1, Semaphore::MAX_PERMITS));
        let (state, session) = (Arc::new(Mutex::new(State::default())), self.clone());
        let shared = state.clone();
        tokio::spawn(async move {
            while let Some(job) = jobs.recv().await {
                match job {
                    Job::Save { state, options, told, rebases } => {
                        if !lock(&shared).goes_on(told) {
                            continue;
                        }
                        let step = options.notes.step;
                        let saved = session.save_queued(state, options, rebases).await;
                        lock(&shared).note(saved, step, &session);
                    }
                    // Who asked may have gone.
                    Job::Flush(asked) => drop(asked.send(())),
                }
            }
        });
        Background { queue: sender, session: self.clone(), state }
    }

    /// A rebase since the state was queued means that the state knows nothing of what others saved.
    async fn save_queued(&self, state: Bytes, options: CommitOptions, rebases: u64) -> Result<Commit> {
        options.check()?;
        let mut writer = self.writer_since(rebases, &options).await?;
        self.write_as(&mut writer, Payload::State(state), Vec::new(), options).await
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
    /// Puts a state into the queue; waits only while that is full.
    ///
    /// # Errors
    /// The failure of an earlier save, once: then neither this state was queued, nor will those be saved that
    /// were queued before.
    pub async fn save(&self, state: impl Into<Bytes> + Send, options: CommitOptions) -> Result<()> {
        let (state, rebases) = (state.into(), self.session.rebases());
        let place = self.queue.reserve().await.map_err(|_| gone())?;
        let mut shared = lock(&self.state);
        shared.tell()?;
        shared.waiting += 1;
        place.send(Job::Save { state, options, told: shared.told, rebases });
        Ok(())
    }

    /// Waits until everything that was queued before is saved, and gives the newest commit that this made.
    /// Where this is dropped, it is saved all the same.
    ///
    /// # Errors
    /// The failure of an earlier save, also one that was told already: until something newer was saved, by
    /// this or by the handle itself, not everything is.
    pub async fn flush(&self) -> Result<Option<Commit>> {
        let (asked, answer) = oneshot::channel();
        self.queue.send(Job::Flush(asked)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?;
        let mut state = lock(&self.state);
        state.tell()?;
        match &state.failure {
            Some(failure) if failure.saves == self.session.saves() => Err(failure.error()),
            _ => Ok(state.newest.clone()),
        }
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Internal, "the background saves ended with their runtime; start them anew")
}
