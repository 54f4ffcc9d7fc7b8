//! The codec `zstd`: one frame, then a skippable frame with size and digest. Without the feature, errors that
//! name it.

use bytes::Bytes;

#[cfg(feature = "zstd")]
use super::segment::fitting;
use super::{Codec, Digest, Summary, corrupt};
use crate::{Error, ErrorKind, Result};

/// How a frame starts.
pub(super) const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// How our skippable frame starts: RFC 8878 section 3.1.2, with 48 bytes, ours, version 1.
const FOOTER: [u8; 12] = [0x50, 0x2a, 0x4d, 0x18, 48, 0, 0, 0, b'P', b'S', 1, 0];
/// How a skippable frame without a meaning starts, and the most that there is of it.
const PADDING: [u8; 4] = [0x51, 0x2a, 0x4d, 0x18];
const MAX_PADDING: u32 = 64 << 20;
/// The whole footer.
pub(super) const FOOTER_LEN: usize = 56;

/// Whether a file that starts with `head` is zstd: a frame, or a skippable one before it.
pub(super) fn is_zstd(head: &[u8]) -> bool {
    head.starts_with(&MAGIC) || matches!(head, [first, 0x2a, 0x4d, 0x18, ..] if first & 0xf0 == 0x50)
}

/// Whether its first frame has a checksum behind it (RFC 8878 section 3.1.1.1.1.4), as ours and those of the
/// tool `zstd` have.
pub(super) fn has_checksum(head: &[u8]) -> bool {
    matches!(head, [0x28, 0xb5, 0x2f, 0xfd, descriptor, ..] if descriptor & 4 != 0)
}

/// Whether this build can write what `codec` says.
pub(super) fn check_built_in(codec: Codec) -> Result<()> {
    match codec {
        Codec::Zstd { .. } if !cfg!(feature = "zstd") => Err(not_built_in()),
        _ => Ok(()),
    }
}

/// The error of a build without the feature.
pub(super) fn not_built_in() -> Error {
    let message = "zstd is not in this build; build persist with `--features zstd`";
    Error::new(ErrorKind::Unsupported, message)
}

/// The skippable frame behind a state.
pub(super) fn footer(summary: Summary) -> Bytes {
    let mut footer = FOOTER.to_vec();
    footer.extend_from_slice(&summary.raw_size.to_le_bytes());
    footer.extend_from_slice(summary.digest.as_bytes());
    let check = crc32c::crc32c(&footer[8..]);
    footer.extend_from_slice(&check.to_le_bytes());
    footer.into()
}

/// A skippable frame of `lacking` bytes or a few more, for [`Limits::lacking`](super::Limits::lacking).
pub(super) fn padding(lacking: u64) -> Result<Bytes> {
    let Some(len) = u32::try_from(lacking).ok().filter(|len| *len <= MAX_PADDING) else {
        let message = "the state compresses so well that it looks like a bomb; save less at once";
        return Err(Error::new(ErrorKind::InvalidInput, message));
    };
    let mut frame = PADDING.to_vec();
    frame.extend_from_slice(&len.to_le_bytes());
    frame.resize(frame.len() + len as usize, 0);
    Ok(frame.into())
}

/// What the last bytes of a file say if they are our footer.
///
/// # Errors
/// `Corrupt` for a footer that is damaged.
pub(super) fn read_footer(end: &[u8]) -> Result<Option<Summary>> {
    let Some(footer) = end.last_chunk::<FOOTER_LEN>().filter(|footer| footer.starts_with(&FOOTER)) else {
        return Ok(None);
    };
    let (mut size, mut digest, mut check) = ([0; 8], [0; 32], [0; 4]);
    size.copy_from_slice(&footer[12..20]);
    digest.copy_from_slice(&footer[20..52]);
    check.copy_from_slice(&footer[52..]);
    if crc32c::crc32c(&footer[8..52]) != u32::from_le_bytes(check) {
        return Err(corrupt("the checksum of its footer is wrong"));
    }
    Ok(Some(Summary { raw_size: u64::from_le_bytes(size), digest: Digest::from(digest) }))
}

/// A compressor that takes the segments of a state one after the other.
#[cfg(feature = "zstd")]
pub(super) struct Encoder(::zstd::stream::raw::Encoder<'static>);

#[cfg(feature = "zstd")]
impl Encoder {
    /// A compressor, where `codec` wants this one.
    pub(super) fn new(codec: Codec) -> Result<Option<Self>> {
        let Codec::Zstd { level } = codec else { return Ok(None) };
        let mut encoder = ::zstd::stream::raw::Encoder::new(level.into())?;
        encoder.set_parameter(::zstd::stream::raw::CParameter::ChecksumFlag(true))?;
        Ok(Some(Encoder(encoder)))
    }

    /// Compresses `pieces`; the `last` ones end the frame. May give nothing: it keeps what it has not
    /// compressed yet.
    pub(super) fn encode(&mut self, pieces: &[Bytes], last: bool) -> Result<Vec<u8>> {
        use ::zstd::stream::raw::{InBuffer, Operation, OutBuffer};
        let mut out = Vec::with_capacity(256 * 1024);
        for piece in pieces {
            let mut input = InBuffer::around(piece);
            while input.pos() < piece.len() {
                out.reserve(64 * 1024);
                let at = out.len();
                self.0.run(&mut input, &mut OutBuffer::around_pos(&mut out, at))?;
            }
        }
        if !last {
            return Ok(fitting(out));
        }
        loop {
            out.reserve(64 * 1024);
            let at = out.len();
            if self.0.finish(&mut OutBuffer::around_pos(&mut out, at), true)? == 0 {
                return Ok(fitting(out));
            }
        }
    }
}

/// There is none in this build.
#[cfg(not(feature = "zstd"))]
pub(super) enum Encoder {}

#[cfg(not(feature = "zstd"))]
impl Encoder {
    pub(super) fn new(codec: Codec) -> Result<Option<Self>> {
        check_built_in(codec).map(|()| None)
    }

    pub(super) fn encode(&mut self, _: &[Bytes], _: bool) -> Result<Vec<u8>> {
        match *self {}
    }
}
