//! Locks that are held for a moment.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, also where a thread panicked while it held the lock. What it guards is whole then, too:
/// under such a lock, each change is whole by itself, an assignment, an insertion or a removal. Changes that
/// only belong together must not use this.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
