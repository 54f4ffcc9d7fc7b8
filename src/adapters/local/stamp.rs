//! Versions: when a file was written, to the nanosecond, which inode it has and how long it is.

use std::{
    fs::{File, FileTimes, Metadata},
    io,
    os::unix::fs::MetadataExt,
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::fs::Stat;

use crate::Version;

/// What tells one write of a file from every other.
///
/// The adapter sets the time itself, from a clock that never gives the same nanosecond twice in a process;
/// the kernel's own file times step by some milliseconds. A file that another program wrote has that
/// program's time.
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
        system_time(self.mtime)
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

fn system_time(nanoseconds: i64) -> SystemTime {
    let distance = Duration::from_nanos(nanoseconds.unsigned_abs());
    if nanoseconds < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

/// When a file, or what is said of it, was last changed. No program can set that.
pub(super) fn changed(file: &Metadata) -> SystemTime {
    system_time(nanoseconds(file.ctime(), file.ctime_nsec()))
}

/// The longest of the steps in which times are kept, in nanoseconds, that leads to `time`; 1 for those that
/// the adapter gives.
pub(super) fn step(time: i64) -> i64 {
    let steps = [2_000_000_000, 1_000_000_000, 10_000_000, 1_000_000, 1_000];
    let found = steps.into_iter().find(|step| time % step == 0);
    found.unwrap_or_else(|| {
        if is_rounded(time) {
            ROUNDED
        } else if time % 100 == 0 {
            100
        } else {
            1
        }
    })
}

/// The most by which programs move a time that hold it as a floating-point number (`f64`): Python's of
/// seconds are 238 ns apart from 2004 to 2038, and those of nanoseconds 256.
const ROUNDED: i64 = 256;

/// Steps up to this one are those of clocks, and longer ones those of file systems and archives that keep
/// times coarsely.
const FINE: i64 = 1_000;

/// Whether a file with the time `kept` may be the one that was written at `given`.
pub(super) fn agree(kept: i64, given: i64) -> bool {
    let (apart, step_kept) = (kept.abs_diff(given).cast_signed(), step(kept));
    (0..=ROUNDED).contains(&apart)
        || (step(given) <= FINE && step(given) < step_kept && (0..step_kept).contains(&apart))
}

/// Whether such a program gives `time`: at one of the 2^22 parts of a second, cut or rounded to the
/// nanosecond, or a multiple of 256 ns.
fn is_rounded(time: i64) -> bool {
    let beyond = (time.rem_euclid(1_000_000_000) << 22) % 1_000_000_000;
    beyond.min(1_000_000_000 - beyond) < 1 << 22 || time % ROUNDED == 0
}

/// Now, in nanoseconds since 1970.
pub(super) fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as i64;
    #[cfg(test)]
    let now = now + tests::ahead();
    now
}

/// As [`now`], and later than any time that it gave before.
pub(super) fn next_time() -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let now = now();
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(behind(last, now)));
    behind(last.unwrap_or_default(), now)
}

/// The time for a file that is written at `now`, where the one before got `last`. Never one of those that a
/// file's time becomes when it is cut or rounded.
fn behind(last: i64, now: i64) -> i64 {
    // A clock that was far ahead and is right now: what it gave then must not be followed for as long as the
    // process lives.
    let time = if last - now > 1_000_000_000 { now } else { now.max(last + 1) };
    (time..=i64::MAX).find(|time| step(*time) == 1).unwrap_or(time)
}

/// Gives `file` a time. The stamp has the one that the file system keeps, which may be cut to the second.
pub(super) fn set_time(file: &File, time: i64) -> io::Result<Stamp> {
    #[cfg(test)]
    let time = tests::kept(time);
    file.set_times(FileTimes::new().set_modified(system_time(time)))?;
    Ok(Stamp::from(&file.metadata()?))
}

/// The steps in which file systems keep times, in nanoseconds: SMB, exFAT, HFS+ and ext4 with small inodes,
/// FAT.
const STEPS: [i64; 4] = [1_000, 10_000_000, 1_000_000_000, 2_000_000_000];

/// Gives `file` the next time behind `old` that its file system can keep, if there is one: some end in 2038.
pub(super) fn set_later(file: &File, old: i64) -> io::Result<Option<Stamp>> {
    for step in STEPS {
        let stamp = set_time(file, old.saturating_add(step))?;
        if stamp.mtime > old {
            return Ok(Some(stamp));
        }
    }
    Ok(None)
}

#[cfg(test)]
#[path = "stamp_tests.rs"]
pub(super) mod tests;
