//! The index behind the data of an indexed gzip file: bytes as in `docs/format.md`, written and read here
//! alone.

use std::{borrow::Borrow, ops::Range};

use crate::codec::{Digest, Limits, corrupt, segment::Entry};
use crate::{Error, ErrorKind, Result};

/// A gzip header (RFC 1952) with the extra subfield `PS`, whose one byte is the format's version.
pub(crate) const HEAD: [u8; 17] = [31, 139, 8, 4, 0, 0, 0, 0, 0, 255, 5, 0, b'P', b'S', 1, 0, 1];
/// The head up to the version.
pub(crate) const MARK: &[u8] = HEAD.split_at(16).0;
/// The trailer of the data member: CRC-32 and size.
pub(crate) const TRAILER: usize = 8;
/// From the tail's length to the end of the file: length, check, end of the last member.
pub(crate) const END: usize = 8 + EMPTY.len();
/// How long a tail may be: the index of a state of 5 TiB.
const MAX_TAIL: u64 = 64 << 20;

/// How an empty member starts, up to the length of its extra field, and how it ends behind it.
const EMPTY_HEADER: [u8; 10] = [31, 139, 8, 4, 0, 0, 0, 0, 0, 255];
const EMPTY: [u8; 10] = [3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const ID: [u8; 2] = *b"PS";
/// Bytes without a meaning: [`Limits::lacking`].
const PADDING: [u8; 2] = *b"PP";
/// The value of `PS` without the segments, and one segment in it.
const FIXED: usize = 32 + 8 + 1;
const ROW: usize = 12;

/// How many values a tail may have, and a few for later versions of persist: a hostile one of millions of
/// small values would take many times its own length in memory.
const MAX_VALUES: usize = 16;

/// A subfield that another part of persist keeps in the tail.
pub(crate) type Extra = ([u8; 2], Vec<u8>);

/// What the tail says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) digest: Digest,
    pub(crate) raw_size: u64,
    /// A segment has 2 to this power raw bytes.
    pub(crate) segment_bits: u8,
    pub(in crate::codec) entries: Vec<Entry>,
}

/// Where a segment lies and what it must be.
#[derive(Debug, Clone)]
pub(in crate::codec) struct Segment {
    pub(in crate::codec) entry: Entry,
    /// Offset of its compressed bytes in the file.
    pub(in crate::codec) stored: Range<u64>,
    /// Offset of its raw bytes in the state.
    pub(in crate::codec) raw: Range<u64>,
    pub(in crate::codec) last: bool,
}

impl Segment {
    pub(in crate::codec) fn raw_len(&self) -> usize {
        (self.raw.end - self.raw.start) as usize
    }
}

/// Iterates over the segments of an [`Index`].
#[derive(Debug)]
pub(in crate::codec) struct Segments<I> {
    index: I,
    next: usize,
    offset: u64,
}

impl<I: Borrow<Index>> Iterator for Segments<I> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        let index = self.index.borrow();
        let entry = *index.entries.get(self.next)?;
        let stored = self.offset..self.offset + u64::from(entry.stored_len);
        let (number, size) = (self.next as u64, 1 << index.segment_bits);
        let raw = number * size..((number + 1) * size).min(index.raw_size);
        self.offset = stored.end;
        self.next += 1;
        Some(Segment { entry, stored, raw, last: self.next == index.entries.len() })
    }
}

impl Index {
    /// The segments in order.
    pub(in crate::codec) fn segments(&self) -> Segments<&Index> {
        Segments { index: self, next: 0, offset: HEAD.len() as u64 }
    }

    /// The segments in order, for a stream that outlives the caller.
    pub(in crate::codec) fn into_segments(self) -> Segments<Index> {
        Segments { index: self, next: 0, offset: HEAD.len() as u64 }
    }

    /// The trailer of the data member: CRC-32 of the whole state, combined from those of the segments, and
    /// its size.
    fn trailer(&self) -> [u8; TRAILER] {
        let mut whole = crc32fast::Hasher::new();
        for segment in self.segments() {
            let len = segment.raw.end - segment.raw.start;
            whole.combine(&crc32fast::Hasher::new_with_initial_len(segment.entry.crc32, len));
        }
        let mut bytes = [0; TRAILER];
        bytes[..4].copy_from_slice(&whole.finalize().to_le_bytes());
        bytes[4..].copy_from_slice(&(self.raw_size as u32).to_le_bytes());
        bytes
    }

    /// Everything behind the segments: trailer and tail, with `extras` in it.
    ///
    /// # Errors
    /// `InvalidInput` for an id that is taken, and for a tail over the limit.
    pub(crate) fn closing(&self, extras: &[([u8; 2], &[u8])]) -> Result<Vec<u8>> {
        let mut value = Vec::with_capacity(FIXED + ROW * self.entries.len());
        value.extend_from_slice(self.digest.as_bytes());
        value.extend_from_slice(&self.raw_size.to_le_bytes());
        value.push(self.segment_bits);
        for entry in &self.entries {
            for number in [entry.stored_len, entry.crc32, entry.crc32c] {
                value.extend_from_slice(&number.to_le_bytes());
            }
        }
        let mut out = Members { bytes: self.trailer().to_vec(), fields: Vec::new() };
        for (at, (id, value)) in extras.iter().enumerate() {
            // RFC 1952 reserves a second byte of 0.
            if [ID, PADDING].contains(id) || id[1] == 0 || extras[..at].iter().any(|(other, _)| other == id) {
                let message = format!("the extra field {id:?} is reserved or given twice");
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
            out.field(*id, value, 0);
        }
        let stored = self.entries.iter().map(|entry| u64::from(entry.stored_len)).sum();
        let lacking = Limits::lacking(stored, self.raw_size);
        if lacking > 0 {
            out.field(PADDING, &vec![0; lacking.min(MAX_TAIL) as usize], 0);
        }
        out.field(ID, &value, 8);
        out.finish()
    }
}

/// Empty gzip members on their way into `bytes`, which starts with the data's trailer.
struct Members {
    bytes: Vec<u8>,
    /// The extra field of the member that is being filled.
    fields: Vec<u8>,
}

impl Members {
    /// Adds a value, in as many subfields and members as it takes, and leaves `reserve` bytes of room behind
    /// it.
    fn field(&mut self, id: [u8; 2], mut value: &[u8], reserve: usize) {
        loop {
            let room = usize::from(u16::MAX).saturating_sub(self.fields.len() + 4 + reserve);
            let (piece, rest) = value.split_at(value.len().min(room));
            if piece.is_empty() && !rest.is_empty() || room == 0 {
                self.member();
                continue;
            }
            let len = piece.len() + if rest.is_empty() { reserve } else { 0 };
            self.fields.extend_from_slice(&id);
            self.fields.extend_from_slice(&(len as u16).to_le_bytes());
            self.fields.extend_from_slice(piece);
            if rest.is_empty() {
                return;
            }
            value = rest;
        }
    }

    /// Ends the member; its fields may lack the bytes that `finish` adds.
    fn member(&mut self) {
        self.bytes.extend_from_slice(&EMPTY_HEADER);
        self.bytes.extend_from_slice(&(self.fields.len() as u16).to_le_bytes());
        self.bytes.append(&mut self.fields);
        self.bytes.extend_from_slice(&EMPTY);
    }

    /// Puts length and check into the room that the last field left.
    fn finish(mut self) -> Result<Vec<u8>> {
        self.fields.extend_from_slice(&[0; 8]);
        self.member();
        let tail_len = (self.bytes.len() - TRAILER) as u64;
        if tail_len > MAX_TAIL {
            let message = format!(
                "the index and padding would be {tail_len} bytes long, the limit is {MAX_TAIL}; save less at once"
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let at = self.bytes.len() - END;
        self.bytes[at..at + 4].copy_from_slice(&(tail_len as u32).to_le_bytes());
        let check = check(&HEAD, &self.bytes[TRAILER..at + 4]);
        self.bytes[at + 4..at + 8].copy_from_slice(&check.to_le_bytes());
        Ok(self.bytes)
    }
}

/// CRC-32C of the head and of the tail up to the check itself.
fn check(head: &[u8], tail: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(head), tail)
}

/// How many bytes trailer and tail have together, from the last [`END`] bytes of a file of `total` bytes.
///
/// # Errors
/// `Corrupt` where the file does not end as an indexed one does.
pub(crate) fn closing_len(end: &[u8], total: u64) -> Result<usize> {
    let cut = || corrupt("it does not end with its index, so it was cut or something was appended");
    let end = end.last_chunk::<END>().ok_or_else(cut)?;
    let len = u64::from(u32_at(end, 0));
    let smallest = (EMPTY_HEADER.len() + 2 + 4 + FIXED + ROW + END) as u64;
    let fits = (smallest..=MAX_TAIL).contains(&len) && len + (HEAD.len() + TRAILER) as u64 <= total;
    if end[8..] == EMPTY && fits { Ok(TRAILER + len as usize) } else { Err(cut()) }
}

/// Reads trailer and tail, which `closing` is exactly, of a file of `total` bytes that starts with `head`.
///
/// # Errors
/// `Corrupt` for damage, `Unsupported` for a version that this build does not know.
pub(crate) fn parse(head: &[u8], closing: &[u8], total: u64) -> Result<(Index, Vec<Extra>)> {
    let bad = |what: &str| corrupt(format!("its index is wrong: {what}"));
    if closing_len(closing, total)? != closing.len() {
        return Err(bad("its length"));
    }
    let (trailer, tail) = closing.split_at(TRAILER);
    let at = tail.len() - END + 4;
    if check(head, &tail[..at]) != u32_at(tail, at) {
        return Err(bad("its checksum"));
    }
    if head != HEAD {
        let version = head.last().copied().unwrap_or_default();
        let message =
            format!("the snapshot has format version {version}, this build reads 1; use a newer persist");
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let mut fields = fields(tail).ok_or_else(|| bad("its form"))?;
    let (id, value) = fields.pop().ok_or_else(|| bad("its form"))?;
    let rows = value.len().checked_sub(FIXED + 8).filter(|rows| id == ID && rows % ROW == 0);
    let rows = &value[FIXED..FIXED + rows.ok_or_else(|| bad("its form"))?];
    let digest = value.first_chunk::<32>().ok_or_else(|| bad("its form"))?;
    let raw_size = u64::from(u32_at(&value, 36)) << 32 | u64::from(u32_at(&value, 32));
    let entries = rows.chunks_exact(ROW).map(|row| Entry {
        stored_len: u32_at(row, 0),
        crc32: u32_at(row, 4),
        crc32c: u32_at(row, 8),
    });
    let index = Index {
        digest: Digest::from(*digest),
        raw_size,
        segment_bits: value[FIXED - 1],
        entries: entries.collect(),
    };
    if !(10..=24).contains(&index.segment_bits)
        || index.entries.len() as u64 != raw_size.div_ceil(1 << index.segment_bits).max(1)
    {
        return Err(bad("the number of its segments"));
    }
    // Deflate takes at most 9 bits for a byte, as level 1 does of noise, and a few for each block; what is
    // longer would only cost memory.
    let bits = index.segment_bits;
    let most = (1u32 << bits) + (1 << (bits - 3)) + (1 << (bits - 8)) + 64;
    if index.entries.iter().any(|entry| entry.stored_len > most) {
        return Err(bad("the length of a segment"));
    }
    let stored: u64 = index.entries.iter().map(|entry| u64::from(entry.stored_len)).sum();
    if HEAD.len() as u64 + stored + closing.len() as u64 != total {
        return Err(bad("the lengths do not add up to that of the file"));
    }
    if trailer != index.trailer() {
        return Err(corrupt("its gzip trailer is not that of the data"));
    }
    Ok((index, fields))
}

/// The values of all members, the parts of each joined. `None` where anything is not exactly in form.
fn fields(mut tail: &[u8]) -> Option<Vec<Extra>> {
    let mut all: Vec<Extra> = Vec::new();
    while !tail.is_empty() {
        tail = tail.strip_prefix(&EMPTY_HEADER)?;
        let (len, rest) = tail.split_first_chunk()?;
        let (mut member, rest) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
        tail = rest.strip_prefix(&EMPTY)?;
        while !member.is_empty() {
            let ([a, b, low, high], rest) = member.split_first_chunk()?;
            let (value, rest) = rest.split_at_checked(u16::from_le_bytes([*low, *high]).into())?;
            // The parts of a value follow one another.
            let (seen, count) = (all.iter().position(|(id, _)| *id == [*a, *b]), all.len());
            match all.last_mut() {
                Some((_, joined)) if seen == Some(count - 1) => joined.extend_from_slice(value),
                _ if seen.is_some() || count == MAX_VALUES => return None,
                _ => all.push(([*a, *b], value.to_vec())),
            }
            member = rest;
        }
    }
    Some(all)
}

/// The number at `at`, which the caller knows to be there.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}
