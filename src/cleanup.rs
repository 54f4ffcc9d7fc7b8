//! What goes on behind saves that failed or were dropped: what they had begun is removed.

#[cfg(any(feature = "s3", feature = "gcs"))]
use std::future::Future;
use std::sync::LazyLock;

use tokio::sync::watch;
#[cfg(any(feature = "s3", feature = "gcs"))]
use tokio::{runtime::Handle, task::JoinHandle};

static UNDER_WAY: LazyLock<watch::Sender<usize>> = LazyLock::new(|| watch::Sender::new(0));

/// One piece of work; it ends with its task, also where the runtime ends that.
pub(crate) struct Counted(());

impl Counted {
    pub(crate) fn new() -> Self {
        UNDER_WAY.send_modify(|count| *count += 1);
        Counted(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        UNDER_WAY.send_modify(|count| *count -= 1);
    }
}

/// Runs `work` in the background, for [`cleaned_up`] to wait for. Works on any thread.
#[cfg(any(feature = "s3", feature = "gcs"))]
pub(crate) fn spawn(runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let counted = Counted::new();
    runtime.spawn(async move {
        let _counted = counted;
        work.await;
    })
}

/// Resolves when nothing is left to do behind saves that failed or were dropped: an upload to S3 that they had begun, for example, is
/// removed with its parts in the background, and a temporary file on a local disk when the system call that is under way has returned. A program that is about to end waits for that here, with a limit of its own. While other saves begin an upload
/// to S3 it waits for these requests, too.
pub async fn cleaned_up() {
    // The sender is never dropped.
    let _ = UNDER_WAY.subscribe().wait_for(|count| *count == 0).await;
}
