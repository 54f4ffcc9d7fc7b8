//! What a write may do after an attempt whose outcome is unknown. `docs/adr/0008-gcs-overwrite-retries.md`
//! has the reasons.

use std::{sync::Mutex, time::SystemTime};

use super::{Bucket, client::Call, errors::Failure, model::Resource};
use crate::{
    Error, ErrorKind, Key, PutMode, Result, Version,
    began::Began,
    lock::lock,
    options::{LOST, TAKEN},
};

/// What must hold at the service for a write to take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Always,
    /// This generation is the current one; 0: there is none.
    Generation(u64),
}

impl Condition {
    /// The condition of a mode. A version that is no generation cannot be the current one.
    pub(super) fn new(mode: &PutMode) -> Result<Self> {
        match mode {
            PutMode::Overwrite => Ok(Condition::Always),
            PutMode::Create => Ok(Condition::Generation(0)),
            PutMode::Replace(version) => match generation(version) {
                Some(generation) => Ok(Condition::Generation(generation)),
                None => Err(Error::new(
                    ErrorKind::Conflict,
                    "the expected version is not one of this bucket's; load the snapshot anew",
                )),
            },
        }
    }

    pub(super) fn apply(self, call: Call) -> Call {
        match self {
            Condition::Always => call,
            Condition::Generation(generation) => call.condition("ifGenerationMatch", generation),
        }
    }
}

/// The generation that a version stands for. 0 would mean "no object" to the service.
pub(super) fn generation(version: &Version) -> Option<u64> {
    version.as_str().parse().ok().filter(|generation| (1..=i64::MAX as u64).contains(generation))
}

/// How the next attempt may go.
#[derive(Debug)]
pub(super) enum Next<T = Condition> {
    /// Under this condition, or with what was begun under it.
    Go(T),
    /// Not at all: an earlier one took effect.
    Done(Box<Resource>),
}

/// The doubts about one `put`: its random id, and since when an attempt may have taken effect unnoticed.
#[derive(Debug)]
pub(super) struct Doubt {
    id: String,
    wanted: Condition,
    /// The generation that was seen before the first attempt.
    known: Option<u64>,
    since: Mutex<Option<Began>>,
}

impl Doubt {
    pub(super) fn new(wanted: Condition, known: Option<u64>) -> Self {
        Doubt { id: ulid::Ulid::generate().to_string(), wanted, known, since: Mutex::new(None) }
    }

    /// The id to store with the object.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Whether it can replace nothing.
    pub(super) fn creates(&self) -> bool {
        self.wanted == Condition::Generation(0)
    }

    fn since(&self) -> Option<Began> {
        *lock(&self.since)
    }

    /// Notes that an attempt failed.
    pub(super) fn failed(&self, failure: &Failure, began: Began) {
        if failure.doubtful {
            lock(&self.since).get_or_insert(began);
        }
    }

    /// Before an attempt. After a doubtful one, an unconditional write looks first: it goes on only under the
    /// condition that what was there before the doubtful attempt is still there. A conditional write need not
    /// look, its condition does.
    pub(super) async fn next(&self, bucket: &Bucket, key: &Key) -> Result<Next> {
        let (Some(since), Condition::Always) = (self.since(), self.wanted) else {
            return Ok(Next::Go(self.wanted));
        };
        let seen = Box::pin(bucket.look(key)).await?;
        match seen.resource {
            None => Ok(Next::Go(Condition::Generation(0))),
            Some(resource) if resource.put_id() == Some(&self.id) => Ok(Next::Done(Box::new(resource))),
            Some(resource) if existed(&resource, self.known, seen.now, since) => {
                Ok(Next::Go(Condition::Generation(resource.generation)))
            }
            Some(_) => Err(overtaken()),
        }
    }

    /// Whether an attempt of unknown outcome may still take effect. Who repeats such a `put` under another id
    /// would not recognise it.
    pub(super) fn is_open(&self) -> bool {
        self.since().is_some()
    }

    /// After a refusal: what an earlier attempt of this `put` has stored, somebody else's write as an error,
    /// or nothing where the condition holds and so something else is the matter.
    pub(super) async fn refused(
        &self,
        bucket: &Bucket,
        key: &Key,
        failure: &Failure,
    ) -> Result<Option<Box<Resource>>> {
        if failure.is_clear() && !self.is_open() {
            return Err(self.conflict());
        }
        let seen = match bucket.look(key).await {
            // Who may write need not be allowed to read. A condition was sent, so the answer speaks of that.
            Err(error) if error.kind() == ErrorKind::AccessDenied && !self.is_open() => {
                return Err(self.conflict());
            }
            seen => seen?.resource,
        };
        let current = seen.as_ref().map_or(0, |resource| resource.generation);
        match seen {
            Some(resource) if resource.put_id() == Some(&self.id) => Ok(Some(Box::new(resource))),
            _ if self.wanted == Condition::Generation(current) && !failure.is_clear() => Ok(None),
            _ => Err(self.conflict()),
        }
    }

    /// After the session of an upload was lost whose last bytes were sent: what this `put` has stored,
    /// nothing, or the conflict that ended the session or follows from a doubtful attempt.
    pub(super) async fn lost(&self, bucket: &Bucket, key: &Key) -> Result<Option<Box<Resource>>> {
        if self.is_open() && self.wanted == Condition::Always {
            return match self.next(bucket, key).await? {
                Next::Done(stored) => Ok(Some(stored)),
                Next::Go(_) => Ok(None),
            };
        }
        let seen = match bucket.look(key).await {
            // Who may write need not be allowed to read. Nothing is in doubt, and the next session has the
            // same condition.
            Err(error) if error.kind() == ErrorKind::AccessDenied && !self.is_open() => return Ok(None),
            seen => seen?.resource,
        };
        let current = seen.as_ref().map_or(0, |resource| resource.generation);
        match seen {
            Some(resource) if resource.put_id() == Some(&self.id) => Ok(Some(Box::new(resource))),
            _ if matches!(self.wanted, Condition::Generation(wanted) if wanted != current) => {
                Err(self.conflict())
            }
            _ => Ok(None),
        }
    }

    fn conflict(&self) -> Error {
        match self.wanted {
            Condition::Always => overtaken(),
            Condition::Generation(0) => Error::new(ErrorKind::AlreadyExists, TAKEN),
            Condition::Generation(_) => Error::new(ErrorKind::Conflict, LOST),
        }
    }

    /// What a doubtful attempt of this `put` has stored, if it is the current object.
    pub(super) async fn landed(&self, bucket: &Bucket, key: &Key) -> Result<Option<Box<Resource>>> {
        if !self.is_open() {
            return Ok(None);
        }
        let seen = bucket.look(key).await?.resource;
        Ok(seen.filter(|resource| resource.put_id() == Some(&self.id)).map(Box::new))
    }

    /// The last word after `error`: an attempt of unknown outcome that did take effect is a success, and as
    /// long as none did, no refusal of a later one says that none will.
    pub(super) async fn give_up(&self, bucket: &Bucket, key: &Key, error: Error) -> Result<Box<Resource>> {
        // A conflict that passes (409) is the word on the last attempt only.
        let settled = matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Conflict);
        if !self.is_open() || (settled && !error.retryable()) {
            return Err(error);
        }
        match self.landed(bucket, key).await {
            Ok(Some(resource)) => Ok(resource),
            _ if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => Err(error),
            _ => {
                let message =
                    format!("an attempt may still take effect, and the last one failed: {}", error.message());
                let open = Error::new(ErrorKind::Unavailable, message).with_retryable(error.retryable());
                Err(error.retry_after().into_iter().fold(open, Error::with_retry_after).with_source(error))
            }
        }
    }
}

/// Whether the object was there before an attempt, when the service's clock now shows `now` or more: it was
/// seen before, or it is older.
pub(super) fn existed(
    resource: &Resource,
    known: Option<u64>,
    now: Option<SystemTime>,
    attempt: Began,
) -> bool {
    let began = now.and_then(|now| now.checked_sub(attempt.ago()));
    known == Some(resource.generation)
        || matches!((resource.created(), began), (Some(created), Some(began)) if created < began)
}

fn overtaken() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "another writer stored a snapshot while the outcome of this save was unknown; theirs stands, save again to replace it",
    )
}

#[cfg(test)]
#[path = "doubt_tests.rs"]
mod tests;
