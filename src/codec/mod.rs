//! How a state becomes the bytes of a snapshot and back.

mod decode;
mod describe;
mod digest;
mod encode;
mod foreign;
pub(crate) mod frame;
pub(crate) mod idle;
mod indexed;
mod limits;
mod plain;
mod range;
mod segment;
mod watch;
mod zstd;

pub use describe::Description;
pub use digest::Digest;
pub use limits::Limits;

pub(crate) use decode::{decode, decode_own};
pub(crate) use describe::describe;
pub(crate) use digest::Summary;
pub(crate) use encode::encode;
pub(crate) use plain::NAMES;
pub(crate) use range::decode_range;

use std::{fmt, str::FromStr};

use crate::{Error, ErrorKind, Result};

/// The error for stored bytes that are not what was saved.
fn corrupt(what: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{DAMAGED}{what}")).with_advice("restore an older one or a copy")
}

const DAMAGED: &str = "the snapshot is damaged: ";

/// What is wrong, of an error that [`corrupt`] made; `None` for any other.
pub(crate) fn damage(error: &Error) -> Option<&str> {
    error.what().strip_prefix(DAMAGED)
}

/// The form in which `save` writes a snapshot. `load` needs no such choice: it detects the form by content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// One ordinary gzip member that `gunzip` reads, made of independent segments, with an index behind it.
    /// Level 1 (fast) to 9 (small).
    Gzip {
        /// 1 to 9.
        level: u8,
    },
    /// Zstandard (feature `zstd`). Level 1 to 19.
    Zstd {
        /// 1 to 19.
        level: u8,
    },
    /// The bytes as they are.
    None,
}

/// The form of a stored state, whoever wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// gzip, with an index or without.
    Gzip,
    /// Zstandard.
    Zstd,
    /// The bytes as they are.
    Plain,
}

impl Format {
    /// `gzip`, `zstd` or `none`, as [`Codec::name`] has them.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Gzip => "gzip",
            Format::Zstd => "zstd",
            Format::Plain => "none",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Default for Codec {
    /// gzip, level 6.
    fn default() -> Self {
        Codec::Gzip { level: 6 }
    }
}

impl Codec {
    /// The name without the level: `gzip`, `zstd` or `none`.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Gzip { .. } => "gzip",
            Codec::Zstd { .. } => "zstd",
            Codec::None => "none",
        }
    }

    /// The media type of what it writes.
    pub fn content_type(self) -> &'static str {
        match self {
            Codec::Gzip { .. } => "application/gzip",
            Codec::Zstd { .. } => "application/zstd",
            Codec::None => crate::options::OCTETS,
        }
    }

    /// Refuses a level that the codec does not have (the field is public), and a codec that is not built in.
    ///
    /// # Errors
    /// `InvalidInput` for a level that the codec does not have, `Unsupported` for one that is not built in.
    pub(crate) fn check(self) -> Result<()> {
        if let Codec::Gzip { level } | Codec::Zstd { level } = self {
            self.with_level(level)?;
        }
        zstd::check_built_in(self)
    }

    /// The same codec at another level.
    ///
    /// # Errors
    /// `InvalidInput` for a level that the codec does not have; `none` has none at all.
    pub fn with_level(self, level: u8) -> Result<Self> {
        let bad = |range: &str| {
            let name = self.name();
            Err(Error::new(ErrorKind::InvalidInput, format!("level {level} for the codec {name}: {range}")))
        };
        match self {
            Codec::Gzip { .. } if (1..=9).contains(&level) => Ok(Codec::Gzip { level }),
            Codec::Gzip { .. } => bad("use 1 (fast) to 9 (small)"),
            Codec::Zstd { .. } if (1..=19).contains(&level) => Ok(Codec::Zstd { level }),
            Codec::Zstd { .. } => bad("use 1 (fast) to 19 (small)"),
            Codec::None => bad("it has no levels, leave it out"),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Codec::Gzip { level } | Codec::Zstd { level } => write!(f, "{}:{level}", self.name()),
            Codec::None => f.write_str("none"),
        }
    }
}

impl FromStr for Codec {
    type Err = Error;

    /// `gzip`, `zstd`, `none`, and with a level `gzip:9`.
    fn from_str(text: &str) -> Result<Self> {
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level)),
            None => (text, None),
        };
        let codec = match name {
            "gzip" => Codec::default(),
            "zstd" => Codec::Zstd { level: 3 },
            "none" => Codec::None,
            _ => {
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    format!("no codec {name:?}; use gzip, zstd or none"),
                ));
            }
        };
        match level.map(str::parse) {
            None => Ok(codec),
            Some(Ok(level)) => codec.with_level(level),
            Some(Err(_)) => {
                Err(Error::new(ErrorKind::InvalidInput, format!("the level in {text:?} is not a number")))
            }
        }
    }
}
