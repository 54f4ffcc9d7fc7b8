//! The lock on a directory: one for all processes, held for "look and rename" and for reading a directory's
//! names.

use std::{
    fs::{File, TryLockError},
    sync::atomic::AtomicBool,
    thread,
    time::{Duration, Instant},
};

use super::{dir::Root, fail::io_error};
use crate::{Error, ErrorKind, Result, cleanup::check};

/// The shortest and the longest sleep between two attempts.
const SLEEP: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(5));

/// A lock, until it is dropped or the process ends.
pub(super) struct Lock<'a>(&'a File);

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl Root {
    /// The lock of the directory at `path` below the root, for one alone. Not waited for any more once
    /// `given_up` is set.
    pub(super) fn lock<'a>(
        &self,
        directory: &'a File,
        path: impl IntoIterator<Item: AsRef<str>>,
        given_up: &AtomicBool,
    ) -> Result<Lock<'a>> {
        self.wait(File::try_lock, directory, path, given_up)
    }

    /// The lock of the directory for all that only look. `None` where there are no locks.
    pub(super) fn lock_shared<'a>(
        &self,
        directory: &'a File,
        path: impl IntoIterator<Item: AsRef<str>>,
        given_up: &AtomicBool,
    ) -> Result<Option<Lock<'a>>> {
        match self.wait(File::try_lock_shared, directory, path, given_up) {
            Ok(lock) => Ok(Some(lock)),
            Err(error) if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Internal) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Who holds a lock may be stopped (`SIGSTOP`, a debugger, a frozen container): nobody waits for that for
    /// ever.
    fn wait<'a>(
        &self,
        attempt: fn(&File) -> std::result::Result<(), TryLockError>,
        directory: &'a File,
        path: impl IntoIterator<Item: AsRef<str>>,
        given_up: &AtomicBool,
    ) -> Result<Lock<'a>> {
        let (started, mut sleep) = (Instant::now(), SLEEP.0);
        loop {
            match attempt(directory) {
                Ok(()) => {
                    #[cfg(test)]
                    super::write::tests::locked();
                    return Ok(Lock(directory));
                }
                Err(TryLockError::Error(error)) => return Err(io_error("locking the directory", error)),
                Err(TryLockError::WouldBlock) if started.elapsed() >= self.lock_timeout => {
                    let path = self.below(path);
                    let message = format!(
                        "another process holds the lock on {} for {} s, perhaps because it was stopped, or because it lists the snapshots there all the time; continue or end it \
                         (`fuser {}` names it)",
                        path.display(),
                        self.lock_timeout.as_secs_f64(),
                        path.display()
                    );
                    return Err(Error::new(ErrorKind::Timeout, message));
                }
                Err(TryLockError::WouldBlock) => {
                    check(given_up)?;
                    thread::sleep(sleep);
                    sleep = (sleep * 2).min(SLEEP.1);
                }
            }
        }
    }
}
