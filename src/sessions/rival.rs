//! Who was there first, where a save is a `Conflict`.

use std::fmt;

use super::{Commit, names::Place};
use crate::{Error, ErrorKind};

/// What another writer has done, where a save was a `Conflict`, and so what may be done next.
///
/// From [`Session::rival`](super::Session::rival).
///
/// ```
/// # use std::sync::Arc;
/// # use persist::{adapters::memory::MemoryAdapter, sessions::{Rival, Sessions}};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let sessions = Sessions::new(Arc::new(MemoryAdapter::new()))?;
/// # let (session, theirs) = (sessions.session("bot", "run-1")?, sessions.session("bot", "run-1")?);
/// # session.save("one").await?;
/// # theirs.rebase().await?;
/// # theirs.save("one, theirs").await?;
/// if let Err(error) = session.save("one, mine").await {
///     match session.rival().await {
///         Some(Rival::Faster(_)) => {
///             let newest = session.rebase().await?.map(|restored| restored.state);
///             assert_eq!(newest, Some("one, theirs".into()));
///             session.save("one, theirs, mine").await?;
///         }
///         // Somebody else is the owner, or the session is gone: stop.
///         _ => return Err(error),
///     }
/// }
/// # Ok::<(), persist::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rival {
    /// It was faster, with this commit. [`rebase`](super::Session::rebase), make a state of both, and save
    /// that; or [`fork`](super::Session::fork).
    Faster(Commit),
    /// It has [taken the session over](super::Session::take_over); this is a commit of the new owner. Stop:
    /// this handle can write no more, also behind a rebase. Only a fork goes on beside it.
    TookOver(Commit),
    /// It has [removed](super::Session::remove) the session, with this commit. A rebase and a save would
    /// begin the session anew.
    Removed(Commit),
}

impl Rival {
    /// Its commit.
    pub fn commit(&self) -> &Commit {
        match self {
            Rival::Faster(commit) | Rival::TookOver(commit) | Rival::Removed(commit) => commit,
        }
    }

    /// What it did and what to do, for an error message.
    pub(super) fn told(&self) -> String {
        let told = self.commit().told();
        match self {
            Rival::Faster(_) => format!("{told} is already there; rebase or fork to go on"),
            Rival::TookOver(commit) => taken_over(commit.epoch, &format!(": {told} is there")),
            Rival::Removed(_) => format!("the session was removed, with {told}; rebase to begin it anew"),
        }
    }
}

/// That another handle is the owner since `epoch`.
pub(super) fn taken_over(epoch: u64, by: &str) -> String {
    format!(
        "the session was taken over in epoch {epoch}{by}; stop, or fork to go on beside it \
         (open the session anew if that was before this handle's first load)"
    )
}

/// A conflict that says of which session: a runtime has many.
pub(super) fn conflict(place: &Place, message: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Conflict, format!("{place}: {message}")).with_operation("save")
}
