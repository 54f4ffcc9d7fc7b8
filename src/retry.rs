//! The one retry loop, and the only file that names the crate `backoff` (see `docs/adr/0002-backoff.md`).

use std::{
    future::Future,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use backoff::backoff::Backoff;

use crate::{Error, Result, began::Began};

/// How an adapter retries what may pass by itself. Plain data; the defaults suit a service in the same
/// region.
///
/// End struct literals with `..Default::default()`: then a new field breaks nothing.
///
/// ```
/// use std::time::Duration;
/// use persist::{RetryConfig, StorageConfig};
///
/// let retry = RetryConfig { max_attempts: 3, deadline: Duration::from_secs(10), ..Default::default() };
/// let config = StorageConfig::s3_with_bucket("states".into()).with_retry(retry);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct RetryConfig {
    /// Attempts in all, the first one included. 1 turns retries off.
    pub max_attempts: u32,
    /// Upper bound of the first random delay; it doubles with each attempt (full jitter: from 0 to the
    /// bound).
    pub initial_delay: Duration,
    /// Upper bound of any random delay. A `Retry-After` is waited for where `deadline` allows it.
    pub max_delay: Duration,
    /// After this long, counted from the first failure since the last progress, no further attempt is
    /// started. It does not bound a first attempt that makes progress. The time that the machine slept counts
    /// for saves and removals, in the first attempt too, and not for reads.
    pub deadline: Duration,
}

impl Default for RetryConfig {
    /// 8 attempts, 0.25 s doubling to at most 20 s, 120 s in all.
    fn default() -> Self {
        RetryConfig {
            max_attempts: 8,
            initial_delay: Duration::from_millis(250),
            max_delay: Duration::from_secs(20),
            deadline: Duration::from_secs(120),
        }
    }
}

impl RetryConfig {
    /// A single attempt.
    pub fn none() -> Self {
        RetryConfig { max_attempts: 1, ..Self::default() }
    }

    /// A fresh count of attempts for one operation, or for one stretch without progress.
    pub(crate) fn start(&self) -> Retries<'_> {
        Retries { config: self, delays: None, attempts: 0, since: None, earlier: 0, unseen: false }
    }

    /// As [`start`](RetryConfig::start), for reads and for what shows to nobody by itself: time that the
    /// machine slept does not count.
    pub(crate) fn start_unseen(&self) -> Retries<'_> {
        Retries { unseen: true, ..self.start() }
    }

    fn delays(&self) -> backoff::ExponentialBackoff {
        // `backoff` spreads a delay by ± factor, so half the bound with factor 1 is full jitter: 0 to the
        // bound.
        backoff::ExponentialBackoffBuilder::new()
            // The crate bounds the delays behind the first.
            .with_initial_interval(self.initial_delay.min(self.max_delay) / 2)
            .with_max_interval(self.max_delay / 2)
            .with_multiplier(2.0)
            .with_randomization_factor(1.0)
            .with_max_elapsed_time(None)
            .build()
    }
}

/// The attempts of one operation.
#[derive(Debug)]
pub(crate) struct Retries<'a> {
    config: &'a RetryConfig,
    /// Made with the first failure: most operations have none.
    delays: Option<backoff::ExponentialBackoff>,
    attempts: u32,
    /// The first failure. Not the start of the operation: a large body may take its time, and then break.
    since: Option<Began>,
    /// Attempts from before the last [`ask`](Self::ask): given back to the budget if that shows progress.
    earlier: u32,
    /// Time that the machine slept does not count: reads, and what nobody sees, may be repeated at any time.
    unseen: bool,
}

impl Retries<'_> {
    /// How many attempts have failed.
    pub(crate) fn failed(&self) -> u32 {
        self.attempts
    }

    /// Waits before the next attempt after `error`, or gives the error back when there is to be none: it is
    /// not retryable, attempts or time are used up, the service asks for a longer wait than is left, or the
    /// shared budget is empty.
    pub(crate) async fn wait(&mut self, error: Error, budget: &RetryBudget) -> Result<()> {
        if self.pause(&error, budget).await { Ok(()) } else { Err(error) }
    }

    /// Waits before the next attempt after `error`. False: there is to be none.
    pub(crate) async fn pause(&mut self, error: &Error, budget: &RetryBudget) -> bool {
        self.attempts += 1;
        let since = *self.since.get_or_insert_with(Began::now);
        if !error.retryable() || self.attempts >= self.config.max_attempts {
            return false;
        }
        let asked = error.retry_after().unwrap_or_default();
        let delays = self.delays.get_or_insert_with(|| self.config.delays());
        // On top of what is asked for: else all who were asked for the same would come back at once.
        let delay = delays.next_backoff().unwrap_or(self.config.max_delay).saturating_add(asked);
        let in_time = self.spent(since).saturating_add(delay) < self.config.deadline;
        if !in_time || !budget.take() {
            return false;
        }
        tracing::warn!(
            attempt = self.attempts,
            kind = %error.kind(),
            operation = error.operation(),
            backend = error.backend(),
            delay_ms = delay.as_millis() as u64,
            "retrying"
        );
        tokio::time::sleep(delay).await;
        // The machine may have slept meanwhile: what it was about to repeat is of another day.
        self.spent(since) < self.config.deadline
    }

    fn spent(&self, since: Began) -> Duration {
        if self.unseen { since.running.elapsed() } else { since.ago() }
    }

    /// Waits, then lets the caller ask the service how far the attempt came that failed with `error`.
    /// Attempts and time count anew for the asking. False if the machine slept since `began`, or where
    /// [`pause`](Self::pause) says no.
    #[cfg(feature = "gcs")]
    pub(crate) async fn ask(&mut self, began: Began, error: &Error, budget: &RetryBudget) -> bool {
        if began.slept() >= self.config.deadline {
            return false;
        }
        let earlier = self.earlier + self.attempts;
        *self = Retries { earlier, unseen: self.unseen, ..self.config.start() };
        self.pause(error, budget).await
    }

    /// Begins anew after progress. The retries that led to it go back to the budget: what brings something is
    /// no storm, and so a long transfer over a bad line neither runs dry nor takes the retries of all others.
    pub(crate) fn progress(&mut self, budget: &RetryBudget) {
        budget.give((i64::from(self.earlier) + i64::from(self.attempts)) * RETRY + SUCCESS);
        *self = Retries { unseen: self.unseen, ..self.config.start() };
    }
}

/// What a retry costs, in halves of a token.
const RETRY: i64 = 2;
/// What a success gives back, in the same.
const SUCCESS: i64 = 1;

/// How many retries all operations of one client may make together, so that an outage is not answered with a
/// storm.
///
/// A retry costs one token, a success gives half a token back, and progress those that it cost.
#[derive(Debug)]
pub struct RetryBudget {
    halves: AtomicI64,
    capacity: i64,
}

impl Default for RetryBudget {
    /// 100 retries.
    fn default() -> Self {
        RetryBudget::new(100)
    }
}

impl RetryBudget {
    /// A budget of `tokens` retries; 0: nothing is tried again.
    pub fn new(tokens: u32) -> Self {
        let capacity = i64::from(tokens) * RETRY;
        RetryBudget { halves: AtomicI64::new(capacity), capacity }
    }

    fn take(&self) -> bool {
        self.halves
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |halves| {
                (halves >= RETRY).then(|| halves - RETRY)
            })
            .is_ok()
    }

    fn give(&self, more: i64) {
        let _ = self.halves.try_update(Ordering::Relaxed, Ordering::Relaxed, |halves| {
            (halves < self.capacity).then(|| (halves + more).min(self.capacity))
        });
    }
}

/// Runs `attempt` until it succeeds or is not to be tried again. It gets the number of failed attempts so
/// far, because from the second one on an `AlreadyExists` may be the writer's own earlier success.
///
/// # Errors
/// That of the last attempt: it is not retryable, or attempts, time or the budget are used up.
///
/// ```
/// # use persist::{Error, ErrorKind, RetryBudget, RetryConfig, retry};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let config = RetryConfig::default();
/// let budget = RetryBudget::default(); // one for all operations of a client
/// let answer = retry(&config, &budget, |failed| async move {
///     if failed == 0 { Err(Error::new(ErrorKind::Unavailable, "busy")) } else { Ok("answer") }
/// });
/// assert_eq!(answer.await?, "answer");
/// # Ok::<(), Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn retry<T, F>(
    config: &RetryConfig,
    budget: &RetryBudget,
    attempt: impl FnMut(u32) -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    retry_since(Some(Began::now()), config, budget, attempt).await
}

/// As [`retry`], for reads and for what shows to nobody by itself: repeated also where the machine slept
/// meanwhile.
#[cfg(any(feature = "gcs", feature = "s3"))]
pub(crate) async fn retry_unseen<T, F>(
    config: &RetryConfig,
    budget: &RetryBudget,
    attempt: impl FnMut(u32) -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    retry_since(None, config, budget, attempt).await
}

/// [`Retries`] count from the first failure, and do not see that the machine slept before it: what is
/// repeated then is of another day, too. Only sleep counts from the start on, since a large body may take its
/// time.
async fn retry_since<T, F>(
    began: Option<Began>,
    config: &RetryConfig,
    budget: &RetryBudget,
    mut attempt: impl FnMut(u32) -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut retries = if began.is_some() { config.start() } else { config.start_unseen() };
    loop {
        match attempt(retries.failed()).await {
            Ok(value) => {
                budget.give(SUCCESS);
                return Ok(value);
            }
            Err(error) if began.is_some_and(|began| began.slept() >= config.deadline) => return Err(error),
            Err(error) => retries.wait(error, budget).await?,
        }
    }
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
