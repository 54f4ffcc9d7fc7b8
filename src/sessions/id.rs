//! The identity of a commit.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::{Error, ErrorKind, Result};

/// The last time that an id can have, of 48 bits.
const MAX_MS: u64 = (1 << 48) - 1;

/// A commit's random id: a [ULID](https://github.com/ulid/spec), 26 characters. The first ten are the
/// time of the commit in milliseconds, the others are random: so ids sort by time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(Ulid);

impl CommitId {
    /// An id of this time, whole milliseconds, and 80 bits of `random`. Of a time that is out of range, the
    /// last one.
    pub(super) fn new(time: SystemTime, random: u128) -> Self {
        let ms = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        CommitId(Ulid::from_parts(u64::try_from(ms).unwrap_or(u64::MAX).min(MAX_MS), random))
    }

    /// When the commit was made, by the clock of its writer; never earlier than its parent. Behind a commit
    /// from the future, a millisecond after that one.
    pub fn time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.0.timestamp_ms())
    }

    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        CommitId(Ulid(u128::from_be_bytes(bytes)))
    }

    pub(super) fn to_bytes(self) -> [u8; 16] {
        self.0.0.to_be_bytes()
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for CommitId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |e| {
            let message = format!("{text:?} is not a commit's id; ids have 26 characters, see `log`");
            Error::new(ErrorKind::InvalidInput, message).with_source(e)
        };
        Ulid::from_string(text).map(CommitId).map_err(bad)
    }
}

impl TryFrom<String> for CommitId {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<CommitId> for String {
    fn from(id: CommitId) -> Self {
        id.to_string()
    }
}
