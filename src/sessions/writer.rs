//! The one way in which a session's line grows: create the next commit, and know for certain what became of it.
//!
//! # What a handle knows
//! [`Writer`] is the state of one handle, with the [`Head`] that its next commit follows. A save goes through `follow`, `make_sure` and `commit`.
//!
//! | field | set by | cleared by | the next save |
//! |---|---|---|---|
//! | `head` | the first load (beside a clone that has the writer: behind its call, if that set none) or save, `rebase`, `take_over`, `load_with_fallback`, `remove`, a met `after(n)`; its own commits | a fork or an import into the session, where it saw no commit | without one, looks for the newest; else creates `head.seq + 1` |
//! | `head.observed` | a look that found it the newest; its own create | a load by number, tag, id or time: `None` | if `None` or half a window ago, looks again before it tells of success |
//! | `head.base` | a load or save that had the whole state | damage that a read met, a long stream, a removal | a delta on it; without one, a keyframe |
//! | `head.left` | a newest commit that was lost, and that a prune has seen | the next commit | goes behind the lost number; `after(left)` is met |
//! | `head.not_before` | damage: the newest id that can be read | the next commit | has no parent, and no older id |
//! | `head.ended` | the marker of a removal | the next commit | begins anew; `first()` is met |
//! | `unsure` | `head` from a load or a fallback: it may lie in front of a loss, or in half an import | `make_sure`, any look | `make_sure` asks `line`, behind a load by number the newest as well |
//! | `untold` | a first save's own look | whatever else sets `head`; an own commit that it finds | none; a load of the latest that shows less takes the head's place |
//! | `stale` | a rival, a prune, a fallback from a number, a fork's past | whatever sets `head` | is a `Conflict` that says so |
//! | `rival` | the commit that was there first | whatever sets `head` | none: `Session::rival` shows it |
//! | `rebasing` | a `rebase` that met damage | whatever sets `head` | none: lets `load_with_fallback` set `head` where there is one |
//! | `pending` | each create, before it is sent | another head, the answer to a later save | an id of these under the number is its own, and no rival's |
//! | `epoch` | the first head, its own take-over | never | is a `Conflict` if the head's is newer |
//! | `owner` | a `take_over` under way: a writer of its own, for the new epoch | its end; if that was given up, the next `adopt`, into `taking` | none |
//! | `taking` | what may still arrive of take-overs | a take-over that succeeded | a head of these is its own: its epoch becomes the handle's |

use std::fmt;

use bytes::Bytes;

use super::{
    Commit, CommitId,
    clock::Moment,
    commit::{CommitOptions, notes_of},
    head::{Base, FirstLoad, Head, unexpected},
    log::shown,
    manifest::{BodyRef, Manifest},
    names::{MAX_SEQ, Place},
    object,
    pack::{Form, Packed, pack},
    pending::{Known, Pending},
    store::{Described, Part, Slot, Store},
};
use crate::{Body, Digest, Error, ErrorKind, ObjectMeta, PutOptions, Result, Version, threads};

/// States up to this are packed without a thread of their own.
const SMALL: usize = 64 << 10;

/// What one handle knows of its session.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// `None` before the first look.
    pub(super) head: Option<Head>,
    /// The owner's number that this handle writes under, once it has looked.
    pub(super) epoch: Option<u64>,
    /// Why it may not write until it is rebased.
    pub(super) stale: Option<String>,
    /// Own commits behind the head whose answer was lost.
    pub(super) pending: Pending,
    /// The same of take-overs, whose commits other writers may have found since.
    pub(super) taking: Pending,
    /// The writer of a take-over under way. It stays where the call was given up.
    pub(super) owner: Option<Box<Writer>>,
    /// A rebase met damage: what a fallback finds then is what saves continue.
    pub(super) rebasing: bool,
    /// The head is what a load saw, which does not ask whether it is the newest that there should be.
    pub(super) unsure: bool,
    /// The head is what a first save has found by itself: no call has told of it.
    pub(super) untold: bool,
    /// The rival of the last conflict.
    pub(super) rival: Option<Commit>,
}

/// A state on its way into a commit.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) content: Payload,
    pub(super) values: Vec<(String, u64)>,
    pub(super) ids: Option<(String, String)>,
    pub(super) options: CommitOptions,
}

#[derive(Debug, Clone)]
pub(super) enum Payload {
    State(Bytes),
    /// A long stream that was stored already, under the number that the commit must get.
    Stored {
        seq: u64,
        id: CommitId,
        digest: Digest,
        size: u64,
        stored: u64,
        began: Moment,
    },
}

/// The answer to a create.
enum Outcome {
    Mine(Version),
    /// An earlier commit of this handle, whose answer was lost.
    Earlier(Box<Commit>, Known),
    Rival(Box<Commit>),
    Gone,
}

/// A conflict that says of which session: a runtime has many.
pub(super) fn conflict(place: &Place, message: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Conflict, format!("{place}: {message}")).with_operation("save")
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
        (self.unsure, self.untold) = (false, false);
    }

    /// Whether saves continue what this first load shows: nothing is known yet, or nobody was told of what is, and the latest showed less.
    pub(super) fn takes(&self, first: &FirstLoad) -> bool {
        let Some(head) = &self.head else { return true };
        let shows_less = first.head.observed.is_some() && first.head.seq < head.left.unwrap_or(head.seq);
        self.untold && self.stale.is_none() && shows_less
    }

    /// Goes on from what the first load showed.
    pub(super) fn begin(&mut self, first: FirstLoad) {
        // The look's epoch is not the load's: a take-over between the two keeps the handle out.
        if self.untold {
            (self.head, self.epoch) = (None, None);
        }
        self.epoch = self.epoch.or(first.epoch);
        self.adopt(first.head);
        self.unsure = true;
        self.stale = first.stale;
    }

    /// What became of the last take-over is unknown, if its writer is still there: its commits may still arrive.
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
        store.may_write()?;
        loop {
            if let Some(why) = &self.stale {
                return Err(conflict(place, why));
            }
            let Some(head) = &self.head else { return Err(conflict(place, "it was not read yet")) };
            self.may_write(place, head, &draft.options)?;
            let (packed, began) = prepare(store, place, head, self.epoch.unwrap_or(0), draft.clone()).await?;
            // Before it is there for everybody, too.
            if store.fence.is_late(began, store) {
                return Err(too_slow());
            }
            let Packed { manifest, object, body: _, base } = packed;
            let (seq, id) = (manifest.seq, manifest.id);
            let stored = object.len() as u64 + manifest.body.map_or(0, |body| body.stored);
            let base = matches!(draft.content, Payload::State(_)).then_some(base);
            // Before it is sent: the future may be dropped while the answer is on its way.
            self.pending.remember(id, base.clone(), began);
            let sent = Moment::now(&*store.clock);
            match self.create(store, place, &manifest, object).await? {
                Outcome::Mine(version) => {
                    if store.fence.is_late(began, store) {
                        // First, for nobody may wait for what follows.
                        let error = self.too_late();
                        let _ = withdraw(store, place, seq, manifest.body, &version).await;
                        return Err(error);
                    }
                    self.confirm(store, place, (seq, id), Some(version)).await?;
                    let (epoch, size, keyframe) = (manifest.epoch, manifest.size, manifest.is_keyframe());
                    let ended = manifest.is_removed();
                    tracing::info!(
                        session = place.logged(),
                        commit = seq,
                        size,
                        stored_size = stored,
                        keyframe,
                        "committed"
                    );
                    self.adopt(Head {
                        seq,
                        id: Some(id),
                        not_before: None,
                        left: None,
                        epoch,
                        ended,
                        observed: Some(sent),
                        base,
                    });
                    return Ok(Commit::new(manifest, place, stored));
                }
                Outcome::Earlier(commit, known) => {
                    // The caller tries again what was saved after all, and can be loaded.
                    let mut again = (commit.digest, commit.table())
                        == (manifest.digest, manifest.values.clone())
                        && notes_of(&commit) == manifest.notes;
                    let Known { base, damaged, .. } = known.clone();
                    if again {
                        // Where this fails, or nobody waits for it, the next try must find it again.
                        self.pending.put_back(known);
                        again = commit.keyframe || !damaged || loads(store, place, seq).await?;
                    }
                    if again {
                        self.confirm(store, place, (seq, commit.id), None).await?;
                    }
                    let Some(head) = &mut self.head else { continue };
                    (head.seq, head.id, head.base) = (seq, Some(commit.id), base);
                    (head.ended, head.left) = (false, None);
                    self.untold = false;
                    self.pending.clear();
                    if again {
                        return Ok(*commit);
                    }
                    if matches!(draft.content, Payload::Stored { .. }) {
                        let message = "an earlier save of this handle arrived late; save again";
                        return Err(conflict(place, message));
                    }
                }
                Outcome::Rival(rival) => {
                    let message = format!("{} is already there; rebase or fork to go on", rival.told());
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

    /// Fails where the head is not one that may be continued.
    pub(super) fn may_write(&self, place: &Place, head: &Head, options: &CommitOptions) -> Result<()> {
        if let Some(expected) = options.expect.filter(|expected| !head.is(*expected)) {
            return Err(unexpected(place, expected, head));
        }
        self.is_let_in(place)?;
        if head.seq >= MAX_SEQ {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the session has the most commits it can have; fork it",
            ));
        }
        Ok(())
    }

    /// Fails where another handle has taken the session over.
    pub(super) fn is_let_in(&self, place: &Place) -> Result<()> {
        let now = self.head.as_ref().map_or(0, |head| head.epoch);
        match self.epoch.filter(|epoch| *epoch < now) {
            None => Ok(()),
            Some(epoch) => Err(conflict(
                place,
                format_args!(
                    "this writer's epoch is {epoch}, the session was taken over in epoch {now}; take over or fork"
                ),
            )),
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
        let media =
            if object.starts_with(&[31, 139]) { "application/gzip" } else { "application/octet-stream" };
        let key = place.commit(seq)?;
        let options = PutOptions::new().create().content_type(media);
        let error = match store.put(&key, object.clone(), options.clone()).await {
            Ok(ObjectMeta { version, .. }) => return Ok(Outcome::Mine(version)),
            Err(error) => error,
        };
        let taken = error.kind() == ErrorKind::AlreadyExists;
        // Nothing to look for. An attempt before the one that was refused may have arrived all the same, so the id stays known.
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
            return Ok(Outcome::Mine(made.version));
        }
        if found == own.id && !another {
            return Ok(Outcome::Mine(meta.version));
        }
        // Of an earlier one, the body may have been taken for garbage before its commit came.
        let began = self.pending.get(found).filter(|_| !another).and_then(|known| known.began);
        if store.fence.is_late(began, store)
            && withdraw(store, place, seq, manifest.body, &meta.version).await?
        {
            return Err(self.too_late());
        }
        let commit = Box::new(shown(manifest, place, meta.size));
        Ok(match self.pending.take(found).filter(|_| !another) {
            Some(known) => Outcome::Earlier(commit, known),
            None => Outcome::Rival(commit),
        })
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

fn too_slow() -> Error {
    let message = "the body took so long that a prune may have taken it for garbage; save again with a longer fence window";
    Error::new(ErrorKind::Timeout, message).with_operation("save").with_retryable(false)
}

/// Takes a commit back whose body is gone: nobody can read it. Where the body is there, others may have built on the commit. Tells which it was.
///
/// # Errors
/// Where that cannot be told, what the adapter fails with.
async fn withdraw(
    store: &Store,
    place: &Place,
    seq: u64,
    body: Option<BodyRef>,
    version: &Version,
) -> Result<bool> {
    let Some(body) = body else { return Ok(false) };
    let body = place.body(seq, body.id)?;
    match store.adapter.head(&body).await {
        Err(error) if error.kind() == ErrorKind::NotFound => store.confirm_gone(&body).await?,
        there => return there.map(|_| false),
    }
    if let Err(error) = store.delete_version(&place.commit(seq)?, version).await {
        tracing::debug!(kind = %error.kind(), session = place.logged(), "a commit without its body stays");
    }
    Ok(true)
}

/// Whether the commit is there, and whole.
async fn loads(store: &Store, place: &Place, seq: u64) -> Result<bool> {
    let restored = match store.slot(place, seq, Part::Whole).await {
        Ok((Slot::Commit(bytes), _)) => store.restore(place, seq, bytes).await,
        Ok((Slot::Origin(_), _)) => return Ok(false),
        Err(error) => Err(error),
    };
    match restored {
        Ok(_) => Ok(true),
        Err(error) if is_damage(error.kind()) || error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.with_operation("save")),
    }
}

/// Whether an error of this kind proves that nothing was stored, nor will be.
pub(super) fn never_sent(kind: ErrorKind) -> bool {
    use ErrorKind::{AccessDenied, InvalidConfig, InvalidInput, NotFound, Unauthenticated, Unsupported};
    matches!(kind, AccessDenied | InvalidConfig | InvalidInput | NotFound | Unauthenticated | Unsupported)
}

/// Whether an error of this kind says that an object was read and is not what it should be.
fn is_damage(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Corrupt | ErrorKind::Unsupported | ErrorKind::InvalidInput)
}

/// Packs the draft, and stores its body where that is an object of its own. Also gives when the body began.
async fn prepare(
    store: &Store,
    place: &Place,
    head: &Head,
    epoch: u64,
    draft: Draft,
) -> Result<(Packed, Option<Moment>)> {
    let before = head.id.or(head.not_before);
    let ahead = before.and_then(|id| id.time().duration_since(store.clock.now()).ok()).unwrap_or_default();
    if ahead > store.fence.window() {
        let (session, commit, ahead) = (place.logged(), head.seq, ahead.as_secs());
        tracing::warn!(
            session,
            commit,
            ahead,
            "the commit before is from the future: a writer's clock was ahead, or this one is behind"
        );
    }
    let mut manifest = Manifest {
        seq: head.seq + 1,
        id: store.new_id(before),
        parent: head.id,
        depth: 0,
        base: None,
        digest: Digest::from([0; 32]),
        size: 0,
        epoch,
        writer: store.writer.clone(),
        notes: draft.options.notes,
        values: draft.values,
        body: None,
        lines: Vec::new(),
        ids: draft.ids,
    };
    let state = match draft.content {
        Payload::State(state) => state,
        Payload::Stored { seq, id, digest, size, stored, began } => {
            if seq != manifest.seq {
                return Err(conflict(place, "the session went on while the stream was stored; save again"));
            }
            (manifest.digest, manifest.size, manifest.body) = (digest, size, Some(BodyRef { id, stored }));
            let object = Bytes::from(object::other(&manifest, &[]));
            let base =
                Base { state: Bytes::new(), chain: Default::default(), measured: (0, 0), lines: Vec::new() };
            return Ok((Packed { manifest, object, body: None, base }, Some(began)));
        }
    };
    let form = Form { level: store.level, inline_limit: store.inline_limit };
    let head = head.clone();
    let small = state.len() < SMALL;
    let work = move || {
        (manifest.digest, manifest.size) = (Digest::of(&state), state.len() as u64);
        pack(manifest, &head, state, form)
    };
    let mut packed = if small { work()? } else { threads::run(work).await? };
    let Some(body) = packed.body.take() else { return Ok((packed, None)) };
    let began = Moment::now(&*store.clock);
    let key = place.body(packed.manifest.seq, packed.manifest.id)?;
    store.adapter.put(&key, Body::from(body), PutOptions::new()).await?;
    Ok((packed, Some(began)))
}
