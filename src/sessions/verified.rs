//! What a verification found.

use std::collections::HashSet;

use serde::Serialize;

use super::{CommitId, Damaged, manifest::Manifest, names::Place, wire::corrupt};
use crate::{Error, ErrorKind, Key, Result};

/// What [`verify`](super::Session::verify) found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[must_use = "damage is no error of `verify`: ask `is_good`"]
pub struct Verified {
    /// Commits whose state is whole, on the session's line and on those that it was forked from; of these
    /// last, [`verify_all`](super::Sessions::verify_all) counts the start alone. The end of a removed session
    /// is none.
    pub good: u64,
    /// Bytes of their states.
    pub bytes: u64,
    /// What is not.
    pub damaged: Vec<Damaged>,
    /// Objects that are on no line, and tags and marks of forks whose commit was pruned. The next prune
    /// removes them; the tags only where the storage can remove exactly one version, else
    /// [`untag`](super::Session::untag) them.
    pub garbage: u64,
}

impl Verified {
    /// Whether everything is well.
    pub fn is_good(&self) -> bool {
        self.damaged.is_empty()
    }

    /// Takes what the check of a commit came to.
    pub(super) fn count(
        &mut self,
        place: &Place,
        seq: u64,
        checked: Result<Manifest>,
        ancestry: &mut Ancestry,
    ) -> Result<()> {
        let manifest = match checked {
            Ok(manifest) => manifest,
            // Pruned since.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            // A limit was hit: that says nothing about the commit.
            Err(error) if error.kind() == ErrorKind::InvalidInput => return Err(error),
            Err(error) => return self.add(Some(seq), error),
        };
        let strange = ancestry.strange_parent(&manifest);
        ancestry.add(&manifest);
        if let Some(parent) = strange {
            let message = format_args!("it follows commit {parent}, which is not on this line");
            return self.add(Some(seq), corrupt(message).with_key(&place.commit(seq)?));
        }
        if !manifest.is_removed() {
            self.good += 1;
            self.bytes += manifest.size;
        }
        Ok(())
    }

    /// Whether this object is among the damage.
    pub(super) fn names(&self, key: Option<&Key>) -> bool {
        let key = key.map(Key::as_str);
        key.is_some() && self.damaged.iter().any(|damaged| damaged.key.as_deref() == key)
    }

    /// Damage is noted once, any other failure ends the verification.
    pub(super) fn note(&mut self, seq: Option<u64>, error: Error) -> Result<()> {
        if self.damaged.contains(&Damaged::new(seq, &error)) { Ok(()) } else { self.add(seq, error) }
    }

    /// As [`note`](Verified::note), of what was not told before, such as a commit whose turn it is: there may
    /// be thousands.
    pub(super) fn add(&mut self, seq: Option<u64>, error: Error) -> Result<()> {
        match error.kind() {
            // The answer of a storage that cannot do it says nothing of what is stored.
            ErrorKind::Unsupported if error.backend().is_some() => Err(error),
            ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::Unsupported | ErrorKind::InvalidInput => {
                self.damaged.push(Damaged::new(seq, &error));
                Ok(())
            }
            _ => Err(error),
        }
    }
}

/// The ids of a history's commits, for as long as none of them is missing, pruned or damaged.
pub(super) struct Ancestry {
    upto: u64,
    ids: HashSet<CommitId>,
}

impl Ancestry {
    /// Of a history that begins behind this number.
    pub(super) fn behind(upto: u64) -> Self {
        Ancestry { upto, ids: HashSet::new() }
    }

    /// The parent of the next commit, where that is certainly not on the line. It need not be the commit
    /// before: a fallback goes on from an older one. So where any number before it is not known, as after
    /// prunes, nothing is certain.
    pub(super) fn strange_parent(&self, manifest: &Manifest) -> Option<CommitId> {
        let is_next = manifest.seq == self.upto + 1 && !self.ids.is_empty();
        manifest.parent.filter(|parent| is_next && !self.ids.contains(parent))
    }

    fn add(&mut self, manifest: &Manifest) {
        if manifest.seq == self.upto + 1 {
            self.upto = manifest.seq;
            self.ids.insert(manifest.id);
        }
    }
}
