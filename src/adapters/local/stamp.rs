//! Versions: when a file was written, to the nanosecond, which inode it has and how long it is.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt,
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::fs::Stat;

use crate::Version;

/// What tells one write of a file from every other.
///
/// The adapter sets the time itself, from a clock that never gives the same nanosecond twice in a process; the kernel's own file times step by
/// some milliseconds. A file that another program wrote has that program's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Nanoseconds since 1970.
    pub(super) mtime: i64,
    inode: u64,
    pub(super) size: u64,
}

impl Stamp {
    pub(super) fn version(self) -> Version {
        Version::new(format!("{:x}-{:x}-{:x}", self.mtime, self.inode, self.size))
    }

    pub(super) fn modified(self) -> SystemTime {
        let distance = Duration::from_nanos(self.mtime.unsigned_abs());
        if self.mtime < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
    }
}

impl From<&Metadata> for Stamp {
    fn from(file: &Metadata) -> Self {
        Stamp { mtime: nanoseconds(file.mtime(), file.mtime_nsec()), inode: file.ino(), size: file.size() }
    }
}

impl From<&Stat> for Stamp {
    // The types of these fields differ by platform.
    #[allow(clippy::unnecessary_cast)]
    fn from(file: &Stat) -> Self {
        let mtime = nanoseconds(file.st_mtime as i64, file.st_mtime_nsec as i64);
        Stamp { mtime, inode: file.st_ino as u64, size: file.st_size as u64 }
    }
}

fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

/// Now, and later than any time it gave before.
pub(super) fn next_time() -> SystemTime {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as i64;
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last + 1)));
    let time = now.max(last.unwrap_or_default() + 1);
    UNIX_EPOCH + Duration::from_nanos(time as u64)
}
