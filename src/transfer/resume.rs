//! A download that goes on where it broke off.

use std::{future::Future, ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::stream::try_unfold;

use crate::{Body, Error, ErrorKind, Result, RetryConfig, retry::RetryBudget};

/// The bytes `range` of one version of an object, beginning with `body`, an answer that is already open (or
/// `None`).
///
/// `fetch` opens the same version from another offset on; it must fail with `Conflict` when that version is
/// gone. A retryable error in mid-body, and a body that ends too early, make a new request for the rest.
/// Every stretch that brought bytes starts with a full count of attempts, so that a long download over a bad
/// line is limited by progress and not by length.
pub fn resuming<F, Fut>(
    range: Range<u64>,
    body: Option<Body>,
    config: RetryConfig,
    budget: Arc<RetryBudget>,
    fetch: F,
) -> Body
where
    F: Fn(Range<u64>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Body>> + Send + 'static,
{
    let len = range.end - range.start;
    let state = Download { range, body, config, budget, fetch };
    let stream =
        try_unfold(state, |mut state| async move { Ok(state.next().await?.map(|chunk| (chunk, state))) });
    Body::from_stream(stream).with_len(len)
}

struct Download<F> {
    range: Range<u64>,
    body: Option<Body>,
    config: RetryConfig,
    budget: Arc<RetryBudget>,
    fetch: F,
}

impl<F, Fut> Download<F>
where
    F: Fn(Range<u64>) -> Fut,
    Fut: Future<Output = Result<Body>>,
{
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let config = self.config.clone();
        let mut retries = config.start_unseen();
        loop {
            if self.range.is_empty() {
                return self.end().await.map(|()| None);
            }
            match self.attempt().await {
                Ok(chunk) if chunk.len() as u64 > self.range.end - self.range.start => {
                    return Err(too_many());
                }
                Ok(chunk) => {
                    if retries.failed() > 0 {
                        retries.progress(&self.budget);
                    }
                    self.range.start += chunk.len() as u64;
                    return Ok(Some(chunk));
                }
                Err(error) => {
                    self.body = None;
                    retries.wait(error, &self.budget).await?;
                }
            }
        }
    }

    /// Behind the last byte: there a service's checksum is compared. A connection that breaks only now does
    /// no harm.
    async fn end(&mut self) -> Result<()> {
        let Some(mut body) = self.body.take() else { return Ok(()) };
        match body.chunk().await {
            Ok(Some(_)) => Err(too_many()),
            Err(error) if error.kind() == ErrorKind::Corrupt => Err(error),
            _ => Ok(()),
        }
    }

    async fn attempt(&mut self) -> Result<Bytes> {
        let body = match &mut self.body {
            Some(body) => body,
            empty => empty.insert((self.fetch)(self.range.clone()).await?),
        };
        let cut = || Error::new(ErrorKind::Unavailable, "the service ended the body too early");
        body.chunk().await?.ok_or_else(cut)
    }
}

fn too_many() -> Error {
    Error::new(ErrorKind::Corrupt, "the service sent more bytes than the object has")
}
