//! Our own gzip files on their way in: the index first, then the segments side by side while the file
//! streams.

use std::{
    ops::Range,
    sync::{Arc, mpsc::channel},
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt, stream};
use sha2::{Digest as _, Sha256};

use super::{
    Digest, Limits, corrupt,
    frame::{self, Index, Segment},
    segment,
};
use crate::{
    Body, ByteRange, GetOptions, Key, ObjectMeta, Result, SnapshotAdapter, buffers::Pool, threads,
    transfer::Pieces,
};

/// Up to this size a file is read whole before it is decoded: one request instead of two.
pub(super) const READ_WHOLE: u64 = 2 << 20;

/// The state in the file of `first`, which holds the head, and `body`.
pub(super) async fn decode<A: SnapshotAdapter + ?Sized>(
    adapter: &A,
    key: &Key,
    meta: &ObjectMeta,
    first: Bytes,
    body: Body,
    limits: Limits,
    verify: bool,
) -> Result<Body> {
    let (index, end, first, body) = open(adapter, key, meta, first, body).await?;
    limits.check(meta.size, index.raw_size)?;
    let (raw_size, digest) = (index.raw_size, verify.then_some(index.digest));
    let data = Pieces::new(first.slice(frame::HEAD.len()..), body);
    let pool = pool(&index);
    let raw = Decoder { data, segments: index.into_segments(), pool, end: Some(end), digest };
    Ok(Body::from_stream(raw.stream()).with_len(raw_size))
}

/// Buffers for raw segments, no larger than the state.
fn pool(index: &Index) -> Arc<Pool> {
    let most = index.raw_size.min(1 << index.segment_bits);
    Pool::new(most as usize + segment::SLACK)
}

/// The index, trailer and tail, and the file again. A small file is read whole for it; of a large one the end
/// is fetched.
pub(super) async fn open<A: SnapshotAdapter + ?Sized>(
    adapter: &A,
    key: &Key,
    meta: &ObjectMeta,
    first: Bytes,
    body: Body,
) -> Result<(Index, Bytes, Bytes, Body)> {
    let (first, body, end) = if first.len() as u64 == meta.size || meta.size <= READ_WHOLE {
        let stored = whole(first, body).await?;
        let closing = frame::closing_len(&stored, stored.len() as u64)?;
        (stored.clone(), Body::empty(), stored.slice(stored.len() - closing..))
    } else {
        let end = closing(adapter, key, meta).await?;
        (first, body, end)
    };
    let head = first.get(..frame::HEAD.len()).unwrap_or_default();
    let (index, _) = frame::parse(head, &end, meta.size)?;
    Ok((index, end, first, body))
}

/// The bytes `raw` of the state in an indexed file, from the segments that hold them. `first` is the whole
/// file or a part that is not needed.
pub(super) async fn decode_range<A: SnapshotAdapter + ?Sized>(
    adapter: &A,
    key: &Key,
    meta: &ObjectMeta,
    index: &Index,
    first: Bytes,
    raw: Range<u64>,
) -> Result<Body> {
    let mut holding = index.segments().filter(|part| part.raw.start < raw.end && raw.start < part.raw.end);
    let Some(from) = holding.next() else { return Ok(Body::empty()) };
    let segments: Vec<Segment> = [from.clone()].into_iter().chain(holding).collect();
    let stored = from.stored.start..segments.last().map_or(from.stored.end, |to| to.stored.end);
    let data = if first.len() as u64 == meta.size {
        Pieces::new(first.slice(stored.start as usize..stored.end as usize), Body::empty())
    } else {
        let range = ByteRange::Bounded { start: stored.start, length: stored.end - stored.start };
        Pieces::new(Bytes::new(), get_range(adapter, key, meta, range).await?)
    };
    let pool = pool(index);
    let decoder = Decoder { data, segments: segments.into_iter(), pool, end: None, digest: None };
    let skip = raw.start - from.raw.start;
    Ok(cut(decoder.stream(), skip..skip + (raw.end - raw.start)))
}

/// The bytes `range` of a stream, which is read to its end all the same: only there its checks are complete.
pub(super) fn cut(stream: impl Stream<Item = Result<Bytes>> + Send + 'static, range: Range<u64>) -> Body {
    let (mut skip, mut left) = (range.start, range.end - range.start);
    Body::from_stream(stream.map_ok(move |mut chunk| {
        let front = chunk.split_to(chunk.len().min(usize::try_from(skip).unwrap_or(usize::MAX)));
        chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        (skip, left) = (skip - front.len() as u64, left - chunk.len() as u64);
        chunk
    }))
}

/// How much is read of the end of a file: 12 bytes for each segment of 1 MiB that compressed 8 to 1 or worse.
/// What is read is held for as long as the load takes, so that behind 8 GiB a second request is made where
/// this does not do.
fn guess(size: u64) -> u64 {
    (16 * 1024 + size / 8192).min(1 << 20).min(size).max(1)
}

/// Trailer and tail of a file that is too large to be read whole, from one ranged read of its end; two where
/// the tail is unusually long.
async fn closing<A: SnapshotAdapter + ?Sized>(adapter: &A, key: &Key, meta: &ObjectMeta) -> Result<Bytes> {
    let guess = guess(meta.size);
    let end = get_range(adapter, key, meta, ByteRange::Last(guess)).await?.collect(guess).await?;
    let len = frame::closing_len(&end, meta.size)?;
    if len <= end.len() {
        return Ok(end.slice(end.len() - len..));
    }
    get_range(adapter, key, meta, ByteRange::Last(len as u64)).await?.collect(len as u64).await
}

async fn get_range<A: SnapshotAdapter + ?Sized>(
    adapter: &A,
    key: &Key,
    meta: &ObjectMeta,
    range: ByteRange,
) -> Result<Body> {
    let options = GetOptions::new().range(range).if_version(meta.version.clone());
    Ok(adapter.get(key, options).await?.body)
}

/// All bytes of a small file, contiguous.
async fn whole(first: Bytes, mut body: Body) -> Result<Bytes> {
    let Some(second) = body.chunk().await? else { return Ok(first) };
    // An announced length may be anything.
    let rest = body.len().unwrap_or(0).min(2 * READ_WHOLE) as usize;
    let mut all = BytesMut::with_capacity(first.len() + second.len() + rest);
    all.extend_from_slice(&first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        if (all.len() + chunk.len()) as u64 > 2 * READ_WHOLE {
            return Err(corrupt("the storage gave more bytes than the object has"));
        }
        all.extend_from_slice(&chunk);
        next = body.chunk().await?;
    }
    Ok(all.freeze())
}

/// Segments under way.
struct Decoder<S> {
    data: Pieces,
    segments: S,
    pool: Arc<Pool>,
    /// What must follow the last segment, where the whole file is read.
    end: Option<Bytes>,
    /// What the whole state must hash to, where that is to be checked.
    digest: Option<Digest>,
}

impl<S: Iterator<Item = Segment> + Send + 'static> Decoder<S> {
    /// The raw segments in order. At most two more of them than can run at once are held in memory.
    fn stream(self) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        let (start, link) = channel();
        // The receiver is in the next line's state, so this cannot fail.
        let _ = start.send(Sha256::new());
        let feed = (self, link, threads::InTurn::new());
        let jobs = stream::try_unfold(feed, |(mut decoder, link, line)| async move {
            let Some(part) = decoder.segments.next() else { return Ok(None) };
            let stored = decoder.data.take(part.entry.stored_len as usize).await?;
            let length: usize = stored.iter().map(Bytes::len).sum();
            if length != part.entry.stored_len as usize {
                return Err(corrupt("it was cut"));
            }
            if part.last
                && let Some(end) = decoder.end.take()
            {
                decoder.check_end(end).await?;
            }
            let (pool, digest) = (decoder.pool.clone(), decoder.digest);
            let (next, next_link) = channel();
            let job = line.run(move || {
                let mut buffer = pool.take();
                let raw_len = part.raw_len();
                segment::inflate(&stored, &part.entry, part.last, &mut buffer[..raw_len + segment::SLACK])?;
                if let Some(expected) = digest {
                    // The job before this one is at work or done: they are in a line. If it failed, its end
                    // of the channel is gone.
                    let broken = |_| corrupt("the segment before this one is damaged");
                    let mut hasher: Sha256 = link.recv().map_err(broken)?;
                    hasher.update(&buffer[..raw_len]);
                    if !part.last {
                        // Nobody listens when the load was dropped.
                        let _ = next.send(hasher);
                    } else if Digest::finish(hasher) != expected {
                        return Err(corrupt("its SHA-256 is not that of the saved state"));
                    }
                }
                Ok(buffer.freeze(raw_len))
            });
            Ok(Some((job, (decoder, next_link, line))))
        });
        jobs.try_buffered(threads::parallelism() + 2)
    }

    /// Reads what follows the last segment: exactly what was fetched as the end of the file.
    async fn check_end(&mut self, end: Bytes) -> Result<()> {
        let read = self.data.take(end.len()).await?;
        let mut rest = &end[..];
        let same = read.iter().all(|piece| match rest.strip_prefix(&piece[..]) {
            Some(behind) => {
                rest = behind;
                true
            }
            None => false,
        });
        if same && rest.is_empty() && self.data.at_end().await? {
            return Ok(());
        }
        Err(corrupt("its end was cut, changed or added to"))
    }
}

#[cfg(test)]
#[path = "indexed_tests.rs"]
mod tests;
