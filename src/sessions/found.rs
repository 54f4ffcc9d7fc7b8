//! A commit whose object was read.

use bytes::Bytes;

use super::{manifest::Manifest, names::Place, object, refs::Target, wire::corrupt};
use crate::{Key, Result};

/// A commit that was found: its object is read, not yet checked.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) seq: u64,
    /// Of the object, or of its end.
    pub(super) bytes: Bytes,
    /// Bytes of the whole object.
    pub(super) total: u64,
}

impl Found {
    pub(super) fn manifest(&self) -> Result<Manifest> {
        let key = self.place.commit(self.seq)?;
        let manifest = object::at(object::manifest(&self.bytes, self.total, self.seq), &key)?;
        manifest.ok_or_else(|| corrupt("it ends early").with_key(&key))
    }

    /// Fails if this is another commit than the one that the tag or origin under `key` names. A damaged one
    /// passes: restoring it fails.
    pub(super) fn named(self, target: Target, key: &Key) -> Result<Self> {
        match self.manifest() {
            Ok(Manifest { id, .. }) if id != target.id => {
                let Target { seq, id: wanted } = target;
                let message = format_args!("it names commit {seq} ({wanted}), there is another ({id})");
                Err(corrupt(message).with_key(key))
            }
            _ => Ok(self),
        }
    }

    /// Number and id.
    pub(super) fn target(&self) -> Result<Target> {
        Ok(Target { seq: self.seq, id: self.manifest()?.id })
    }
}
