//! Reading everything, to know that it is well.

use std::ops::RangeInclusive;

use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;

use super::{
    Session,
    at::{Found, no_commit},
    load::told,
    names::Place,
    refs::{ForkRef, TagRef},
    restore::Cache,
    store::{Part, Slot},
};
use crate::{Error, ErrorKind, ListOptions, Result};

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verified {
    /// Commits whose state is whole, on the session's line and on those that it was forked from.
    pub good: u64,
    /// Bytes of their states.
    pub bytes: u64,
    /// What is not.
    pub damaged: Vec<Damaged>,
    /// Objects that are on no line: the next prune removes them.
    pub garbage: u64,
}

/// Something that is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Damaged {
    /// The commit that cannot be loaded for it; `None` for what is no commit.
    pub seq: Option<u64>,
    /// The object's key, where one object is at fault.
    pub key: Option<String>,
    /// What is wrong.
    pub reason: String,
}

impl Damaged {
    fn new(seq: Option<u64>, error: &Error) -> Self {
        Damaged { seq, key: error.key().map(ToString::to_string), reason: told(error) }
    }
}

impl Session {
    /// Restores every commit and reads every small object; each object is fetched once.
    ///
    /// # Errors
    /// `NotFound` for a session without commits, and what the adapter fails with. Damage is no error here: see [`Verified::damaged`].
    pub async fn verify(&self) -> Result<Verified> {
        let (store, place) = (self.store(), self.place());
        let mut found = Verified::default();
        let rows: Vec<_> = store.history(place, None).collect().await;
        let mut history: Vec<(Place, u64)> = Vec::new();
        for row in rows {
            match row {
                Ok(row) => history.push(row),
                Err(error) => found.note(None, error)?,
            }
        }
        // Oldest first: what a chain needs has just been read.
        let mut cache = Cache::default();
        for (place, seq) in history.into_iter().rev() {
            let bytes = match store.slot(&place, seq, Part::Whole).await {
                Ok((Slot::Commit(bytes), _)) => bytes,
                // Pruned since.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Ok((Slot::Origin(_), _)) => continue,
                Err(error) => {
                    found.note(Some(seq), error)?;
                    continue;
                }
            };
            match store.restore_cached(&place, seq, bytes, &mut cache).await {
                Ok(restored) => {
                    found.good += 1;
                    found.bytes += restored.manifest.size;
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => found.note(Some(seq), error)?,
            }
        }
        self.verify_small(&mut found).await?;
        Ok(found)
    }

    /// Tags, forks, the line, and what is on no line.
    async fn verify_small(&self, found: &mut Verified) -> Result<()> {
        let (store, place) = (self.store(), self.place());
        for (folder, decode) in [
            ("t/", (|bytes| TagRef::decode(bytes).map(|tag| tag.target)) as fn(&[u8]) -> _),
            ("f/", |bytes| ForkRef::decode(bytes).map(|fork| fork.target)),
        ] {
            for meta in store.objects(place.prefix(folder)).await? {
                let target = match store.read(&meta.key).await {
                    Ok((bytes, _)) => super::object::at(decode(&bytes), &meta.key),
                    Err(error) => Err(error),
                };
                let there = match target {
                    Ok(target) => match store.find_seq(place, target.seq, Part::End).await {
                        Ok(commit) => commit.is(target.id).map_err(|error| error.with_key(&meta.key)),
                        Err(error) => Err(error),
                    },
                    Err(error) => Err(error),
                };
                if let Err(error) = there {
                    found.note(None, error)?;
                }
            }
        }
        // In this order: what a prune removes goes from the line first.
        let rows: Vec<_> = store.commits(place, ListOptions::new()).try_collect().await?;
        let line = match store.line(place).await {
            Ok((line, _)) => line,
            Err(error) => return found.note(None, error),
        };
        found.garbage += rows.iter().filter(|row| !line.has(row.seq)).count() as u64;
        let first = match store.origin(place).await {
            Ok(origin) => origin.map_or(0, |origin| origin.target.seq) + 1,
            Err(error) => return found.note(None, error),
        };
        for hole in line.holes(first, rows.iter().map(|row| row.seq)) {
            let (key, seq) = (place.commit(*hole.end())?, Some(*hole.end()));
            found.note(seq, missing(&hole).with_key(&key))?;
        }
        if found.good == 0 && found.is_good() { Err(no_commit(place)) } else { Ok(()) }
    }
}

impl Verified {
    /// Whether everything is well.
    pub fn is_good(&self) -> bool {
        self.damaged.is_empty()
    }

    /// Damage is noted, any other failure ends the verification.
    fn note(&mut self, seq: Option<u64>, error: Error) -> Result<()> {
        match error.kind() {
            ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::Unsupported | ErrorKind::InvalidInput => {
                let damaged = Damaged::new(seq, &error);
                if !self.damaged.contains(&damaged) {
                    self.damaged.push(damaged);
                }
                Ok(())
            }
            _ => Err(error),
        }
    }
}

/// The error for commits that are on the line and have no object.
pub(super) fn missing(hole: &RangeInclusive<u64>) -> Error {
    let (first, last) = (hole.start(), hole.end());
    let message = match first == last {
        true => format!("commit {last} is missing; restore its object from a copy"),
        false => format!("commits {first} to {last} are missing; restore their objects from a copy"),
    };
    Error::new(ErrorKind::Corrupt, message)
}

impl Found {
    /// Whether it is the commit of this id.
    fn is(&self, id: super::CommitId) -> Result<()> {
        match self.target()?.id {
            found if found == id => Ok(()),
            found => Err(super::wire::corrupt(format_args!("it names commit {id}, there is {found}"))),
        }
    }
}
