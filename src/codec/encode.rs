//! A state on its way out: cut into segments that are hashed in order and compressed side by side.

use std::sync::{
    Arc, OnceLock,
    mpsc::{Receiver, Sender, channel},
};

use bytes::Bytes;
use futures_util::{
    Stream, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use sha2::{Digest as _, Sha256};

use super::{Codec, Digest, Limits, Summary, digest::hash, frame, frame::Index, plain, segment, zstd};
use crate::{Body, Error, ErrorKind, Result, threads, transfer::Pieces};

/// An encoded state.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// What to store. In memory, hence with a length and ready for a single request, where the state has one
    /// segment.
    pub(crate) body: Body,
    /// What the object's metadata must say, because the bytes cannot.
    pub(crate) metadata: Vec<(&'static str, String)>,
    summary: Arc<OnceLock<Summary>>,
}

impl Encoded {
    fn whole(body: Body, metadata: Vec<(&'static str, String)>, summary: Summary) -> Self {
        Encoded { body, metadata, summary: Arc::new(OnceLock::from(summary)) }
    }

    /// A way to the summary that stays when the body is given away. It is there after the body has been read
    /// to its end.
    pub(crate) fn summary(&self) -> impl FnOnce() -> Result<Summary> + Send + use<> {
        let summary = self.summary.clone();
        move || {
            let unread = || Error::new(ErrorKind::Internal, "the adapter did not read the body to its end");
            summary.get().copied().ok_or_else(unread)
        }
    }
}

/// Encodes `body`. Reads its first segment now, and the rest as the encoded body is read.
///
/// # Errors
/// What the source fails with, here or in the encoded body.
pub(crate) async fn encode(body: Body, codec: Codec) -> Result<Encoded> {
    codec.check()?;
    if let (Codec::None, Some(state)) = (codec, body.in_memory().cloned()) {
        return threads::run_unless_short(state.len(), move || {
            let summary = Summary { raw_size: state.len() as u64, digest: Digest::of(&state) };
            Ok(Encoded::whole(Body::from(state), plain::metadata(Some(summary)), summary))
        })
        .await;
    }
    let mut pieces = Pieces::new(Bytes::new(), body);
    let first = pieces.take(frame::SEGMENT).await?;
    if let (Codec::Gzip { level }, true) = (codec, pieces.at_end().await?) {
        let (file, summary) = small(first, level).await?;
        return Ok(Encoded::whole(Body::from(file), Vec::new(), summary));
    }
    let summary = Arc::new(OnceLock::new());
    let metadata = if codec == Codec::None { plain::metadata(None) } else { Vec::new() };
    let writer = Writer {
        jobs: jobs(pieces, first, codec)?.boxed(),
        head: matches!(codec, Codec::Gzip { .. }).then_some(Bytes::from_static(&frame::HEAD)),
        codec,
        entries: Vec::new(),
        stored: 0,
        ready: Vec::new().into_iter(),
        summary: summary.clone(),
    };
    let body = stream::try_unfold(writer, |mut writer| async move {
        Ok(writer.next().await?.map(|chunk| (chunk, writer)))
    });
    Ok(Encoded { body: Body::from_stream(body), metadata, summary })
}

/// A state of at most one segment as a whole file. Where it is long enough to be waited for, it is cut into
/// shorter segments, so that several cores work on it.
async fn small(state: Vec<Bytes>, level: u8) -> Result<(Vec<u8>, Summary)> {
    let raw_size = state.iter().map(|piece| piece.len() as u64).sum();
    if raw_size <= frame::SHORT_SEGMENT as u64 {
        return threads::run(move || {
            let mut hasher = Sha256::new();
            hash(&mut hasher, &state);
            let digest = Digest::finish(hasher);
            Ok((frame::encode_hashed(&state, level, &[], digest)?, Summary { raw_size, digest }))
        })
        .await;
    }
    let state = match &state[..] {
        [whole] => whole.clone(),
        pieces => Bytes::from(pieces.concat()),
    };
    let whole = state.clone();
    let line = threads::InTurn::new();
    let digest = threads::run(move || Ok(Digest::of(&whole)));
    let segments = (0..state.len()).step_by(frame::SHORT_SEGMENT).map(|from| {
        let to = (from + frame::SHORT_SEGMENT).min(state.len());
        let (segment, last) = ([state.slice(from..to)], to == state.len());
        line.run(move || segment::deflate(&segment, level, last))
    });
    // All at work before the first is waited for.
    let segments: Vec<_> = segments.collect();
    let (mut file, mut entries) = (frame::HEAD.to_vec(), Vec::new());
    for segment in segments {
        let (bytes, entry) = segment.await?;
        file.extend_from_slice(&bytes);
        entries.push(entry);
    }
    let digest = digest.await?;
    let index = Index { digest, raw_size, segment_bits: frame::SHORT_SEGMENT_BITS, entries };
    file.extend_from_slice(&index.closing(&[])?);
    Ok((file, Summary { raw_size, digest }))
}

/// What must see the segments one after the other; each job passes it on to the next one.
struct Chain {
    hasher: Sha256,
    raw_size: u64,
    zstd: Option<zstd::Encoder>,
}

/// A segment that is done.
struct Done {
    bytes: Vec<Bytes>,
    entry: Option<segment::Entry>,
    /// From the last segment.
    end: Option<Chain>,
}

/// How many segments are held in memory, each with some 2 MiB for it: more than can run at once, so that the
/// cores go on while the segment that is next in order is not done, and while finished ones are stored.
fn window() -> usize {
    (threads::parallelism() + 4).min(10)
}

/// The segments of `first` and `pieces`, done in order.
fn jobs(
    pieces: Pieces,
    first: Vec<Bytes>,
    codec: Codec,
) -> Result<impl Stream<Item = Result<Done>> + Send + 'static> {
    let zstd = zstd::Encoder::new(codec)?;
    let (start, link) = channel();
    // The receiver is in the next line's state, so this cannot fail.
    let _ = start.send(Chain { hasher: Sha256::new(), raw_size: 0, zstd });
    let feed = (pieces, Some(first), Some(link), threads::InTurn::new());
    let jobs = stream::try_unfold(feed, move |(mut pieces, mut first, link, line)| async move {
        let Some(link) = link else { return Ok(None) };
        let segment = match first.take() {
            Some(segment) => segment,
            None => pieces.take(frame::SEGMENT).await?,
        };
        let last = pieces.at_end().await?;
        let (next, next_link) = channel();
        let job = line.run(move || work(segment, codec, last, link, next));
        Ok(Some((job, (pieces, first, (!last).then_some(next_link), line))))
    });
    Ok(jobs.try_buffered(window()))
}

/// One segment.
fn work(
    segment: Vec<Bytes>,
    codec: Codec,
    last: bool,
    link: Receiver<Chain>,
    next: Sender<Chain>,
) -> Result<Done> {
    // The job before this one is at work or done: they are in a line. If it was cancelled, its end of the
    // channel is gone and nobody waits.
    let broken = |_| Error::new(ErrorKind::Internal, "the segment before this one was given up");
    let mut chain = link.recv().map_err(broken)?;
    chain.raw_size += hash(&mut chain.hasher, &segment);
    let mut done = Done { bytes: Vec::new(), entry: None, end: None };
    match &mut chain.zstd {
        Some(encoder) => done.bytes.push(encoder.encode(&segment, last)?.into()),
        None if codec == Codec::None => done.bytes.clone_from(&segment),
        None => {}
    }
    if last {
        done.end = Some(chain);
    } else {
        // Nobody listens when the save was dropped.
        let _ = next.send(chain);
    }
    if let Codec::Gzip { level } = codec {
        let (bytes, entry) = segment::deflate(&segment, level, last)?;
        done.bytes.push(bytes.into());
        done.entry = Some(entry);
    }
    Ok(done)
}

/// Puts the finished segments into a file.
struct Writer {
    jobs: BoxStream<'static, Result<Done>>,
    head: Option<Bytes>,
    codec: Codec,
    entries: Vec<segment::Entry>,
    /// Bytes of the segments that are done.
    stored: u64,
    ready: std::vec::IntoIter<Bytes>,
    summary: Arc<OnceLock<Summary>>,
}

impl Writer {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(chunk) = self.head.take().or_else(|| self.ready.next()) {
                return Ok(Some(chunk));
            }
            let Some(mut done) = self.jobs.try_next().await? else { return Ok(None) };
            self.entries.extend(done.entry);
            self.stored += done.bytes.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
            if let Some(chain) = done.end {
                done.bytes.extend(self.close(chain)?);
            }
            self.ready = done.bytes.into_iter();
        }
    }

    /// What comes behind the last segment.
    fn close(&mut self, chain: Chain) -> Result<Vec<Bytes>> {
        let digest = Digest::finish(chain.hasher);
        let summary = Summary { raw_size: chain.raw_size, digest };
        // Set once: there is one last segment.
        let _ = self.summary.set(summary);
        Ok(match self.codec {
            Codec::Gzip { .. } => {
                let entries = std::mem::take(&mut self.entries);
                let segment_bits = frame::SEGMENT_BITS;
                let index = Index { digest, raw_size: chain.raw_size, segment_bits, entries };
                vec![index.closing(&[])?.into()]
            }
            Codec::Zstd { .. } => {
                let lacking = Limits::lacking(self.stored, chain.raw_size);
                let padding = (lacking > 0).then(|| zstd::padding(lacking)).transpose()?;
                padding.into_iter().chain([zstd::footer(summary)]).collect()
            }
            Codec::None => Vec::new(),
        })
    }
}
