//! The bytes of a snapshot on their way: a pull stream with an optional length.

use std::{
    fmt,
    io::{self, Read},
    pin::Pin,
    task::Poll,
};

use bytes::{Bytes, BytesMut};
use futures_util::{
    Stream, StreamExt, TryStreamExt,
    stream::{BoxStream, try_unfold},
};
use tokio::io::AsyncRead;
use tokio_util::io::{ReaderStream, StreamReader};

use crate::{Error, ErrorKind, Key, Result, buffers::Pool, threads};

/// The most memory that is taken for bytes that have not come yet.
const MAX_RESERVED: u64 = 64 << 20;

/// A stream of [`Bytes`] that is read once, by pulling, so that a slow reader slows the writer down.
///
/// A body made from `Bytes` stays in memory as it is ([`Body::in_memory`]), which lets an adapter send it
/// again without copying.
#[must_use]
pub struct Body {
    inner: Inner,
    len: Option<u64>,
    /// The kind of its first error; every later read fails with it again.
    failed: Option<ErrorKind>,
}

enum Inner {
    Memory(Bytes),
    Stream(BoxStream<'static, Result<Bytes>>),
}

impl Body {
    /// No bytes at all.
    pub fn empty() -> Self {
        Body::from(Bytes::new())
    }

    /// A stream of chunks of any size, empty ones included. An error ends it.
    pub fn from_stream(stream: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Self {
        // Fused: it may be asked behind its end, where some streams panic.
        Body { inner: Inner::Stream(stream.fuse().boxed()), len: None, failed: None }
    }

    /// A reader, in chunks of 64 KiB.
    pub fn from_reader(reader: impl AsyncRead + Send + 'static) -> Self {
        Body::from_stream(ReaderStream::with_capacity(reader, 64 * 1024).map_err(unreadable))
    }

    /// A blocking reader such as a file or standard input, in chunks of 1 MiB that are read on a thread of
    /// its own: no copy but the system's. A read that does not return keeps that thread, also when the body
    /// is dropped.
    pub fn from_blocking(reader: impl Read + Send + 'static) -> Self {
        let start = (Some(reader), Pool::new(1024 * 1024));
        Body::from_stream(try_unfold(start, |(reader, pool)| async move {
            let Some(mut reader) = reader else { return Ok(None) };
            let (reader, chunk, pool) = threads::run(move || {
                let mut buffer = pool.take();
                let mut filled = 0;
                while filled < buffer.len() {
                    match reader.read(&mut buffer[filled..]) {
                        Ok(0) => return Ok((None, buffer.freeze(filled), pool)),
                        Ok(read) => filled += read,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(unreadable(error)),
                    }
                }
                Ok((Some(reader), buffer.freeze(filled), pool))
            })
            .await?;
            Ok(Some((chunk, (reader, pool))))
        }))
    }

    /// The same bytes; errors say during which operation on which key they happened.
    pub(crate) fn with_context(self, operation: &'static str, key: &Key) -> Self {
        let key = key.clone();
        self.naming(move |error| error.with_operation(operation).with_key(&key))
    }

    /// Passes errors through `map`.
    pub(crate) fn naming(self, map: impl FnMut(Error) -> Error + Send + 'static) -> Self {
        match self.inner {
            Inner::Memory(_) => self,
            Inner::Stream(stream) => {
                Body { inner: Inner::Stream(stream.map_err(map).boxed()), len: self.len, failed: self.failed }
            }
        }
    }

    /// States how many bytes will come. A body that then gives more or fewer ends with `InvalidInput`.
    pub fn with_len(mut self, len: u64) -> Self {
        self.inner = match self.inner {
            Inner::Memory(bytes) if bytes.len() as u64 == len => Inner::Memory(bytes),
            Inner::Memory(bytes) => {
                Inner::Stream(exactly(futures_util::stream::iter([Ok(bytes)]).boxed(), len).boxed())
            }
            Inner::Stream(stream) => Inner::Stream(exactly(stream, len).boxed()),
        };
        self.len = Some(len);
        self
    }

    /// How many bytes remain, if that is known.
    pub fn len(&self) -> Option<u64> {
        self.len
    }

    /// Whether it is known that no bytes remain; `false` also where the length is not known.
    pub fn is_empty(&self) -> bool {
        self.len == Some(0)
    }

    /// The bytes, if they are all in memory already.
    pub fn in_memory(&self) -> Option<&Bytes> {
        match &self.inner {
            Inner::Memory(bytes) => Some(bytes),
            Inner::Stream(_) => None,
        }
    }

    /// The next chunk, never an empty one; `None` at the end.
    ///
    /// # Errors
    /// What the source fails with. A body that failed fails again, whenever it is read on, with the same kind
    /// and not retryable.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        self.try_next().await
    }

    /// All bytes, contiguous.
    ///
    /// # Errors
    /// What the source fails with, and `InvalidInput` as soon as there are more than `limit` bytes.
    pub async fn collect(mut self, limit: u64) -> Result<Bytes> {
        let too_long = || {
            Error::new(
                ErrorKind::InvalidInput,
                format!("the body is longer than {limit} bytes; read it as a stream"),
            )
        };
        if self.len.is_some_and(|len| len > limit) {
            return Err(too_long());
        }
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk().await? else {
            return if first.len() as u64 > limit { Err(too_long()) } else { Ok(first) };
        };
        // An announced length may be anything; behind this, the buffer grows with what comes.
        let rest = self.len.unwrap_or(0).min(MAX_RESERVED) as usize;
        let mut all = BytesMut::with_capacity(first.len() + second.len() + rest);
        let mut next = Some(second);
        all.extend_from_slice(&first);
        while let Some(chunk) = next {
            if (all.len() + chunk.len()) as u64 > limit {
                return Err(too_long());
            }
            all.extend_from_slice(&chunk);
            next = self.chunk().await?;
        }
        Ok(all.freeze())
    }

    /// The same body with its stream wrapped, for layers; a body in memory stays as it is, and an announced
    /// length stays.
    pub fn map_stream<S>(self, wrap: impl FnOnce(BoxStream<'static, Result<Bytes>>) -> S) -> Self
    where
        S: Stream<Item = Result<Bytes>> + Send + 'static,
    {
        match self.inner {
            Inner::Memory(_) => self,
            Inner::Stream(stream) => {
                Body { inner: Inner::Stream(wrap(stream).fuse().boxed()), len: self.len, failed: self.failed }
            }
        }
    }

    /// The body as an `AsyncRead`.
    pub fn into_reader(self) -> impl AsyncRead + Send + Unpin {
        StreamReader::new(self.map_err(io::Error::from))
    }
}

/// The error for a reader that fails. A file that the reader cannot find is `Io`, not `NotFound`: no snapshot
/// is missing.
fn unreadable(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(inner) => inner,
        Err(error) => {
            Error::new(ErrorKind::Io, "the source cannot be read").with_retryable(false).with_source(error)
        }
    }
}

/// Passes `stream` on and fails where it is not exactly `len` bytes long.
fn exactly(stream: BoxStream<'static, Result<Bytes>>, len: u64) -> impl Stream<Item = Result<Bytes>> + Send {
    let wrong = move |what| {
        Error::new(
            ErrorKind::InvalidInput,
            format!("the body has {what} than the {len} bytes that were announced"),
        )
    };
    futures_util::stream::try_unfold((stream, len), move |(mut stream, left)| async move {
        match stream.try_next().await? {
            Some(chunk) => match left.checked_sub(chunk.len() as u64) {
                Some(left) => Ok(Some((chunk, (stream, left)))),
                None => Err(wrong("more")),
            },
            None if left > 0 => Err(wrong("fewer")),
            None => Ok(None),
        }
    })
}

impl Stream for Body {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(kind) = self.failed {
            let message = "the body failed before, so it has no end; read it anew";
            return Poll::Ready(Some(Err(Error::new(kind, message).with_retryable(false))));
        }
        let next = match &mut self.inner {
            Inner::Memory(bytes) if bytes.is_empty() => None,
            Inner::Memory(bytes) => Some(Ok(std::mem::take(bytes))),
            Inner::Stream(stream) => loop {
                match stream.poll_next_unpin(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(Ok(chunk))) if chunk.is_empty() => {}
                    Poll::Ready(item) => break item,
                }
            },
        };
        if let (Some(Ok(chunk)), Some(len)) = (&next, self.len) {
            self.len = Some(len.saturating_sub(chunk.len() as u64));
        }
        if let Some(Err(error)) = &next {
            self.failed = Some(error.kind());
        }
        Poll::Ready(next)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Body { len: Some(bytes.len() as u64), inner: Inner::Memory(bytes), failed: None }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Body::from(Bytes::from(bytes))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Body::from(Bytes::from(text))
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Body::from(Bytes::from_static(text.as_bytes()))
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Body::from(Bytes::from_static(bytes))
    }
}

/// Shows the length, never the bytes: a state may hold secrets.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("len", &self.len)
            .field("in_memory", &self.in_memory().is_some())
            .finish()
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
