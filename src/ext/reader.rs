//! A snapshot being read.

use std::{
    fmt,
    io::Write,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{
    Stream, TryStreamExt,
    future::{Either, select},
};
use tokio::io::{AsyncRead, ReadBuf};

use crate::{Body, Error, ErrorKind, ObjectMeta, Result, threads};

/// A snapshot being read: an `AsyncRead` of the state, or a `Stream` of its chunks.
///
/// What it gives is checked as it goes; **only a clean end says that the state is good**. Damage that shows
/// at the end comes as an error in place of the end, and a reader that failed once fails from then on.
#[must_use = "only a clean end says that the state is good"]
pub struct SnapshotReader {
    pub(super) meta: ObjectMeta,
    pub(super) body: Body,
    chunk: Bytes,
    pub(super) checked: bool,
}

/// Shows no byte of the state: it may hold secrets.
impl fmt::Debug for SnapshotReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotReader")
            .field("meta", &self.meta)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl SnapshotReader {
    pub(super) fn new(meta: ObjectMeta, body: Body) -> Self {
        SnapshotReader { meta, body, chunk: Bytes::new(), checked: true }
    }

    /// The stored object's metadata.
    pub fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    /// Whether the object says something that its bytes are checked against: an index, a checksum, a digest.
    /// A state that was streamed with the codec `none` says nothing, nor does a plain file of another tool:
    /// what a storage changes in it nobody can see.
    pub fn is_checked(&self) -> bool {
        self.checked
    }

    /// The next chunk of the state, `None` at its verified end.
    ///
    /// # Errors
    /// `Corrupt` for damage, `InvalidInput` where a limit is hit, and what the adapter fails with.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        self.try_next().await
    }

    /// Writes the rest of the state to `writer`, on a thread of its own, and gives it back with the number of
    /// bytes: the quick way to files, pipes and standard output, which tokio's own would copy once more. What
    /// was written is good only if this is `Ok`.
    ///
    /// # Errors
    /// As [`chunk`](Self::chunk), and `Io` where the writer fails.
    pub async fn copy_to<W: Write + Send + 'static>(mut self, mut writer: W) -> Result<(W, u64)> {
        let (mut written, mut next) = (0, self.chunk().await?);
        while let Some(chunk) = next {
            written += chunk.len() as u64;
            let write = threads::run(move || {
                writer.write_all(&chunk).map_err(unwritable)?;
                Ok(writer)
            });
            // The next one is on its way meanwhile. If it fails, the writer is waited for: what it holds, a
            // temporary file say, is gone when this returns.
            (writer, next) = match select(write, pin!(self.chunk())).await {
                Either::Left((wrote, chunk)) => (wrote?, chunk.await?),
                Either::Right((chunk, write)) => {
                    let wrote = write.await;
                    let chunk = chunk?;
                    (wrote?, chunk)
                }
            };
        }
        let flush = move || {
            writer.flush().map_err(unwritable)?;
            Ok(writer)
        };
        Ok((threads::run(flush).await?, written))
    }
}

/// The error for a writer that fails. What it does not find is no snapshot that is missing.
fn unwritable(error: std::io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(inner) => inner,
        Err(error) => {
            Error::new(ErrorKind::Io, "the state cannot be written").with_retryable(false).with_source(error)
        }
    }
}

impl Stream for SnapshotReader {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.chunk.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.chunk))));
        }
        Pin::new(&mut self.body).poll_next(cx)
    }
}

impl AsyncRead for SnapshotReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.chunk.is_empty() {
            match std::task::ready!(Pin::new(&mut self.body).poll_next(cx)) {
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                None => return Poll::Ready(Ok(())),
            }
        }
        let most = self.chunk.len().min(buf.remaining());
        buf.put_slice(&self.chunk.split_to(most));
        Poll::Ready(Ok(()))
    }
}
