//! States stored as they are. What they cannot carry themselves, their object's metadata does.

use std::sync::mpsc::channel;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use sha2::{Digest as _, Sha256};

use super::{Digest, Limits, Summary, corrupt, digest::hash, frame, watch::Watch, zstd};
use crate::{Body, ObjectMeta, Result, threads, transfer::Pieces};

const CODEC: &str = "persist-codec";
const SIZE: &str = "persist-size";
const DIGEST: &str = "persist-sha256";
/// All names that the codec uses.
pub(crate) const NAMES: [&str; 3] = [CODEC, SIZE, DIGEST];

/// How many first bytes are looked at: a block of most disks and file systems.
pub(super) const START: usize = 4096;
/// The shortest block.
const SECTOR: usize = 512;

/// The metadata of a plain state: that it is one, and where it is known beforehand, what it must be.
pub(super) fn metadata(summary: Option<Summary>) -> Vec<(&'static str, String)> {
    let mut all = vec![(CODEC, "none".to_owned())];
    if let Some(summary) = summary {
        all.push((SIZE, summary.raw_size.to_string()));
        all.push((DIGEST, summary.digest.to_string()));
    }
    all
}

/// Whether the metadata says that the object is a state as it is, whatever its bytes look like.
pub(super) fn is_plain(meta: &ObjectMeta) -> bool {
    meta.metadata.get(CODEC).is_some_and(|codec| codec == "none")
}

/// What the metadata says about the state.
///
/// # Errors
/// `Corrupt` where it makes no sense.
pub(super) fn promised(meta: &ObjectMeta) -> Result<Option<Summary>> {
    let (Some(size), Some(digest)) = (meta.metadata.get(SIZE), meta.metadata.get(DIGEST)) else {
        return Ok(None);
    };
    match (size.parse(), digest.parse()) {
        (Ok(raw_size), Ok(digest)) if is_plain(meta) => Ok(Some(Summary { raw_size, digest })),
        _ => Err(corrupt("its metadata persist-size and persist-sha256 are not what `save` writes")),
    }
}

/// A plain state, checked against its metadata. Where that says nothing, only what looks like one of our own
/// files with a damaged start is refused.
pub(super) async fn decode(first: Bytes, mut body: Body, meta: &ObjectMeta, limits: Limits) -> Result<Body> {
    limits.check(meta.size, meta.size)?;
    let told = is_plain(meta);
    let whole = first.len() as u64 == meta.size && first.len() <= threads::SHORT;
    // The end of the body is where the adapter says whether its bytes are those that are stored.
    if whole && body.chunk().await?.is_some() {
        return Err(corrupt("the storage gave more bytes than the object has"));
    }
    match promised(meta)? {
        Some(expected) if whole => {
            expected.check(first.len() as u64, || Digest::of(&first))?;
            return Ok(Body::from(first));
        }
        Some(expected) => return Ok(checked(first, body, expected)),
        None if whole => {
            if !told {
                refuse_disguised(&first, meta.size)?;
            }
            return Ok(Body::from(first));
        }
        None => {}
    }
    let (watch, all) = Watch::over(first, body);
    let seen = watch.clone();
    let all = all.map(move |chunk| {
        limits.check(seen.count(), seen.count())?;
        chunk
    });
    let end = stream::once(async move {
        if !told {
            refuse_disguised(&watch.last(), watch.count())?;
        }
        Ok(Bytes::new())
    });
    Ok(Body::from_stream(all.chain(end)))
}

/// A file without metadata whose first bytes were lost is not a state: blocks that read as zeros, or our own
/// head with a few wrong bytes. `start` is the file's start, [`START`] bytes or more, or all of it.
pub(super) fn refuse_lost_start(start: &[u8]) -> Result<()> {
    let start = &start[..start.len().min(START)];
    let zeros = start.iter().take_while(|byte| **byte == 0).count();
    // A state that begins with zeros has them to any length, and seldom to the border of a block. A few
    // alone are a number or an id.
    if zeros >= frame::HEAD.len() && (zeros == start.len() || zeros % SECTOR == 0) {
        return Err(corrupt(
            "it begins with zeros, as lost blocks do (if it is meant so, save it with the codec `none`)",
        ));
    }
    let is_nearly = |head: &[u8], wrong: usize| {
        let same = head.iter().zip(start).filter(|(own, there)| own == there).count();
        start.len() >= head.len() && same + wrong >= head.len()
    };
    if is_nearly(&frame::HEAD, 4) || is_nearly(&zstd::MAGIC, 1) {
        return Err(corrupt("its first bytes are wrong"));
    }
    Ok(())
}

/// A file that ends as our own files do but does not start so is one of them with a damaged start, and not a
/// state.
fn refuse_disguised(end: &[u8], total: u64) -> Result<()> {
    if frame::closing_len(end, total).is_ok() || !matches!(zstd::read_footer(end), Ok(None)) {
        return Err(corrupt("its first bytes are wrong"));
    }
    Ok(())
}

impl Summary {
    /// Compares a state that has been read to its end.
    fn check(&self, size: u64, digest: impl FnOnce() -> Digest) -> Result<()> {
        if size != self.raw_size {
            return Err(corrupt(format!("it has {size} bytes instead of {}", self.raw_size)));
        }
        if digest() != self.digest {
            return Err(corrupt("its SHA-256 is not that of the saved state"));
        }
        Ok(())
    }
}

/// The state, hashed on its way and compared with what it must be at its end.
fn checked(first: Bytes, body: Body, expected: Summary) -> Body {
    let pieces = Pieces::new(first, body);
    let (start, link) = channel();
    // The receiver is in the next line's state, so this cannot fail.
    let _ = start.send((Sha256::new(), 0u64));
    let feed = (pieces, Some(link), threads::InTurn::new());
    let jobs = stream::try_unfold(feed, move |(mut pieces, link, line)| async move {
        let Some(link) = link else { return Ok(None) };
        let piece = pieces.take(frame::SEGMENT).await?;
        let last = pieces.at_end().await?;
        let (next, next_link) = channel();
        let job = line.run(move || {
            let broken = |_| corrupt("the piece before this one could not be read");
            let (mut hasher, mut size) = link.recv().map_err(broken)?;
            size += hash(&mut hasher, &piece);
            if !last {
                // Nobody listens when the load was dropped.
                let _ = next.send((hasher, size));
            } else {
                expected.check(size, || Digest::finish(hasher))?;
            }
            Ok(piece)
        });
        Ok(Some((job, (pieces, (!last).then_some(next_link), line))))
    });
    let pieces = jobs.try_buffered(2).map_ok(|piece| stream::iter(piece.into_iter().map(Ok)));
    Body::from_stream(pieces.try_flatten())
}

#[cfg(test)]
#[path = "plain_tests.rs"]
mod tests;
