//! Fails on purpose, for tests.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::sync::Notify;

use crate::{
    Body, Capabilities, DeleteOptions, Error, ErrorKind, GetOptions, Key, ListEntry, ListOptions, Object,
    ObjectMeta, PutOptions, Result, SnapshotAdapter, Tier, lock::lock,
};

/// An operation of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// [`SnapshotAdapter::put`]
    Put,
    /// [`SnapshotAdapter::get`]
    Get,
    /// [`SnapshotAdapter::head`]
    Head,
    /// [`SnapshotAdapter::delete`]
    Delete,
    /// [`SnapshotAdapter::list`]
    List,
    /// [`SnapshotAdapter::set_tier`]
    SetTier,
}

/// What goes wrong.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Injection {
    /// The operation fails without having done anything.
    Before(ErrorKind),
    /// The operation is done, and then fails: the answer was lost.
    After(ErrorKind),
    /// The operation starts later.
    Delay(Duration),
    /// The operation starts when it is notified: a writer that stalls.
    Hold(Arc<Notify>),
    /// The body (of `put` or `get`) breaks off with `Unavailable` after so many bytes; a listing after so
    /// many rows.
    CutAfter(u64),
    /// The byte at this place of the body of `get` is changed, as a bad disk does.
    Flip(u64),
}

/// Wraps an adapter and does what a script or a seed says. Clones share the script, so that a test keeps one
/// to steer by.
///
/// ```
/// use std::sync::Arc;
/// use persist::{ErrorKind, SnapshotAdapterExt, adapters::memory::MemoryAdapter};
/// use persist::layers::{Fault, Injection, Operation};
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// let store = Fault::new(Arc::new(MemoryAdapter::new()));
/// store.inject(Operation::Put, Injection::After(ErrorKind::Unavailable));
/// assert!(store.save("state", "key").await.is_err()); // the answer is lost ...
/// assert_eq!(store.load("key").await?, b"state"[..]);      // ... the state is not
/// assert_eq!(store.calls(Operation::Put), 1);
/// # Ok::<(), persist::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Fault {
    inner: Arc<dyn SnapshotAdapter>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// For each operation: what happens to its next calls, `None` for nothing.
    script: BTreeMap<Operation, VecDeque<Option<Injection>>>,
    calls: BTreeMap<Operation, usize>,
    random: Option<Random>,
}

#[derive(Debug)]
struct Random {
    state: u64,
    /// Faults in a million calls.
    rate: u64,
}

impl Fault {
    /// `inner`, without a fault yet.
    pub fn new(inner: Arc<dyn SnapshotAdapter>) -> Self {
        Fault { inner, state: Arc::default() }
    }

    /// `inner` with faults that pass by themselves (`Unavailable` before or after acting, bodies and listings
    /// cut) in about `rate` (0 to 1) of all calls. The same seed and the same calls give the same faults.
    pub fn seeded(inner: Arc<dyn SnapshotAdapter>, seed: u64, rate: f64) -> Self {
        let fault = Fault::new(inner);
        // The constant keeps small seeds apart and is never 0 with one.
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        fault.state().random = Some(Random { state, rate: (rate.clamp(0.0, 1.0) * 1e6) as u64 });
        fault
    }

    /// The next call of `operation` that has no injection yet gets this one.
    pub fn inject(&self, operation: Operation, injection: Injection) {
        self.inject_later(operation, 0, injection);
    }

    /// As [`inject`](Fault::inject), but `skip` calls before it go well.
    pub fn inject_later(&self, operation: Operation, skip: usize, injection: Injection) {
        let mut state = self.state();
        let queue = state.script.entry(operation).or_default();
        queue.extend(std::iter::repeat_n(None, skip));
        queue.push_back(Some(injection));
    }

    /// No further faults, scripted or seeded.
    pub fn heal(&self) {
        let mut state = self.state();
        state.script.clear();
        state.random = None;
    }

    /// How often `operation` was called: to check that something takes one request and not two.
    pub fn calls(&self, operation: Operation) -> usize {
        self.state().calls.get(&operation).copied().unwrap_or_default()
    }

    /// Counts anew.
    pub fn reset_calls(&self) {
        self.state().calls.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Counts a call and says what happens to it.
    fn next(&self, operation: Operation) -> Option<Injection> {
        let mut state = self.state();
        *state.calls.entry(operation).or_default() += 1;
        match state.script.get_mut(&operation).and_then(VecDeque::pop_front) {
            Some(scripted) => scripted,
            None => state.random.as_mut()?.next(),
        }
    }

    /// What comes before the operation.
    async fn before(&self, operation: Operation) -> Result<Option<Injection>> {
        match self.next(operation) {
            Some(Injection::Before(kind)) => Err(injected(kind)),
            Some(Injection::Delay(time)) => {
                tokio::time::sleep(time).await;
                Ok(None)
            }
            Some(Injection::Hold(notify)) => {
                notify.notified().await;
                Ok(None)
            }
            other => Ok(other),
        }
    }
}

impl Random {
    fn next(&mut self) -> Option<Injection> {
        let mut draw = |below: u64| {
            // xorshift64: https://www.jstatsoft.org/article/view/v008i14
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            (self.state >> 16) % below
        };
        (draw(1_000_000) < self.rate).then(|| match draw(3) {
            0 => Injection::Before(ErrorKind::Unavailable),
            1 => Injection::After(ErrorKind::Unavailable),
            _ => Injection::CutAfter(draw(10_000)),
        })
    }
}

fn injected(kind: ErrorKind) -> Error {
    Error::new(kind, "injected fault").with_backend("fault")
}

/// Loses the answer, if that is what was injected. An operation that failed by itself keeps its error.
fn after<T>(result: Result<T>, injection: Option<Injection>) -> Result<T> {
    match (result, injection) {
        (Ok(_), Some(Injection::After(kind))) => Err(injected(kind)),
        (result, _) => result,
    }
}

/// The first `left` bytes of `body`, then an error. A shorter body stays whole.
fn cut(body: Body, left: u64) -> Body {
    let len = body.len();
    let stream = stream::try_unfold((body, left, false), |(mut body, left, broken)| async move {
        if broken {
            return Err(injected(ErrorKind::Unavailable));
        }
        let Some(mut chunk) = body.chunk().await? else { return Ok(None) };
        let broken = chunk.len() as u64 > left;
        if broken {
            chunk.truncate(left as usize);
        }
        let left = left - chunk.len() as u64;
        Ok(Some((chunk, (body, left, broken))))
    });
    match len {
        Some(len) => Body::from_stream(stream).with_len(len),
        None => Body::from_stream(stream),
    }
}

/// `body` with one bit of the byte at `place` changed.
fn flip(body: Body, place: u64) -> Body {
    let len = body.len();
    let mut at = 0;
    let stream = body.map(move |chunk| {
        let chunk = chunk?;
        let start = at;
        at += chunk.len() as u64;
        if !(start..at).contains(&place) {
            return Ok(chunk);
        }
        let mut bytes = chunk.to_vec();
        bytes[(place - start) as usize] ^= 1;
        Ok(bytes.into())
    });
    match len {
        Some(len) => Body::from_stream(stream).with_len(len),
        None => Body::from_stream(stream),
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl SnapshotAdapter for Fault {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<ObjectMeta> {
        let injection = self.before(Operation::Put).await?;
        let body = match injection {
            Some(Injection::CutAfter(bytes)) => cut(body, bytes),
            _ => body,
        };
        after(self.inner.put(key, body, options).await, injection)
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        let injection = self.before(Operation::Get).await?;
        let mut object = self.inner.get(key, options).await?;
        object.body = match injection {
            Some(Injection::CutAfter(bytes)) => cut(object.body, bytes),
            Some(Injection::Flip(place)) => flip(object.body, place),
            _ => object.body,
        };
        after(Ok(object), injection)
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        let injection = self.before(Operation::Head).await?;
        after(self.inner.head(key).await, injection)
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        let injection = self.before(Operation::Delete).await?;
        after(self.inner.delete(key, options).await, injection)
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
        let open = async move {
            match self.before(Operation::List).await {
                Err(error) => stream::iter([Err(error)]).boxed(),
                Ok(Some(Injection::CutAfter(rows))) => {
                    let rows = self.inner.list(options).take(rows.min(usize::MAX as u64) as usize);
                    rows.chain(stream::iter([Err(injected(ErrorKind::Unavailable))])).boxed()
                }
                Ok(Some(Injection::After(kind))) => {
                    self.inner.list(options).chain(stream::iter([Err(injected(kind))])).boxed()
                }
                Ok(_) => self.inner.list(options),
            }
        };
        stream::once(open).flatten().boxed()
    }

    async fn set_tier(&self, key: &Key, tier: Tier) -> Result<()> {
        let injection = self.before(Operation::SetTier).await?;
        after(self.inner.set_tier(key, tier).await, injection)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[cfg(test)]
#[path = "fault_tests.rs"]
mod tests;
