//! Which commit a handle continues: the newest, as it is found, or as this handle's own after a take-over.

use super::{
    CommitId, CommitOptions, Restored, Session,
    clock::Moment,
    commit,
    draft::Payload,
    head::{FirstLoad, Head, forked, head_of, unexpected},
    load::{Latest, Whole},
    manifest::Manifest,
    store::Part,
    writer::{Ground, Writer},
};
use crate::{ErrorKind, Result};

impl Session {
    /// Makes the newest commit the one that the next save follows, whatever this handle saw before, and loads
    /// it. `None` in a session without commits.
    ///
    /// # Errors
    /// As [`load`](Session::load). After `Corrupt`, [`load_with_fallback`](Session::load_with_fallback) does
    /// in its place.
    pub async fn rebase(&self) -> Result<Option<Restored>> {
        self.follow_newest().await.map_err(|error| error.with_operation("rebase"))
    }

    async fn follow_newest(&self) -> Result<Option<Restored>> {
        let mut writer = self.writer().await;
        // A first look that finds no commit is no rebase: `(0, None)` stands for "saw nothing yet" and for
        // "saw an empty session".
        let before = writer.head.as_ref().map_or((0, None), |head| (head.seq, head.id));
        // Until this has succeeded, a handle that lost to a rival stays one that may not write.
        let seen = self.look(&mut writer).await;
        match &seen {
            Ok(_) if writer.head.as_ref().is_some_and(|head| (head.seq, head.id) == before) => {}
            Ok(_) => self.rebased(),
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                writer.forget_states();
                writer.rebasing = true;
            }
            Err(_) => {}
        }
        seen
    }

    /// Makes this handle the owner of the session, at once: it commits the newest state again, in an epoch of
    /// its own. A handle of an earlier epoch can then no longer write, not even after a rebase.
    ///
    /// # Errors
    /// `NotFound` in a session without commits: save with [`first`](CommitOptions::first) instead. `Conflict`
    /// if another writer keeps being faster. After `Timeout` or `Unavailable` it is not known whether it was
    /// done; another call finds out, and does it once.
    pub async fn take_over(&self) -> Result<Restored> {
        self.taken_over().await.map_err(|error| error.with_operation("take_over"))
    }

    async fn taken_over(&self) -> Result<Restored> {
        let mut writer = self.writer().await;
        writer.settle_take_over();
        let mut attempts = 0;
        loop {
            // Until this has succeeded, the handle stays what it was: one of an earlier epoch must not write
            // behind the newest commit.
            let mut owner = Writer { taking: writer.taking.clone(), ..Writer::default() };
            let seen = self.look(&mut owner).await.inspect_err(|error| {
                if error.kind() == ErrorKind::Corrupt {
                    writer.forget_states();
                }
            });
            let seen = seen?.ok_or_else(|| super::at::no_commit(self.place()))?;
            // What an earlier call did not hear of: it was carried out.
            if owner.taking.has(seen.commit.id) {
                self.store().found_again(&self.place().commit(seen.commit.seq)?).await?;
                *writer = owner;
                self.rebased();
                return Ok(seen);
            }
            // It may still arrive.
            owner.pending = owner.taking.clone();
            owner.epoch = Some(seen.commit.epoch.saturating_add(1));
            let options = CommitOptions { notes: commit::notes_of(&seen.commit), ..CommitOptions::new() };
            let content = Payload::State(seen.state.clone());
            let owner = writer.owner.insert(Box::new(owner));
            let done = self.write_as(owner, content, seen.commit.table(), options).await;
            match (done, writer.owner.take()) {
                (Ok(commit), owner) => {
                    *writer = *owner.unwrap_or_default();
                    self.rebased();
                    return Ok(Restored { commit, ..seen });
                }
                (Err(error), _) if error.kind() == ErrorKind::Conflict && attempts < 3 => attempts += 1,
                (Err(error), owner) => {
                    writer.owner = owner;
                    writer.settle_take_over();
                    return Err(error);
                }
            }
        }
    }

    /// Gives the writer a head if it has none: the newest commit. Also moves the head to the newest commit
    /// when the options expect exactly that one; such a caller has seen more than this handle. A writer that
    /// lost to a rival must still rebase.
    pub(super) async fn follow(&self, writer: &mut Writer, options: &CommitOptions) -> Result<()> {
        if writer.head.is_none() {
            let mut seen = Writer::default();
            self.look_ahead(&mut seen).await?;
            // A load of this handle that ended meanwhile may have shown less.
            self.told_of_load(writer);
            if let (None, Some(newest)) = (&writer.head, seen.head) {
                writer.adopt(newest);
                writer.ground = Ground::Untold;
                return Ok(());
            }
        }
        let Some(head) = &writer.head else { return Ok(()) };
        let (store, place) = (self.store(), self.place());
        if let (Some(left), None) = (head.left, &writer.stale)
            && options.expect == Some(left)
            && store.newest(place).await?.is_some_and(|row| row.seq == head.seq)
        {
            // What was lost is back, or another one has its number.
            return Err(unexpected(place, left, &Head { left: None, ..head.clone() }));
        }
        let Some(expected) = options.expect.filter(|expected| writer.stale.is_none() && !head.is(*expected))
        else {
            return Ok(());
        };
        let mut seen = Writer::default();
        self.heard(self.look_ahead(&mut seen).await)?;
        let newest = seen.head.unwrap_or_default();
        if !newest.is(expected) {
            return Err(unexpected(place, expected, &newest));
        }
        writer.adopt(newest);
        self.rebased();
        Ok(())
    }

    /// The newest commit becomes the head; `None` if there is none.
    pub(super) async fn look(&self, writer: &mut Writer) -> Result<Option<Restored>> {
        self.look_until(writer, Manifest::is_removed).await
    }

    /// Before a save: nothing that should be behind the head is lost or on its way.
    ///
    /// # Errors
    /// `Conflict` where a load has seen a commit of an import that has more to come; what the adapter fails
    /// with.
    pub(super) async fn make_sure(&self, writer: &mut Writer) -> Result<()> {
        let (store, place) = (self.store(), self.place());
        let (Ground::Loaded, None, Some(head)) = (writer.ground, &writer.stale, &writer.head) else {
            return Ok(());
        };
        // A commit loads by its number also while an import is still bringing newer ones; and an import that
        // is finished now may not have been when the commit was loaded.
        if head.observed.is_none()
            && let Some(row) = store.newest(place).await?.filter(|row| row.seq != head.seq)
        {
            store.not_importing(place, &row).await?;
            // The number behind it is free where its commit was pruned or lost. What is created there is not
            // the newest.
            if row.seq > head.seq + 1 && self.is_free(head.seq + 1).await? {
                let message = format!(
                    "commit {} is newer than commit {}, which was loaded; rebase or fork to go on",
                    row.seq, head.seq
                );
                return Err(writer.lost(place, message));
            }
        }
        let looked = Moment::now(&*store.clock);
        let upto = self.kept_newest().await?;
        if let Some(head) = self.behind_loss(head, upto, looked).await? {
            writer.adopt(head);
        }
        writer.ground = Ground::Looked;
        Ok(())
    }

    async fn is_free(&self, seq: u64) -> Result<bool> {
        match self.store().slot(self.place(), seq, Part::End).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
            Err(error) if error.kind() != ErrorKind::Corrupt => Err(error),
            _ => Ok(false),
        }
    }

    /// The newest number of the session's line that a prune has seen and kept; 0 if there was no prune. It is
    /// there as long as nothing else than persist removes it, or a newer one is.
    async fn kept_newest(&self) -> Result<u64> {
        match self.store().line(self.place()).await {
            Ok((line, _)) => Ok(line.newest()),
            // Prune and verify report a damaged `line`. It must not stop saves.
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// If a commit newer than `head` is on the line but its object is gone, the next commit must go behind
    /// it: a smaller number is on no line and would be pruned.
    async fn behind_loss(&self, head: &Head, upto: u64, looked: Moment) -> Result<Option<Head>> {
        let (store, place) = (self.store(), self.place());
        if head.seq >= upto {
            return Ok(None);
        }
        // List again: a newer commit may have come since `line` was read. (`max(1)`: under number 1 there may
        // be the origin of an import.)
        if store.newest(place).await?.is_some_and(|row| row.seq >= upto || row.seq > head.seq.max(1)) {
            return Ok(None);
        }
        tracing::warn!(session = place.logged(), commit = upto, "the newest commit is missing");
        let not_before = head.id.or(head.not_before);
        // Callers of `after` know only the number that loads show, so it is accepted as well.
        let left = Some(head.shown());
        Ok(Some(Head { left, ..Head::behind_damage(upto, head.epoch, not_before, looked) }))
    }

    /// [`look`](Session::look) for a writer that does not need the state: that of a long stream, behind which
    /// no delta is written, is not read.
    async fn look_ahead(&self, writer: &mut Writer) -> Result<()> {
        let most = self.store().stream_limit;
        let long = |manifest: &Manifest| {
            manifest.is_removed()
                || (manifest.is_keyframe() && manifest.body.is_some() && manifest.size > most)
        };
        self.look_until(writer, long).await.map(drop)
    }

    /// Reads the newest commit whole, unless its manifest is `enough`.
    async fn look_until(
        &self,
        writer: &mut Writer,
        enough: impl Fn(&Manifest) -> bool + Send + Sync,
    ) -> Result<Option<Restored>> {
        let looked = Moment::now(&*self.store().clock);
        let (latest, upto) = tokio::join!(self.latest(enough), self.kept_newest());
        let (latest, upto) = (latest?, upto?);
        let (head, seen) = match latest {
            Some(Latest::Whole(Whole { restored, place, is_origin })) => {
                let base = if is_origin {
                    forked(restored.base.clone(), restored.manifest.seq, place.clone())
                } else {
                    restored.base.clone()
                };
                let head = head_of(&restored.manifest, Some(looked), Some(base));
                (head, Some(self.shown(restored, &place, Vec::new())))
            }
            // Of a removed session: what comes next begins anew, behind the marker.
            Some(Latest::Manifest(manifest)) => (head_of(&manifest, Some(looked), None), None),
            None => (Head::none(looked), None),
        };
        // Before the writer has any of it: where this fails, the next save asks again, and a rival's commit
        // stays in the way.
        let behind = self.behind_loss(&head, upto, looked).await?;
        writer.adopt(head);
        if let Some(behind) = behind {
            writer.adopt(behind);
        }
        Ok(seen)
    }

    /// After damage: the next commit follows the newest number, as a keyframe and without a parent.
    pub(super) async fn go_on_behind(
        &self,
        newest: u64,
        epoch: u64,
        not_before: Option<CommitId>,
        looked: Moment,
    ) {
        // A save of a clone that is under way may have met the same damage: only behind it is it known what
        // comes next.
        let mut writer = self.writer().await;
        let seen = writer.head.as_ref().filter(|_| writer.rebasing).map_or(0, |head| head.epoch);
        let head = Head::behind_damage(newest, epoch.max(seen), not_before, looked);
        let first = FirstLoad { head, epoch: None, stale: None };
        if writer.rebasing || writer.takes(&first) {
            // A handle stays of the epoch that it had when its rebase met the damage.
            if writer.rebasing {
                writer.ground = Ground::Looked;
            }
            writer.begin(first);
            self.rebased();
        }
    }
}
