//! The guard against decompression bombs.

use crate::{Error, ErrorKind, Result};

/// How much a load may give. A snapshot that goes over it is refused while it is read, before memory is spent
/// on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct Limits {
    /// The most bytes after decompression. Default: no limit.
    pub max_bytes: u64,
    /// The most bytes after decompression for each stored byte. Default: 250; agent states compress about 5
    /// to 1, a thousand to 1 is the most that gzip can do. What `save` wrote passes: where a state compresses
    /// better, its file is padded.
    pub max_ratio: u64,
    /// The first bytes, to which `max_ratio` does not apply. Default: 64 MiB.
    pub ratio_free_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits::new()
    }
}

impl Limits {
    /// The defaults.
    pub const fn new() -> Self {
        Limits { max_bytes: u64::MAX, max_ratio: 250, ratio_free_bytes: 64 << 20 }
    }

    /// The most bytes after decompression; 0 lets nothing but an empty state through.
    pub const fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// The most bytes after decompression for each stored byte; 0 lets nothing through beyond
    /// [`ratio_free_bytes`](Self::ratio_free_bytes).
    pub const fn max_ratio(mut self, ratio: u64) -> Self {
        self.max_ratio = ratio;
        self
    }

    /// The first bytes, to which `max_ratio` does not apply.
    pub const fn ratio_free_bytes(mut self, bytes: u64) -> Self {
        self.ratio_free_bytes = bytes;
        self
    }

    /// Checks a load that has read `stored` bytes and given `raw`.
    ///
    /// # Errors
    /// `InvalidInput` that names the limit.
    pub fn check(&self, stored: u64, raw: u64) -> Result<()> {
        if raw > self.max_bytes {
            let most = self.max_bytes;
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "the snapshot is larger than the limit of {most} bytes; raise `max_bytes` (PERSIST_MAX_BYTES)"
                ),
            ));
        }
        if raw > self.ratio_free_bytes && raw > stored.saturating_mul(self.max_ratio) {
            let ratio = self.max_ratio;
            let message = format!(
                "the snapshot expands more than {ratio} times; if it is no bomb, raise `max_ratio` (PERSIST_MAX_RATIO)"
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        Ok(())
    }

    /// How many bytes a file of `stored` bytes with a state of `raw` lacks to be let through by default.
    /// Files are padded by so many: what was saved must load, however well it compresses.
    pub(crate) fn lacking(stored: u64, raw: u64) -> u64 {
        let limits = Limits::default();
        match limits.check(stored, raw) {
            Ok(()) => 0,
            Err(_) => raw.div_ceil(limits.max_ratio).saturating_sub(stored),
        }
    }
}
