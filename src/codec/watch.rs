//! What a stream of stored bytes leaves behind: how many there were, and the last of them.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};

use crate::{Body, Result, lock::lock};

/// As many as tell an index or a footer.
const LAST: usize = 64;

/// A count and the last bytes, shared with the stream that is being read.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch(Arc<(AtomicU64, Mutex<Vec<u8>>)>);

impl Watch {
    /// `first` and `body` as they come, and the watch that sees them pass.
    pub(super) fn over(
        first: Bytes,
        body: Body,
    ) -> (Self, impl Stream<Item = Result<Bytes>> + Send + Unpin + 'static) {
        let watch = Watch::default();
        let seen = watch.clone();
        let all = stream::iter([Ok(first)]).chain(body).inspect_ok(move |chunk| seen.see(chunk));
        (watch, all)
    }

    fn see(&self, chunk: &[u8]) {
        self.0.0.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        let mut last = self.last();
        let chunk = &chunk[chunk.len().saturating_sub(LAST)..];
        let spare = (last.len() + chunk.len()).saturating_sub(LAST);
        last.drain(..spare);
        last.extend_from_slice(chunk);
    }

    /// How many bytes have passed.
    pub(super) fn count(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }

    /// The last bytes that have passed, at most 64.
    pub(super) fn last(&self) -> MutexGuard<'_, Vec<u8>> {
        lock(&self.0.1)
    }
}
