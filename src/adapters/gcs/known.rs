//! Objects that this process has seen: what was seen before an attempt was there before it, and what an answer with media does not say is
//! known already.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use super::model::Resource;
use crate::Key;

/// So many keys are remembered; then all are forgotten, which costs nothing but certainty after a lost answer, and a request.
const MOST: usize = 4096;
/// Metadata of more bytes are not kept.
const METADATA: usize = 1024;

/// What each key had when it was last seen.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<Key, Last>>);

#[derive(Debug)]
struct Last {
    generation: u64,
    resource: Option<Arc<Resource>>,
}

impl Known {
    /// Notes what an answer has shown.
    pub(super) fn saw(&self, key: &Key, resource: &Resource) {
        let metadata: usize = resource.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        // Without a checksum, which not every answer shows, a load could not be verified.
        let whole = metadata <= METADATA && resource.crc32c.is_some();
        let mut known = self.lock();
        match known.get_mut(key) {
            Some(last) if last.resource.as_deref().is_some_and(|seen| seen.same_as(resource)) => {}
            last => {
                let seen = Last {
                    generation: resource.generation,
                    resource: whole.then(|| Arc::new(resource.clone())),
                };
                match last {
                    Some(last) => *last = seen,
                    None => {
                        if known.len() >= MOST {
                            known.clear();
                        }
                        known.insert(key.clone(), seen);
                    }
                }
            }
        }
    }

    /// The generation that was seen last.
    pub(super) fn generation(&self, key: &Key) -> Option<u64> {
        self.lock().get(key).map(|last| last.generation)
    }

    /// All that was seen last.
    pub(super) fn resource(&self, key: &Key) -> Option<Arc<Resource>> {
        self.lock().get(key)?.resource.clone()
    }

    // A panic while the lock is held cannot leave an entry half-written.
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Last>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
