//! Removing history that nothing needs, beside writers, forks and restores: announce, look, decide, delete.
//!
//! `docs/adr/0010-fence-window.md` and `0011-prune-marks.md` argue why nothing that is needed is ever
//! removed.

mod idle;
mod newest;
mod plan;
mod policy;
mod reach;
mod survey;
mod undo;

use std::time::{Duration, SystemTime};

use serde::Serialize;

pub use policy::Retention;

use super::{
    Session,
    at::no_commit,
    line::{LineRecord, Mark},
    store::{PARALLEL, Row, all},
};
use crate::{Error, ErrorKind, Key, PutOptions, Result, Version};
use plan::Plan;
use undo::Undo;

/// How often a prune starts again after a tag or a fork cancelled it.
const ATTEMPTS: usize = 5;
/// An announcement that is older belongs to a prune that died.
const ALIVE: Duration = Duration::from_secs(600);
/// No rule keeps what lies before it: what a removal would remove, whose marker is not there yet.
const ALL: u64 = u64::MAX;

/// What a prune removed, or would.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Pruned {
    /// Commits that are left.
    pub kept: u64,
    /// Why these are left; each counts once.
    pub kept_by: KeptBy,
    /// The numbers of the commits that went, newest first.
    pub removed: Vec<u64>,
    /// Bytes of all objects that went.
    pub bytes: u64,
    /// Objects that belonged to no commit, such as bodies of writers that died.
    pub garbage: u64,
    /// Nothing was removed, this only tells what would be.
    pub dry_run: bool,
}

/// Why commits stay: so many for each reason, and none for a later one that an earlier has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeptBy {
    /// The rules, and being the newest.
    pub rules: u64,
    /// A tag or a fork.
    pub named: u64,
    /// The fence window: they are younger.
    pub young: u64,
    /// The others are made of these, or may be.
    pub needed: u64,
}

/// An announcement that stands.
struct Announced {
    /// What the line was before, and that this prune has ended.
    line: LineRecord,
    version: Version,
    /// The storage's clock.
    now: SystemTime,
}

impl Session {
    /// Removes the commits that no rule keeps. Always kept: the newest, what is tagged or forked, what is
    /// younger than the fence window, and what any kept commit is made of; of one that is damaged or missing,
    /// all that it may be made of. Safe beside writers, forks and loads.
    ///
    /// # Errors
    /// `InvalidInput` where no rule is set; `Unsupported` on a storage without conditional replace; `Conflict`
    /// if another prune or an import is at work; `Corrupt` that names a damaged tag or fork, an object that is
    /// no commit, or what the newest commit cannot be loaded for, before anything was removed. A prune that
    /// broke off is finished by the next one.
    pub async fn prune(&self, retention: Retention) -> Result<Pruned> {
        self.prune_from(retention, 0).await
    }

    /// [`prune`](Session::prune), where no rule keeps commits before `from`: those were removed.
    pub(super) async fn prune_from(&self, retention: Retention, from: u64) -> Result<Pruned> {
        self.pruned(retention, from).await.map_err(|error| error.with_operation("prune"))
    }

    async fn pruned(&self, retention: Retention, from: u64) -> Result<Pruned> {
        retention.check()?;
        if !self.store().adapter.capabilities().replace {
            let message =
                "prune needs a storage that replaces an object only if it is unchanged; this one cannot";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let seen = self.glance(&retention).await?;
        if let Some(nothing) = self.nothing_to_prune(&retention, from, &seen).await? {
            return Ok(nothing);
        }
        self.check_prunable(seen.newest()).await?;
        let mut proven = None;
        for _ in 0..ATTEMPTS {
            let mut undo = Undo::new(self.store().clone(), self.place().line()?);
            match self.decide(&retention, from, &mut undo, &mut proven).await {
                Ok(Some(plan)) => {
                    undo.not_needed();
                    return self.carry_out(plan).await;
                }
                Ok(None) => undo.not_needed(),
                // The announcement may still stand, and the decision may have come through or be on its way.
                Err(error) => {
                    undo.now().await;
                    return Err(error);
                }
            }
        }
        let message = "tags, forks or other prunes keep coming in between; prune again later";
        Err(Error::new(ErrorKind::Conflict, message).with_retryable(true))
    }

    /// Announces, looks, and replaces the announcement by what the line will be. `None` where a tag or a fork
    /// was faster than that.
    async fn decide(
        &self,
        retention: &Retention,
        from: u64,
        undo: &mut Undo,
        proven: &mut Option<Row>,
    ) -> Result<Option<Plan>> {
        let announced = self.announce(undo).await?;
        let plan = self.plan(retention, from, true, &announced.line, announced.now).await?;
        self.prove(plan.unproven.as_ref(), proven).await?;
        match self.settle(plan.line.clone(), announced.version).await {
            Ok(()) => Ok(Some(plan)),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What [`prune`](Session::prune) would remove now.
    ///
    /// # Errors
    /// As [`prune`](Session::prune).
    pub async fn prune_dry_run(&self, retention: Retention) -> Result<Pruned> {
        self.would_prune(retention).await.map_err(|error| error.with_operation("prune"))
    }

    async fn would_prune(&self, retention: Retention) -> Result<Pruned> {
        retention.check()?;
        self.check_prunable(None).await?;
        let (line, _) = self.store().line(self.place()).await?;
        let plan = self.plan(&retention, 0, true, &line, self.store().clock.now()).await?;
        self.prove(plan.unproven.as_ref(), &mut None).await?;
        Ok(Pruned { dry_run: true, ..plan.report() })
    }

    /// What a removal would remove whose marker has this number, or is yet to come.
    pub(super) async fn would_remove(&self, marker: Option<u64>) -> Result<Pruned> {
        let (line, _) = self.store().line(self.place()).await?;
        let from = marker.unwrap_or(ALL);
        // The removal takes the tags first.
        let (rule, now) = (Retention::new().last(1), self.store().clock.now());
        let plan = self.plan(&rule, from, false, &line, now).await?;
        let mut would = Pruned { dry_run: true, ..plan.report() };
        if marker.is_none() {
            // The marker stays.
            would.kept += 1;
            would.kept_by.rules += 1;
        }
        Ok(would)
    }

    /// Fails where there is nothing to prune, or not yet. `newest` is what was listed just before, if it was.
    async fn check_prunable(&self, newest: Option<Row>) -> Result<()> {
        let (store, place) = (self.store(), self.place());
        let newest = if newest.is_some() { newest } else { store.newest(place).await? };
        match newest {
            // A session without commits may still have bodies of writers that died.
            None if store.objects(place.prefix("b/")).await?.is_empty() => Err(no_commit(place)),
            None => Ok(()),
            Some(row) => store.not_importing(place, &row).await,
        }
    }

    /// Says in `line` that a prune is about to look. Gives what the line was before.
    async fn announce(&self, undo: &mut Undo) -> Result<Announced> {
        let (store, key) = (self.store(), self.place().line()?);
        let old = match store.read(&key).await {
            Ok((bytes, meta)) => Some((super::object::at(LineRecord::decode(&bytes), &key)?, meta)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let now = store.clock.now();
        if let Some((line, meta)) = &old
            && let Some(other) = line.announced()
            && now.duration_since(meta.modified).unwrap_or_default() < ALIVE
        {
            let minutes = ALIVE.as_secs() / 60;
            let message =
                format!("another prune ({other}) is at work; if it died, prune again in {minutes} minutes");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let (line, mode) = match old {
            Some((line, meta)) => (line, PutOptions::new().replace(meta.version)),
            None => (LineRecord::default(), PutOptions::new().create()),
        };
        let id = store.new_id(None);
        let bytes = line.clone().marked(Mark::Announced(id)).encode();
        undo.announces(id);
        let (version, now) = match store.put(&key, bytes.into(), mode).await {
            // Behind a proxy that drops the answer's date, an adapter has only the clock of this machine. The
            // earlier one keeps more.
            Ok(meta) => {
                let stored = match store.adapter.head(&key).await {
                    Ok(there) => there.modified,
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        store.confirm_gone(&key).await?;
                        meta.modified
                    }
                    Err(error) => return Err(error),
                };
                (meta.version, meta.modified.min(stored))
            }
            Err(error) => match store.read(&key).await {
                Ok((bytes, meta))
                    if LineRecord::decode(&bytes).is_ok_and(|line| line.announced() == Some(id)) =>
                {
                    (meta.version, meta.modified)
                }
                _ if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::AlreadyExists) => {
                    let message = "another prune, a tag or a fork was faster; prune again";
                    return Err(Error::new(ErrorKind::Conflict, message).with_retryable(true));
                }
                _ => return Err(error),
            },
        };
        Ok(Announced { line: line.marked(Mark::Ended(id)), version, now })
    }

    /// Replaces exactly this announcement.
    async fn settle(&self, line: LineRecord, announcement: Version) -> Result<()> {
        let options = PutOptions::new().replace(announcement);
        self.store().put(&self.place().line()?, line.encode().into(), options).await.map(|_| ())
    }

    /// Deletes what the line has given up. Newest first, so that no commit is ever left without its base.
    async fn carry_out(&self, plan: Plan) -> Result<Pruned> {
        let store = self.store();
        let delete = |key: &Key| {
            let key = key.clone();
            async move { store.delete(&key).await }
        };
        for rows in plan.commits.chunks(PARALLEL) {
            all(rows.iter().map(|row| delete(&row.meta.key)).collect()).await?;
        }
        all(plan.others.iter().map(|meta| delete(&meta.key)).collect()).await?;
        for tag in &plan.dangling {
            store.delete_version(&tag.key, &tag.version).await?;
        }
        if let Some(reference) = &plan.released {
            store.delete(reference).await?;
        }
        Ok(plan.report())
    }
}
