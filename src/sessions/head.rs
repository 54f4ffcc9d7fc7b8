//! What a writer remembers of the commit that it continues: enough to write the next one without reading
//! anything.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use super::{
    CommitId,
    clock::Moment,
    delta::{Copies, base_of},
    manifest::{Line, Manifest},
    names::Place,
};
use crate::{Error, ErrorKind};

/// The commit that the next one follows.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    /// 0 before the first commit.
    pub(super) seq: u64,
    /// `None` before the first commit, and where the newest is damaged.
    pub(super) id: Option<CommitId>,
    /// What the next commit is not older than, where the head has no id.
    pub(super) not_before: Option<CommitId>,
    /// The number of the newest commit as loads show it, where newer ones were lost.
    pub(super) left: Option<u64>,
    pub(super) epoch: u64,
    /// Whether the session was removed with it: to callers there is no commit then.
    pub(super) ended: bool,
    /// When it was certainly the newest; `None` if that was never seen.
    pub(super) observed: Option<Moment>,
    /// What a delta can start from; `None` makes the next commit a keyframe.
    pub(super) base: Option<Base>,
}

/// What the first load of a handle showed: its saves continue that.
#[derive(Debug)]
pub(super) struct FirstLoad {
    pub(super) head: Head,
    /// Where it is not the head's.
    pub(super) epoch: Option<u64>,
    /// Why it cannot be continued.
    pub(super) stale: Option<String>,
}

impl FirstLoad {
    /// Whether it may show another commit than the newest, for that was asked for.
    pub(super) fn is_named(&self) -> bool {
        self.head.observed.is_none()
    }
}

/// The head's state, and how it came from the states that the next deltas start from.
#[derive(Debug, Clone)]
pub(super) struct Base {
    pub(super) state: Bytes,
    /// The commits that the state is made of, the head first, the keyframe last.
    pub(super) chain: VecDeque<Link>,
    /// Size and stored size of the keyframe that was measured last.
    pub(super) measured: (u64, u64),
    /// Which of them lie in another session.
    pub(super) lines: Vec<Line>,
}

/// A commit of a chain.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) seq: u64,
    pub(super) id: CommitId,
    pub(super) stored: u64,
    /// 2 where its body is an object of its own.
    pub(super) objects: usize,
    /// Which of its bytes are bytes of its base, the next link. Empty for the keyframe. Shared: each save
    /// copies the chain more than once.
    pub(super) copies: Arc<Copies>,
}

/// The delta that comes next.
#[derive(Debug)]
pub(super) struct NextDelta {
    /// How many links are passed over.
    pub(super) passed: usize,
    /// Steps behind the keyframe.
    pub(super) depth: u64,
    pub(super) base: CommitId,
    /// Which bytes of the new state are bytes of the base.
    pub(super) copies: Copies,
}

impl Head {
    /// Of a session without a commit.
    pub(super) fn none(observed: Moment) -> Self {
        Head { observed: Some(observed), ..Head::default() }
    }

    /// The number of the newest commit as callers see it: 0 where there is none.
    pub(super) fn shown(&self) -> u64 {
        self.left.unwrap_or(if self.ended { 0 } else { self.seq })
    }

    /// Whether this is what a caller means by the number of the newest commit.
    pub(super) fn is(&self, seq: u64) -> bool {
        seq == self.shown() || seq == self.seq
    }

    /// Whether both are behind the same commit. What is damaged does not tell which one it is.
    pub(super) fn is_same(&self, other: &Head) -> bool {
        self.seq == other.seq && (self.id == other.id || self.id.is_none() || other.id.is_none())
    }

    /// Where the newest commit is damaged: what comes next is a keyframe and has no parent. `not_before` is
    /// the newest that tells its id.
    pub(super) fn behind_damage(
        seq: u64,
        epoch: u64,
        not_before: Option<CommitId>,
        observed: Moment,
    ) -> Self {
        Head { seq, epoch, not_before, ..Head::none(observed) }
    }
}

impl Base {
    /// The delta to `state`, from the base that the format prescribes ([`base_of`]); `None` where a keyframe
    /// must be written.
    pub(super) fn step(&self, state: &[u8]) -> Option<NextDelta> {
        let (head, keyframe) = (self.chain.front()?.seq, self.chain.back()?.seq);
        let depth = head + 1 - keyframe;
        let wanted = keyframe + base_of(depth)?;
        let passed = self.chain.iter().position(|link| link.seq == wanted)?;
        let last = Copies::find(&self.state, state);
        let copies = self.chain.iter().take(passed).fold(last, |copies, link| link.copies.then(&copies));
        Some(NextDelta { passed, depth, base: self.chain[passed].id, copies })
    }

    /// Stored bytes of all objects that the state behind `passed` links needs.
    pub(super) fn stored(&self, passed: usize) -> u64 {
        self.chain.iter().skip(passed).map(|link| link.stored).sum()
    }

    /// How many objects these are.
    pub(super) fn objects(&self, passed: usize) -> usize {
        self.chain.iter().skip(passed).map(|link| link.objects).sum()
    }

    /// The size that a keyframe of `size` bytes would have, in proportion to the one that was measured.
    pub(super) fn estimate(&self, size: u64) -> u64 {
        let (raw, stored) = self.measured;
        (u128::from(size) * u128::from(stored) / u128::from(raw.max(1))).try_into().unwrap_or(u64::MAX)
    }
}

/// The head of a session, from its newest commit; `base` where its state was read.
pub(super) fn head_of(manifest: &Manifest, observed: Option<Moment>, base: Option<Base>) -> Head {
    let (seq, id, epoch, ended) = (manifest.seq, Some(manifest.id), manifest.epoch, manifest.is_removed());
    Head { seq, id, not_before: None, left: None, epoch, ended, observed, base }
}

/// The base of a fork's first commit, which lies where it was forked.
pub(super) fn forked(mut base: Base, seq: u64, source: Place) -> Base {
    base.lines.insert(0, Line { upto: seq, place: source });
    base
}

/// The error where another commit is the newest than the caller expects.
pub(super) fn unexpected(place: &Place, expected: u64, newest: &Head) -> Error {
    let message = match (expected, newest.shown()) {
        (0, newest) => format!("{place} was expected to be new, it has commit {newest}; rebase to go on"),
        (_, 0) => format!("commit {expected} was expected to be the newest of {place}, which has none"),
        (_, newest) => {
            format!("{place} has commit {newest} as its newest, not {expected}; rebase to go on")
        }
    };
    Error::new(ErrorKind::Conflict, message).with_operation("save")
}
