//! Whether a request's body moves: a connection that takes no more bytes ends by the limit for silence, however large the body is.

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

/// Watches one attempt, as an interceptor that hands its body over in pieces.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    body: Bytes,
    last: Arc<Mutex<Instant>>,
}

impl Progress {
    pub(super) fn of(body: Bytes) -> Progress {
        Progress { body, last: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Resolves when nothing has moved for `limit`.
    pub(super) async fn silent_for(&self, limit: Duration) {
        loop {
            let until = *lock(&self.last) + limit;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
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
            let pieces = Pieces { rest: self.body.clone(), last: self.last.clone() };
            *body = SdkBody::from_body_1_x(pieces);
        }
        Ok(())
    }
}

struct Pieces {
    rest: Bytes,
    last: Arc<Mutex<Instant>>,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        *lock(&self.last) = Instant::now();
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let len = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(len)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
