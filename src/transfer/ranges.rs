//! A large download as several ranges at once.

use std::{future::Future, ops::Range};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{Body, Error, Result};

/// The bytes `range` of one version of an object, in order, fetched as pieces of `piece` bytes of which at most `parallel` are under
/// way or waiting to be read: memory is bounded by `piece * parallel`.
///
/// `fetch` gives a piece's body; it retries and resumes by itself (see [`resuming`](super::resuming)).
pub fn in_parallel<F, Fut>(range: Range<u64>, piece: u64, parallel: usize, fetch: F) -> Body
where
    F: Fn(Range<u64>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Body>> + Send + 'static,
{
    let len = range.end - range.start;
    let starts = stream::iter((range.start..range.end).step_by(piece.max(1) as usize));
    let pieces = starts.map(move |start| {
        let want = start..(start + piece).min(range.end);
        let size = want.end - want.start;
        let body = fetch(want);
        // A task of its own: the pieces behind the one that is being read go on while the reader is busy.
        let task = AbortOnDrop(tokio::spawn(async move { chunks(body.await?.with_len(size)).await }));
        async move { task.join().await }
    });
    let chunks = pieces.buffered(parallel.max(1)).map_ok(|chunks| stream::iter(chunks.into_iter().map(Ok)));
    Body::from_stream(chunks.try_flatten().map_err(|error: Error| error.with_operation("get"))).with_len(len)
}

/// All chunks of a body, as they came: contiguous pieces would cost a copy, and an allocator with arenas keeps large ones.
async fn chunks(mut body: Body) -> Result<Vec<Bytes>> {
    let mut chunks = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        chunks.push(chunk);
    }
    Ok(chunks)
}

/// A reader that goes away ends the requests that were made for it.
struct AbortOnDrop<T>(tokio::task::JoinHandle<Result<T>>);

impl<T> AbortOnDrop<T> {
    async fn join(mut self) -> Result<T> {
        match (&mut self.0).await {
            Ok(result) => result,
            Err(error) => Err(crate::Error::new(crate::ErrorKind::Internal, "a download task ended early")
                .with_source(error)),
        }
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
