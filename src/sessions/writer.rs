//! The one way in which a session's line grows: create the next commit, and know for certain what became of
//! it.
//!
//! # What a handle knows
//! [`Writer`] is the state of one handle, with the [`Head`] that its next commit follows. A save goes through
//! `follow`, `make_sure` and `commit`. Of each field: who sets it, what clears it, and what it means for the
//! next save.
//!
//! - `head`: set by the first load (beside a clone that has the writer: behind its call, if that set none) or
//!   save, `rebase`, `take_over`, `load_with_fallback`, `remove`, a met `after(n)`, its own commits. Cleared
//!   by a fork or an import into the session, where it saw no commit. Without one, the save looks for the
//!   newest; else it creates `head.seq + 1`.
//! - `head.observed`: set by a look that found it the newest, and by its own create. Cleared (`None`) by a
//!   load by number, tag, id or time. If `None` or half a window ago, the save looks again before it tells of
//!   success.
//! - `head.base`: set by a load or save that had the whole state. Cleared by damage that a read met, a long
//!   stream, a removal. The save is a delta on it; without one, a keyframe.
//! - `head.left`: set by a newest commit that was lost, and that a prune has seen. Cleared by the next
//!   commit. The save goes behind the lost number; `after(left)` is met.
//! - `head.not_before`: set by damage, to the newest id that can be read. Cleared by the next commit. The
//!   save has no parent, and no older id.
//! - `head.ended`: set by the marker of a removal. Cleared by the next commit. The save begins anew;
//!   `first()` is met.
//! - `ground`: set with `head`. `Loaded` by a load or a fallback, until `make_sure` has asked `line` (behind
//!   a load by number the newest as well). `Untold` by a first save's own look, until an own commit is found:
//!   nothing for the save; a load of the latest that shows less takes the head's place. Else `Looked`.
//! - `stale`: set by a rival, a prune, a fallback from a number, a fork's past. Cleared by whatever sets
//!   `head`. The save is a `Conflict` that says so.
//! - `rival`: set to the commit that was there first, or the new owner's behind a rebase. Cleared by whatever
//!   sets `head`. Nothing for the save: `Session::rival` shows it.
//! - `rebasing`: set by a `rebase` that met damage. Cleared by whatever sets `head`. Nothing for the save:
//!   lets `load_with_fallback` set `head` where there is one.
//! - `pending`: set by each create, before it is sent. Cleared by another head, and by the answer to a later
//!   save. An id of these under the number is its own, and no rival's.
//! - `epoch`: set by the first head and its own take-over. Never cleared. The save is a `Conflict` if the
//!   head's is newer.
//! - `owner`: set by a `take_over` under way, to a writer of its own, for the new epoch. Cleared by its end;
//!   if that was given up, by the next `adopt` or rival, into `taking`. Nothing for the save.
//! - `taking`: set to what may still arrive of take-overs. Cleared by a take-over that succeeded. A head of
//!   these is its own: its epoch becomes the handle's.

use bytes::Bytes;

use super::{
    Commit, Rival,
    answer::{is_damage, loads, never_sent, too_slow, withdraw},
    clock::Moment,
    commit::{CommitOptions, notes_of},
    draft::{Draft, Payload, prepare},
    head::{Base, FirstLoad, Head, head_of, unexpected},
    log::shown,
    manifest::Manifest,
    names::{MAX_SEQ, Place},
    pack::Packed,
    pending::{Known, Pending},
    rival::{conflict, taken_over},
    store::{Described, Store},
};
use crate::{Error, ErrorKind, ObjectMeta, PutOptions, Result};

/// How a head came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Ground {
    /// By a look that asked for what a prune has kept as the newest, or by an own commit.
    #[default]
    Looked,
    /// By a load or a fallback: it may lie in front of a loss, or in half an import.
    Loaded,
    /// By a first save's own look, of which no call has told.
    Untold,
}

/// What one handle knows of its session.
#[derive(Debug, Clone, Default)]
pub(super) struct Writer {
    /// `None` before the first look.
    pub(super) head: Option<Head>,
    /// The owner's number that this handle writes under, once it has looked.
    pub(super) epoch: Option<u64>,
    /// Why it may not write until it is rebased.
    pub(super) stale: Option<String>,
    /// Own commits behind the head whose answer was lost.
    pub(super) pending: Pending,
    /// Take-overs whose answer was lost, and whose commits other writers may have found since.
    pub(super) taking: Pending,
    /// The writer of a take-over under way. It stays where the call was given up.
    pub(super) owner: Option<Box<Writer>>,
    /// A rebase met damage: what a fallback finds then is what saves continue.
    pub(super) rebasing: bool,
    pub(super) ground: Ground,
    /// The rival of the last conflict.
    pub(super) rival: Option<Rival>,
}

/// A commit on its way.
struct Sent {
    manifest: Manifest,
    /// What the next commit can start from.
    base: Option<Base>,
    /// Bytes of its objects.
    stored: u64,
    /// When its body began, where that is an object of its own.
    began: Option<Moment>,
    at: Moment,
}

/// The answer to a create.
enum Outcome {
    Mine(ObjectMeta),
    /// An earlier commit of this handle, whose answer was lost.
    Earlier(Box<Commit>, ObjectMeta, Known),
    Rival(Box<Rival>),
    Gone,
}

impl Writer {
    /// Makes this the head that the next commit follows.
    pub(super) fn adopt(&mut self, head: Head) {
        self.settle_take_over();
        if head.id.is_some_and(|id| self.taking.has(id)) {
            self.epoch = Some(head.epoch);
        }
        self.epoch.get_or_insert(head.epoch);
        // Behind the same commit, what was sent may still arrive.
        if !self.head.as_ref().is_some_and(|before| before.is_same(&head)) {
            self.pending.clear();
        }
        (self.head, self.stale, self.rival, self.rebasing) = (Some(head), None, None, false);
        self.ground = Ground::Looked;
    }

    /// Whether saves continue what this first load shows: nothing is known yet, or nobody was told of what is,
    /// and the latest showed less.
    pub(super) fn takes(&self, first: &FirstLoad) -> bool {
        let Some(head) = &self.head else { return true };
        let shows_less = first.head.observed.is_some() && first.head.seq < head.left.unwrap_or(head.seq);
        self.ground == Ground::Untold && self.stale.is_none() && shows_less
    }

    /// Goes on from what the first load showed.
    pub(super) fn begin(&mut self, first: FirstLoad) {
        // The look's epoch is not the load's: a take-over between the two keeps the handle out.
        if self.ground == Ground::Untold {
            (self.head, self.epoch) = (None, None);
        }
        self.epoch = self.epoch.or(first.epoch);
        self.adopt(first.head);
        self.ground = Ground::Loaded;
        self.stale = first.stale;
    }

    /// What became of the last take-over is unknown, if its writer is still there: its commits may still
    /// arrive.
    pub(super) fn settle_take_over(&mut self) {
        if let Some(owner) = self.owner.take() {
            self.taking = owner.pending;
            self.taking.drop_states();
        }
    }

    /// After damage: the next commit is a keyframe, for what a delta would start from may be what is damaged.
    pub(super) fn forget_states(&mut self) {
        if let Some(head) = &mut self.head {
            head.base = None;
        }
        self.pending.forget_states();
    }

    /// Creates the commit behind the head. The head must be known.
    pub(super) async fn commit(&mut self, store: &Store, place: &Place, draft: Draft) -> Result<Commit> {
        store.check_writable()?;
        self.meet_owner(store, place).await;
        loop {
            let head = self.continued(place, &draft.options)?;
            let (packed, began) = prepare(store, place, head, self.epoch.unwrap_or(0), draft.clone()).await?;
            // Before it is there for everybody, too.
            if began.is_some_and(|began| store.fence.is_late(began.elapsed(&*store.clock))) {
                return Err(too_slow());
            }
            let Packed { manifest, object, body: _, base } = packed;
            let seq = manifest.seq;
            let stored = object.len() as u64 + manifest.body.map_or(0, |body| body.stored);
            let base = matches!(draft.content, Payload::State(_)).then_some(base);
            // Before it is sent: the future may be dropped while the answer is on its way.
            self.pending.remember(manifest.id, base.clone(), began);
            let at = Moment::now(&*store.clock);
            let outcome = self.create(store, place, &manifest, object).await?;
            let sent = Sent { manifest, base, stored, began, at };
            match outcome {
                Outcome::Mine(made) => return self.made(store, place, sent, made).await,
                Outcome::Earlier(commit, made, known) => {
                    let whole = draft.options.whole;
                    if self.made_before(store, place, &sent.manifest, whole, (&commit, &made), known).await? {
                        return Ok(*commit);
                    }
                    if matches!(draft.content, Payload::Stored { .. }) {
                        let message = "an earlier save of this handle arrived late; save again";
                        return Err(conflict(place, message));
                    }
                }
                Outcome::Rival(rival) => {
                    let message = rival.told();
                    tracing::warn!(session = place.logged(), commit = seq, "another writer was faster");
                    self.rival = Some(*rival);
                    return Err(self.lost(place, message));
                }
                Outcome::Gone => {
                    let message =
                        format!("commit {seq} was there already and was pruned; rebase or fork to go on");
                    return Err(self.lost(place, message));
                }
            }
        }
    }

    /// The commit is there: it becomes the head.
    async fn made(&mut self, store: &Store, place: &Place, sent: Sent, made: ObjectMeta) -> Result<Commit> {
        let Sent { manifest, base, stored, began, at } = sent;
        let at = at.with(&made, &*store.clock);
        let (seq, id) = (manifest.seq, manifest.id);
        if began.is_some_and(|began| store.fence.is_late(began.elapsed_until(&made, &*store.clock))) {
            // First, for nobody may wait for what follows.
            let error = self.too_late();
            let _ = withdraw(store, place, seq, manifest.body, &made.version).await;
            return Err(error);
        }
        self.confirm(store, place, (seq, id), &made, Some(&made.version)).await?;
        let (size, keyframe) = (manifest.size, manifest.is_keyframe());
        tracing::info!(
            session = place.logged(),
            commit = seq,
            size,
            stored_size = stored,
            keyframe,
            "committed"
        );
        self.adopt(head_of(&manifest, Some(at), base));
        Ok(Commit::new(manifest, place, stored))
    }

    /// An earlier commit of this handle is there: it becomes the head. Tells whether it is what is saved now
    /// (the caller tries again), and can be loaded.
    async fn made_before(
        &mut self,
        store: &Store,
        place: &Place,
        wanted: &Manifest,
        whole: bool,
        (commit, made): (&Commit, &ObjectMeta),
        known: Known,
    ) -> Result<bool> {
        let seq = wanted.seq;
        let mut again = (commit.digest, commit.table()) == (wanted.digest, wanted.values.clone())
            && notes_of(commit) == wanted.notes
            && (commit.keyframe || !whole);
        let Known { base, damaged, .. } = known.clone();
        if again {
            // Where this fails, or nobody waits for it, the next try must find it again.
            self.pending.put_back(known);
            again = commit.keyframe || !damaged || loads(store, place, seq).await?;
        }
        if again {
            self.confirm(store, place, (seq, commit.id), made, None).await?;
        }
        let Some(head) = &mut self.head else { return Ok(false) };
        (head.seq, head.id, head.base) = (seq, Some(commit.id), base);
        (head.ended, head.left) = (false, None);
        if self.ground == Ground::Untold {
            self.ground = Ground::Looked;
        }
        self.pending.clear();
        Ok(again)
    }

    /// The head, where a save with these options may continue it.
    pub(super) fn continued(&self, place: &Place, options: &CommitOptions) -> Result<&Head> {
        if let Some(why) = &self.stale {
            return Err(conflict(place, why));
        }
        let Some(head) = &self.head else { return Err(conflict(place, "it was not read yet")) };
        if let Some(expected) = options.expect.filter(|expected| !head.is(*expected)) {
            return Err(unexpected(place, expected, head));
        }
        self.check_owner(place)?;
        if head.seq >= MAX_SEQ {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the session has the most commits it can have; begin a new one",
            ));
        }
        Ok(head)
    }

    /// Fails where another handle has taken the session over.
    pub(super) fn check_owner(&self, place: &Place) -> Result<()> {
        match (self.owner_since(), &self.rival) {
            (None, _) => Ok(()),
            (Some(_), Some(owner @ Rival::TookOver(_))) => Err(conflict(place, owner.told())),
            (Some(epoch), _) => Err(conflict(place, taken_over(epoch, ""))),
        }
    }

    /// The epoch of the head, where that is another owner's.
    fn owner_since(&self) -> Option<u64> {
        let now = self.head.as_ref().map_or(0, |head| head.epoch);
        self.epoch.filter(|own| *own < now).map(|_| now)
    }

    /// Behind a rebase, the head is all that tells of a take-over: its commit becomes the rival. `None` stays
    /// where that cannot be read.
    pub(super) async fn meet_owner(&mut self, store: &Store, place: &Place) {
        if let (Some(_), None, Some(head)) = (self.owner_since(), &self.rival, &self.head)
            && let Ok((Described::Commit(manifest), meta)) =
                store.manifest(place, head.left.unwrap_or(head.seq)).await
        {
            self.rival = Some(Rival::TookOver(shown(*manifest, place, meta.size)));
        }
    }

    /// Sends the commit and finds out what became of it.
    async fn create(
        &mut self,
        store: &Store,
        place: &Place,
        own: &Manifest,
        object: Bytes,
    ) -> Result<Outcome> {
        let seq = own.seq;
        // A keyframe is a gzip file, unless its body is an object of its own.
        let media = if object.starts_with(&[31, 139]) { "application/gzip" } else { crate::options::OCTETS };
        let key = place.commit(seq)?;
        let options = PutOptions::new().create().content_type(media);
        let error = match store.put(&key, object.clone(), options.clone()).await {
            Ok(made) => return Ok(Outcome::Mine(made)),
            Err(error) => error,
        };
        let taken = error.kind() == ErrorKind::AlreadyExists;
        // Nothing to look for. An attempt before the one that was refused may have arrived all the same, so
        // the id stays known.
        if !taken && never_sent(error.kind()) {
            return Err(error);
        }
        let mut read = store.manifest(place, seq).await;
        if taken && read.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            match store.confirm_gone(&key).await {
                Ok(()) => return Ok(Outcome::Gone),
                Err(hidden) => read = Err(hidden),
            }
        }
        let (found, meta) = match read {
            // Where nothing is known, nothing may be said: the commit may still arrive.
            Err(lost) if !taken => {
                tracing::debug!(kind = %lost.kind(), session = place.logged(), "what became of a commit is unknown");
                return Err(error);
            }
            Err(damaged) if is_damage(damaged.kind()) => {
                let message =
                    format!("commit {seq} is already there and cannot be read; rebase or fork to go on");
                return Err(self.lost(place, message).with_source(damaged));
            }
            // It may be this one, or an earlier one of this handle, whose answer was lost.
            Err(unread) => {
                let message = format!("commit {seq} is there, but whose it is could not be read; save again");
                let error = Error::new(unread.kind(), message).with_retryable(unread.retryable());
                return Err(error.with_operation("save").with_source(unread));
            }
            Ok(found) => found,
        };
        let manifest = match found {
            Described::Commit(manifest) => *manifest,
            Described::Origin(origin) if origin.target.seq == 0 => {
                return Err(self.lost(place, "the session is being imported; rebase to go on".into()));
            }
            Described::Origin(origin) => {
                let message = format!(
                    "the session was created meanwhile, as a fork of {}; rebase to go on",
                    origin.source
                );
                return Err(self.lost(place, message));
            }
        };
        let found = manifest.id;
        // Processes that were cloned with their memory may draw the same id.
        let content = |of: &Manifest| (of.digest, of.parent, of.epoch);
        let another = found == own.id && content(&manifest) != content(own);
        // If this fails, the id stays known, and the next save finds the commit again.
        if self.pending.has(found)
            && !another
            && let Some(made) = store.put_again(error, &key, object, options).await?
        {
            return Ok(Outcome::Mine(made));
        }
        if found == own.id && !another {
            return Ok(Outcome::Mine(meta));
        }
        // Of an earlier one, the body may have been taken for garbage before its commit came.
        let began = self.pending.get(found).filter(|_| !another).and_then(|known| known.began);
        if began.is_some_and(|began| store.fence.is_late(began.elapsed_until(&meta, &*store.clock)))
            && withdraw(store, place, seq, manifest.body, &meta.version).await?
        {
            return Err(self.too_late());
        }
        let removed = manifest.is_removed();
        let commit = shown(manifest, place, meta.size);
        if let Some(known) = self.pending.take(found).filter(|_| !another) {
            return Ok(Outcome::Earlier(Box::new(commit), meta, known));
        }
        // A take-over of this handle's own, whose answer was lost or not waited for, lets it in again behind a
        // rebase.
        self.settle_take_over();
        let taken = self.epoch.is_some_and(|own| own < commit.epoch) && !self.taking.has(found);
        let rival = match (taken, removed) {
            (true, _) => Rival::TookOver(commit),
            (_, true) => Rival::Removed(commit),
            _ => Rival::Faster(commit),
        };
        Ok(Outcome::Rival(Box::new(rival)))
    }

    fn too_late(&mut self) -> Error {
        let error = too_slow();
        self.stale = Some(error.message().to_owned());
        error
    }

    pub(super) fn lost(&mut self, place: &Place, message: String) -> Error {
        let error = conflict(place, &message);
        self.stale = Some(message);
        error
    }
}
