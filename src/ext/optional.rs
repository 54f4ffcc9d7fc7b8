//! A first run, which finds nothing.

use crate::{ErrorKind, Result};

/// What is not there as `None`: for `Result`s of loads.
///
/// Only for `NotFound` of a snapshot, a session or a commit. A bucket that is missing stays an error where
/// the service tells that it is; where it does not, the first save fails. On local disk and in memory every
/// place begins empty, a wrong one as well.
///
/// ```
/// use persist::{Optional, SnapshotAdapterExt, adapters::memory::MemoryAdapter};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let store = MemoryAdapter::new();
/// let mut steps: Vec<u32> = store.load_json("run/state.json.gz").await.optional()?.unwrap_or_default();
/// assert!(steps.is_empty()); // the first run
/// steps.push(1);
/// store.save_json(&steps, "run/state.json.gz").await?;
/// let steps = store.load_json::<Vec<u32>>("run/state.json.gz").await.optional()?;
/// assert_eq!(steps, Some(vec![1]));
/// # Ok::<(), persist::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Optional<T>: sealed::Sealed {
    /// `None` for `NotFound`.
    ///
    /// # Errors
    /// Every other one, as it was.
    fn optional(self) -> Result<Option<T>>;
}

mod sealed {
    pub trait Sealed {}
    impl<T> Sealed for crate::Result<T> {}
}

impl<T> Optional<T> for Result<T> {
    fn optional(self) -> Result<Option<T>> {
        match self {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == ErrorKind::NotFound && !error.is_of_bucket() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
