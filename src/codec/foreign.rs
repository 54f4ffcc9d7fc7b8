//! Compressed files that have no index: those of other tools, and zstd. Decoded one after the other, on a
//! thread of their own.

use std::{io, pin::pin};

use async_compression::tokio::bufread::GzipDecoder;
use bytes::Bytes;
use futures_util::{TryStreamExt, future, future::Either, stream};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    runtime::Handle,
    sync::mpsc::{Sender, channel},
};
use tokio_util::io::StreamReader;

use super::{Digest, Limits, corrupt, watch::Watch, zstd};
use crate::{Body, Error, Result, buffers::Pool, threads};

/// Bytes that are decoded in one go.
const CHUNK: usize = 256 * 1024;

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compressed {
    Gzip,
    Zstd,
}

/// The state in the file of `first` and `body`, which has `size` bytes: all its members or frames. With
/// `verify`, also the digest of a zstd file that has one is compared.
pub(super) fn decode(
    format: Compressed,
    size: u64,
    first: Bytes,
    body: Body,
    limits: Limits,
    verify: bool,
) -> Result<Body> {
    let (watch, stored) = Watch::over(first, body);
    let stored = StreamReader::new(stored.map_err(io::Error::from));
    let decoder: Box<dyn AsyncRead + Send + Unpin> = match format {
        Compressed::Gzip => {
            let mut decoder = GzipDecoder::new(stored);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
        #[cfg(feature = "zstd")]
        Compressed::Zstd => {
            let mut decoder = async_compression::tokio::bufread::ZstdDecoder::new(stored);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
        #[cfg(not(feature = "zstd"))]
        Compressed::Zstd => return Err(zstd::not_built_in()),
    };
    let (chunks, receiver) = channel(2);
    let load = Load { decoder, size, watch, limits, hasher: verify.then(Sha256::new), raw: 0 };
    let runtime = Handle::current();
    // A thread of its own: it waits for the storage's reads, which may need one of the runtime's.
    let worker = Box::pin(threads::apart(move || runtime.block_on(load.run(chunks))));
    // The channel's end alone does not say that all is well: the worker's result does.
    let body = stream::try_unfold(Some((receiver, worker)), |state| async move {
        let Some((mut receiver, worker)) = state else { return Ok(None) };
        match receiver.recv().await {
            Some(chunk) => Ok(Some((chunk, Some((receiver, worker))))),
            None => worker.await.map(|()| None),
        }
    });
    Ok(Body::from_stream(body))
}

/// A load under way on its thread.
struct Load {
    decoder: Box<dyn AsyncRead + Send + Unpin>,
    /// Of the whole file. Padding at its end counts for the limits from the start.
    size: u64,
    watch: Watch,
    limits: Limits,
    hasher: Option<Sha256>,
    raw: u64,
}

impl Load {
    async fn run(mut self, chunks: Sender<Bytes>) -> Result<()> {
        let pool = Pool::new(CHUNK);
        loop {
            let mut buffer = pool.take();
            // A load that is dropped while the storage is silent must not keep the thread.
            let read = match future::select(pin!(fill(&mut self.decoder, &mut buffer)), pin!(chunks.closed()))
                .await
            {
                Either::Left((read, _)) => read.map_err(damage)?,
                Either::Right(_) => return Ok(()),
            };
            if read == 0 {
                return self.finish();
            }
            self.raw += read as u64;
            self.limits.check(self.size.max(self.watch.count()), self.raw)?;
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer[..read]);
            }
            if chunks.send(buffer.freeze(read)).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Compares what was read with what the end of the file promises.
    fn finish(self) -> Result<()> {
        let Some(promised) = zstd::read_footer(&self.watch.last())? else { return Ok(()) };
        if promised.raw_size != self.raw {
            return Err(corrupt("it is not as long as its footer says"));
        }
        match self.hasher.map(Digest::finish) {
            Some(digest) if digest != promised.digest => {
                Err(corrupt("its SHA-256 is not that of the saved state"))
            }
            _ => Ok(()),
        }
    }
}

/// Reads until `buffer` is full or nothing is left.
async fn fill(decoder: &mut (dyn AsyncRead + Send + Unpin), buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match decoder.read(&mut buffer[filled..]).await? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// An error of the storage stays what it is; one of the decoder is damage.
fn damage(error: io::Error) -> Error {
    if error.get_ref().is_some_and(|inner| inner.is::<Error>()) {
        return error.into();
    }
    // The zstd library says no more than these texts. In a file of `save`, a flipped bit has the same effect.
    let text = error.to_string();
    let what = match error.kind() {
        io::ErrorKind::UnexpectedEof => "it was cut",
        _ if text.contains("Frame requires too much memory") => {
            "its zstd window is longer than 128 MiB (if that was meant, compress it without `--long`, or with `--long=27`)"
        }
        _ if text.contains("Dictionary mismatch") => {
            "it needs a zstd dictionary (if that was meant, compress it without one)"
        }
        _ => {
            "it cannot be decompressed, or something else follows it, such as zeros to the end of a block (`gunzip` passes over them; if that is meant, cut \
             them off)"
        }
    };
    corrupt(what).with_source(error)
}
