//! A large download as several ranges at once.

use std::{collections::VecDeque, future::Future, ops::Range};

use bytes::Bytes;
use futures_util::{TryStreamExt, stream::try_unfold};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{Body, Error, ErrorKind, Result};

/// The bytes `range` of one version of an object, in order, fetched as pieces of `piece` bytes of which at
/// most `parallel` are under way or waiting to be read, the one that is being read among them: memory is
/// bounded by `piece * parallel`.
///
/// `fetch` gives a piece's body; it retries and resumes by itself (see [`resuming`](super::resuming)).
pub(super) fn in_parallel<F, Fut>(range: Range<u64>, piece: u64, parallel: usize, fetch: F) -> Body
where
    F: Fn(Range<u64>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Body>> + Send + 'static,
{
    let len = range.end - range.start;
    let starts = (range.start..range.end).step_by(piece.max(1) as usize);
    let rest = starts.map(move |start| {
        let part = start..(start + piece).min(range.end);
        Fetch::begin(part.end - part.start, fetch(part))
    });
    let chunks = try_unfold((rest, VecDeque::new()), move |(mut rest, mut pieces)| async move {
        loop {
            while pieces.len() < parallel.max(1)
                && let Some(next) = rest.next()
            {
                pieces.push_back(next);
            }
            let Some(first) = pieces.front_mut() else { return Ok(None) };
            match first.chunk().await? {
                Some(chunk) => return Ok(Some((chunk, (rest, pieces)))),
                None => drop(pieces.pop_front()),
            }
        }
    });
    Body::from_stream(chunks.map_err(|error: Error| error.with_operation("get"))).with_len(len)
}

/// A piece that a task of its own fetches, so that it goes on while the reader is busy or at an earlier one.
struct Fetch {
    chunks: mpsc::UnboundedReceiver<Bytes>,
    task: JoinHandle<Result<()>>,
}

impl Fetch {
    fn begin(len: u64, body: impl Future<Output = Result<Body>> + Send + 'static) -> Fetch {
        // Not bounded by itself: the piece is, and is to arrive whole while an earlier one is read.
        let (send, chunks) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut body = body.await?.with_len(len);
            while let Some(chunk) = body.chunk().await? {
                // Nobody listens when the load was dropped, which ends this task.
                let _ = send.send(chunk);
            }
            Ok(())
        });
        Fetch { chunks, task }
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if let Some(chunk) = self.chunks.recv().await {
            return Ok(Some(chunk));
        }
        match (&mut self.task).await {
            Ok(outcome) => outcome.map(|()| None),
            Err(error) => {
                Err(Error::new(ErrorKind::Internal, "a download task ended early").with_source(error))
            }
        }
    }
}

/// A reader that goes away ends the requests that were made for it.
impl Drop for Fetch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
