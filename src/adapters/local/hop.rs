//! Work on threads that may block, and how it learns that nobody waits for it any more.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use crate::{Error, ErrorKind, Key, Result, cleanup::Counted};

/// Runs `work` on a thread that may block, and says in its errors where they come from. The flag is set when the caller is dropped.
pub(super) async fn hop<T: Send + 'static>(
    operation: &'static str,
    key: Option<&Key>,
    work: impl FnOnce(&AtomicBool) -> Result<T> + Send + 'static,
) -> Result<T> {
    let waiter = Waiter(Arc::default());
    let job = waiter.0.clone();
    // What is in a result that nobody takes goes away before the job does: a temporary file.
    let started = tokio::task::spawn_blocking(move || (work(&job.given_up), job));
    let result = match started.await {
        Ok((result, _job)) => result,
        Err(error) => {
            Err(Error::new(ErrorKind::Internal, "the blocking task ended early").with_source(error))
        }
    };
    result.map_err(|error| label(error, operation, key))
}

pub(super) fn label(error: Error, operation: &'static str, key: Option<&Key>) -> Error {
    let error = error.with_backend("local").with_operation(operation);
    match key {
        Some(key) => error.with_key(key),
        None => error,
    }
}

/// Fails if the flag is set.
pub(super) fn check(given_up: &AtomicBool) -> Result<()> {
    match given_up.load(Ordering::Acquire) {
        true => Err(Error::new(ErrorKind::Internal, "the operation was given up")),
        false => Ok(()),
    }
}

/// Work as it knows itself and as who waits for it does. It is over when both have let go of it.
#[derive(Default)]
struct Job {
    given_up: AtomicBool,
    counted: OnceLock<Counted>,
}

/// Who waits for it.
struct Waiter(Arc<Job>);

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.given_up.store(true, Ordering::Release);
        if Arc::strong_count(&self.0) > 1 {
            self.0.counted.get_or_init(Counted::new);
        }
    }
}
