//! Forks: a session that goes on from a commit of another one, without copying it.

use std::{collections::BTreeSet, time::SystemTime};

use bytes::Bytes;

use super::{
    At, Session, SessionName,
    clock::Moment,
    names::Place,
    refs::{ForkRef, Origin, Target},
    store::{Part, Slot, Store},
};
use crate::{Error, ErrorKind, Key, PutOptions, Result};

impl Session {
    /// Starts the session `name` of the same agent from a commit of this one. The first commit there gets the
    /// next number; its history goes on here. No data is copied; this session keeps the commit for as long as
    /// the fork needs it.
    ///
    /// # Errors
    /// `AlreadyExists` if there is such a session or was one that was removed; one that was forked from the
    /// same commit, and has none of its own yet, is this fork, after a lost answer. `NotFound` if there is no
    /// such commit, also if a prune removes it at this moment.
    pub async fn fork(&self, name: &str, at: impl Into<At> + Send) -> Result<Session> {
        let fork = self.sibling(name)?;
        self.fork_to(&fork, at).await?;
        Ok(fork)
    }

    /// [`fork`](Session::fork) into a session of any agent in the same storage.
    ///
    /// # Errors
    /// As [`fork`](Session::fork).
    pub async fn fork_to(&self, fork: &Session, at: impl Into<At> + Send) -> Result<()> {
        self.start(fork, at.into()).await.map_err(|error| error.with_operation("fork"))?;
        fork.has_begun();
        Ok(())
    }

    /// The sessions that were forked from this one, of any agent, and are made of its commits:
    /// [`remove`](Session::remove) refuses while there are any. One that is damaged counts; one that was
    /// removed does not.
    ///
    /// # Errors
    /// `Corrupt` that names a reference which cannot be read.
    pub async fn forks(&self) -> Result<Vec<SessionName>> {
        let (store, mut forks) = (self.store(), BTreeSet::new());
        for (meta, fork) in store.refs(self.place(), "f/", ForkRef::decode).await? {
            if self.fork_lives(&meta.key, &fork).await? {
                forks.insert(store.name_of(fork.fork.prefix("")).await?);
            }
        }
        Ok(forks.into_iter().collect())
    }

    /// The session that this one was forked from, and the number of the commit there. `None` if it was not
    /// forked, does not exist, or was removed.
    ///
    /// # Errors
    /// `Corrupt` if that is damaged.
    pub async fn origin(&self) -> Result<Option<(SessionName, u64)>> {
        let (store, place) = (self.store(), self.place());
        let Some(origin) = store.origin(place).await?.filter(|origin| origin.target.seq > 0) else {
            return Ok(None);
        };
        // A fork that was removed has given its start up.
        if !store.line(place).await?.0.has(1) {
            return Ok(None);
        }
        Ok(Some((store.name_of(origin.source.prefix("")).await?, origin.target.seq)))
    }

    async fn start(&self, fork: &Session, at: At) -> Result<()> {
        let store = self.store();
        store.check_writable()?;
        let found = store.find(self.place(), &at, Part::End).await?;
        let target = found.target()?;
        let source = found.place;
        let looked = Moment::now(&*store.clock);
        // Perhaps this very fork, and only the answer was lost.
        if let Some(there) = store.forked(fork.place(), &source, target).await? {
            return if there { Ok(()) } else { Err(store.taken(fork.place(), "fork").await) };
        }
        let id = store.new_id(None);
        let reference = source.fork(id)?;
        let origin = Origin { id, target, source: source.clone(), ids: fork.ids() };
        store.refer(fork.place(), &origin).await?;
        let (pinned, forked) = match store.pinned(&origin.source, target).await {
            Ok(()) => (true, store.create_origin(fork.place(), &origin, looked).await),
            Err(error) => (false, Err(error)),
        };
        match forked {
            // The origin may be there, or come: the next prunes find whether a fork belongs to it.
            Err(error) if pinned && error.kind() != ErrorKind::AlreadyExists => Err(error),
            Err(error) if !matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => {
                Err(error)
            }
            Err(error) => {
                let _ = store.delete(&reference).await;
                // An earlier try of it may have arrived beside this one.
                let there = error.kind() == ErrorKind::AlreadyExists
                    && store.forked(fork.place(), &source, target).await? == Some(true);
                if there { Ok(()) } else { Err(error) }
            }
            Ok(()) => Ok(()),
        }
    }
}

impl Store {
    /// Whether what is at `fork` is nothing but the fork of this commit; `None` where nothing is there. Such
    /// a fork is made whole.
    async fn forked(&self, fork: &Place, source: &Place, target: Target) -> Result<Option<bool>> {
        let Some(row) = self.newest(fork).await? else { return Ok(None) };
        let origin = if row.seq == 1 { self.origin(fork).await? } else { None };
        let Some(origin) = origin.filter(|origin| origin.source == *source && origin.target == target) else {
            return Ok(Some(false));
        };
        // What keeps the commit for it may have gone in between.
        match self.refer(fork, &origin).await {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => self.pinned(source, target).await?,
        }
        // That it can be read does not make it durable; a create that is refused does. However long that took,
        // it stays: others may have built on it, and what it needs is pinned.
        self.found_again(&fork.commit(1)?).await.map(|()| Some(true))
    }

    /// Creates the reference that keeps what a fork starts from.
    async fn refer(&self, fork: &Place, origin: &Origin) -> Result<()> {
        let bytes = ForkRef { target: origin.target, fork: fork.clone() }.encode();
        let options = PutOptions::new().create();
        self.put(&origin.source.fork(origin.id)?, bytes.into(), options).await.map(drop)
    }

    /// The error for a session that cannot begin under a name, by `how`: a fork or an import.
    pub(super) async fn taken(&self, place: &Place, how: &'static str) -> Error {
        let removed = match self.find_latest(place, Part::End).await {
            Ok(Some(newest)) => newest.is_removed(),
            _ => false,
        };
        let to = if how == "import" { "under" } else { "to" };
        let message = if removed {
            format!(
                "the session {place} was removed, and its numbers go on; {how} {to} a name that was never used"
            )
        } else {
            format!("the session {place} exists already; {how} {to} another name")
        };
        Error::new(ErrorKind::AlreadyExists, message)
    }

    /// The same care as for a first commit, whose key the origin takes.
    async fn create_origin(&self, place: &Place, origin: &Origin, looked: Moment) -> Result<()> {
        let key = place.commit(1)?;
        let bytes = Bytes::from(origin.encode());
        let options = PutOptions::new().create().content_type(crate::options::OCTETS);
        let made = match self.put(&key, bytes.clone(), options.clone()).await {
            Ok(made) => made,
            Err(error) => match self.slot(place, 1, Part::End).await {
                Ok((Slot::Origin(found), meta)) if found.id == origin.id => {
                    self.put_again(error, &key, bytes, options).await?.unwrap_or(meta)
                }
                Ok(_) => return Err(self.taken(place, "fork").await.with_source(error)),
                // It may be this one, from an attempt whose answer was lost: then it needs its reference.
                Err(unread)
                    if error.kind() == ErrorKind::AlreadyExists
                        && (unread.kind() != ErrorKind::NotFound
                            || self.confirm_gone(&key).await.is_err()) =>
                {
                    let message = format!(
                        "the session {place} is there, but whose it is could not be read; fork again"
                    );
                    // `NotFound` would say that there is no such commit.
                    let (kind, retryable) = match unread.kind() {
                        ErrorKind::NotFound => (ErrorKind::Unavailable, true),
                        kind => (kind, unread.retryable()),
                    };
                    let error = Error::new(kind, message).with_retryable(retryable);
                    return Err(error.with_source(unread));
                }
                Err(_) => return Err(error),
            },
        };
        let age = looked.elapsed_until(&made, &*self.clock);
        if !self.fence.must_look(age) {
            return Ok(());
        }
        let in_time = age <= self.fence.body_time() || self.came_in_time(&key, origin).await?;
        let on_line = self.line(place).await?.0.has(1);
        if in_time && on_line {
            return Ok(());
        }
        // Who has saved behind it was told that this is kept.
        if !on_line || self.newest(place).await?.is_none_or(|row| row.seq == 1) {
            self.delete_version(&key, &made.version).await?;
        }
        let message = "the fork took so long that it may have been pruned meanwhile; fork again";
        Err(Error::new(ErrorKind::Conflict, message))
    }

    /// Whether a fork's origin came so soon behind its reference that no prune has taken that for garbage,
    /// however late its caller hears of it: by the storage's clock, which prunes go by.
    async fn came_in_time(&self, key: &Key, origin: &Origin) -> Result<bool> {
        let reference = origin.source.fork(origin.id)?;
        let stored = tokio::try_join!(self.stored_at(key), self.stored_at(&reference))?;
        // Without its reference: the fork's own prune gave that back, or it was taken for garbage.
        let (Some(came), Some(referred)) = stored else { return Ok(false) };
        if came.duration_since(referred).is_ok_and(|behind| behind > self.fence.body_time()) {
            return Ok(false);
        }
        // Another try of this fork may have put the reference anew, and have ended before it asked whether
        // that was soon enough.
        match self.pinned(&origin.source, origin.target).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            pinned => pinned.map(|()| true),
        }
    }

    /// When an object was stored, by the storage's clock; `None` where it is gone.
    async fn stored_at(&self, key: &Key) -> Result<Option<SystemTime>> {
        match self.adapter.head(key).await {
            Ok(meta) => Ok(Some(meta.modified)),
            Err(error) if error.kind() == ErrorKind::NotFound => self.confirm_gone(key).await.map(|()| None),
            Err(error) => Err(error),
        }
    }
}
