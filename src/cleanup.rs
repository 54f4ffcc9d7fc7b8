//! What goes on behind saves, downloads and prunes that failed or were dropped: what they had begun is undone.

use std::sync::{
    Arc, LazyLock, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use tokio::{runtime::Handle, sync::watch, task::JoinHandle};

use crate::{Error, ErrorKind, Result};

static UNDER_WAY: LazyLock<watch::Sender<usize>> = LazyLock::new(|| watch::Sender::new(0));

/// One piece of work; it ends with its task, also where the runtime ends that.
#[derive(Debug)]
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

/// State shared by work on a blocking thread and whoever waits for it. It ends with the last of them.
#[derive(Debug, Default)]
pub(crate) struct Job {
    /// Nobody waits for it any more.
    pub(crate) given_up: AtomicBool,
    counted: OnceLock<Counted>,
}

/// Who waits for it: when that is dropped, what the work has yet to undo is waited for by [`cleaned_up`].
#[derive(Debug)]
pub(crate) struct Waiter {
    job: Arc<Job>,
    writes: bool,
}

impl Waiter {
    /// Behind work that does not write there is nothing to undo.
    pub(crate) fn new(writes: bool) -> Self {
        Waiter { job: Arc::default(), writes }
    }

    pub(crate) fn job(&self) -> Arc<Job> {
        self.job.clone()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.job.given_up.store(true, Ordering::Release);
        if self.writes && Arc::strong_count(&self.job) > 1 {
            self.job.counted.get_or_init(Counted::new);
        }
    }
}

/// Fails if the flag is set.
pub(crate) fn check(given_up: &AtomicBool) -> Result<()> {
    if given_up.load(Ordering::Acquire) {
        Err(Error::new(ErrorKind::Internal, "the operation was given up"))
    } else {
        Ok(())
    }
}

/// Runs `work` in the background, for [`cleaned_up`] to wait for. Works on any thread.
pub(crate) fn spawn(runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let counted = Counted::new();
    runtime.spawn(async move {
        let _counted = counted;
        work.await;
    })
}

/// Resolves when nothing is left to do behind saves and downloads that failed or were dropped: an upload to
/// S3 that they had begun, for example, is removed with its parts in the background, and a temporary file on
/// a local disk when the system call that is under way has returned. A prune of a session that was dropped
/// takes its announcement back, which holds up the next one. A program that is about to end waits for all
/// that here, with a limit of its own. While other saves begin an upload to S3 it waits for these requests,
/// too.
pub async fn cleaned_up() {
    // The sender is never dropped.
    let _ = UNDER_WAY.subscribe().wait_for(|count| *count == 0).await;
}
