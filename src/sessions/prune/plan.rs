//! What a prune removes: decided from listings that were made after it announced itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt, TryStreamExt};

use super::{KeptBy, Pruned, Retention};
use crate::{
    Error, ErrorKind, Key, ListOptions, ObjectMeta, Result,
    sessions::{
        CommitId, Session,
        line::LineRecord,
        manifest::{Manifest, chain},
        names::unbody,
        refs::{ForkRef, Origin, TagRef},
        store::{Described, PARALLEL, Part, Row, Slot, all},
    },
};

/// The decision.
pub(super) struct Plan {
    /// What the line will be.
    pub(super) line: LineRecord,
    /// Commits to delete, newest first.
    pub(super) commits: Vec<Row>,
    /// Bodies of those, and objects that belong to nothing.
    pub(super) others: Vec<ObjectMeta>,
    /// Tags whose commit is gone: those that nobody moves meanwhile go.
    pub(super) dangling: Vec<ObjectMeta>,
    /// This fork's reference in the session that it comes from, when nothing needs that any more.
    pub(super) released: Option<Key>,
    kept: u64,
    kept_by: KeptBy,
    garbage: u64,
}

impl Plan {
    pub(super) fn report(&self) -> Pruned {
        let objects = self.commits.iter().map(|row| &row.meta).chain(&self.others).chain(&self.dangling);
        Pruned {
            kept: self.kept,
            kept_by: self.kept_by,
            removed: self.commits.iter().map(|row| row.seq).collect(),
            bytes: objects.map(|meta| meta.size).sum(),
            garbage: self.garbage,
            dry_run: false,
        }
    }
}

impl Session {
    /// `line` is what earlier prunes left, `now` the storage's time of the announcement. No rule keeps what
    /// lies before `from`.
    pub(super) async fn plan(
        &self,
        retention: &Retention,
        from: u64,
        line: &LineRecord,
        now: SystemTime,
    ) -> Result<Plan> {
        let store = self.store();
        // An object here that is no commit is an error: nobody knows what it is. Only a removal (`from` > 0)
        // skips it, and leaves it.
        let commits = store.commits(self.place(), ListOptions::new()).filter(|row| {
            let is_stray = row.as_ref().is_err_and(|error| error.kind() == ErrorKind::Corrupt);
            std::future::ready(from == 0 || !is_stray)
        });
        let rows: Vec<Row> = commits.try_collect().await?;
        let start = match rows.last() {
            Some(Row { seq: 1, meta }) => match store.slot(self.place(), 1, Part::End).await {
                Ok((Slot::Origin(origin), _)) => Some(origin),
                Ok((Slot::Commit(_), _)) => None,
                // An earlier prune that is still removing has removed it.
                Err(error) if error.kind() == ErrorKind::NotFound && !line.has(1) => None,
                // Another prune, which took this one for dead, or an import that gave up.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    store.confirm_gone(&meta.key).await?;
                    let message = "commit 1 was removed while this prune looked; prune again";
                    let error = Error::new(ErrorKind::Conflict, message).with_key(&meta.key);
                    return Err(error.with_retryable(true));
                }
                Err(error) => return Err(error),
            },
            _ => None,
        };
        let is_start = |row: &Row| row.seq == 1 && start.is_some();
        let origin = start.as_ref().filter(|_| line.has(1));
        // It may have begun since the look before the announcement.
        if let Some(newest) = rows.first() {
            store.not_importing(self.place(), newest).await?;
        }
        let newest = rows.first().map_or(0, |row| row.seq);
        // Saves must go on behind every number that `line` has told of: smaller ones count as pruned. So
        // nothing is pruned before one did.
        if line.newest() > newest {
            let message = format!(
                "commit {0}, the newest, is missing; restore its object from a copy, or save: that goes on behind it",
                line.upto
            );
            let key = self.place().commit(line.upto)?;
            return Err(Error::new(ErrorKind::Corrupt, message).with_key(&key));
        }
        let upto = newest.max(line.upto);
        let first = origin.map_or(0, |origin| origin.target.seq) + 1;
        let has_origin = origin.is_some();
        let may_be = |seq: u64| seq >= first && !(has_origin && seq == 1);
        let on_line = |seq: u64| line.has(seq) && may_be(seq);
        let commits: Vec<(u64, SystemTime)> =
            rows.iter().filter(|row| on_line(row.seq)).map(|row| (row.seq, row.meta.modified)).collect();
        let present: BTreeSet<u64> = commits.iter().map(|(seq, _)| *seq).collect();
        let commits: Vec<_> = commits.into_iter().filter(|(seq, _)| *seq >= from).collect();

        let older = |time: SystemTime, than: Duration| now.duration_since(time).is_ok_and(|age| age > than);
        let is_old = |time: SystemTime| older(time, store.fence.window());
        let is_garbage = |time: SystemTime| older(time, store.fence.garbage_age());
        let mut kept = retention.keep(&commits, now);
        kept.extend(commits.first().map(|(seq, _)| *seq));
        let stored: Vec<_> = commits.iter().copied().filter(|(_, time)| is_old(*time)).collect();
        let holes = line.holes(first.max(from), rows.iter().map(|row| row.seq));
        let rules = Retention { last: 0, within: None, ..*retention };
        let idle = holes.is_empty() && stored.iter().all(|(seq, _)| kept.contains(seq));
        let by_ids = match idle || rules == Retention::default() {
            true => None,
            false => self.times_by_ids(&commits, stored).await?,
        };
        if let Some(times) = &by_ids {
            kept.extend(rules.keep(times, now));
        }
        let mut kept_by = KeptBy { rules: kept.len() as u64, ..KeptBy::default() };
        let mut named = BTreeSet::new();
        // Forks before tags: a tag that moves is guarded by a fork's reference until it has moved.
        let mut others = Vec::new();
        let forks = store.refs(self.place(), "f/", ForkRef::decode).await?;
        let forks = forks.into_iter().map(|(meta, fork)| {
            let (old, pruned) = (is_garbage(meta.modified), !on_line(fork.target.seq));
            async move {
                let lives = !old || (!pruned && self.fork_lives(&meta.key, &fork).await?);
                Ok((meta, fork, lives))
            }
        });
        for (meta, fork, lives) in all(forks.collect()).await? {
            match lives {
                true => drop(named.insert(fork.target.seq)),
                false => others.push(meta),
            }
        }
        let mut dangling = Vec::new();
        for (meta, tag) in store.refs(self.place(), "t/", TagRef::decode).await? {
            match on_line(tag.target.seq) {
                true => drop(named.insert(tag.target.seq)),
                false => dangling.push(meta),
            }
        }
        kept_by.named =
            named.iter().filter(|seq| present.contains(seq) && !kept.contains(seq)).count() as u64;
        kept.extend(named);
        let young = commits.iter().filter(|(_, time)| !is_old(*time)).map(|(seq, _)| *seq);
        kept_by.young = young.filter(|seq| kept.insert(*seq)).count() as u64;
        // What is missing and may be wanted stays on the line: its object may come back from a copy.
        let within = retention.within.unwrap_or_default().max(store.fence.window());
        let by_age = Retention { within: Some(within), ..*retention };
        let mut missing = by_age.keep_missing(holes.clone(), &commits, now);
        if let Some(times) = &by_ids {
            missing.extend(rules.keep_missing(holes, times, now));
        }
        kept.extend(missing.iter().flat_map(|run| [*run.start(), *run.end()]));
        kept.retain(|seq| on_line(*seq));
        let needs_source = self.close(&mut kept, &present, first).await?;
        let released = match origin {
            Some(Origin { id, source, .. }) if !needs_source && !kept.is_empty() => Some(source.fork(*id)?),
            _ => None,
        };
        // A removed fork gives up its start, or it would show what it was forked from again; so does an
        // import that was given up.
        let origin = origin.filter(|_| from == 0 || needs_source).map(|_| 1);
        let left = kept.iter().copied().chain(origin).map(|seq| seq..=seq).chain(missing);
        let line = LineRecord::keep_runs(upto, left.collect());
        let mut garbage = (others.len() + dangling.len()) as u64;
        let bodies = store.objects(self.place().prefix("b/")).await?.into_iter().filter_map(|meta| {
            let (seq, id) = unbody(self.place(), &meta.key)?;
            let (on_line, old) = (line.has(seq), is_garbage(meta.modified));
            let was_listed = present.contains(&seq);
            let missing = may_be(seq) && !was_listed && (seq <= upto || kept.contains(&seq));
            Some(async move {
                let needed = on_line && (!old || missing || self.has_body(seq, id, was_listed).await?);
                Ok((meta, on_line, needed))
            })
        });
        for (meta, on_line, needed) in all(bodies.collect()).await? {
            garbage += u64::from(on_line && !needed);
            others.extend((!needed).then_some(meta));
        }
        // A young object stays even where it is off the line: it keeps a writer that has just looked from
        // taking its number.
        let gone = rows.into_iter().filter(|row| !line.has(row.seq));
        let (commits, young): (Vec<Row>, Vec<Row>) = gone.partition(|row| is_old(row.meta.modified));
        let (start, commits): (Vec<Row>, Vec<Row>) = commits.into_iter().partition(is_start);
        others.extend(start.into_iter().map(|row| row.meta));
        let on_line = kept.intersection(&present).count() as u64;
        kept_by.needed = on_line.saturating_sub(kept_by.rules + kept_by.named + kept_by.young);
        kept_by.young += young.iter().filter(|row| !is_start(row)).count() as u64;
        let kept = kept_by.rules + kept_by.named + kept_by.young + kept_by.needed;
        Ok(Plan { line, commits, others, dangling, released, kept, kept_by, garbage })
    }

    /// The times of the commits' ids, for the rules of hours, days and weeks. An import or a copy stores a
    /// history in a moment: by the storage's clock it is all of one day then. `None` where the storage has
    /// seen the commits come.
    async fn times_by_ids(
        &self,
        commits: &[(u64, SystemTime)],
        old: Vec<(u64, SystemTime)>,
    ) -> Result<Option<Vec<(u64, SystemTime)>>> {
        if !self.is_imported(&old).await? {
            return Ok(None);
        }
        let manifests = all(old.iter().map(|(seq, _)| self.manifest_of(*seq)).collect()).await?;
        let mut times: BTreeMap<u64, SystemTime> = commits.iter().copied().collect();
        for manifest in manifests.into_iter().flatten() {
            times.insert(manifest.seq, manifest.id.time());
        }
        Ok(Some(times.into_iter().rev().collect()))
    }

    /// Whether the oldest of these that can be read came long after it was made.
    async fn is_imported(&self, commits: &[(u64, SystemTime)]) -> Result<bool> {
        for (seq, stored) in commits.iter().rev() {
            if let Some(manifest) = self.manifest_of(*seq).await? {
                // Storages that cut times to seconds store a commit before it was made.
                let apart = stored.duration_since(manifest.id.time()).unwrap_or_default();
                return Ok(apart > self.store().fence.window());
            }
        }
        Ok(false)
    }

    /// Adds what the kept commits are made of, or may be. Tells whether any is made of commits of another
    /// session. `first` is the first number that is this session's own.
    ///
    /// Keyframes only go forward: so the commits from a keyframe to any that is made of it are all made of
    /// that, and one manifest tells what each of them needs.
    async fn close(&self, kept: &mut BTreeSet<u64>, present: &BTreeSet<u64>, first: u64) -> Result<bool> {
        let (mut open, mut width, mut needs_source) = (kept.clone(), 1, false);
        while !open.is_empty() {
            let next: Vec<u64> = open.iter().rev().take(width).copied().collect();
            let manifests = all(next.iter().map(|seq| self.manifest_of(*seq)).collect()).await?;
            // Side by side only where the newer ones do not tell of the older ones.
            width = (2 * width).min(PARALLEL);
            for (seq, manifest) in next.into_iter().zip(manifests) {
                if !open.contains(&seq) {
                    width = 1;
                    continue;
                }
                let Some(manifest) = manifest else {
                    let from = self.chain_begins(seq, present).await?;
                    needs_source |= first > 1 && from.is_none();
                    let from = from.unwrap_or(0);
                    kept.extend(present.range(from..=seq));
                    drop(open.split_off(&from));
                    continue;
                };
                let keyframe = seq - manifest.depth;
                let upto = manifest.lines.iter().map(|line| line.upto).max().unwrap_or(0);
                let own = first.max(upto.saturating_add(1));
                needs_source |= keyframe < own;
                for of in open.split_off(&keyframe) {
                    match of == seq || present.contains(&of) {
                        true => kept.extend(chain(keyframe, of).filter(|base| *base >= own)),
                        // Its number may stand for others in front of it, which are missing as well.
                        false => kept.extend(present.range(keyframe..=of)),
                    }
                }
            }
        }
        Ok(needs_source)
    }

    /// Where the chain of a commit that cannot be read begins at the earliest: with the keyframe of the next
    /// older one that can, because keyframes only go forward. `None`: in front of all that are there.
    async fn chain_begins(&self, seq: u64, present: &BTreeSet<u64>) -> Result<Option<u64>> {
        for &older in present.range(..seq).rev() {
            if let Some(manifest) = self.manifest_of(older).await? {
                let keyframe = manifest.seq - manifest.depth;
                let own = manifest.place_of(keyframe, self.place()) == *self.place();
                return Ok(own.then_some(keyframe));
            }
        }
        Ok(None)
    }

    /// `None` for one that is damaged or missing: a copy may make it whole again.
    async fn manifest_of(&self, seq: u64) -> Result<Option<Manifest>> {
        match self.store().manifest(self.place(), seq).await {
            Ok((Described::Commit(manifest), _)) => Ok(Some(*manifest)),
            Ok((Described::Origin(_), _)) => Ok(None),
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.store().confirm_gone(&self.place().commit(seq)?).await.map(|()| None)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the fork that left this reference came to be.
    pub(in crate::sessions) async fn fork_lives(&self, key: &Key, fork: &ForkRef) -> Result<bool> {
        // What a tag that moved has left: no session is a fork of itself.
        if fork.fork == *self.place() {
            return Ok(false);
        }
        match self.store().slot(&fork.fork, 1, Part::End).await {
            Ok((Slot::Origin(origin), _)) => Ok(self.place().fork(origin.id)? == *key),
            Ok((Slot::Commit(_), _)) => Ok(false),
            Err(error) => match error.kind() {
                // Something else removed it, and a copy may bring it back. Unless the fork never came to be,
                // or has given it up.
                ErrorKind::NotFound => {
                    let (store, fork) = (self.store(), &fork.fork);
                    match tokio::try_join!(store.newest(fork), store.line(fork)) {
                        Ok((newest, (line, _))) => Ok(newest.is_some() && line.has(1)),
                        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(true),
                        Err(error) => Err(error),
                    }
                }
                // A damaged origin may be repaired from a copy.
                ErrorKind::Corrupt => Ok(true),
                _ => Err(error),
            },
        }
    }

    /// Whether the commit `seq` has this body, or may have it.
    async fn has_body(&self, seq: u64, id: CommitId, was_listed: bool) -> Result<bool> {
        match self.store().manifest(self.place(), seq).await {
            Ok((Described::Commit(manifest), _)) => Ok(manifest.body.is_some_and(|body| body.id == id)),
            Ok((Described::Origin(_), _)) => Ok(false),
            Err(error) => match error.kind() {
                // One that was lost since may come back from a copy.
                ErrorKind::NotFound => {
                    self.store().confirm_gone(&self.place().commit(seq)?).await.map(|()| was_listed)
                }
                ErrorKind::Corrupt => Ok(true),
                _ => Err(error),
            },
        }
    }
}
