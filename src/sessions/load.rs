//! Reading: a commit's state, checked, or the newest good one before it.

use std::fmt;

use bytes::Bytes;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use super::{
    At, Commit, Session,
    at::{Found, Newest, no_commit},
    clock::Moment,
    head::Head,
    manifest::Manifest,
    names::Place,
    restore,
    store::Part,
    writer::{forked, head_of},
};
use crate::{Error, ErrorKind, Key, Result};

/// What a load gave.
#[derive(Clone)]
#[non_exhaustive]
pub struct Restored {
    /// The whole state. Several values stand one behind the other: [`value`](Restored::value).
    pub state: Bytes,
    /// The commit that it is of.
    pub commit: Commit,
    /// Newer commits that were passed over because they are damaged; only with [`Session::load_good`].
    pub skipped: Vec<Skipped>,
}

/// The newest commit.
pub(super) enum Latest {
    /// Its state, where it lies, and whether this session is a fork that has none of its own yet.
    Whole { restored: restore::Restored, place: Place, origin: bool },
    /// What it says about itself, which was enough.
    Manifest(Manifest),
}

/// A damaged commit.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Skipped {
    /// Its number.
    pub seq: u64,
    /// What is wrong with it, and which object.
    pub reason: String,
}

impl Restored {
    /// The value of this name, of a commit that was saved with names.
    pub fn value(&self, name: &str) -> Option<Bytes> {
        self.values().find(|(of, _)| *of == name).map(|(_, value)| value)
    }

    /// All named values, in the order in which they were saved.
    pub fn values(&self) -> impl Iterator<Item = (&str, Bytes)> {
        let mut at = 0;
        self.commit.values.iter().map(move |value| {
            let start = at;
            at += value.size as usize;
            (value.name.as_str(), self.state.slice(start..at))
        })
    }

    /// The state as a value from JSON.
    ///
    /// # Errors
    /// `InvalidInput` where it is something else.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        let bad = |error| {
            let message = "the state is intact, but not the JSON that was asked for";
            Error::new(ErrorKind::InvalidInput, message).with_operation("load").with_source(error)
        };
        serde_json::from_slice(&self.state).map_err(bad)
    }
}

/// Shows sizes, never the state: it may hold secrets.
impl fmt::Debug for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restored")
            .field("size", &self.state.len())
            .field("commit", &self.commit.seq)
            .field("skipped", &self.skipped)
            .finish()
    }
}

impl Session {
    /// Loads a commit's state. It is returned only after every check has passed.
    ///
    /// The first load through a handle is also what its saves continue: after `load(At::Latest)`, a save that finds a newer
    /// commit is a conflict.
    ///
    /// # Errors
    /// `NotFound` if there is no such commit, `Corrupt` that names the damaged object, and what the adapter fails with.
    pub async fn load(&self, at: impl Into<At> + Send) -> Result<Restored> {
        let at = at.into();
        let looked = Moment::now(&*self.store().clock);
        let latest = at == At::Latest;
        let (restored, place, origin) = if latest {
            match self.latest(Manifest::is_removed).await? {
                Some(Latest::Whole { restored, place, origin }) => (restored, place, origin),
                _ => return Err(no_commit(self.place())),
            }
        } else {
            let found = self.store().find(self.place(), &at, Part::Whole).await?;
            let place = found.place.clone();
            (self.restore(found).await?, place, false)
        };
        let seq = restored.manifest.seq;
        let own = place == *self.place();
        // A save that is under way has looked for itself; a load does not wait for it.
        if let Some(mut writer) = self.idle_writer()
            && writer.head.is_none()
            && (own || origin)
        {
            let base =
                if own { restored.base.clone() } else { forked(restored.base.clone(), seq, place.clone()) };
            writer.adopt(head_of(&restored.manifest, latest.then_some(looked), Some(base)));
        }
        Ok(self.shown(restored, &place, Vec::new()))
    }

    /// The newest commit, read whole unless its manifest is `enough`.
    pub(super) async fn latest(
        &self,
        enough: impl Fn(&Manifest) -> bool + Send + Sync,
    ) -> Result<Option<Latest>> {
        let mut attempts = 0;
        loop {
            let Some(Newest { found, origin }) = self.store().find_latest(self.place(), Part::Whole).await?
            else {
                return Ok(None);
            };
            // Damage shows when it is restored.
            if let Some(manifest) = found.manifest().ok().filter(&enough) {
                return Ok(Some(Latest::Manifest(manifest)));
            }
            let place = found.place.clone();
            match self.restore(found).await {
                Ok(restored) => return Ok(Some(Latest::Whole { restored, place, origin })),
                // Pruned while it was read: then there is a newer one.
                Err(error) if error.kind() == ErrorKind::NotFound && attempts < 4 => attempts += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Loads a commit's state, or where that is damaged, that of the newest good commit before it.
    /// [`Restored::skipped`] says what was passed over.
    ///
    /// # Errors
    /// `Corrupt` if no commit before it is good either, or if a damaged tag no longer says which commit is meant; else as [`load`](Session::load).
    pub async fn load_good(&self, at: impl Into<At> + Send) -> Result<Restored> {
        let at = at.into();
        let looked = Moment::now(&*self.store().clock);
        let first = match self.load(at.clone()).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => error,
            other => return other,
        };
        let newest = self.store().find(self.place(), &at, Part::Whole).await;
        // What a damaged commit says about itself may be whole: a writer that it fenced off must stay so.
        let epoch_of = |found: &Found| found.manifest().map_or(0, |manifest| manifest.epoch);
        let mut epoch = newest.as_ref().map_or(0, epoch_of);
        let mut skipped = Vec::new();
        let mut rows = match &newest {
            Ok(found) => {
                skipped.push(Skipped { seq: found.seq, reason: told(&first) });
                self.store().history(&found.place, Some(found.seq))
            }
            // What a damaged tag named is not known.
            Err(_) if matches!(at, At::Tag(_)) => return Err(first),
            // Even what names the commit is damaged.
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                skipped.push(Skipped { seq: 0, reason: told(&first) });
                self.store().history(self.place(), None)
            }
            Err(_) => return Err(first),
        };
        while let Some(step) = rows.next().await {
            let (place, seq) = step?;
            let found = match self.store().find_seq(&place, seq, Part::Whole).await {
                Ok(found) => found,
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => {
                    skipped.push(Skipped { seq, reason: told(&error) });
                    continue;
                }
                Err(error) => return Err(error),
            };
            if found.manifest().is_ok_and(|manifest| at.is_before(manifest.id)) {
                continue;
            }
            epoch = epoch.max(epoch_of(&found));
            match self.restore(found).await {
                Ok(restored) => {
                    if let (At::Latest, Ok(newest)) = (&at, &newest) {
                        self.go_on_behind(newest, epoch, looked);
                    }
                    return Ok(self.shown(restored, &place, skipped));
                }
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    skipped.push(Skipped { seq, reason: told(&error) });
                }
                Err(error) => return Err(error),
            }
        }
        Err(first)
    }

    /// Makes the newest commit the one that the next save follows, whatever this handle saw before, and loads it. `None` in a
    /// session without commits.
    ///
    /// # Errors
    /// As [`load`](Session::load).
    pub async fn rebase(&self) -> Result<Option<Restored>> {
        let mut writer = self.writer().await;
        // Until this has succeeded, a handle that lost to a rival stays one that may not write.
        self.look(&mut writer).await
    }

    /// After damage: the next commit follows the newest number, as a keyframe and without a parent.
    fn go_on_behind(&self, newest: &Found, epoch: u64, looked: Moment) {
        if let Some(mut writer) = self.idle_writer()
            && writer.head.is_none()
            && newest.place == *self.place()
        {
            writer.adopt(Head { seq: newest.seq, id: None, epoch, observed: Some(looked), base: None });
        }
    }

    pub(super) async fn restore(&self, found: Found) -> Result<restore::Restored> {
        let Found { place, seq, bytes, total: _ } = found;
        let restored = self.store().restore(&place, seq, bytes).await;
        restored.map_err(|error| self.noticed(error).with_operation("load"))
    }

    /// Logs damage.
    pub(super) fn noticed(&self, error: Error) -> Error {
        if error.kind() == ErrorKind::Corrupt {
            let object = error.key().map(Key::logged);
            tracing::warn!(session = self.place().logged(), object, "damaged");
        }
        error
    }

    pub(super) fn shown(
        &self,
        restored: restore::Restored,
        place: &Place,
        skipped: Vec<Skipped>,
    ) -> Restored {
        let commit = Commit::new(restored.manifest, place, restored.stored);
        Restored { state: restored.base.state, commit, skipped }
    }
}

/// An error and its causes in one line.
pub(super) fn told(error: &Error) -> String {
    let mut told = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        told = format!("{told}: {cause}");
        source = cause.source();
    }
    told
}

impl From<u64> for At {
    fn from(seq: u64) -> Self {
        At::Seq(seq)
    }
}

impl From<super::CommitId> for At {
    fn from(id: super::CommitId) -> Self {
        At::Id(id)
    }
}

impl From<&At> for At {
    fn from(at: &At) -> Self {
        at.clone()
    }
}
