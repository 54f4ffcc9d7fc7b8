//! The one way in which a session's line grows: create the next commit, and know for certain what became of it.

use std::time::Duration;

use bytes::Bytes;

use super::{
    Commit, CommitId,
    clock::Moment,
    commit::{CommitOptions, notes_of},
    head::{Base, Head},
    log::shown,
    manifest::{BodyRef, Line, Manifest},
    names::{MAX_SEQ, Place},
    object,
    pack::{Form, Packed, pack},
    store::{Part, Slot, Store},
};
use crate::{Body, Digest, Error, ErrorKind, ObjectMeta, PutOptions, Result, Version, threads};

/// Own commits whose fate is unknown and whose states are remembered, so that a delta can go on from them.
const MAX_PENDING_STATES: usize = 4;
/// A body without a commit is garbage after so many fence windows.
pub(super) const BODY_WINDOWS: u32 = 24;
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
    pending: Vec<(CommitId, Option<Base>)>,
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
    Mine(Option<Version>),
    /// An earlier commit of this handle, whose answer was lost.
    Earlier(Box<Commit>, Option<Base>),
    Rival(Box<Commit>),
    Gone,
}

pub(super) fn conflict(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Conflict, message).with_operation("save")
}

impl Writer {
    /// Makes this the head that the next commit follows.
    pub(super) fn adopt(&mut self, head: Head) {
        self.epoch.get_or_insert(head.epoch);
        (self.head, self.stale, self.rival) = (Some(head), None, None);
        self.pending.clear();
    }

    /// Creates the commit behind the head. The head must be known.
    pub(super) async fn commit(&mut self, store: &Store, place: &Place, draft: Draft) -> Result<Commit> {
        loop {
            if let Some(why) = &self.stale {
                return Err(conflict(why.clone()));
            }
            let Some(head) = &self.head else { return Err(conflict("the session was not read yet")) };
            self.may_write(head, &draft.options)?;
            let (packed, began) = prepare(store, place, head, self.epoch.unwrap_or(0), draft.clone()).await?;
            let Packed { manifest, object, body: _, base } = packed;
            let (seq, id) = (manifest.seq, manifest.id);
            let stored = object.len() as u64 + manifest.body.map_or(0, |body| body.stored);
            let base = matches!(draft.content, Payload::State(_)).then_some(base);
            // Before it is sent: the future may be dropped while the answer is on its way.
            // Every id is kept: any of them may have arrived, the first one most likely.
            self.pending.insert(0, (id, base.clone()));
            if let Some((_, base)) = self.pending.get_mut(MAX_PENDING_STATES) {
                *base = None;
            }
            let sent = Moment::now(&*store.clock);
            match self.create(store, place, seq, id, object).await? {
                Outcome::Mine(version) => {
                    self.confirm(store, place, seq, version).await?;
                    if began.is_some_and(|began| began.elapsed(&*store.clock) > body_time(store)) {
                        return Err(self.too_slow());
                    }
                    let (epoch, size, keyframe) = (manifest.epoch, manifest.size, manifest.number == 0);
                    tracing::info!(
                        session = place.logged(),
                        commit = seq,
                        size,
                        stored_size = stored,
                        keyframe,
                        "committed"
                    );
                    self.adopt(Head { seq, id: Some(id), epoch, observed: Some(sent), base });
                    return Ok(Commit::new(manifest, place, stored));
                }
                Outcome::Earlier(commit, base) => {
                    let Some(head) = &mut self.head else { continue };
                    (head.seq, head.id, head.base) = (seq, Some(commit.id), base);
                    self.pending.clear();
                    // The caller tries again what was saved after all.
                    if (commit.digest, commit.table()) == (manifest.digest, manifest.values.clone())
                        && notes_of(&commit) == manifest.notes
                    {
                        self.confirm(store, place, seq, None).await?;
                        return Ok(*commit);
                    }
                    if matches!(draft.content, Payload::Stored { .. }) {
                        return Err(conflict("an earlier save of this handle arrived late; save again"));
                    }
                }
                Outcome::Rival(rival) => {
                    let message = format!("{} is already there; rebase or fork to go on", rival.told());
                    tracing::warn!(session = place.logged(), commit = seq, "another writer was faster");
                    self.rival = Some(*rival);
                    return Err(self.lost(message));
                }
                Outcome::Gone => {
                    let message =
                        format!("commit {seq} was there already and was pruned; rebase or fork to go on");
                    return Err(self.lost(message));
                }
            }
        }
    }

    /// Fails where the head is not one that may be continued.
    pub(super) fn may_write(&self, head: &Head, options: &CommitOptions) -> Result<()> {
        if options.expect.is_some_and(|expected| expected != head.seq) {
            let (expected, seq) = (options.expect.unwrap_or(0), head.seq);
            return Err(conflict(format!(
                "commit {expected} was expected to be the newest, it is {seq}; load it, then save"
            )));
        }
        if let Some(epoch) = self.epoch.filter(|epoch| *epoch < head.epoch) {
            let now = head.epoch;
            let message = format!(
                "this writer's epoch is {epoch}, the session was taken over in epoch {now}; take over or fork"
            );
            return Err(conflict(message));
        }
        if head.seq >= MAX_SEQ {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the session has the most commits it can have; fork it",
            ));
        }
        Ok(())
    }

    /// Sends the commit and finds out what became of it.
    async fn create(
        &mut self,
        store: &Store,
        place: &Place,
        seq: u64,
        id: CommitId,
        object: Bytes,
    ) -> Result<Outcome> {
        // A keyframe is a gzip file, unless its body is an object of its own.
        let media =
            if object.starts_with(&[31, 139]) { "application/gzip" } else { "application/octet-stream" };
        let key = place.commit(seq)?;
        let error = match store.create(&key, object, media).await {
            Ok(ObjectMeta { version, .. }) => return Ok(Outcome::Mine(Some(version))),
            Err(error) => error,
        };
        let taken = error.kind() == ErrorKind::AlreadyExists;
        if !taken && never_sent(error.kind()) {
            self.pending.retain(|(of, _)| *of != id);
            return Err(error);
        }
        let (found, meta) = match store.slot(place, seq, Part::End).await {
            // Where nothing is known, nothing may be said: the commit may still arrive.
            Err(lost) if !taken => {
                tracing::debug!(error = %lost, "what became of a commit is unknown");
                return Err(error);
            }
            Err(gone) if gone.kind() == ErrorKind::NotFound => return Ok(Outcome::Gone),
            Err(unreadable) => {
                let message =
                    format!("commit {seq} is already there and cannot be read; rebase or fork to go on");
                return Err(self.lost(message).with_source(unreadable));
            }
            Ok(slot) => slot,
        };
        let bytes = match found {
            Slot::Commit(bytes) => bytes,
            Slot::Origin(origin) if origin.target.seq == 0 => {
                return Err(self.lost("the session is being imported; rebase to go on".into()));
            }
            Slot::Origin(origin) => {
                let message = format!(
                    "the session was created meanwhile, as a fork of {}; rebase to go on",
                    origin.source
                );
                return Err(self.lost(message));
            }
        };
        let total = meta.size;
        let Some(manifest) = object::manifest(&bytes, total, seq).map_err(|error| error.with_key(&key))?
        else {
            return Err(self.lost(format!("commit {seq} is already there; rebase or fork to go on")));
        };
        if manifest.id == id {
            return Ok(Outcome::Mine(None));
        }
        if let Some(at) = self.pending.iter().position(|(of, _)| *of == manifest.id) {
            let (_, base) = self.pending.swap_remove(at);
            return Ok(Outcome::Earlier(Box::new(shown(manifest, place, total)), base));
        }
        Ok(Outcome::Rival(Box::new(shown(manifest, place, total))))
    }

    /// A writer that last looked long ago may have created a commit that others made and pruned since: then it is not on the line.
    async fn confirm(
        &mut self,
        store: &Store,
        place: &Place,
        seq: u64,
        version: Option<Version>,
    ) -> Result<()> {
        let observed = self.head.as_ref().and_then(|head| head.observed);
        let age = observed.map_or(Duration::MAX, |observed| observed.elapsed(&*store.clock));
        if age <= store.fence_window / 2 {
            return Ok(());
        }
        let (line, _) = store.line(place).await?;
        if line.has(seq) {
            return Ok(());
        }
        if let Some(version) = version {
            // Nobody reads what is not on the line; if this fails, the next prune removes it.
            let _ = store.delete_version(&place.commit(seq)?, &version).await;
        }
        let message =
            format!("commit {seq} was made by another writer and pruned since; rebase or fork to go on");
        Err(self.lost(message))
    }

    fn lost(&mut self, message: String) -> Error {
        self.stale = Some(message.clone());
        conflict(message)
    }

    fn too_slow(&mut self) -> Error {
        let message = "the body took so long that a prune may have taken it for garbage; save again with a longer fence window";
        self.stale = Some(message.into());
        Error::new(ErrorKind::Timeout, message).with_operation("save").with_retryable(false)
    }
}

/// How long after its start a body may get its commit.
pub(super) fn body_time(store: &Store) -> Duration {
    store.fence_window * BODY_WINDOWS / 2
}

/// Whether an error of this kind proves that nothing was stored, nor will be.
fn never_sent(kind: ErrorKind) -> bool {
    use ErrorKind::{AccessDenied, InvalidConfig, InvalidInput, NotFound, Unauthenticated, Unsupported};
    matches!(kind, AccessDenied | InvalidConfig | InvalidInput | NotFound | Unauthenticated | Unsupported)
}

/// Packs the draft, and stores its body where that is an object of its own. Also gives when the body began.
async fn prepare(
    store: &Store,
    place: &Place,
    head: &Head,
    epoch: u64,
    draft: Draft,
) -> Result<(Packed, Option<Moment>)> {
    let mut manifest = Manifest {
        seq: head.seq + 1,
        id: store.new_id(head.id),
        parent: head.id,
        number: 0,
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
                return Err(conflict("the session went on while the stream was stored; save again"));
            }
            (manifest.digest, manifest.size, manifest.body) = (digest, size, Some(BodyRef { id, stored }));
            let object = Bytes::from(object::other(&manifest, &[]));
            let base =
                Base { state: Bytes::new(), chain: Default::default(), measured: (0, 0), lines: Vec::new() };
            return Ok((Packed { manifest, object, body: None, base }, Some(began)));
        }
    };
    let form = Form { level: store.level, inline: store.inline };
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

/// The head of a session, from its newest commit; `base` where its state was read.
pub(super) fn head_of(manifest: &Manifest, observed: Option<Moment>, base: Option<Base>) -> Head {
    Head { seq: manifest.seq, id: Some(manifest.id), epoch: manifest.epoch, observed, base }
}

/// The same for a fork's first commit, whose base lies where it was forked.
pub(super) fn forked(mut base: Base, seq: u64, source: Place) -> Base {
    base.lines.insert(0, Line { upto: seq, place: source });
    base
}
