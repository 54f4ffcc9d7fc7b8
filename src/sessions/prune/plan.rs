//! What a prune removes: decided from listings that were made after it announced itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    time::SystemTime,
};

use futures_util::{StreamExt, TryStreamExt};

use super::{
    ALL, KeptBy, Pruned, Retention,
    survey::{Gone, Survey},
};
use crate::{
    Error, ErrorKind, Key, ListOptions, ObjectMeta, Result,
    sessions::{
        Session,
        line::LineRecord,
        names::unbody,
        refs::{ForkRef, Origin, TagRef},
        store::{Part, Row, Slot, all},
    },
};

/// The decision.
pub(super) struct Plan {
    /// What the line will be.
    pub(super) line: LineRecord,
    /// The newest commit, which must load before any other one is removed.
    pub(super) unproven: Option<Row>,
    /// Commits to delete, newest first.
    pub(super) commits: Vec<Row>,
    /// Bodies of those, and objects that belong to nothing.
    pub(super) others: Vec<ObjectMeta>,
    /// Tags whose commit is gone: those that nobody moves meanwhile go.
    pub(super) dangling: Vec<ObjectMeta>,
    /// This fork's reference in the session that it comes from, when nothing needs that any more.
    pub(super) released: Option<Key>,
    kept_by: KeptBy,
    garbage: u64,
}

impl Plan {
    pub(super) fn report(&self) -> Pruned {
        let objects = self.commits.iter().map(|row| &row.meta).chain(&self.others).chain(&self.dangling);
        let KeptBy { rules, named, young, needed } = self.kept_by;
        Pruned {
            kept: rules + named + young + needed,
            kept_by: self.kept_by,
            removed: self.commits.iter().map(|row| row.seq).collect(),
            bytes: objects.map(|meta| meta.size).sum(),
            garbage: self.garbage,
            dry_run: false,
        }
    }
}

/// What rules keep.
struct Ruled {
    kept: BTreeSet<u64>,
    /// What is missing and may be wanted: its object may come back from a copy, so it stays on the line.
    missing: Vec<RangeInclusive<u64>>,
}

/// What tags and forks keep, and those of them that are of no use any more.
#[derive(Default)]
struct References {
    named: BTreeSet<u64>,
    dead_forks: Vec<ObjectMeta>,
    dangling: Vec<ObjectMeta>,
}

impl Session {
    /// `line` is what earlier prunes left, `now` the storage's time of the announcement. No rule keeps what
    /// lies before `from`; `tags` tells whether tags keep what they name.
    pub(super) async fn plan(
        &self,
        retention: &Retention,
        from: u64,
        tags: bool,
        line: &LineRecord,
        now: SystemTime,
    ) -> Result<Plan> {
        let seen = self.survey(from, line, now).await?;
        let Ruled { mut kept, missing } = self.ruled(retention, &seen).await?;
        let mut kept_by = KeptBy { rules: kept.len() as u64, ..KeptBy::default() };
        let References { named, dead_forks, dangling } = self.references(&seen, tags).await?;
        let new = named.iter().filter(|seq| seen.present.contains(seq) && !kept.contains(seq));
        kept_by.named = new.count() as u64;
        kept.extend(named);
        let in_window = seen.commits.iter().filter(|(_, time)| !seen.is_old(*time)).map(|(seq, _)| *seq);
        kept_by.young = in_window.filter(|seq| kept.insert(*seq)).count() as u64;
        kept.extend(missing.iter().flat_map(|run| [*run.start(), *run.end()]));
        kept.retain(|seq| seen.is_on_line(*seq));
        let needs_source = self.close(&mut kept, &seen.present, seen.first()).await?;
        let kept_there = kept.intersection(&seen.present).count() as u64;
        kept_by.needed = kept_there.saturating_sub(kept_by.rules + kept_by.named + kept_by.young);
        let released = match seen.origin() {
            Some(Origin { id, source, .. }) if !needs_source && !kept.is_empty() => Some(source.fork(*id)?),
            _ => None,
        };
        let next = seen.next_line(&kept, missing, needs_source);
        let (bodies, bodies_on_line) = self.stray_bodies(&seen, &next, &kept).await?;
        let garbage = (dead_forks.len() + dangling.len()) as u64 + bodies_on_line;
        let newest = seen.newest().filter(|_| from == 0);
        let Gone { commits, start, young } = seen.gone(&next);
        kept_by.young += young;
        let unproven = newest.filter(|_| !commits.is_empty());
        let others = dead_forks.into_iter().chain(bodies).chain(start).collect();
        Ok(Plan { line: next, unproven, commits, others, dangling, released, kept_by, garbage })
    }

    /// Lists, and refuses what cannot be pruned.
    async fn survey<'a>(&self, from: u64, line: &'a LineRecord, now: SystemTime) -> Result<Survey<'a>> {
        let store = self.store();
        // An object here that is no commit is an error: nobody knows what it is. Only a removal (`from` > 0)
        // skips it, and leaves it.
        let commits = store.commits(self.place(), ListOptions::new()).filter(|row| {
            let is_stray = row.as_ref().is_err_and(|error| error.kind() == ErrorKind::Corrupt);
            std::future::ready(from == 0 || !is_stray)
        });
        let rows: Vec<Row> = commits.try_collect().await?;
        let start = self.start_of(&rows, line).await?;
        // The marker would end an import that broke off, and go behind every number.
        if from == ALL {
            return Ok(Survey::new(line, now, store.fence, from, rows, start));
        }
        // It may have begun since the look before the announcement.
        if let Some(newest) = rows.first() {
            store.not_importing(self.place(), newest).await?;
        }
        // Saves must go on behind every number that `line` has told of: smaller ones count as pruned. So
        // nothing is pruned before one did.
        if line.newest() > rows.first().map_or(0, |row| row.seq) {
            let message = format!(
                "commit {0}, the newest, is missing; restore its object from a copy, or save: that goes on behind it",
                line.upto
            );
            let key = self.place().commit(line.upto)?;
            return Err(Error::new(ErrorKind::Corrupt, message).with_key(&key));
        }
        Ok(Survey::new(line, now, store.fence, from, rows, start))
    }

    /// What stands under number 1, if the session was forked or imported.
    async fn start_of(&self, rows: &[Row], line: &LineRecord) -> Result<Option<Origin>> {
        let Some(Row { seq: 1, meta }) = rows.last() else { return Ok(None) };
        match self.store().slot(self.place(), 1, Part::End).await {
            Ok((Slot::Origin(origin), _)) => Ok(Some(origin)),
            Ok((Slot::Commit(_), _)) => Ok(None),
            // An earlier prune that is still removing has removed it.
            Err(error) if error.kind() == ErrorKind::NotFound && !line.has(1) => Ok(None),
            // Another prune, which took this one for dead, or an import that gave up.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.store().confirm_gone(&meta.key).await?;
                let message = "commit 1 was removed while this prune looked; prune again";
                Err(Error::new(ErrorKind::Conflict, message).with_key(&meta.key).with_retryable(true))
            }
            Err(error) => Err(error),
        }
    }

    async fn ruled(&self, retention: &Retention, seen: &Survey<'_>) -> Result<Ruled> {
        let (commits, holes) = (&seen.commits, seen.holes());
        let mut kept = retention.keep(commits, seen.now);
        kept.extend(commits.first().map(|(seq, _)| *seq));
        let old: Vec<_> = commits.iter().copied().filter(|(_, time)| seen.is_old(*time)).collect();
        let calendar = retention.calendar();
        let is_idle = holes.is_empty() && old.iter().all(|(seq, _)| kept.contains(seq));
        let by_ids = if is_idle || calendar == Retention::default() {
            None
        } else {
            self.times_by_ids(commits, old).await?
        };
        let by_age = retention.within_at_least(self.store().fence.window());
        let mut missing = by_age.keep_missing(holes.clone(), commits, seen.now);
        if let Some(times) = &by_ids {
            kept.extend(calendar.keep(times, seen.now));
            missing.extend(calendar.keep_missing(holes, times, seen.now));
        }
        Ok(Ruled { kept, missing })
    }

    async fn references(&self, seen: &Survey<'_>, tags: bool) -> Result<References> {
        let mut found = References::default();
        // Forks before tags: a tag that moves is guarded by a fork's reference until it has moved.
        let forks = self.store().refs(self.place(), "f/", ForkRef::decode).await?;
        let forks = forks.into_iter().map(|(meta, fork)| {
            let (is_old, is_pruned) = (seen.is_garbage(meta.modified), !seen.is_on_line(fork.target.seq));
            async move {
                let lives = !is_old || (!is_pruned && self.fork_lives(&meta.key, &fork).await?);
                Ok((meta, fork, lives))
            }
        });
        for (meta, fork, lives) in all(forks.collect()).await? {
            if lives {
                found.named.insert(fork.target.seq);
            } else {
                found.dead_forks.push(meta);
            }
        }
        if !tags {
            return Ok(found);
        }
        for (meta, tag) in self.store().refs(self.place(), "t/", TagRef::decode).await? {
            if seen.is_on_line(tag.target.seq) {
                found.named.insert(tag.target.seq);
            } else {
                found.dangling.push(meta);
            }
        }
        Ok(found)
    }

    /// Bodies that no commit has, nor may have; and how many of them belong to numbers that stay on the line.
    async fn stray_bodies(
        &self,
        seen: &Survey<'_>,
        next: &LineRecord,
        kept: &BTreeSet<u64>,
    ) -> Result<(Vec<ObjectMeta>, u64)> {
        let bodies = self.store().objects(self.place().prefix("b/")).await?.into_iter().filter_map(|meta| {
            let (seq, id) = unbody(self.place(), &meta.key)?;
            let (stays, is_old) = (next.has(seq), seen.is_garbage(meta.modified));
            let was_listed = seen.present.contains(&seq);
            let is_missing = seen.may_be(seq) && !was_listed && (seq <= seen.upto() || kept.contains(&seq));
            Some(async move {
                let needed = stays && (!is_old || is_missing || self.has_body(seq, id, was_listed).await?);
                Ok((meta, stays, needed))
            })
        });
        let (mut strays, mut on_line) = (Vec::new(), 0);
        for (meta, stays, needed) in all(bodies.collect()).await? {
            if !needed {
                on_line += u64::from(stays);
                strays.push(meta);
            }
        }
        Ok((strays, on_line))
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
}
