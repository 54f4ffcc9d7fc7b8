//! From a state to the bytes of its commit: a delta where that is less, a keyframe where the history got too
//! long for it.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    delta,
    head::{Base, Link, NextDelta},
    manifest::{BodyRef, Manifest},
    object,
};
use crate::{Limits, Result};

/// A chain may have so many bytes beside what twice its keyframe has.
const SLACK: u64 = 16 << 10;
/// When the state has grown so many times since a keyframe was measured, it is measured again.
const GROWN: u64 = 4;
/// The most objects that a load reads. Chains are shorter anyway; where bodies are objects of their own,
/// there are two for each commit.
const MAX_OBJECTS: usize = 64;

/// A commit that is ready to be created.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) manifest: Manifest,
    /// The commit object.
    pub(super) object: Bytes,
    /// The body that must be stored first, where it is too large for the commit object.
    pub(super) body: Option<Bytes>,
    /// What the next commit can start from.
    pub(super) base: Base,
}

/// Limits of what is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// Deflate's.
    pub(super) level: u8,
    /// New bytes beyond this become an object of their own.
    pub(super) inline_limit: u64,
}

/// Packs `state`, as a delta at most where there is a `base`. `draft` is the manifest but for `depth`, `base`,
/// `body` and `lines`.
pub(super) fn pack(mut draft: Manifest, base: Option<&Base>, state: Bytes, form: Form) -> Result<Packed> {
    let (mut keyframe, mut measured) = (None, None);
    if let Some(base) = base
        && let Some(step) = base.step(&state)
        && let delta = delta::encode(&step.copies, &state, form.level)
        && base.objects(step.passed) + objects(delta.len(), form) <= MAX_OBJECTS
    {
        let size = state.len() as u64;
        let too_much = |whole: u64| {
            let chain = base.stored(step.passed) + delta.len() as u64;
            // A load would take it for a bomb; a keyframe is padded against that.
            let bomb = Limits::default().check(chain, size).is_err();
            delta.len() as u64 * 2 > whole || chain > 2 * whole + SLACK || bomb
        };
        if too_much(base.estimate(size)) || size > base.measured.0.saturating_mul(GROWN) {
            // The estimate may be far off; only the keyframe itself tells.
            let whole = Keyframe::of(draft.clone(), &state, form)?;
            measured = Some((size, whole.stored));
            keyframe = too_much(whole.stored).then_some(whole);
        }
        if keyframe.is_none() {
            draft.lines = base.lines.clone();
            return Ok(pack_delta(draft, base, step, delta, measured, state, form));
        }
    }
    let Keyframe { manifest, object, body, stored } = match keyframe {
        Some(keyframe) => keyframe,
        None => Keyframe::of(draft, &state, form)?,
    };
    let copies = Arc::new(delta::Copies::none(0, state.len()));
    let objects = 1 + usize::from(body.is_some());
    let link = Link { seq: manifest.seq, id: manifest.id, stored, objects, copies };
    let measured = (state.len() as u64, stored);
    let base = Base { state, chain: [link].into(), measured, lines: Vec::new() };
    Ok(Packed { manifest, object, body, base })
}

fn pack_delta(
    mut manifest: Manifest,
    old: &Base,
    step: NextDelta,
    delta: Vec<u8>,
    measured: Option<(u64, u64)>,
    state: Bytes,
    form: Form,
) -> Packed {
    (manifest.depth, manifest.base) = (step.depth, Some(step.base));
    let (object, body) = if delta.len() as u64 > form.inline_limit {
        manifest.body = Some(BodyRef { id: manifest.id, stored: delta.len() as u64 });
        (object::other(&manifest, &[]), Some(Bytes::from(delta)))
    } else {
        (object::other(&manifest, &delta), None)
    };
    let stored = (object.len() + body.as_ref().map_or(0, Bytes::len)) as u64;
    let mut chain = old.chain.clone();
    chain.drain(..step.passed);
    let objects = 1 + usize::from(body.is_some());
    let copies = Arc::new(step.copies);
    chain.push_front(Link { seq: manifest.seq, id: manifest.id, stored, objects, copies });
    let measured = measured.unwrap_or(old.measured);
    let base = Base { state, chain, measured, lines: old.lines.clone() };
    Packed { manifest, object: object.into(), body, base }
}

/// How many objects a commit with so many new bytes is.
fn objects(len: usize, form: Form) -> usize {
    1 + usize::from(len as u64 > form.inline_limit)
}

struct Keyframe {
    manifest: Manifest,
    object: Bytes,
    body: Option<Bytes>,
    stored: u64,
}

impl Keyframe {
    fn of(mut manifest: Manifest, state: &[u8], form: Form) -> Result<Self> {
        (manifest.depth, manifest.base) = (0, None);
        let file = Bytes::from(object::keyframe(&manifest, state, form.level)?);
        if file.len() as u64 <= form.inline_limit {
            return Ok(Keyframe { manifest, stored: file.len() as u64, object: file, body: None });
        }
        manifest.body = Some(BodyRef { id: manifest.id, stored: file.len() as u64 });
        let object = Bytes::from(object::other(&manifest, &[]));
        let stored = (object.len() + file.len()) as u64;
        Ok(Keyframe { manifest, object, body: Some(file), stored })
    }
}
