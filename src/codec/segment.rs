//! One segment: raw bytes to independent deflate data and back. Synchronous; the callers bring the threads.

use flate2::{FlushCompress, FlushDecompress, Status};

use super::{corrupt, idle};
use crate::{Error, ErrorKind, Result};

/// What the index says about a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Length of the compressed bytes.
    pub(super) stored_len: u32,
    /// CRC-32 of the raw bytes.
    pub(super) crc32: u32,
    /// CRC-32C of the compressed bytes.
    pub(super) crc32c: u32,
}

/// How many bytes longer than the raw segment the buffer for [`inflate`] must be: room in which data that
/// gives too much shows, and in which the decoder's fast path works to the end.
pub(super) const SLACK: usize = 512;

/// Compresses the raw bytes `pieces`. The `last` segment ends the deflate stream, the others end on a byte
/// border.
pub(super) fn deflate<P: AsRef<[u8]>>(pieces: &[P], level: u8, last: bool) -> Result<(Vec<u8>, Entry)> {
    let failed = |error| Error::new(ErrorKind::Internal, "the compressor failed").with_source(error);
    let mut compress = idle::compressor(level);
    let mut crc32 = crc32fast::Hasher::new();
    // In one piece: what the compressor makes of several depends on where they meet, and the same state must
    // give the same bytes.
    let joined: Vec<u8>;
    let raw = match pieces {
        [whole] => whole.as_ref(),
        _ => {
            joined = pieces.iter().map(AsRef::as_ref).collect::<Vec<_>>().concat();
            &joined
        }
    };
    crc32.update(raw);
    let mut out = Vec::with_capacity(raw.len() / 4 + 128);
    while compress.total_in() < raw.len() as u64 {
        out.reserve(64);
        let rest = &raw[compress.total_in() as usize..];
        compress.compress_vec(rest, &mut out, FlushCompress::None).map_err(failed)?;
    }
    let flush = if last { FlushCompress::Finish } else { FlushCompress::Sync };
    loop {
        out.reserve(64);
        let status = compress.compress_vec(&[], &mut out, flush).map_err(failed)?;
        // A sync flush is complete when it leaves room.
        if status == Status::StreamEnd || (!last && out.len() < out.capacity()) {
            break;
        }
    }
    idle::keep_compressor(level, compress);
    let entry = Entry { stored_len: out.len() as u32, crc32: crc32.finalize(), crc32c: crc32c::crc32c(&out) };
    Ok((fitting(out), entry))
}

/// The same bytes with at most twice as much memory. Those who gather compressed bytes count them and not
/// what they hold. Copied, not cut off: the next buffer needs what becomes free in one piece.
pub(super) fn fitting(bytes: Vec<u8>) -> Vec<u8> {
    if bytes.capacity() > 2 * bytes.len() { bytes.as_slice().to_vec() } else { bytes }
}

/// Decompresses a segment into the front of `out`, which must be [`SLACK`] longer than the raw segment, and
/// checks all that `entry` says.
pub(super) fn inflate<P: AsRef<[u8]>>(pieces: &[P], entry: &Entry, last: bool, out: &mut [u8]) -> Result<()> {
    let raw_len = out.len() - SLACK;
    let crc = pieces.iter().fold(0, |crc, piece| crc32c::crc32c_append(crc, piece.as_ref()));
    if crc != entry.crc32c {
        return Err(corrupt("the checksum of its compressed bytes is wrong"));
    }
    let mut decompress = idle::decompressor();
    let mut ended = false;
    for piece in pieces {
        let mut rest = piece.as_ref();
        while !rest.is_empty() && !ended {
            let (read, written) = (decompress.total_in(), decompress.total_out());
            let status = decompress
                .decompress(rest, &mut out[written as usize..], FlushDecompress::None)
                .map_err(|error| corrupt("its compressed bytes are not valid").with_source(error))?;
            rest = &rest[(decompress.total_in() - read) as usize..];
            ended = status == Status::StreamEnd;
            if decompress.total_out() > raw_len as u64 {
                return Err(corrupt("a segment is longer than the index says"));
            }
            if decompress.total_in() == read && decompress.total_out() == written && !ended {
                return Err(corrupt("a segment does not end where the index says"));
            }
        }
        if !rest.is_empty() {
            return Err(corrupt("a segment does not end where the index says"));
        }
    }
    if decompress.total_out() != raw_len as u64 || ended != last {
        return Err(corrupt("a segment does not end where the index says"));
    }
    idle::keep_decompressor(decompress);
    if crc32fast::hash(&out[..raw_len]) != entry.crc32 {
        return Err(corrupt("the checksum of its raw bytes is wrong"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
