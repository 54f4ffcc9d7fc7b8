//! A request body that can be sent again without copying.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::{Bytes, BytesMut};
use futures_util::stream;

/// Up to this size a body is sent in one piece.
const SMALL: u64 = 64 * 1024;
/// Pieces of larger ones: each that the connection takes counts as progress.
const PIECE: usize = 128 * 1024;

/// Bytes in memory, in some parts. A clone shares them.
#[derive(Clone, Default)]
pub(crate) struct Payload(Vec<Bytes>);

impl Payload {
    /// These parts, one behind the other.
    pub(crate) fn new(parts: impl IntoIterator<Item = Bytes>) -> Self {
        Payload(parts.into_iter().filter(|part| !part.is_empty()).collect())
    }

    /// How many bytes.
    pub(crate) fn len(&self) -> u64 {
        self.0.iter().map(|part| part.len() as u64).sum()
    }

    /// The same without its first `len` bytes.
    pub(crate) fn skip(&self, mut len: u64) -> Self {
        Payload::new(self.0.iter().map(|part| {
            let front = len.min(part.len() as u64);
            len -= front;
            part.slice(front as usize..)
        }))
    }

    /// The parts.
    pub(crate) fn parts(&self) -> &[Bytes] {
        &self.0
    }

    /// As a request body; `moved` counts the bytes that the connection has taken.
    pub(super) fn into_body(self, moved: Arc<AtomicU64>) -> reqwest::Body {
        if self.len() <= SMALL {
            let mut whole = BytesMut::with_capacity(self.len() as usize);
            self.0.iter().for_each(|part| whole.extend_from_slice(part));
            return whole.freeze().into();
        }
        let parts = self.0.into_iter();
        let pieces = stream::unfold((parts, Bytes::new()), move |(mut parts, mut rest)| {
            if rest.is_empty() {
                rest = parts.next().unwrap_or_default();
            }
            let piece = rest.split_to(rest.len().min(PIECE));
            moved.fetch_add(piece.len() as u64, Ordering::Relaxed);
            let next = (!piece.is_empty()).then_some((Ok::<_, std::io::Error>(piece), (parts, rest)));
            async move { next }
        });
        reqwest::Body::wrap_stream(pieces)
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Payload::new([bytes])
    }
}

/// Shows the length, never the bytes.
impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}
