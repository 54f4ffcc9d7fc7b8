//! Generations that this process has seen: what was seen before an attempt was there before it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use super::model::Resource;
use crate::Key;

/// So many keys are remembered; then all are forgotten, which costs nothing but certainty after a lost answer.
const MOST: usize = 4096;

/// The generation of each key that was last seen.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<Key, u64>>);

impl Known {
    /// Notes what an answer has shown.
    pub(super) fn saw(&self, key: &Key, resource: &Resource) {
        let mut known = self.lock();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(key.clone(), resource.generation);
    }

    /// What was seen last.
    pub(super) fn generation(&self, key: &Key) -> Option<u64> {
        self.lock().get(key).copied()
    }

    // A panic while the lock is held cannot leave an entry half-written.
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, u64>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
