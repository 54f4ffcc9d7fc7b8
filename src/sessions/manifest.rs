//! What a commit says about itself, as bytes and back. `docs/sessions-format.md` specifies it.

use std::collections::BTreeMap;

use super::{
    CommitId,
    delta::base_of,
    names::{MAX_SEQ, Place},
    wire::{Input, corrupt, newer, put_id, put_number, put_text},
};
use crate::{Digest, Result};

const VERSION: u8 = 1;

const PARENT: u64 = 1;
const BASE: u64 = 1 << 1;
const STATE: u64 = 1 << 2;
const EPOCH: u64 = 1 << 3;
const WRITER: u64 = 1 << 4;
const LABEL: u64 = 1 << 5;
const STEP: u64 = 1 << 6;
const METADATA: u64 = 1 << 7;
const VALUES: u64 = 1 << 8;
const BODY: u64 = 1 << 9;
const LINES: u64 = 1 << 10;
const IDS: u64 = 1 << 11;
const KNOWN: u64 = (1 << 12) - 1;

/// What the caller says about a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Notes {
    pub(super) label: Option<String>,
    pub(super) step: Option<u64>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// Commits up to a number lie in another session, which was forked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) upto: u64,
    pub(super) place: Place,
}

/// A body that is an object of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BodyRef {
    pub(super) id: CommitId,
    pub(super) stored: u64,
}

/// A commit's own words. For a keyframe that carries its body, the gzip file says `digest` and `size`, and
/// the manifest leaves them out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) seq: u64,
    pub(super) id: CommitId,
    pub(super) parent: Option<CommitId>,
    /// Steps behind the keyframe.
    pub(super) depth: u64,
    /// The id of the base; `None` for a keyframe.
    pub(super) base: Option<CommitId>,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) epoch: u64,
    pub(super) writer: Option<String>,
    pub(super) notes: Notes,
    /// Names and lengths of several values; empty for a single one without a name.
    pub(super) values: Vec<(String, u64)>,
    pub(super) body: Option<BodyRef>,
    pub(super) lines: Vec<Line>,
    /// Agent and session, where the key does not give them back.
    pub(super) ids: Option<(String, String)>,
}

/// The commits that the state of commit `seq` is made of, itself first, where `keyframe` is the last.
pub(super) fn chain(keyframe: u64, seq: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(seq - keyframe), |&depth| base_of(depth)).map(move |depth| keyframe + depth)
}

impl Manifest {
    /// The commits that this one's state is made of, itself first, the keyframe last.
    pub(super) fn chain(&self) -> Vec<u64> {
        chain(self.seq - self.depth, self.seq).collect()
    }

    /// Whether its object holds the whole state.
    pub(super) fn is_keyframe(&self) -> bool {
        self.depth == 0
    }

    /// Where the commit `seq` of the line behind this one lies, which itself lies in `home`.
    pub(super) fn place_of(&self, seq: u64, home: &Place) -> Place {
        let line = self.lines.iter().rfind(|line| seq <= line.upto);
        line.map_or_else(|| home.clone(), |line| line.place.clone())
    }

    /// Whether the gzip file around the manifest says `digest` and `size`.
    fn state_is_outside(&self) -> bool {
        self.is_keyframe() && self.body.is_none()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let base = self.base.filter(|_| self.base != self.parent);
        let flags = [
            (PARENT, self.parent.is_some()),
            (BASE, base.is_some()),
            (STATE, !self.state_is_outside()),
            (EPOCH, self.epoch > 0),
            (WRITER, self.writer.is_some()),
            (LABEL, self.notes.label.is_some()),
            (STEP, self.notes.step.is_some()),
            (METADATA, !self.notes.metadata.is_empty()),
            (VALUES, !self.values.is_empty()),
            (BODY, self.body.is_some()),
            (LINES, !self.lines.is_empty()),
            (IDS, self.ids.is_some()),
        ];
        let mut out = vec![VERSION];
        put_number(&mut out, flags.iter().filter(|(_, set)| *set).map(|(flag, _)| flag).sum());
        put_number(&mut out, self.seq);
        put_id(&mut out, self.id);
        put_number(&mut out, self.depth);
        for id in [self.parent, base].into_iter().flatten() {
            put_id(&mut out, id);
        }
        if !self.state_is_outside() {
            out.extend_from_slice(self.digest.as_bytes());
            put_number(&mut out, self.size);
        }
        if self.epoch > 0 {
            put_number(&mut out, self.epoch);
        }
        for text in [&self.writer, &self.notes.label].into_iter().flatten() {
            put_text(&mut out, text);
        }
        if let Some(step) = self.notes.step {
            put_number(&mut out, step);
        }
        if !self.notes.metadata.is_empty() {
            put_number(&mut out, self.notes.metadata.len() as u64);
            for (name, value) in &self.notes.metadata {
                put_text(&mut out, name);
                put_text(&mut out, value);
            }
        }
        if !self.values.is_empty() {
            put_number(&mut out, self.values.len() as u64);
            for (name, len) in &self.values {
                put_text(&mut out, name);
                put_number(&mut out, *len);
            }
        }
        if let Some(body) = &self.body {
            put_id(&mut out, body.id);
            put_number(&mut out, body.stored);
        }
        if !self.lines.is_empty() {
            put_number(&mut out, self.lines.len() as u64);
            for Line { upto, place } in &self.lines {
                put_number(&mut out, *upto);
                put_text(&mut out, &place.agent);
                put_text(&mut out, &place.session);
            }
        }
        if let Some((agent, session)) = &self.ids {
            put_text(&mut out, agent);
            put_text(&mut out, session);
        }
        out
    }

    /// Reads a manifest whose check was right. `outside` is what the gzip file around it says of the state,
    /// if there is one.
    ///
    /// # Errors
    /// `Corrupt` for bytes that no encoder wrote, `Unsupported` for a newer version.
    pub(super) fn decode(bytes: &[u8], outside: Option<(Digest, u64)>) -> Result<Self> {
        let mut input = Input(bytes);
        match input.byte()? {
            VERSION => {}
            other => return Err(newer(format_args!("version {other} of commits"))),
        }
        let flags = input.number()?;
        if flags & !KNOWN != 0 {
            return Err(newer(format_args!("the commit's flag {:#x}", flags & !KNOWN)));
        }
        let has = |flag| flags & flag != 0;
        let seq = input.number()?;
        let id = input.id()?;
        let depth = input.number()?;
        if !(1..=MAX_SEQ).contains(&seq) || depth >= seq {
            return Err(corrupt(format_args!("commit {seq} cannot be step {depth} behind a keyframe")));
        }
        let parent = has(PARENT).then(|| input.id()).transpose()?;
        let base = has(BASE).then(|| input.id()).transpose()?;
        let base = if depth == 0 { None } else { base.or(parent) };
        let (digest, size) = match outside {
            Some(state) if !has(STATE) => state,
            None if has(STATE) => (Digest::from(input.array::<32>()?), input.number()?),
            _ => return Err(corrupt("its manifest belongs to another kind of commit")),
        };
        let epoch = if has(EPOCH) { input.number()? } else { 0 };
        let writer = has(WRITER).then(|| input.text()).transpose()?;
        let label = has(LABEL).then(|| input.text()).transpose()?;
        let step = has(STEP).then(|| input.number()).transpose()?;
        let (mut metadata, mut values, mut lines) = (BTreeMap::new(), Vec::new(), Vec::new());
        for _ in 0..if has(METADATA) { input.count()? } else { 0 } {
            metadata.insert(input.text()?, input.text()?);
        }
        for _ in 0..if has(VALUES) { input.count()? } else { 0 } {
            values.push((input.text()?, input.number()?));
        }
        let total = values.iter().try_fold(0u64, |sum, (_, len)| sum.checked_add(*len));
        if !values.is_empty() && total != Some(size) {
            return Err(corrupt("the lengths of its values do not add up to its size"));
        }
        let body = if has(BODY) { Some(BodyRef { id: input.id()?, stored: input.number()? }) } else { None };
        for _ in 0..if has(LINES) { input.count()? } else { 0 } {
            let upto = input.number()?;
            lines.push(Line { upto, place: Place::from_segments(input.text()?, input.text()?) });
        }
        let ids = if has(IDS) { Some((input.text()?, input.text()?)) } else { None };
        input.end()?;
        let (keyframe, notes) = (depth == 0, Notes { label, step, metadata });
        let manifest = Manifest {
            seq,
            id,
            parent,
            depth,
            base,
            digest,
            size,
            epoch,
            writer,
            notes,
            values,
            body,
            lines,
            ids,
        };
        if manifest.base.is_none() != keyframe || manifest.state_is_outside() != outside.is_some() {
            return Err(corrupt("its manifest belongs to another kind of commit"));
        }
        Ok(manifest)
    }
}
