//! A delta as bytes: see `docs/delta.md`.

use bytes::Bytes;
use flate2::{Decompress, FlushCompress, FlushDecompress, Status};

use super::copies::{Copies, Run};
use crate::{Error, ErrorKind, Limits, Result, codec::idle};

/// The first byte: format 1, inserted bytes as they are.
const STORED: u8 = 0x10;
/// The first byte: format 1, inserted bytes as a raw deflate stream with a preset dictionary.
const DEFLATED: u8 = 0x11;
/// Deflate's window: the most that a preset dictionary can hold.
const WINDOW: usize = 32 << 10;
/// As many bytes of dictionary for each inserted one: a small change does not pay for a large dictionary.
const DICTIONARY_RATIO: usize = 32;
/// Below this, deflate has nothing to win.
const MIN_DEFLATE: usize = 16;
/// Beyond this, they are stored: zlib counts what one call gets and gives in 32 bits, and one of them is to
/// spare.
const MOST_DEFLATED: usize = u32::MAX as usize - 1;
/// A byte of deflate gives so many at most: four copies of 258 bytes, of two bits each. So memory for more is
/// never asked for.
const MAX_DEFLATE: usize = 4 * 258;
const CRC: usize = 4;

/// A delta whose copies are parsed and whose inserted bytes are still compressed.
#[derive(Debug, Clone)]
pub(crate) struct Delta {
    copies: Copies,
    deflated: bool,
    inserted: Bytes,
}

/// The bytes of the delta to `new`, which has `copies` from its base.
pub(crate) fn encode(copies: &Copies, new: &[u8], level: u8) -> Vec<u8> {
    encode_within(copies, new, level, MOST_DEFLATED)
}

/// The same, with so many inserted bytes at most as a deflate stream.
pub(super) fn encode_within(copies: &Copies, new: &[u8], level: u8, most: usize) -> Vec<u8> {
    let mut inserted = Vec::with_capacity(copies.inserted());
    copies.gaps().for_each(|gap| inserted.extend_from_slice(&new[gap]));
    let words: Vec<_> = dictionary(copies).map(|run| &new[run.to..run.to + run.len]).collect();
    let deflated = if (MIN_DEFLATE..=most).contains(&inserted.len()) {
        deflate(&inserted, &words.concat(), level).filter(|short| short.len() < inserted.len())
    } else {
        None
    };

    let mut out = vec![if deflated.is_some() { DEFLATED } else { STORED }];
    put(&mut out, copies.base_len as u64);
    put(&mut out, copies.new_len as u64);
    put(&mut out, copies.runs().len() as u64);
    let (mut from, mut to) = (0, 0);
    for run in copies.runs() {
        put(&mut out, (run.to - to) as u64);
        put(&mut out, run.len as u64);
        put(&mut out, zigzag(run.from as i64 - from as i64));
        (from, to) = (run.from + run.len, run.to + run.len);
    }
    out.extend_from_slice(deflated.as_deref().unwrap_or(&inserted));
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Parses a delta and checks every byte of it by its CRC. Allocates at most 16 times what the delta itself
/// has in bytes.
///
/// # Errors
/// `Corrupt` for bytes that no encoder wrote; `InvalidInput` for a state beyond the size of `limits`. What it
/// may be for the bytes that it is made from, only its whole chain can tell:
/// [`materialize`](super::materialize).
pub(crate) fn decode(bytes: Bytes, limits: &Limits) -> Result<Delta> {
    let end = bytes.len().checked_sub(CRC).ok_or_else(|| damaged("it ends early"))?;
    let crc = crc32fast::hash(&bytes[..end]);
    if bytes[end..] != crc.to_le_bytes() {
        return Err(damaged("its CRC-32 is wrong"));
    }
    let body = bytes.slice(..end);
    let mut input = Input { bytes: &body, at: 0 };
    let deflated = match input.byte()? {
        STORED => false,
        DEFLATED => true,
        other => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("no delta format {other:#04x}; use a newer release"),
            ));
        }
    };
    let (base_len, new_len, count) = (input.length()?, input.length()?, input.length()?);
    // The copies may name any length.
    limits.check(u64::MAX, new_len as u64)?;
    let copies = input.copies(base_len, new_len, count)?;
    let inserted = body.slice(input.at..);
    let possible = if deflated {
        copies.inserted() <= inserted.len().saturating_mul(MAX_DEFLATE)
    } else {
        copies.inserted() == inserted.len()
    };
    if !possible {
        return Err(damaged("the inserted bytes do not have the length that the copies leave"));
    }
    Ok(Delta { copies, deflated, inserted })
}

/// The runs whose bytes are the preset dictionary, the last bytes that are copied: new messages look like the
/// old ones before them.
fn dictionary(copies: &Copies) -> impl Iterator<Item = Run> {
    copies.tail(WINDOW.min(copies.inserted().saturating_mul(DICTIONARY_RATIO)))
}

impl Delta {
    /// Which bytes of the new state are bytes of the base.
    pub(crate) fn copies(&self) -> &Copies {
        &self.copies
    }

    /// The runs of the base whose bytes [`inserted`](Self::inserted) must be given; none if it needs no
    /// dictionary.
    pub(super) fn dictionary(&self) -> impl Iterator<Item = Run> {
        dictionary(&self.copies).take(if self.deflated { usize::MAX } else { 0 })
    }

    /// The inserted bytes. `inflate` is for raw deflate streams and used again and again.
    pub(super) fn inserted(&self, dictionary: &[u8], inflate: &mut Decompress) -> Result<Bytes> {
        if !self.deflated {
            return Ok(self.inserted.clone());
        }
        let wrong = || damaged("its inserted bytes do not inflate to the length that the copies leave");
        inflate.reset(false);
        if !dictionary.is_empty() {
            inflate.set_dictionary(dictionary).map_err(|error| wrong().with_source(error))?;
        }
        // One spare byte: a stream that holds more than it should fills it.
        let want = self.copies.inserted();
        let mut out = Vec::with_capacity(want + 1);
        let status = inflate
            .decompress_vec(&self.inserted, &mut out, FlushDecompress::Finish)
            .map_err(|error| wrong().with_source(error))?;
        if status != Status::StreamEnd
            || out.len() != want
            || inflate.total_in() != self.inserted.len() as u64
        {
            return Err(wrong());
        }
        Ok(out.into())
    }
}

fn deflate(bytes: &[u8], dictionary: &[u8], level: u8) -> Option<Vec<u8>> {
    let level = level.clamp(1, 9);
    let mut deflate = idle::compressor(level);
    if !dictionary.is_empty() {
        deflate.set_dictionary(dictionary).ok()?;
    }
    // Deflate that does not fit here is not wanted.
    let mut out = Vec::with_capacity(bytes.len());
    let status = deflate.compress_vec(bytes, &mut out, FlushCompress::Finish).ok()?;
    if status != Status::StreamEnd || deflate.total_in() != bytes.len() as u64 {
        return None;
    }
    idle::keep_compressor(level, deflate);
    Some(out)
}

/// Numbers in groups of seven bits, the low ones first, as LEB128 has them.
fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn damaged(how: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("of its delta, {how}"))
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn byte(&mut self) -> Result<u8> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| damaged("it ends early"))?;
        self.at += 1;
        Ok(byte)
    }

    fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(damaged("a number is too large"))
    }

    fn length(&mut self) -> Result<usize> {
        // Half of the range, so that sums and differences of two never overflow.
        usize::try_from(self.number()?)
            .ok()
            .filter(|&len| len <= isize::MAX as usize)
            .ok_or_else(|| damaged("a length is too large"))
    }

    fn copies(&mut self, base_len: usize, new_len: usize, count: usize) -> Result<Copies> {
        let mut copies = Copies::none(base_len, new_len);
        let (mut from, mut to) = (0usize, 0usize);
        for _ in 0..count {
            let (gap, len) = (self.length()?, self.length()?);
            let jump = unzigzag(self.number()?);
            let start = isize::try_from(jump).ok().and_then(|jump| from.checked_add_signed(jump));
            let run = start.zip(to.checked_add(gap)).map(|(from, to)| Run { from, to, len });
            let run = run
                .filter(|run| len > 0 && run.from <= base_len && len <= base_len - run.from)
                .filter(|run| run.to <= new_len && len <= new_len - run.to)
                .ok_or_else(|| damaged("a copy leaves its base or the new state"))?;
            (from, to) = (run.from + len, run.to + len);
            copies.push(run);
        }
        Ok(copies)
    }
}
