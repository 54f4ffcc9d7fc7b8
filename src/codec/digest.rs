//! The identity of a state, and its size.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::{Error, ErrorKind, Result};

/// The SHA-256 of a state before compression: what `sha256sum` prints for the file.
///
/// As JSON it is `sha256:` and the digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// Says in JSON which digest it is.
const PREFIX: &str = "sha256:";

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Digest(sha2::Sha256::digest(bytes).into())
    }

    /// The digest of what `hasher` was fed with.
    pub(crate) fn finish(hasher: sha2::Sha256) -> Self {
        Digest(hasher.finalize().into())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What is known of a state once it has been read to its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Summary {
    pub(crate) raw_size: u64,
    pub(crate) digest: Digest,
}

/// Feeds the hasher. How many bytes these are.
pub(super) fn hash(hasher: &mut sha2::Sha256, pieces: &[bytes::Bytes]) -> u64 {
    pieces.iter().for_each(|piece| hasher.update(piece));
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Digest(bytes)
    }
}

/// 64 lower-case hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
        let text: String = self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        f.write_str(&text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        format!("{PREFIX}{digest}")
    }
}

impl FromStr for Digest {
    type Err = Error;

    /// With or without `sha256:`.
    fn from_str(text: &str) -> Result<Self> {
        let text = text.strip_prefix(PREFIX).unwrap_or(text);
        let bad = || Error::new(ErrorKind::InvalidInput, "a digest has 64 hexadecimal digits");
        if text.len() != 64 || !text.is_ascii() {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |b: u8| (b as char).to_digit(16).ok_or_else(bad);
            *byte = (digit(digits[0])? * 16 + digit(digits[1])?) as u8;
        }
        Ok(Digest(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}
