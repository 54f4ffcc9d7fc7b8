//! Checksums: of what is sent, on as many cores as there are; of what arrives in pieces, each where it arrives, while it is in the processor's
//! cache.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use futures_util::{TryStreamExt, future::try_join_all, stream::try_unfold};

use crate::{Body, Result, http::Payload, threads};

/// Up to so many bytes are summed up here and now, in less than a millisecond.
const SHORT: u64 = 8 * 1024 * 1024 + 8 * 1024 * 1024 / 8;

/// The CRC32C of what has `crc32c` so far and goes on with `data`.
///
/// # Errors
/// When the runtime is ending.
pub(super) async fn append(crc32c: u32, data: &Payload) -> Result<u32> {
    if data.len() <= SHORT {
        return Ok(data.parts().iter().fold(crc32c, |sum, part| crc32c::crc32c_append(sum, part)));
    }
    let size = data.len().div_ceil(threads::parallelism() as u64).max(1) as usize;
    let shares = data.parts().iter().flat_map(|part| {
        let starts = (0..part.len()).step_by(size);
        starts.map(|start| part.slice(start..part.len().min(start + size)))
    });
    let sums = shares.map(|share| threads::run(move || Ok((crc32c::crc32c(&share), share.len()))));
    let sums = try_join_all(sums.collect::<Vec<_>>()).await?;
    Ok(sums.into_iter().fold(crc32c, |sum, (share, len)| crc32c::crc32c_combine(sum, share, len)))
}

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
