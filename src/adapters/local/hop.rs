//! Work on threads that may block, and how it learns that nobody waits for it any more.

use std::sync::atomic::AtomicBool;

use tokio::runtime::Handle;

use crate::{
    Error, ErrorKind, Key, Result,
    cleanup::{Counted, Waiter},
};

/// Runs `work` on a thread that may block, and says in its errors where they come from. The flag is set when
/// the caller is dropped.
pub(super) async fn hop<T: Send + 'static>(
    operation: &'static str,
    key: Option<&Key>,
    work: impl FnOnce(&AtomicBool) -> Result<T> + Send + 'static,
) -> Result<T> {
    let waiter = Waiter::new(matches!(operation, "put" | "delete"));
    let job = waiter.job();
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

/// What one hop leaves to the next. Where nobody goes on with it, it goes away on a thread that may block: to
/// free a large file takes a while.
pub(super) struct Between<T: Send + 'static>(pub(super) Option<T>);

impl<T: Send> Drop for Between<T> {
    fn drop(&mut self) {
        // Where there is no runtime, nothing waits for this thread.
        if let Some(left) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            let left = (left, Counted::new());
            drop(runtime.spawn_blocking(move || drop(left)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use futures_util::FutureExt;

    use super::*;
    use crate::cleaned_up;

    /// A read of a disk that hangs holds up nobody who waits for what saves have begun.
    #[tokio::test]
    async fn only_behind_what_writes_something_is_undone() {
        let given_up = |operation| {
            let (hold, held) = mpsc::channel::<()>();
            let mut work = Box::pin(hop(operation, None, move |_| Ok(held.recv().is_ok())));
            assert!((&mut work).now_or_never().is_none());
            hold
        };
        let reads = ["get", "head", "list"].map(given_up);
        tokio::time::timeout(Duration::from_secs(30), cleaned_up()).await.unwrap();
        drop(reads);
        for operation in ["put", "delete"] {
            let write = given_up(operation);
            assert!(cleaned_up().now_or_never().is_none(), "{operation}");
            drop(write);
        }
    }
}
