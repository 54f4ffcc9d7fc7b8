//! The small objects of a session: tags, forks, and the origin of a fork. As bytes and back.

use super::{
    CommitId,
    names::{MAX_SEQ, Place},
    wire::{Input, corrupt, newer, put_id, put_number, put_text, seal, unseal},
};
use crate::Result;

const MARK: &[u8] = b"PSR";
const VERSION: u8 = 1;

/// What a small object is, its fifth byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tag = b't' as isize,
    Fork = b'f' as isize,
    Origin = b'o' as isize,
    Line = b'l' as isize,
}

/// A commit, by number and id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) seq: u64,
    pub(super) id: CommitId,
}

/// A small object around `content`.
pub(super) fn wrap(kind: Kind, content: &[u8]) -> Vec<u8> {
    let mut out = [MARK, &[VERSION, kind as u8], content].concat();
    seal(&mut out);
    out
}

/// The content of a small object.
///
/// # Errors
/// `Corrupt` for damage and for another kind, `Unsupported` for a newer version.
pub(super) fn unwrap(kind: Kind, bytes: &[u8]) -> Result<Input<'_>> {
    let mut input = Input(unseal(bytes)?);
    if input.take(3)? != MARK {
        return Err(corrupt("it is not what its key says"));
    }
    match input.byte()? {
        VERSION => {}
        other => return Err(newer(format_args!("version {other} of a session's small objects"))),
    }
    if input.byte()? != kind as u8 {
        return Err(corrupt("it is not what its key says"));
    }
    Ok(input)
}

/// Whether these are the bytes of an origin, damaged or not, and not of a commit.
pub(super) fn is_small(bytes: &[u8]) -> bool {
    bytes.starts_with(MARK)
}

fn put_target(out: &mut Vec<u8>, target: Target) {
    put_number(out, target.seq);
    put_id(out, target.id);
}

fn target(input: &mut Input<'_>) -> Result<Target> {
    match (input.number()?, input.id()?) {
        (seq, id) if seq <= MAX_SEQ => Ok(Target { seq, id }),
        (seq, _) => Err(corrupt(format_args!("it names commit {seq}, which cannot be"))),
    }
}

/// A name for a commit, which it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TagRef {
    pub(super) target: Target,
    pub(super) name: String,
}

impl TagRef {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_target(&mut out, self.target);
        put_text(&mut out, &self.name);
        wrap(Kind::Tag, &out)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut input = unwrap(Kind::Tag, bytes)?;
        let tag = TagRef { target: target(&mut input)?, name: input.text()? };
        input.end()?;
        Ok(tag)
    }
}

/// In a session that was forked: which commit the fork needs, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ForkRef {
    pub(super) target: Target,
    pub(super) fork: Place,
}

impl ForkRef {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_target(&mut out, self.target);
        put_text(&mut out, &self.fork.agent);
        put_text(&mut out, &self.fork.session);
        wrap(Kind::Fork, &out)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut input = unwrap(Kind::Fork, bytes)?;
        let target = target(&mut input)?;
        let fork = ForkRef { target, fork: Place::from_segments(input.text()?, input.text()?) };
        input.end()?;
        Ok(fork)
    }
}

/// In place of a fork's first commit: where it comes from. Of an import's first and newest commit: that there
/// is more to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// The id of the fork, and of its `f/` object in the session that it comes from.
    pub(super) id: CommitId,
    pub(super) target: Target,
    pub(super) source: Place,
    /// Agent and session of the fork itself, where the key does not give them back.
    pub(super) ids: Option<(String, String)>,
}

impl Origin {
    /// What keeps the first and the newest number of an import: an origin of nothing. It says whose they are
    /// by the id that comes first in the archive, and what the newest number is.
    pub(super) fn of_import(
        first: CommitId,
        upto: u64,
        place: &Place,
        ids: Option<(String, String)>,
    ) -> Self {
        let nothing = Target { seq: 0, id: CommitId::from_bytes(u128::from(upto).to_be_bytes()) };
        Origin { id: first, target: nothing, source: place.clone(), ids }
    }

    /// The newest number of an import.
    pub(super) fn imports(&self) -> Option<u64> {
        let upto = u128::from_be_bytes(self.target.id.to_bytes());
        (self.target.seq == 0).then(|| upto.clamp(1, u128::from(MAX_SEQ)) as u64)
    }

    /// The number that the fork in `fork` starts from, where what was forked from that in turn starts from
    /// `before`. However deep forks of forks are, the numbers fall.
    ///
    /// # Errors
    /// `Corrupt` where they do not: an import or a hand may have made a circle.
    pub(super) fn starts_before(&self, before: u64, fork: &Place) -> Result<u64> {
        let seq = self.target.seq;
        if seq < before {
            return Ok(seq);
        }
        let message = format_args!("it starts from commit {seq}, and was itself forked at commit {before}");
        Err(corrupt(message).with_key(&fork.commit(1)?))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_id(&mut out, self.id);
        put_target(&mut out, self.target);
        put_text(&mut out, &self.source.agent);
        put_text(&mut out, &self.source.session);
        let (agent, session) = self.ids.as_ref().map_or(("", ""), |(agent, session)| (agent, session));
        put_text(&mut out, agent);
        put_text(&mut out, session);
        wrap(Kind::Origin, &out)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut input = unwrap(Kind::Origin, bytes)?;
        let (id, target) = (input.id()?, target(&mut input)?);
        let source = Place::from_segments(input.text()?, input.text()?);
        let (agent, session) = (input.text()?, input.text()?);
        input.end()?;
        let ids = (!agent.is_empty()).then_some((agent, session));
        Ok(Origin { id, target, source, ids })
    }
}
