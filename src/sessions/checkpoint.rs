//! The loop of a runtime: resume, and save every so many steps or seconds.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::{
    Commit, CommitOptions, Restored, Session,
    clock::Moment,
    draft::{Payload, joined, json},
};
use crate::{Error, ErrorKind, Result};

/// Saves at intervals and resumes the latest.
///
/// [`resume`](Checkpoints::resume) comes first, also where the session should be new: a run that has not seen
/// the newest state is not saved on top of it.
///
/// ```
/// # async fn example() -> persist::Result<()> {
/// # use std::{sync::Arc, time::Duration};
/// # use persist::{adapters::memory::MemoryAdapter, sessions::{Checkpoints, Sessions}};
/// # let session = Sessions::new(Arc::new(MemoryAdapter::new()))?.session("agent", "session")?;
/// let mut checkpoints = Checkpoints::new(session).every_steps(10).every(Duration::from_secs(30));
/// let mut count: u64 = match checkpoints.resume().await? {
///     Some(restored) => restored.json()?,
///     None => 0,
/// };
/// while count < 25 {
///     count += 1;
///     checkpoints.step_json(count, &count).await?; // bytes: `step`, several values: `step_values`
/// }
/// checkpoints.save_now_json(count, &count).await?;
/// # assert_eq!(checkpoints.session().load(3).await?.commit.step, Some(25));
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Debug)]
#[must_use]
pub struct Checkpoints {
    session: Session,
    steps: Option<u64>,
    time: Option<Duration>,
    /// The step, where it has one, and the time of the last save.
    last: Option<(Option<u64>, Moment)>,
    unsaved: bool,
    /// A save failed or was given up: the next step is saved, whatever is found meanwhile.
    owed: bool,
}

impl Checkpoints {
    /// Saves after every step, unless a rule is set: [`every_steps`](Checkpoints::every_steps),
    /// [`every`](Checkpoints::every), or both.
    pub fn new(session: Session) -> Self {
        Checkpoints { session, steps: None, time: None, last: None, unsaved: false, owed: false }
    }

    /// Saves when so many steps have passed since the last save, and at once when the count of steps went
    /// back.
    pub fn every_steps(mut self, steps: u64) -> Self {
        self.steps = Some(steps.max(1));
        self
    }

    /// Saves when so much time has passed since the last save. That is looked at when a step ends, by
    /// [`step`](Checkpoints::step): call [`save_now`](Checkpoints::save_now) before you wait for long, or once
    /// [`due_in`](Checkpoints::due_in) has passed.
    pub fn every(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// The session that is saved.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The newest state, to go on from; `None` at the very start. Steps are counted from its
    /// [`Commit::step`]; where it has none, as if no step was done before. After a `Conflict`, this goes on
    /// from what is there now, and the next step is saved whatever its number: it may be what you made of
    /// both.
    ///
    /// # Errors
    /// As [`Session::rebase`].
    pub async fn resume(&mut self) -> Result<Option<Restored>> {
        let restored = self.session.rebase().await?;
        let step = restored.as_ref().and_then(|restored| restored.commit.step);
        self.last = Some((step, Moment::now(&*self.session.store().clock)));
        self.unsaved = false;
        Ok(restored)
    }

    /// Whether a step was done whose state is not saved: none was due, or its save failed.
    pub fn unsaved(&self) -> bool {
        self.unsaved
    }

    /// After how much time a step that is not saved should be, by the rule of [`every`](Checkpoints::every):
    /// what may be waited for without [`save_now`](Checkpoints::save_now). `None` without such a step or rule.
    ///
    /// ```
    /// # async fn example() -> persist::Result<()> {
    /// # use std::{sync::Arc, time::Duration};
    /// # use persist::{adapters::memory::MemoryAdapter, sessions::{Checkpoints, Sessions}};
    /// # let session = Sessions::new(Arc::new(MemoryAdapter::new()))?.session("agent", "session")?;
    /// # async fn approval() {}
    /// let mut checkpoints = Checkpoints::new(session).every_steps(10).every(Duration::from_secs(30));
    /// checkpoints.resume().await?;
    /// checkpoints.step(1, || "waits for an approval").await?;
    /// let mut approval = std::pin::pin!(approval());
    /// let in_time = match checkpoints.due_in() {
    ///     Some(due) => tokio::time::timeout(due, &mut approval).await.is_ok(),
    ///     None => false,
    /// };
    /// if !in_time {
    ///     if checkpoints.unsaved() {
    ///         checkpoints.save_now(1, "waits for an approval").await?;
    ///     }
    ///     approval.await;
    /// }
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
    /// ```
    pub fn due_in(&self) -> Option<Duration> {
        let (time, clock) = (self.time.filter(|_| self.unsaved)?, &*self.session.store().clock);
        // Where nothing was saved yet, at once.
        Some(self.last.as_ref().map_or(Duration::ZERO, |(_, at)| time.saturating_sub(at.elapsed(clock))))
    }

    /// Tells that a step is done. `state` is called only if a save is due. It may be dropped, as
    /// [`Session::save`].
    ///
    /// # Errors
    /// `InvalidInput` for the first save of a handle that has seen nothing of the session:
    /// [`resume`](Checkpoints::resume) was forgotten. Else as [`Session::save`]; the next step tries again.
    pub async fn step<S: Into<Bytes>>(
        &mut self,
        step: u64,
        state: impl FnOnce() -> S,
    ) -> Result<Option<Commit>> {
        self.step_with(step, CommitOptions::new(), state).await
    }

    /// [`step`](Checkpoints::step) with notes and conditions; the step is noted in any case.
    ///
    /// # Errors
    /// As [`step`](Checkpoints::step) and [`Session::save_with`]. Who names the newest commit, or says that
    /// it is the first, need not resume.
    pub async fn step_with<S: Into<Bytes>>(
        &mut self,
        step: u64,
        options: CommitOptions,
        state: impl FnOnce() -> S,
    ) -> Result<Option<Commit>> {
        if !self.due(step) {
            return Ok(None);
        }
        let state: Bytes = state().into();
        self.save_now_with(step, options, state).await.map(Some)
    }

    /// [`step`](Checkpoints::step) with a value, which becomes JSON only if a save is due.
    ///
    /// # Errors
    /// `InvalidInput` for what JSON cannot say; else as [`step`](Checkpoints::step).
    pub async fn step_json<T: Serialize + Sync>(&mut self, step: u64, value: &T) -> Result<Option<Commit>> {
        if !self.due(step) {
            return Ok(None);
        }
        self.save_now_json(step, value).await.map(Some)
    }

    /// [`step`](Checkpoints::step) with several values as one commit. `values` is called only if a save is
    /// due.
    ///
    /// # Errors
    /// `InvalidInput` for a name that is given twice; else as [`step`](Checkpoints::step).
    pub async fn step_values<'a>(
        &mut self,
        step: u64,
        values: impl FnOnce() -> Vec<(&'a str, Bytes)>,
    ) -> Result<Option<Commit>> {
        if !self.due(step) {
            return Ok(None);
        }
        let (state, table) = joined(&values())?;
        self.save(step, CommitOptions::new(), state, table).await.map(Some)
    }

    /// Saves now.
    ///
    /// # Errors
    /// As [`step`](Checkpoints::step).
    pub async fn save_now(&mut self, step: u64, state: impl Into<Bytes> + Send) -> Result<Commit> {
        self.save_now_with(step, CommitOptions::new(), state).await
    }

    /// [`save_now`](Checkpoints::save_now) with notes and conditions; the step is noted in any case.
    ///
    /// # Errors
    /// As [`step_with`](Checkpoints::step_with).
    pub async fn save_now_with(
        &mut self,
        step: u64,
        options: CommitOptions,
        state: impl Into<Bytes> + Send,
    ) -> Result<Commit> {
        self.save(step, options, state.into(), Vec::new()).await
    }

    /// Saves a value as JSON now.
    ///
    /// # Errors
    /// As [`step_json`](Checkpoints::step_json).
    pub async fn save_now_json<T: Serialize + Sync>(&mut self, step: u64, value: &T) -> Result<Commit> {
        self.unsaved = true;
        self.save_now(step, json(value)?).await
    }

    /// Saves several values as one commit now.
    ///
    /// # Errors
    /// As [`step_values`](Checkpoints::step_values).
    pub async fn save_now_values(&mut self, step: u64, values: &[(&str, Bytes)]) -> Result<Commit> {
        self.unsaved = true;
        let (state, table) = joined(values)?;
        self.save(step, CommitOptions::new(), state, table).await
    }

    /// Saves what has these values, and counts from here.
    async fn save(
        &mut self,
        step: u64,
        options: CommitOptions,
        state: Bytes,
        values: Vec<(String, u64)>,
    ) -> Result<Commit> {
        self.unsaved = true;
        if self.last.is_none() && options.expect.is_none() && self.session.writer().await.head.is_none() {
            let message =
                format!("nothing was seen of {} yet; resume before the first step", self.session.place());
            return Err(Error::new(ErrorKind::InvalidInput, message).with_operation("save"));
        }
        self.owed = true;
        let now = Moment::now(&*self.session.store().clock);
        let (rebases, content) = (self.session.rebases(), Payload::State(state));
        let commit = self.session.write(rebases, content, values, options.step(step)).await?;
        (self.last, self.unsaved, self.owed) = (Some((Some(step), now)), false, false);
        Ok(commit)
    }

    fn due(&mut self, step: u64) -> bool {
        self.unsaved = true;
        let Some((last, at)) = self.last else { return true };
        let passed = |time| at.elapsed(&*self.session.store().clock) >= time;
        let steps = self.steps.or_else(|| self.time.is_none().then_some(1));
        // A count that went back is another run, whose states are no less new.
        let back = last.is_some_and(|last| step < last);
        // Where each step is saved, so is the first, whether that is 0 or 1.
        let counted = |steps| last.map_or(steps == 1 || step >= steps, |last| step - last >= steps);
        self.owed || back || steps.is_some_and(counted) || self.time.is_some_and(passed)
    }
}
