//! Whether a request's body moves: a connection that takes no more bytes ends by the limit for silence,
//! however large the body is.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use aws_sdk_s3::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextMut},
    error::BoxError,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::lock::lock;

/// What the connection is given at once. It asks for more when it has sent most of what it has.
const PIECE: usize = 128 << 10;

/// What a connection on a slow line holds beside that: about half of it hyper, the rest TLS and the kernel.
const UNSEEN: usize = 1 << 20;
/// The slowest line, for all that share it, in bytes a second; as `attempt_timeout` counts.
const SLOWEST: usize = 64 << 10;
/// So many bodies at most are thought to share a line that is so slow.
const MANY: usize = 8;

/// Watches one attempt, as an interceptor that hands its body over in pieces.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    body: Bytes,
    /// How many such bodies share the line.
    beside: usize,
    moved: Arc<Mutex<Moved>>,
}

#[derive(Debug, Default)]
struct Moved {
    first: Option<Instant>,
    last: Option<Instant>,
    /// The connection has all of the body: nobody sees how it goes from here on.
    whole: bool,
}

impl Progress {
    pub(super) fn of(body: Bytes, beside: usize) -> Progress {
        Progress { body, beside, moved: Arc::default() }
    }

    /// Resolves when nothing has moved for `limit`, and for the time that what is not seen may take.
    pub(super) async fn silent_for(&self, limit: Duration) {
        let start = Instant::now();
        loop {
            let until = {
                let moved = lock(&self.moved);
                let (first, last) = (moved.first.unwrap_or(start), moved.last.unwrap_or(start));
                last + limit + if moved.whole { self.unseen(last - first) } else { Duration::ZERO }
            };
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    /// How long the end of the body may take, where all before it took so long: as long again. What is too
    /// short to tell gets the time of the slowest line.
    fn unseen(&self, before: Duration) -> Duration {
        match self.body.len() {
            // At least as much was seen to go.
            len if len >= 2 * UNSEEN => before,
            len => {
                before.max(Duration::from_secs((len.min(UNSEEN) * self.beside.min(MANY) / SLOWEST) as u64))
            }
        }
    }
}

impl Intercept for Progress {
    fn name(&self) -> &'static str {
        "Progress"
    }

    // Behind signing, which wants the body in memory.
    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.request_mut().body_mut();
        if body.bytes().is_some_and(|bytes| bytes.len() == self.body.len()) {
            let pieces = Pieces { rest: self.body.clone(), moved: self.moved.clone() };
            *body = SdkBody::from_body_1_x(pieces);
        }
        Ok(())
    }
}

struct Pieces {
    rest: Bytes,
    moved: Arc<Mutex<Moved>>,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let len = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(len);
        let whole = self.rest.is_empty();
        let mut moved = lock(&self.moved);
        let now = Instant::now();
        moved.first.get_or_insert(now);
        (moved.last, moved.whole) = (Some(now), whole);
        Poll::Ready((!piece.is_empty()).then_some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// Whether an attempt at so many bytes, of which one piece is taken each `pace` seconds, is still there
    /// so long behind the last one.
    async fn lives(len: usize, beside: usize, pace: u64, behind: u64) -> bool {
        let progress = Progress::of(vec![0; len].into(), beside);
        let mut pieces = Pieces { rest: progress.body.clone(), moved: progress.moved.clone() };
        let mut silent = Box::pin(progress.silent_for(LIMIT));
        assert!((&mut silent).now_or_never().is_none());
        while !pieces.is_end_stream() {
            let taken = std::future::poll_fn(|context| Pin::new(&mut pieces).poll_frame(context));
            taken.now_or_never().flatten().unwrap().unwrap();
            if !pieces.is_end_stream() {
                let next = tokio::time::timeout(Duration::from_secs(pace), &mut silent);
                assert!(next.await.is_err(), "it moves");
            }
        }
        tokio::time::timeout(Duration::from_secs(behind), silent).await.is_err()
    }

    /// The end of a body leaves as slowly as the rest of it.
    #[tokio::test(start_paused = true)]
    async fn what_is_not_seen_to_go_gets_its_time() {
        // A part among four at 64 KiB a second: 8 s for each piece.
        assert!(lives(8 << 20, 4, 8, 100).await);
        assert!(!lives(8 << 20, 4, 8, 600).await);
        // What a quick connection has taken is not waited for.
        assert!(!lives(8 << 20, 4, 0, 31).await);
        assert!(!lives(8 << 20, 4, 1, 95).await);
        // A short one is taken at once, at whatever pace it goes.
        assert!(lives(1_200_000, 4, 0, 60).await);
        assert!(lives(600_000, 4, 0, 60).await);
        assert!(!lives(600_000, 4, 0, 70).await);
        assert!(!lives(600_000, 1, 0, 40).await);
        assert!(!lives(10_000, 4, 0, 31).await);
    }

    /// Without a byte taken there is no more than the limit.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_not_taken_ends_in_time() {
        let progress = Progress::of(vec![0; 8 << 20].into(), 4);
        let mut pieces = Pieces { rest: progress.body.clone(), moved: progress.moved.clone() };
        let late = LIMIT + Duration::from_secs(1);
        assert!(tokio::time::timeout(late, progress.silent_for(LIMIT)).await.is_ok());
        let taken = std::future::poll_fn(|context| Pin::new(&mut pieces).poll_frame(context));
        taken.now_or_never().flatten().unwrap().unwrap();
        assert!(tokio::time::timeout(late, progress.silent_for(LIMIT)).await.is_ok());
    }
}
