//! Numbers, texts and ids as bytes: the alphabet of everything that sessions store. `docs/sessions-format.md`
//! specifies it.

use super::CommitId;
use crate::{Error, ErrorKind, Result};

const DAMAGED: &str = "the session's object is damaged: ";

/// The error for stored bytes that nobody wrote so.
pub(super) fn corrupt(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{DAMAGED}{what}"))
        .with_advice("load with fallback, or restore the object from a copy")
}

/// What is wrong, of an error of which the rest is known.
pub(super) fn wrong(error: &Error) -> &str {
    error.what().strip_prefix(DAMAGED).unwrap_or(error.what())
}

/// The error for what a newer release wrote.
pub(super) fn newer(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{what} is unknown to this build; use a newer persist"))
}

pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn put_id(out: &mut Vec<u8>, id: CommitId) {
    out.extend_from_slice(&id.to_bytes());
}

/// Appends the CRC-32C of all that is there.
pub(super) fn seal(out: &mut Vec<u8>) {
    let check = crc32c::crc32c(out);
    out.extend_from_slice(&check.to_le_bytes());
}

/// The bytes before a check that is right.
pub(super) fn unseal(bytes: &[u8]) -> Result<&[u8]> {
    match bytes.split_last_chunk::<4>() {
        Some((body, check)) if crc32c::crc32c(body).to_le_bytes() == *check => Ok(body),
        Some(_) => Err(corrupt("its checksum is wrong")),
        None => Err(corrupt("it ends early")),
    }
}

/// Reads what the functions above wrote. Never trusts a length further than there are bytes.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(|| corrupt("it ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn number(&mut self) -> Result<u64> {
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
        Err(corrupt("a number is too large"))
    }

    /// A count of things that take at least one byte each.
    pub(super) fn count(&mut self) -> Result<usize> {
        let count = self.number()?;
        usize::try_from(count)
            .ok()
            .filter(|&count| count <= self.0.len())
            .ok_or_else(|| corrupt("it ends early"))
    }

    pub(super) fn text(&mut self) -> Result<String> {
        let len = self.count()?;
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| corrupt("a text is not UTF-8"))?;
        Ok(text.to_owned())
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk().ok_or_else(|| corrupt("it ends early"))?;
        self.0 = rest;
        Ok(*array)
    }

    pub(super) fn id(&mut self) -> Result<CommitId> {
        Ok(CommitId::from_bytes(self.array()?))
    }

    pub(super) fn end(&self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(corrupt("it has bytes that nothing explains")) }
    }
}
