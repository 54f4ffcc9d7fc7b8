//! A commit as one object: a gzip file with the manifest in its tail, or a delta with the manifest behind it.

use bytes::Bytes;

use super::{
    CommitId, delta,
    manifest::Manifest,
    refs::{self, Origin},
    wire::{corrupt, newer, seal, unseal},
};
use crate::{
    Digest, Error, ErrorKind, Key, Limits, Result,
    codec::{self, frame},
};

/// The subfield of a keyframe's tail that holds the manifest.
const FIELD: [u8; 2] = *b"SM";
const MARK: &[u8] = b"PSC";
const VERSION: u8 = 1;
/// The length of the manifest and the check.
const END: usize = 8;

/// What a commit object holds.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) manifest: Manifest,
    pub(super) content: Content,
    /// Bytes of the object itself.
    pub(super) stored: u64,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    /// A keyframe: the state.
    State(Bytes),
    /// What turns the base into the state.
    Delta(delta::Delta),
    /// The body is an object of its own.
    Elsewhere,
}

/// Whether these bytes begin as those of a commit do, damaged or not.
pub(super) fn is_commit(bytes: &[u8]) -> bool {
    bytes.starts_with(MARK) || bytes.starts_with(frame::MARK)
}

/// The object of a keyframe that carries its state.
pub(super) fn keyframe(manifest: &Manifest, state: &[u8], level: u8) -> Result<Vec<u8>> {
    frame::encode(state, level, &[(FIELD, &manifest.encode())])
}

/// The object of a delta, or of any commit whose body is elsewhere (`delta` is empty then).
pub(super) fn other(manifest: &Manifest, delta: &[u8]) -> Vec<u8> {
    let manifest = manifest.encode();
    let mut out = Vec::with_capacity(delta.len() + manifest.len() + 12);
    out.extend_from_slice(MARK);
    out.push(VERSION);
    out.extend_from_slice(delta);
    let mut end = [MARK, &[VERSION], &manifest].concat();
    end.extend_from_slice(&(manifest.len() as u32).to_le_bytes());
    seal(&mut end);
    out.extend_from_slice(&end[4..]);
    out
}

/// Reads a commit object whole; every byte is checked. `seq` is the number that its key has.
///
/// # Errors
/// `Corrupt` for damage and for a commit of another key, `Unsupported` for a newer version, `InvalidInput`
/// beyond `limits`.
pub(super) fn decode(bytes: Bytes, seq: u64, limits: &Limits) -> Result<Object> {
    let stored = bytes.len() as u64;
    if !bytes.starts_with(MARK) {
        let frame = frame::decode(&bytes, *limits).map_err(in_our_words)?;
        let manifest = field(frame.extra(FIELD), (frame.digest, frame.raw.len() as u64), seq)?;
        return Ok(Object { manifest, content: Content::State(frame.raw.into()), stored });
    }
    let manifest = end(&bytes, &bytes[..4.min(bytes.len())], seq)?;
    let start = bytes.len() - END - manifest_len(&bytes)?;
    if start < 4 {
        return Err(corrupt("it ends early"));
    }
    let body = bytes.slice(4..start);
    let content = match (manifest.body, body.is_empty()) {
        (Some(_), true) => Content::Elsewhere,
        (None, false) if !manifest.is_keyframe() => {
            Content::Delta(delta::decode(body, limits).map_err(of_delta)?)
        }
        _ => return Err(corrupt("its manifest belongs to another kind of commit")),
    };
    Ok(Object { manifest, content, stored })
}

/// The manifest of a commit from the last bytes of its object, whose whole length is `total`. `None` where
/// they do not reach: then read more.
///
/// # Errors
/// As [`decode`], for damage in what it reads.
pub(super) fn manifest(tail: &[u8], total: u64, seq: u64) -> Result<Option<Manifest>> {
    // Read as the end of a delta, this would be a manifest of 0 bytes.
    if tail.ends_with(&[3, 0, 0, 0, 0, 0, 0, 0, 0, 0]) {
        let len = frame::closing_len(tail, total).map_err(in_our_words)?;
        let Some(start) = tail.len().checked_sub(len) else { return Ok(None) };
        let head = if tail.len() as u64 == total { &tail[..frame::HEAD.len()] } else { &frame::HEAD };
        let (index, extras) = frame::parse(head, &tail[start..], total).map_err(in_our_words)?;
        let value = extras.iter().find(|(id, _)| *id == FIELD).map(|(_, value)| value.as_slice());
        return field(value, (index.digest, index.raw_size), seq).map(Some);
    }
    if END + manifest_len(tail)? > tail.len() {
        return if (tail.len() as u64) < total { Ok(None) } else { Err(corrupt("it ends early")) };
    }
    // The head is not there to read where only the end is.
    let usual = [MARK, &[VERSION]].concat();
    end(tail, if tail.len() as u64 == total { &tail[..4] } else { &usual }, seq).map(Some)
}

/// Whether a commit's object, whose name below its session is `name`, is the marker of a removal. For the
/// command line.
pub fn is_marker(name: &str, object: &[u8]) -> bool {
    named(name, object, object.len() as u64).is_some_and(|manifest| manifest.is_removed())
}

/// The id of a commit, or of the fork's origin that stands in its place, from the last bytes of its object,
/// whose whole length is `total`; `None` where they do not tell, and for what keeps the numbers of an import:
/// that has the id of a commit. For the command line.
pub fn commit_id(name: &str, tail: &[u8], total: u64) -> Option<CommitId> {
    if tail.len() as u64 == total && refs::is_small(tail) {
        return Origin::decode(tail).ok().filter(|origin| origin.imports().is_none()).map(|origin| origin.id);
    }
    named(name, tail, total).map(|manifest| manifest.id)
}

fn named(name: &str, tail: &[u8], total: u64) -> Option<Manifest> {
    let seq = name.rsplit('-').next()?.parse().ok()?;
    manifest(tail, total, seq).ok()?
}

/// The manifest in front of the end, checked together with the head.
fn end(bytes: &[u8], head: &[u8], seq: u64) -> Result<Manifest> {
    let len = manifest_len(bytes)?;
    let start = bytes.len().checked_sub(END).and_then(|end| end.checked_sub(len));
    let start = start.ok_or_else(|| corrupt("it ends early"))?;
    let sealed = [head, &bytes[start..]].concat();
    let body = unseal(&sealed)?;
    match head.last() {
        Some(&VERSION) => {}
        other => {
            return Err(newer(format_args!("version {} of commits", other.copied().unwrap_or_default())));
        }
    }
    of_key(Manifest::decode(&body[4..body.len() - 4], None)?, seq)
}

fn manifest_len(bytes: &[u8]) -> Result<usize> {
    let end = bytes.last_chunk::<END>().ok_or_else(|| corrupt("it ends early"))?;
    Ok(u32::from_le_bytes([end[0], end[1], end[2], end[3]]) as usize)
}

fn field(value: Option<&[u8]>, state: (Digest, u64), seq: u64) -> Result<Manifest> {
    let value = value.ok_or_else(|| corrupt("it is a snapshot and no commit"))?;
    of_key(Manifest::decode(value, Some(state))?, seq)
}

fn of_key(manifest: Manifest, seq: u64) -> Result<Manifest> {
    match manifest.seq {
        of if of == seq => Ok(manifest),
        of => Err(corrupt(format_args!("it holds commit {of} under the key of commit {seq}"))),
    }
}

/// Damage that the codec found, in the words of sessions. What an adapter found stays as it says it.
pub(super) fn in_our_words(error: Error) -> Error {
    match codec::damage(&error) {
        Some(what) => corrupt(what),
        None => error,
    }
}

/// Damage that a delta's own code found, in the words of sessions.
pub(super) fn of_delta(error: Error) -> Error {
    if error.kind() == ErrorKind::Corrupt { corrupt(error.what()) } else { error }
}

/// Names the object in an error about its content.
pub(super) fn at<T>(result: Result<T>, key: &Key) -> Result<T> {
    result.map_err(|error| error.with_key(key))
}

#[cfg(test)]
#[path = "object_tests.rs"]
mod tests;
