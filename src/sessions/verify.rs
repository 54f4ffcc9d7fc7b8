//! `verify`: reads every object of a session and reports damage.

use std::ops::RangeInclusive;

use futures_util::StreamExt;

use super::{
    Session, Verified,
    at::{importing, missing, no_commit, removed},
    log::Entry,
    names::Place,
    refs::{ForkRef, Origin, TagRef, Target},
    restore::Cache,
    store::{Part, Slot, hidden},
    verified::Ancestry,
    wire::corrupt,
};
use crate::{Error, ErrorKind, Key, ListOptions, Result};

/// Which other sessions are verified beside one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Beside {
    None,
    /// Those of the same agent.
    Agent,
    All,
}

impl Beside {
    /// Whether this is another one than `own`, and verified as well.
    fn has(self, source: &Place, own: &Place) -> bool {
        let is_verified = match self {
            Beside::None => false,
            Beside::Agent => source.agent == own.agent,
            Beside::All => true,
        };
        is_verified && source != own
    }
}

impl Session {
    /// Restores every commit and reads every small object; each object is fetched once. The body of a long
    /// stream passes in bounded memory; where deltas follow it, it is fetched once more, and the whole state
    /// held.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use persist::{adapters::memory::MemoryAdapter, sessions::Sessions};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # let session = Sessions::new(Arc::new(MemoryAdapter::new()))?.session("bot", "run-1")?;
    /// # session.save("state").await?;
    /// let found = session.verify().await?;
    /// assert!(found.is_good(), "{:?}", found.damaged);
    /// # Ok::<(), persist::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` for a session without commits, `Conflict` for one that is being imported, `InvalidInput`
    /// where a state hits a [limit](super::Sessions::limits), and what the adapter fails with. Damage is no
    /// error here: see [`Verified::damaged`].
    pub async fn verify(&self) -> Result<Verified> {
        self.verify_beside(Beside::None).await
    }

    /// As [`verify`](Session::verify). Where its source is verified as well, a fork of thousands of commits
    /// is as cheap as a short one: its own commits are read, and the one that it starts from.
    pub(super) async fn verify_beside(&self, others: Beside) -> Result<Verified> {
        self.verified(others).await.map_err(|error| error.with_operation("verify"))
    }

    async fn verified(&self, others: Beside) -> Result<Verified> {
        let (store, place) = (self.store(), self.place());
        let mut found = Verified::default();
        let (mut history, mut holes) = (Vec::new(), Vec::new());
        // The commit of a fork's source at which this ends.
        let mut start = None;
        let mut entries = store.lines(place, None);
        while let Some(entry) = entries.next().await {
            match entry {
                Ok(Entry::Commit(of, seq)) => {
                    start = others.has(&of, place).then_some(seq);
                    history.push((of, seq));
                    if start.is_some() {
                        break;
                    }
                }
                Ok(Entry::Missing(of, hole)) => {
                    let is_start = others.has(&of, place);
                    holes.push((of, hole));
                    if is_start {
                        break;
                    }
                }
                Ok(Entry::Stray(error)) | Err(error) => found.note(None, error)?,
            }
        }
        let newest = history.first().map(|(_, seq)| *seq);
        let mut cache = Cache::default();
        let mut ancestry = Ancestry::behind(start.map_or(0, |start| start - 1));
        // Oldest first: what a chain needs has just been read.
        for (place, seq) in history.into_iter().rev() {
            let bytes = match store.slot(&place, seq, Part::Whole).await {
                Ok((Slot::Commit(bytes), _)) => bytes,
                // Pruned since.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    store.confirm_gone(&place.commit(seq)?).await?;
                    continue;
                }
                // Only an import puts one here: what lies before it is half a session.
                Ok((Slot::Origin(_), _)) if seq > 1 && newest == Some(seq) => {
                    return Err(importing(&place));
                }
                // That was removed: it is none.
                Ok((Slot::Origin(_), _)) if seq > 1 => {
                    (found.good, found.bytes) = (0, 0);
                    found.damaged.retain(|damaged| damaged.seq.is_none_or(|of| of > seq));
                    holes.retain(|(_, hole): &(_, RangeInclusive<u64>)| *hole.end() > seq);
                    continue;
                }
                // A read before did not find it.
                Ok((Slot::Origin(_), _)) => return Err(hidden(&place.commit(seq)?)),
                Err(error) => {
                    found.add(Some(seq), error)?;
                    continue;
                }
            };
            let checked = store.check(&place, seq, bytes, &mut cache).await;
            // Perhaps it follows one that lies before the start: only all of the line tells.
            if start.is_some()
                && checked.as_ref().is_ok_and(|commit| ancestry.strange_parent(commit).is_some())
            {
                return Box::pin(self.verified(Beside::None)).await;
            }
            found.count(&place, seq, checked, &mut ancestry)?;
        }
        // Last: commits that cannot be loaded for want of these were noted above.
        for (place, hole) in &holes {
            found.note(Some(*hole.end()), missing(hole).with_key(&place.commit(*hole.end())?))?;
        }
        holes.retain(|(of, _)| of == place);
        self.verify_small(&mut found, &holes).await?;
        if !found.is_good() {
            self.heard_of_damage();
        }
        Ok(found)
    }

    /// The line, what is on no line, tags and forks. What this session lacks was told before.
    async fn verify_small(&self, found: &mut Verified, holes: &[(Place, RangeInclusive<u64>)]) -> Result<()> {
        let (store, place) = (self.store(), self.place());
        // In this order: what a prune removes goes from the line first.
        let mut listed = store.commits(place, ListOptions::new());
        let mut rows = Vec::new();
        while let Some(row) = listed.next().await {
            match row {
                Ok(row) => rows.push(row),
                Err(error) => found.note(None, error)?,
            }
        }
        match tokio::try_join!(store.line(place), store.origin(place)) {
            Ok(((line, _), origin)) => {
                found.garbage += rows.iter().filter(|row| !line.has(row.seq)).count() as u64;
                let own = rows.iter().any(|row| row.seq > 1 && line.has(row.seq));
                if let Some(origin) = origin.filter(|origin| origin.target.seq > 0) {
                    self.verify_start(&origin, own, found).await?;
                }
            }
            Err(error) => found.note(None, error)?,
        }
        let tag = |bytes: &[u8]| {
            let TagRef { target, name } = TagRef::decode(bytes)?;
            Ok((target, format!("the tag {name:?}"), None))
        };
        let fork = |bytes: &[u8]| {
            let fork = ForkRef::decode(bytes)?;
            Ok((fork.target, format!("the fork {}", fork.fork), Some(fork)))
        };
        for (folder, decode) in [("t/", &tag as &(dyn Fn(&[u8]) -> _ + Sync)), ("f/", &fork)] {
            for meta in store.objects(place.prefix(folder)).await? {
                let decoded = match store.read(&meta.key).await {
                    Ok((bytes, _)) => super::object::at(decode(&bytes), &meta.key),
                    // Removed meanwhile.
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        store.confirm_gone(&meta.key).await?;
                        continue;
                    }
                    Err(error) => Err(error),
                };
                match decoded {
                    // A commit that is missing was told above, and is at fault, not what names it.
                    Ok((Target { seq, .. }, ..)) if holes.iter().any(|(_, hole)| hole.contains(&seq)) => {}
                    // One that never came to be keeps nothing for long.
                    Ok((_, _, Some(fork))) if !self.fork_lives(&meta.key, &fork).await? => {}
                    Ok((target, who, _)) => self.verify_target(target, &who, &meta.key, found).await?,
                    Err(error) => found.note(None, error)?,
                }
            }
        }
        if found.good > 0 || !found.is_good() {
            return Ok(());
        }
        if let Some(newest) = rows.first() {
            store.not_importing(place, newest).await?;
        }
        Err(match store.find_latest(place, Part::End).await? {
            Some(newest) if newest.is_removed() => removed(place, newest.found.seq),
            _ => no_commit(place),
        })
    }

    /// Whether that is there which a fork starts from.
    async fn verify_start(&self, origin: &Origin, has_own: bool, found: &mut Verified) -> Result<()> {
        let (seq, source) = (origin.target.seq, &origin.source);
        let Err(error) = self.store().find_seq(self.place(), seq, Part::End).await else { return Ok(()) };
        let is_missing = error.kind() == ErrorKind::NotFound;
        // Nothing of the fork was made of it any more, or it was reported above.
        if (is_missing && has_own) || found.names(error.key()) {
            return Ok(());
        }
        if !is_missing {
            return found.note(Some(seq), error);
        }
        // All of its commits may be missing, and then the session looks like a new one.
        let message = format!("commit {seq} of {source}, from which the session was forked, is missing");
        let error = Error::new(ErrorKind::Corrupt, message).with_advice("restore its object from a copy");
        found.note(Some(seq), error)
    }

    /// Whether the commit is there that a tag or a fork names.
    async fn verify_target(&self, target: Target, who: &str, key: &Key, found: &mut Verified) -> Result<()> {
        let place = self.place();
        let Target { seq, id } = target;
        let there = match self.store().find_seq(place, seq, Part::End).await {
            Ok(commit) => commit.target(),
            Err(error) => Err(error),
        };
        match there {
            Ok(there) if there.id == id => Ok(()),
            Ok(there) => {
                let names = format_args!("{who} names commit {seq} ({id}), there is another ({})", there.id);
                found.note(None, corrupt(names).with_key(key))
            }
            // A tag that was written beside a prune, by a writer that died before it could take the tag back;
            // or one of a copy that is only added to.
            Err(error)
                if error.kind() == ErrorKind::NotFound && !self.store().line(place).await?.0.has(seq) =>
            {
                found.garbage += 1;
                Ok(())
            }
            // Its number is above the newest commit that is left.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let message = format!("commit {seq}, which {who} names, is missing");
                let error =
                    Error::new(ErrorKind::Corrupt, message).with_advice("restore its object from a copy");
                found.note(Some(seq), error.with_key(&place.commit(seq)?))
            }
            // The commit was reported as damaged; what names it is not at fault.
            Err(error) if found.names(error.key()) => Ok(()),
            Err(error) => found.note(Some(seq), error),
        }
    }
}
