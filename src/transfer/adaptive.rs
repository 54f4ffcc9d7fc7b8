//! A large download as one stream where that is fast, and as several ranges at once where it is not.

use std::{
    future::Future,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream::try_unfold;
use tokio::time::Instant;

use super::in_parallel;
use crate::{Body, Result};

/// Bytes a second from which on one stream is enough: more of them cost the processor more than they bring. What one connection gets of a
/// large service is far less, and there several add up.
const FAST: f64 = 256.0 * 1024.0 * 1024.0;
/// Bytes of one request of a single stream; then its speed is looked at again.
const LEG: u64 = 64 * 1024 * 1024;

const UNKNOWN: u8 = 0;
const ONE: u8 = 1;
const MANY: u8 = 2;

/// What is known of the way to a service, shared by all downloads of a client.
#[derive(Debug)]
pub struct Line {
    found: AtomicU8,
    parallel: usize,
    fixed: bool,
}

impl Line {
    /// So many ranges at once, as the deployment wants it; `None` finds out what is faster, one stream or 4 ranges.
    pub fn new(parallel: Option<usize>) -> Self {
        let found = match parallel {
            None => UNKNOWN,
            Some(1) => ONE,
            Some(_) => MANY,
        };
        Line { found: AtomicU8::new(found), parallel: parallel.unwrap_or(4), fixed: parallel.is_some() }
    }

    /// How many bytes the next request should ask for, of an object whose size need not be known. `piece` is what one of several ranges has.
    pub fn first(&self, piece: u64) -> u64 {
        match self.found.load(Ordering::Relaxed) {
            ONE => LEG.max(piece),
            _ => piece,
        }
    }

    /// Notes how long the bytes of a leg kept their reader waiting. A reader that is slower than the line does not wait.
    fn note(&self, leg: &Leg) {
        if self.fixed {
            return;
        }
        let fast = leg.len as f64 >= leg.waited.as_secs_f64() * FAST;
        let found = match (fast, leg.single) {
            (true, true) => ONE,
            // Fast by way of several streams: whether one would be, the next download finds out.
            (true, false) => UNKNOWN,
            (false, _) => MANY,
        };
        self.found.store(found, Ordering::Relaxed);
    }

    fn many(&self) -> bool {
        self.found.load(Ordering::Relaxed) == MANY
    }
}

/// The bytes `range` of one version of an object, in order. `first` is an answer that is already open and has the first `len` bytes of them.
/// As long as one stream is fast, there is one. Else the rest comes as pieces of `piece` bytes of which several are under way or waiting to be
/// read: memory is bounded by `piece` times their number.
///
/// `fetch` gives the body of a range, and takes `first` where that begins it; it retries and resumes by itself (see
/// [`resuming`](super::resuming)).
pub fn adaptive<F, Fut>(range: Range<u64>, len: u64, piece: u64, line: Arc<Line>, fetch: F) -> Body
where
    F: Fn(Range<u64>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Body>> + Send + 'static,
{
    let size = range.end - range.start;
    let state = Download { rest: range, open: Some(len), piece, line, fetch, leg: None };
    let stream =
        try_unfold(state, |mut state| async move { Ok(state.next().await?.map(|chunk| (chunk, state))) });
    Body::from_stream(stream).with_len(size)
}

struct Download<F> {
    rest: Range<u64>,
    /// How many bytes the answer has that is already open.
    open: Option<u64>,
    piece: u64,
    line: Arc<Line>,
    fetch: F,
    leg: Option<Leg>,
}

/// A part of the download that is being read.
struct Leg {
    body: Body,
    len: u64,
    waited: Duration,
    single: bool,
}

impl<F, Fut> Download<F>
where
    F: Fn(Range<u64>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Body>> + Send + 'static,
{
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Some(leg) = &mut self.leg else {
                if self.rest.is_empty() {
                    return Ok(None);
                }
                self.leg = Some(self.begin().await?);
                continue;
            };
            let asked = Instant::now();
            let chunk = leg.body.chunk().await?;
            leg.waited += asked.elapsed();
            if let Some(chunk) = chunk {
                leg.len += chunk.len() as u64;
                return Ok(Some(chunk));
            }
            // A short one says more about the way there and back.
            if leg.len >= self.piece {
                self.line.note(leg);
            }
            self.leg = None;
        }
    }

    async fn begin(&mut self) -> Result<Leg> {
        let open = self.open.take();
        // What is open and longer than a piece is read to its end first.
        let single = !self.line.many() || open.is_some_and(|len| len > self.piece);
        let len = open.unwrap_or_else(|| self.line.first(self.piece));
        let start = self.rest.start;
        let end = if single { self.rest.end.min(start.saturating_add(len)) } else { self.rest.end };
        self.rest.start = end;
        let body = match single {
            true => (self.fetch)(start..end).await?.with_len(end - start),
            false => in_parallel(start..end, self.piece, self.line.parallel, self.fetch.clone()),
        };
        Ok(Leg { body, len: 0, waited: Duration::ZERO, single })
    }
}

#[cfg(test)]
#[path = "adaptive_tests.rs"]
mod tests;
