//! A state on its way into a commit: packed, and its body stored where that is an object of its own.

use std::collections::HashSet;

use bytes::Bytes;

use super::{
    CommitId,
    clock::Moment,
    commit::CommitOptions,
    head::{Base, Head},
    manifest::{BodyRef, Manifest},
    names::Place,
    object,
    pack::{Form, Packed, pack},
    rival::conflict,
    store::Store,
};
pub(super) use crate::ext::to_json as json;
use crate::{Body, Digest, Error, ErrorKind, Key, ObjectMeta, PutOptions, Result, threads};

/// What is to be saved.
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

/// Several values as one state, and their names and sizes.
///
/// # Errors
/// `InvalidInput` for a name that is given twice.
pub(super) fn joined(values: &[(&str, Bytes)]) -> Result<(Bytes, Vec<(String, u64)>)> {
    let mut table: Vec<(String, u64)> = Vec::with_capacity(values.len());
    let mut names = HashSet::with_capacity(values.len());
    let mut state = Vec::with_capacity(values.iter().map(|(_, value)| value.len()).sum());
    for (name, value) in values {
        if !names.insert(*name) {
            let message = format!("the value {name:?} is given twice; give each value a name of its own");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        table.push(((*name).to_owned(), value.len() as u64));
        state.extend_from_slice(value);
    }
    Ok((state.into(), table))
}

/// Packs the draft, and stores its body where that is an object of its own. Also gives when the body began.
pub(super) async fn prepare(
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
    let base = if draft.options.whole { None } else { head.base.clone() };
    let bytes = state.len();
    let work = move || {
        (manifest.digest, manifest.size) = (Digest::of(&state), state.len() as u64);
        pack(manifest, base.as_ref(), state, form)
    };
    let mut packed = threads::run_unless_short(bytes, work).await?;
    let Some(body) = packed.body.take() else { return Ok((packed, None)) };
    let began = Moment::now(&*store.clock);
    let key = place.body(packed.manifest.seq, packed.manifest.id)?;
    let stored = store.adapter.put(&key, Body::from(body), PutOptions::new()).await?;
    let began = dated(store, &key, began, &stored).await;
    Ok((packed, Some(began)))
}

/// When a body began, told by the date that prunes go by: Amazon dates what came in parts by its beginning.
pub(super) async fn dated(store: &Store, key: &Key, began: Moment, stored: &ObjectMeta) -> Moment {
    if !store.fence.must_look(began.elapsed_until(stored, &*store.clock)) {
        return began.with(stored, &*store.clock);
    }
    match store.adapter.head(key).await {
        Ok(there) => began.with(&there, &*store.clock),
        Err(_) => began,
    }
}
