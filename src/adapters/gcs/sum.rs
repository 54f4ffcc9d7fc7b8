//! The checksum of an object that arrives in pieces: each is summed up where it arrives, while it is in the processor's cache, and several
//! at once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use futures_util::{TryStreamExt, stream::try_unfold};

use crate::Body;

/// The CRC32C of an object from those of its pieces, which may come in any order.
#[derive(Debug, Default)]
pub(super) struct Sum(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// So many bytes from the start are in `crc32c`.
    len: u64,
    crc32c: u32,
    /// Pieces that came before those in front of them: start, length and checksum.
    early: BTreeMap<u64, (u64, u32)>,
}

impl Sum {
    /// Passes on the piece that starts at `start`, and adds it when it has ended.
    pub(super) fn over(self: Arc<Self>, start: u64, body: Body) -> Body {
        let len = body.len();
        let stream = try_unfold((body, 0, 0), move |(mut body, len, crc32c)| {
            let sum = self.clone();
            async move {
                let Some(chunk) = body.try_next().await? else {
                    sum.add(start, len, crc32c);
                    return Ok(None);
                };
                let crc32c = crc32c::crc32c_append(crc32c, &chunk);
                Ok(Some((chunk.clone(), (body, len + chunk.len() as u64, crc32c))))
            }
        });
        let summed = Body::from_stream(stream);
        match len {
            Some(len) => summed.with_len(len),
            None => summed,
        }
    }

    fn add(&self, start: u64, len: u64, crc32c: u32) {
        let mut state = self.lock();
        state.early.insert(start, (len, crc32c));
        loop {
            let next = state.len;
            let Some((len, crc32c)) = state.early.remove(&next) else { break };
            state.crc32c = crc32c::crc32c_combine(state.crc32c, crc32c, len as usize);
            state.len += len;
        }
    }

    /// The checksum, if `len` bytes from the start and no more have come.
    pub(super) fn of(&self, len: u64) -> Option<u32> {
        let state = self.lock();
        (state.len == len && state.early.is_empty()).then_some(state.crc32c)
    }

    // A panic while the lock is held cannot leave it half-changed in a way that passes for complete.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
#[path = "sum_tests.rs"]
mod tests;
