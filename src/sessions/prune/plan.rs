//! What a prune removes: decided from listings that were made after it announced itself.

use std::{collections::BTreeSet, time::SystemTime};

use futures_util::TryStreamExt;

use super::{Pruned, Retention};
use crate::{
    ErrorKind, Key, ListOptions, ObjectMeta, Result,
    sessions::{
        Session,
        line::LineRecord,
        manifest::Manifest,
        names::unbody,
        refs::{ForkRef, Origin, TagRef},
        store::{Described, PARALLEL, Part, Row, Slot, all},
        writer::BODY_WINDOWS,
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
    /// This fork's reference in the session that it comes from, when nothing needs that any more.
    pub(super) released: Option<Key>,
    kept: u64,
    garbage: u64,
}

impl Plan {
    pub(super) fn report(&self) -> Pruned {
        let objects = self.commits.iter().map(|row| &row.meta).chain(&self.others);
        Pruned {
            kept: self.kept,
            removed: self.commits.iter().map(|row| row.seq).collect(),
            bytes: objects.map(|meta| meta.size).sum(),
            garbage: self.garbage,
            dry_run: false,
        }
    }
}

impl Session {
    /// `line` is what earlier prunes left, `now` the storage's time of the announcement.
    pub(super) async fn plan(
        &self,
        retention: &Retention,
        line: &LineRecord,
        now: SystemTime,
    ) -> Result<Plan> {
        let store = self.store();
        let rows: Vec<Row> = store.commits(self.place(), ListOptions::new()).try_collect().await?;
        let oldest = rows.last().filter(|row| row.seq == 1).map(|_| store.origin(self.place()));
        let origin = match oldest {
            Some(origin) => origin.await?,
            None => None,
        };
        let upto = rows.first().map_or(line.upto, |row| row.seq.max(line.upto));
        let on_line = |row: &&Row| line.has(row.seq) && !(origin.is_some() && row.seq == 1);
        let commits: Vec<(u64, SystemTime)> =
            rows.iter().filter(on_line).map(|row| (row.seq, row.meta.modified)).collect();
        let present: BTreeSet<u64> = commits.iter().map(|(seq, _)| *seq).collect();

        let mut kept = retention.keep(&commits, now);
        kept.extend(commits.first().map(|(seq, _)| *seq));
        let old = |time: SystemTime, windows: u32| {
            now.duration_since(time).is_ok_and(|age| age > store.fence_window * windows)
        };
        kept.extend(commits.iter().filter(|(_, time)| !old(*time, 1)).map(|(seq, _)| *seq));
        // Forks before tags: a tag that moves is guarded by a fork's reference until it has moved.
        let mut others = Vec::new();
        let forks = store.refs(self.place(), "f/", ForkRef::decode).await?;
        let forks = forks.into_iter().map(|(meta, fork)| {
            let old = old(meta.modified, BODY_WINDOWS);
            async move {
                let lives = !old || self.fork_lives(&meta.key, &fork).await?;
                Ok((meta, fork, lives))
            }
        });
        for (meta, fork, lives) in all(forks.collect()).await? {
            match lives {
                true => drop(kept.insert(fork.target.seq)),
                false => others.push(meta),
            }
        }
        for (_, tag) in store.refs(self.place(), "t/", TagRef::decode).await? {
            kept.insert(tag.target.seq);
        }
        kept.retain(|seq| present.contains(seq));
        let needs_source = self.close(&mut kept).await?;
        let released = match &origin {
            Some(Origin { id, source, .. }) if !needs_source && !kept.is_empty() => Some(source.fork(*id)?),
            _ => None,
        };
        let mut left: Vec<u64> = kept.iter().copied().collect();
        left.extend(origin.iter().map(|_| 1));
        let line = LineRecord::keep(upto, left);
        let mut garbage = others.len() as u64;
        let bodies = store.objects(self.place().prefix("b/")).await?.into_iter().filter_map(|meta| {
            let (seq, id) = unbody(self.place(), &meta.key)?;
            let (on_line, old) = (line.has(seq), old(meta.modified, BODY_WINDOWS));
            Some(async move {
                let needed = on_line && (!old || self.has_body(seq, id).await?);
                Ok((meta, on_line, needed))
            })
        });
        for (meta, on_line, needed) in all(bodies.collect()).await? {
            garbage += u64::from(on_line && !needed);
            others.extend((!needed).then_some(meta));
        }
        let commits = rows.into_iter().filter(|row| !line.has(row.seq)).collect();
        Ok(Plan { line, commits, others, released, kept: kept.len() as u64, garbage })
    }

    /// Adds what the kept commits are made of. Tells whether any is made of commits of another session.
    async fn close(&self, kept: &mut BTreeSet<u64>) -> Result<bool> {
        let (place, mut needs_source) = (self.place(), false);
        let asked: Vec<u64> = kept.iter().rev().copied().collect();
        // A chunk after the other: what one's chain has needs no look any more.
        let mut covered = BTreeSet::new();
        let mut queue = asked.into_iter();
        loop {
            let next: Vec<u64> = queue.by_ref().filter(|seq| !covered.contains(seq)).take(PARALLEL).collect();
            if next.is_empty() {
                return Ok(needs_source);
            }
            let manifests = all(next.into_iter().map(|seq| self.manifest_of(seq)).collect()).await?;
            for manifest in manifests.into_iter().flatten() {
                for seq in manifest.chain() {
                    let own = manifest.place_of(seq, place) == *place;
                    needs_source |= !own;
                    if own {
                        covered.insert(seq);
                        kept.insert(seq);
                    }
                }
            }
        }
    }

    /// `None` for one that is damaged: its state is lost, so it needs nothing.
    async fn manifest_of(&self, seq: u64) -> Result<Option<Manifest>> {
        match self.store().manifest(self.place(), seq).await {
            Ok((Described::Commit(manifest), _)) => Ok(Some(*manifest)),
            Ok((Described::Origin(_), _)) => Ok(None),
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the fork that left this reference came to be.
    pub(in crate::sessions) async fn fork_lives(&self, key: &Key, fork: &ForkRef) -> Result<bool> {
        match self.store().slot(&fork.fork, 1, Part::End).await {
            Ok((Slot::Origin(origin), _)) => Ok(self.place().fork(origin.id)? == *key),
            Ok((Slot::Commit(_), _)) => Ok(false),
            Err(error) => match error.kind() {
                ErrorKind::NotFound => Ok(false),
                // A damaged origin may be repaired from a copy.
                ErrorKind::Corrupt => Ok(true),
                _ => Err(error),
            },
        }
    }

    /// Whether the commit `seq` has this body.
    async fn has_body(&self, seq: u64, id: crate::sessions::CommitId) -> Result<bool> {
        match self.store().manifest(self.place(), seq).await {
            Ok((Described::Commit(manifest), _)) => Ok(manifest.body.is_some_and(|body| body.id == id)),
            Ok((Described::Origin(_), _)) => Ok(false),
            Err(error) => match error.kind() {
                ErrorKind::NotFound => Ok(false),
                ErrorKind::Corrupt => Ok(true),
                _ => Err(error),
            },
        }
    }
}
