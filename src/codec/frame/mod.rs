//! A whole indexed gzip file in memory: the synchronous form of the codec.

mod index;

pub(super) use index::Segment;
pub(crate) use index::{Extra, HEAD, Index, MARK, closing_len, parse};

use super::{Digest, Limits, corrupt, segment};
use crate::Result;

/// A segment has 2 to this power raw bytes.
pub(super) const SEGMENT_BITS: u8 = 20;
pub(super) const SEGMENT: usize = 1 << SEGMENT_BITS;
/// The power for a state of one segment that is cut further. Shorter ones still would cost over 2 % in size.
pub(super) const SHORT_SEGMENT_BITS: u8 = 18;
pub(super) const SHORT_SEGMENT: usize = 1 << SHORT_SEGMENT_BITS;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The state.
    pub(crate) raw: Vec<u8>,
    /// What the writer put into the tail, in its order.
    pub(crate) extras: Vec<Extra>,
    /// The SHA-256 that the writer noted. Not compared with `raw`: the checksums of the segments were right.
    pub(crate) digest: Digest,
}

impl Frame {
    /// The value of an extra field.
    pub(crate) fn extra(&self, id: [u8; 2]) -> Option<&[u8]> {
        self.extras.iter().find(|(of, _)| *of == id).map(|(_, value)| value.as_slice())
    }
}

/// The indexed gzip file of `raw`, with `extras` (two letters and a value of any length each) in its tail.
/// `level` is 1 to 9.
///
/// # Errors
/// `InvalidInput` for an id that is reserved (`PS`, a second byte of 0) or given twice.
pub(crate) fn encode(raw: &[u8], level: u8, extras: &[([u8; 2], &[u8])]) -> Result<Vec<u8>> {
    let digest = Digest::of(raw);
    encode_hashed(&[raw], level, extras, digest)
}

/// [`encode`] of pieces whose digest is known.
pub(super) fn encode_hashed<P: AsRef<[u8]>>(
    pieces: &[P],
    level: u8,
    extras: &[([u8; 2], &[u8])],
    digest: Digest,
) -> Result<Vec<u8>> {
    let raw_size = pieces.iter().map(|piece| piece.as_ref().len() as u64).sum();
    let mut index = Index { digest, raw_size, segment_bits: SEGMENT_BITS, entries: Vec::new() };
    let mut file = HEAD.to_vec();
    let (mut segment, mut room, mut left) = (Vec::new(), SEGMENT, raw_size);
    let mut flush = |segment: &mut Vec<&[u8]>, last| -> Result<()> {
        let (bytes, entry) = segment::deflate(segment, level, last)?;
        segment.clear();
        index.entries.push(entry);
        file.extend_from_slice(&bytes);
        Ok(())
    };
    for piece in pieces {
        let mut rest = piece.as_ref();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(room));
            segment.push(now);
            (rest, room, left) = (later, room - now.len(), left - now.len() as u64);
            if room == 0 && left > 0 {
                flush(&mut segment, false)?;
                room = SEGMENT;
            }
        }
    }
    flush(&mut segment, true)?;
    file.extend_from_slice(&index.closing(extras)?);
    Ok(file)
}

/// Reads an indexed gzip file that is in memory. Everything but the digest is checked.
///
/// # Errors
/// `Corrupt` for damage and for any other kind of file, `InvalidInput` where `limits` are hit, `Unsupported`
/// for a newer version.
pub(crate) fn decode(file: &[u8], limits: Limits) -> Result<Frame> {
    let (index, extras) = open(file)?;
    limits.check(file.len() as u64, index.raw_size)?;
    let mut raw = vec![0; index.raw_size as usize + segment::SLACK];
    for part in index.segments() {
        // `open` made sure that the segments lie inside the file.
        let stored = &file[part.stored.start as usize..part.stored.end as usize];
        let out = &mut raw[part.raw.start as usize..part.raw.end as usize + segment::SLACK];
        segment::inflate(&[stored], &part.entry, part.last, out)?;
    }
    raw.truncate(index.raw_size as usize);
    Ok(Frame { raw, extras, digest: index.digest })
}

/// The checked index of an indexed gzip file that is in memory.
pub(crate) fn open(file: &[u8]) -> Result<(Index, Vec<Extra>)> {
    let Some(head) = file.get(..HEAD.len()).filter(|head| head.starts_with(MARK)) else {
        return Err(corrupt("it does not start as an indexed gzip file does"));
    };
    let total = file.len() as u64;
    parse(head, &file[file.len() - closing_len(file, total)?..], total)
}

#[cfg(test)]
mod tests;
