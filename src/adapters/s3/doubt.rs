//! Saves one of whose attempts got no answer: it may have been carried out, whatever the service says to the
//! next one.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    attributes::{Attributes, Stored},
    bucket::Bucket,
    errors::Failure,
    fail::{fail, lost_race},
};
use crate::{Error, ErrorKind, Key, PutMode, Result};

/// Whether an attempt at a save has an outcome that nobody knows.
#[derive(Debug, Default)]
pub(super) struct Doubt(AtomicBool);

impl Doubt {
    /// Takes a failed attempt into account.
    pub(super) fn note(&self, failure: &Failure) {
        self.0.fetch_or(failure.is_doubtful(), Ordering::Relaxed);
    }

    pub(super) fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Bucket {
    /// What a refused condition means: behind an attempt of unknown outcome it may be that attempt which
    /// holds the key.
    pub(super) async fn refused(
        &self,
        key: &Key,
        mode: &PutMode,
        attributes: &Attributes,
        doubt: &Doubt,
    ) -> Result<Stored> {
        if doubt.is_open() {
            match self.head_once(key).await {
                Ok(head) => {
                    if let Some(own) = attributes.own(&head) {
                        return Ok(own);
                    }
                }
                // The condition failed, so the key is taken: "denied" cannot mean "missing" here.
                Err(failure) if failure.is_denied() && *mode == PutMode::Create => {
                    return Err(unseen(failure));
                }
                // Either our own object was removed since, or a proxy answered: another writer's was not
                // seen.
                Err(failure) if failure.not_found() && *mode == PutMode::Create => {
                    return Err(still_open(failure.error.with_retryable(true)));
                }
                Err(failure) if failure.none_to_see() => {}
                Err(failure) => return Err(failure.into()),
            }
        }
        Err(lost_race(mode))
    }

    /// The last word on a save whose attempts ended with `error`: one of them that was carried out is a
    /// success, and one of which nobody knows makes an error that says so.
    pub(super) async fn last_look(
        &self,
        key: &Key,
        attributes: &Attributes,
        doubt: &Doubt,
        error: Error,
    ) -> Result<Stored> {
        let told = match error.kind() {
            ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::Io | ErrorKind::AlreadyExists => true,
            // One that may pass is a race, perhaps with an attempt of our own that is still under way.
            ErrorKind::Conflict => !error.retryable(),
            _ => false,
        };
        if told || !doubt.is_open() {
            return Err(error);
        }
        if attributes.is_marked()
            && let Ok(head) = self.head_once(key).await
            && let Some(own) = attributes.own(&head)
        {
            return Ok(own);
        }
        Err(still_open(error))
    }
}

/// An attempt got no answer, and what a later one ended with does not tell what became of it.
pub(super) fn still_open(error: Error) -> Error {
    let message = "an earlier attempt got no answer and may have been carried out; a later one was refused";
    let mut open = fail(ErrorKind::Unavailable, message).with_retryable(error.retryable());
    if let Some(delay) = error.retry_after() {
        open = open.with_retry_after(delay);
    }
    open.with_source(error)
}

/// An attempt got no answer, and what it did is not to be seen.
pub(super) fn unseen(failure: Failure) -> Error {
    let message = "an earlier attempt got no answer, and whether what is there is its own cannot be seen without s3:GetObject; look \
                   before you save again";
    fail(ErrorKind::Unavailable, message).with_retryable(false).with_source(failure.error)
}
