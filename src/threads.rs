//! Work that would block a runtime's thread, done on other threads.

use std::{
    collections::VecDeque,
    future::Future,
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    sync::{Arc, Mutex, OnceLock},
    task::{Context, Poll, ready},
};

use tokio::{sync::oneshot, task::JoinHandle};

use crate::{Error, ErrorKind, Result, lock::lock};

/// How many pieces of work of one stream run side by side: the cores that this process may use, at most 8,
/// because each piece holds a few MiB.
pub(crate) fn parallelism() -> usize {
    // Cached: it reads files of the control group.
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, |cores| cores.get().min(8)))
}

/// Starts `work` at once. Dropping the future cancels work that has not started; what has started ends by
/// itself, unheard.
pub(crate) fn run<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Running<T> {
    Running(tokio::task::spawn_blocking(work))
}

/// Work on so many bytes takes less time than the way to another thread and back, and holds no other task up.
pub(crate) const SHORT: usize = 64 * 1024;

/// Does here and now what is to be done with at most [`SHORT`] bytes, and everything else as [`run`].
pub(crate) async fn run_unless_short<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if bytes <= SHORT { work() } else { run(work).await }
}

/// Starts `work` on a thread of its own: for work that waits for other work, which needs one of the runtime's
/// threads; there may be few of them, and none left.
pub(crate) fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> impl Future<Output = Result<T>> + Send {
    let (send, receive) = oneshot::channel();
    let started = std::thread::Builder::new().name("persist".into()).spawn(move || {
        // Nobody listens when the caller was dropped.
        let _ = send.send(work());
    });
    async move {
        started?;
        receive.await.map_err(ended)?
    }
}

/// Jobs of which each may wait for what the one before it passes on.
///
/// As many at a time as there are cores, so that each keeps the cache of its core. A runtime need not give
/// threads to work in the order in which it was started. So what is started is not a job, but a worker: it
/// does the first job that is left, until none is. Then the earliest job that is not done is always at work,
/// however few threads there are.
pub(crate) struct InTurn<T>(Arc<Mutex<Line<T>>>);

struct Line<T> {
    jobs: VecDeque<Job<T>>,
    workers: usize,
}

type Job<T> = (Box<dyn FnOnce() -> Result<T> + Send>, oneshot::Sender<Result<T>>);

impl<T: Send + 'static> InTurn<T> {
    pub(crate) fn new() -> Self {
        InTurn(Arc::new(Mutex::new(Line { jobs: VecDeque::new(), workers: 0 })))
    }

    /// Puts `work` in the line. Dropping the future cancels work that has not started.
    pub(crate) fn run<F>(&self, work: F) -> impl Future<Output = Result<T>> + Send + use<T, F>
    where
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let (send, receive) = oneshot::channel();
        if self.push((Box::new(work), send)) {
            let worker = Worker { line: self.0.clone(), counted: true };
            // Not to be aborted with the future: it does other jobs too.
            drop(tokio::task::spawn_blocking(move || worker.work()));
        }
        async move { receive.await.map_err(ended)? }
    }

    /// Whether there is room for one more worker, which counts from now on.
    fn push(&self, job: Job<T>) -> bool {
        let mut line = lock(&self.0);
        line.jobs.push_back(job);
        let room = line.workers < parallelism();
        line.workers += usize::from(room);
        room
    }
}

/// A thread that does the jobs of an [`InTurn`].
struct Worker<T> {
    line: Arc<Mutex<Line<T>>>,
    counted: bool,
}

impl<T> Worker<T> {
    fn work(mut self) {
        while let Some((work, send)) = self.next() {
            // What panicked drops its sender, and the next job is done all the same.
            if !send.is_closed()
                && let Ok(result) = panic::catch_unwind(AssertUnwindSafe(work))
            {
                // Nobody listens when the caller was dropped meanwhile.
                let _ = send.send(result);
            }
        }
    }

    fn next(&mut self) -> Option<Job<T>> {
        let mut line = lock(&self.line);
        let job = line.jobs.pop_front();
        if job.is_none() {
            // Under the same lock: whoever puts a job in from now on starts a worker for it.
            line.workers -= 1;
            self.counted = false;
        }
        job
    }
}

impl<T> Drop for Worker<T> {
    /// Where it never came to work, because the runtime ends. The last one takes the jobs along, so that
    /// nobody waits for them.
    fn drop(&mut self) {
        if self.counted {
            let mut line = lock(&self.line);
            line.workers -= 1;
            let left = if line.workers == 0 { std::mem::take(&mut line.jobs) } else { VecDeque::new() };
            drop(line);
            drop(left);
        }
    }
}

fn ended(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Internal, "a thread ended early").with_source(error)
}

/// Work that [`run`] started.
#[derive(Debug)]
pub(crate) struct Running<T>(JoinHandle<Result<T>>);

impl<T> Future for Running<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        Poll::Ready(match ready!(Pin::new(&mut self.0).poll(cx)) {
            Ok(result) => result,
            Err(error) => Err(ended(error)),
        })
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
#[path = "threads_tests.rs"]
mod tests;
