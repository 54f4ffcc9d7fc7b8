//! Saves that a step does not wait for.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::{Commit, CommitOptions, Session};
use crate::{Error, ErrorKind, Result};

/// Saves one after the other behind a queue of bounded length. What is in the queue is lost if the process dies; what
/// [`flush`](Background::flush) has answered is as durable as any save.
#[derive(Debug)]
pub struct Background {
    queue: mpsc::Sender<Job>,
    /// The first failure that no call has told yet, and the newest commit.
    done: Arc<Mutex<Done>>,
}

#[derive(Debug, Default)]
struct Done {
    error: Option<Error>,
    newest: Option<Commit>,
}

enum Job {
    Save(Bytes, CommitOptions),
    Flush(oneshot::Sender<()>),
}

impl Session {
    /// Saves of this handle in the background, at most `queue` (at least 1) waiting. Must be called within a tokio runtime.
    ///
    /// When this is dropped, what waits is still saved, as long as the runtime lives; nobody hears of failures then.
    pub fn background(&self, queue: usize) -> Background {
        let (sender, mut jobs) = mpsc::channel(queue.max(1));
        let (done, session) = (Arc::new(Mutex::new(Done::default())), self.clone());
        let told = done.clone();
        tokio::spawn(async move {
            while let Some(job) = jobs.recv().await {
                match job {
                    Job::Save(state, options) => {
                        let saved = session.save_with(state, options).await;
                        let mut done = told.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                        match saved {
                            Ok(commit) => done.newest = Some(commit),
                            Err(error) => drop(done.error.get_or_insert(error)),
                        }
                    }
                    // Who asked may have gone.
                    Job::Flush(asked) => drop(asked.send(())),
                }
            }
        });
        Background { queue: sender, done }
    }
}

impl Background {
    /// Puts a state into the queue; waits only while that is full.
    ///
    /// # Errors
    /// The failure of an earlier save, once: then this state was not queued.
    pub async fn save(&self, state: impl Into<Bytes> + Send, options: CommitOptions) -> Result<()> {
        self.failed()?;
        self.queue.send(Job::Save(state.into(), options)).await.map_err(|_| gone())
    }

    /// Waits until everything that was queued before is saved, and gives the newest commit that this made.
    ///
    /// # Errors
    /// The first failure that no call has told yet.
    pub async fn flush(&self) -> Result<Option<Commit>> {
        let (asked, answer) = oneshot::channel();
        self.queue.send(Job::Flush(asked)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?;
        self.failed()?;
        Ok(self.done.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).newest.clone())
    }

    fn failed(&self) -> Result<()> {
        let mut done = self.done.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        done.error.take().map_or(Ok(()), Err)
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Internal, "the background saves ended with their runtime; start them anew")
}
