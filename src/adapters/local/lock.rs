//! The lock on a directory: one for all processes, held for "look and rename" and for reading a directory's names.

use std::{
    collections::HashMap,
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, Weak, atomic::AtomicBool},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{dir::Root, fail::io_error};
use crate::{Error, ErrorKind, Result, cleanup::check};

/// The shortest and the longest sleep between two attempts.
const SLEEP: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(5));

/// How many operations of this process may be at one directory's lock at once. Each has a thread of those that may block, of which
/// a runtime has 512 for all that it does: a lock that is never let go must not take them all.
const AT_ONCE: usize = 64;

/// The turns at each directory that somebody has or waits for.
static TURNS: LazyLock<Mutex<HashMap<PathBuf, Weak<Semaphore>>>> = LazyLock::new(Mutex::default);

/// A lock, until it is dropped or the process ends.
pub(super) struct Lock<'a>(&'a File);

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

fn turns(directory: &Path) -> Arc<Semaphore> {
    let mut turns = TURNS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(known) = turns.get(directory).and_then(Weak::upgrade) {
        return known;
    }
    turns.retain(|_, turns| turns.strong_count() > 0);
    let new = Arc::new(Semaphore::new(AT_ONCE));
    turns.insert(directory.to_path_buf(), Arc::downgrade(&new));
    new
}

impl Root {
    /// Waits, without a thread, until one may be taken for an operation that needs the lock of the directory at `path` below the root.
    pub(super) async fn turn(
        &self,
        path: impl IntoIterator<Item: AsRef<str>>,
    ) -> Result<OwnedSemaphorePermit> {
        let directory = self.below(path);
        let started = Instant::now();
        let turn = turns(&directory).acquire_owned().await;
        let turn = turn.map_err(|error| {
            Error::new(ErrorKind::Internal, "the turns at a lock have ended").with_source(error)
        })?;
        // Those before this one have given up.
        if started.elapsed() >= self.lock_timeout { Err(self.held(&directory)) } else { Ok(turn) }
    }

    fn held(&self, directory: &Path) -> Error {
        let directory = directory.display();
        let message = format!(
            "another process holds the lock on {directory} for {} s, perhaps because it was stopped, or because it lists the snapshots there all the time; continue or end it \
             (`fuser {directory}` names it)",
            self.lock_timeout.as_secs_f64(),
        );
        Error::new(ErrorKind::Timeout, message)
    }

    /// The lock of the directory at `path` below the root, for one alone. Not waited for any more once `given_up` is set.
    pub(super) fn lock<'a>(
        &self,
        directory: &'a File,
        path: impl IntoIterator<Item: AsRef<str>>,
        given_up: &AtomicBool,
    ) -> Result<Lock<'a>> {
        self.wait(File::try_lock, directory, path, given_up)
    }

    /// The same, for all that only look. `None` where there are no locks.
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

    /// Who holds a lock may be stopped (`SIGSTOP`, a debugger, a frozen container): nobody waits for that for ever.
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
                    return Err(self.held(&self.below(path)));
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
