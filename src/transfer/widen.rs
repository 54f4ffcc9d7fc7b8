//! A large download over one connection, and over several where one is too slow.

use std::{ops::Range, sync::Mutex, time::Duration};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, try_unfold},
};
use tokio::time::Instant;

use super::ranges::in_parallel;
use crate::{Body, Result, lock::lock};

/// Bounds below which one connection counts as too slow.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Pace {
    /// How many bytes a second are enough.
    pub enough: u64,
    /// How long, in all, a reader waits for bytes before that is judged.
    pub patience: Duration,
}

impl Pace {
    /// Slow is what gives less than `enough` bytes a second while a reader has waited for `patience`.
    pub const fn new(enough: u64, patience: Duration) -> Self {
        Pace { enough, patience }
    }

    /// Of Amazon and Google, where a connection gets a small part of what the service can give: at Amazon
    /// less than 100 MB a second.
    pub const CLOUD: Pace = Pace { enough: 128 << 20, patience: Duration::from_millis(100) };
    /// Of every other server. Disks and processors are the limit there as a rule, where ranges only add to
    /// the work, and some servers give the first bytes slowly; but a connection of many seconds that gives
    /// little has a long way.
    pub const SERVER: Pace = Pace { enough: 32 << 20, patience: Duration::from_secs(5) };
}

/// The bytes `range` of one version of an object: `open`, which has all of them, as long as it is quick, then
/// ranges of `piece` bytes, of which at most `parallel` are under way.
///
/// Ranges cost a server more than one answer does. So they begin only when the reader has waited and less
/// than enough came meanwhile, and never for a reader that is slower itself. From then on `open` gives one
/// piece more and is dropped.
///
/// `open` and what `fetch` gives retry and resume by themselves (see [`resuming`](super::resuming)), and know
/// their length.
pub fn widening<F>(range: Range<u64>, piece: u64, parallel: usize, pace: Pace, open: Body, fetch: F) -> Body
where
    F: Fn(Range<u64>) -> Body + Send + Sync + 'static,
{
    let len = range.end - range.start;
    // What fits one piece is not worth another request.
    if parallel <= 1 || len <= piece {
        return open;
    }
    let state = Download {
        origin: range.start,
        range,
        piece: piece.max(1),
        parallel,
        pace,
        body: open,
        fetch: Some(fetch),
        taken: 0,
        waited: Duration::ZERO,
    };
    let stream =
        try_unfold(state, |mut state| async move { Ok(state.chunk().await?.map(|chunk| (chunk, state))) });
    Body::from_stream(stream).with_len(len)
}

struct Download<F> {
    origin: u64,
    /// What is still to come.
    range: Range<u64>,
    piece: u64,
    parallel: usize,
    pace: Pace,
    body: Body,
    /// Until the ranges have begun.
    fetch: Option<F>,
    /// How many bytes came since the clock was set to zero, and how long the reader waited for them.
    taken: u64,
    waited: Duration,
}

impl<F> Download<F>
where
    F: Fn(Range<u64>) -> Body + Send + Sync + 'static,
{
    async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if self.fetch.is_none() {
            return self.body.chunk().await;
        }
        let asked = Instant::now();
        let Some(mut chunk) = self.body.chunk().await? else { return Ok(None) };
        // The first bytes take as long as the service needs to find them, over however many connections.
        if self.taken > 0 {
            self.waited += asked.elapsed();
        }
        let len = chunk.len() as u64;
        (self.range.start, self.taken) = (self.range.start + len, self.taken + len);
        // Ranges that begin at a multiple of their size suit servers that store such pieces.
        let past = (self.range.start - self.origin) % self.piece;
        if past < len && self.is_slow() {
            let left = self.range.end.saturating_sub(self.range.start) + past;
            if left > self.piece {
                self.range.start -= past;
                let over = chunk.split_off((len - past) as usize);
                self.widen(over);
            }
        }
        Ok(Some(chunk))
    }

    fn is_slow(&mut self) -> bool {
        if self.waited < self.pace.patience {
            return false;
        }
        let slow = self.waited.as_secs_f64() * self.pace.enough as f64 > self.taken as f64;
        (self.taken, self.waited) = (0, Duration::ZERO);
        slow
    }

    /// Goes on with ranges, of which the open answer gives the first; `over` is what has come of it.
    fn widen(&mut self, over: Bytes) {
        let Some(fetch) = self.fetch.take() else { return };
        let open = std::mem::replace(&mut self.body, Body::empty());
        let open = Body::from_stream(stream::iter([Ok(over)]).chain(open));
        let (start, open) = (self.range.start, Mutex::new(Some(first_bytes(open, self.piece))));
        self.body = in_parallel(self.range.clone(), self.piece, self.parallel, move |part| {
            let mut open = lock(&open);
            let body = open.take_if(|_| part.start == start).unwrap_or_else(|| fetch(part));
            std::future::ready(Ok(body))
        });
    }
}

/// The first `len` bytes of a body, whose rest is not fetched.
fn first_bytes(body: Body, len: u64) -> Body {
    Body::from_stream(try_unfold((body, len), |(mut body, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let Some(mut chunk) = body.chunk().await? else { return Ok(None) };
        chunk.truncate(left.min(usize::MAX as u64) as usize);
        let left = left - chunk.len() as u64;
        Ok(Some((chunk, (body, left))))
    }))
}
