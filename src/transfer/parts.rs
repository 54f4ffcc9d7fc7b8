//! Cuts a body into parts that can be sent again.

use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::{Body, Result};

/// The most that is reserved before it comes: a part may be larger than what there is, and than memory.
const MOST_RESERVED: usize = 64 << 20;

/// A body in parts of a size that the caller picks for each: every part but the last has exactly that size,
/// and all are contiguous `Bytes`, so that a retry sends the same part again and never rewinds the source.
pub struct Parts {
    body: Body,
    rest: Bytes,
    ended: bool,
}

/// Shows no byte of the body.
impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("body", &self.body).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Parts {
    /// The parts of `body`.
    pub fn new(body: Body) -> Self {
        Parts { body, rest: Bytes::new(), ended: false }
    }

    /// The next part and whether it is the last one. Only the last may be shorter than `size`; an empty body
    /// is one empty last part.
    ///
    /// **Not cancel safe**: where the future is dropped, the bytes that it has taken are lost. In a `select!`,
    /// pin it outside of the loop.
    ///
    /// # Errors
    /// What the body fails with.
    pub async fn next(&mut self, size: usize) -> Result<(Bytes, bool)> {
        if self.rest.is_empty() {
            self.fill().await?;
        }
        let mut part = self.take(size);
        // A body that comes in one chunk is not copied.
        if part.len() < size && self.fill().await? {
            let known = self.body.len().map_or(usize::MAX, |len| usize::try_from(len).unwrap_or(usize::MAX));
            let left = known.saturating_add(part.len() + self.rest.len());
            let mut grown = BytesMut::with_capacity(size.min(left).min(MOST_RESERVED));
            grown.extend_from_slice(&part);
            while grown.len() < size && (!self.rest.is_empty() || self.fill().await?) {
                let more = self.take(size - grown.len());
                grown.extend_from_slice(&more);
            }
            part = grown.freeze();
        }
        // Look one chunk ahead: only then is it known whether a full part is the last one.
        let last = self.rest.is_empty() && !self.fill().await?;
        Ok((part, last))
    }

    fn take(&mut self, most: usize) -> Bytes {
        self.rest.split_to(self.rest.len().min(most))
    }

    /// Fetches the next chunk into `rest`; false at the end.
    async fn fill(&mut self) -> Result<bool> {
        if !self.ended {
            match self.body.chunk().await? {
                Some(chunk) => self.rest = chunk,
                None => self.ended = true,
            }
        }
        Ok(!self.ended)
    }
}
