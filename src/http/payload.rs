//! A request body that can be sent again without copying.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// Up to this size what is in one part goes as it is.
const ONE_PIECE: usize = 64 * 1024;
/// The most that is handed to the connection at once otherwise: each piece that it takes counts as progress.
const PIECE: usize = 128 * 1024;

/// Bytes in memory, in some parts. A clone shares them, and the list.
#[derive(Clone, Default)]
pub(crate) struct Payload(Arc<[Bytes]>);

impl Payload {
    /// These parts, one behind the other.
    pub(crate) fn new(parts: impl IntoIterator<Item = Bytes>) -> Self {
        Payload(parts.into_iter().filter(|part| !part.is_empty()).collect())
    }

    /// These parts between `head` and `tail`.
    pub(crate) fn framed(&self, head: Bytes, tail: Bytes) -> Self {
        Payload([head].into_iter().chain(self.0.iter().cloned()).chain([tail]).collect())
    }

    /// How many bytes.
    pub(crate) fn len(&self) -> u64 {
        self.0.iter().map(|part| part.len() as u64).sum()
    }

    /// These bytes without the first `len`.
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
        match &self.0[..] {
            [whole] if whole.len() <= ONE_PIECE => whole.clone().into(),
            _ => {
                let left = self.len();
                reqwest::Body::wrap(Sending { parts: self.0, next: 0, part: Bytes::new(), left, moved })
            }
        }
    }
}

/// Parts on their way, without a copy and of a known length.
struct Sending {
    parts: Arc<[Bytes]>,
    /// Which one is to be begun.
    next: usize,
    /// What is left of the one that was begun.
    part: Bytes,
    left: u64,
    moved: Arc<AtomicU64>,
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.part.is_empty() {
            self.part = self.parts.get(self.next).cloned().unwrap_or_default();
            self.next += 1;
        }
        let len = self.part.len().min(PIECE);
        let piece = self.part.split_to(len);
        self.left -= len as u64;
        self.moved.fetch_add(len as u64, Ordering::Relaxed);
        Poll::Ready((len > 0).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Payload::default() } else { Payload(Arc::new([bytes])) }
    }
}

/// Shows the length, never the bytes.
impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}
