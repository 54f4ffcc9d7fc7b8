//! As `parts`, without copying: a body in pieces of wanted lengths, each as the chunks that came.

use bytes::{Bytes, BytesMut};

use crate::{Body, Result};

/// Smaller chunks are copied together, so that a source that gives single bytes does not cost a list entry
/// for each.
const COPY_BELOW: usize = 8 * 1024;

/// A body that is cut as it is read.
#[derive(Debug)]
pub(crate) struct Pieces {
    body: Body,
    rest: Bytes,
    ended: bool,
}

impl Pieces {
    /// The bytes of `first` and then of `body`.
    pub(crate) fn new(first: Bytes, body: Body) -> Self {
        Pieces { body, rest: first, ended: false }
    }

    /// The next `len` bytes; fewer only at the end.
    pub(crate) async fn take(&mut self, len: usize) -> Result<Vec<Bytes>> {
        let (mut out, mut small, mut left) = (Vec::new(), BytesMut::new(), len);
        while left > 0 && !self.at_end().await? {
            let piece = self.rest.split_to(self.rest.len().min(left));
            left -= piece.len();
            if piece.len() < COPY_BELOW {
                small.extend_from_slice(&piece);
                continue;
            }
            if !small.is_empty() {
                out.push(small.split().freeze());
            }
            out.push(piece);
        }
        if !small.is_empty() {
            out.push(small.freeze());
        }
        Ok(out)
    }

    /// Whether nothing is left. Waits for the source where that is not known.
    pub(crate) async fn at_end(&mut self) -> Result<bool> {
        while self.rest.is_empty() && !self.ended {
            match self.body.chunk().await? {
                Some(chunk) => self.rest = chunk,
                None => self.ended = true,
            }
        }
        Ok(self.rest.is_empty())
    }
}
