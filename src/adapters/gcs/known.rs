//! Objects that this process has seen: what was seen before an attempt was there before it, and what an answer with media does not say is
//! known already.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
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
    /// As JSON: one allocation in place of a dozen, since far more are kept than are ever asked for.
    resource: Option<Box<[u8]>>,
}

impl Known {
    /// Notes what an answer has shown.
    pub(super) fn saw(&self, key: &Key, resource: &Resource) {
        let metadata: usize = resource.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        // Without a checksum, which not every answer shows, a load could not be verified.
        let whole = metadata <= METADATA && resource.crc32c.is_some();
        let json = whole.then(|| serde_json::to_vec(resource).ok()).flatten().map(Vec::into_boxed_slice);
        let seen = Last { generation: resource.generation, resource: json };
        let mut known = self.lock();
        match known.get_mut(key) {
            Some(last) => *last = seen,
            None => {
                if known.len() >= MOST {
                    known.clear();
                }
                known.insert(key.clone(), seen);
            }
        }
    }

    /// The generation that was seen last.
    pub(super) fn generation(&self, key: &Key) -> Option<u64> {
        self.lock().get(key).map(|last| last.generation)
    }

    /// All that was seen last.
    pub(super) fn resource(&self, key: &Key) -> Option<Resource> {
        let json = self.lock().get(key)?.resource.clone()?;
        serde_json::from_slice(&json).ok()
    }

    // A panic while the lock is held cannot leave an entry half-written.
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Last>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_comes_back_whole() {
        let json = r#"{"name":"k","size":"9007199254740993","generation":"1700000000000001","metageneration":"3","crc32c":"AAAAAA==",
            "contentType":"text/plain","storageClass":"NEARLINE","timeCreated":"2026-01-01T00:00:00.123Z","metadata":{"a":"\u00e9\n","persist-put-id":"x"},
            "kmsKeyName":"projects/p","customerEncryption":{"keySha256":"y"}}"#;
        let bare = r#"{"name":"k","size":0,"generation":1,"crc32c":"AAAAAA=="}"#;
        let (known, key) = (Known::default(), Key::new("k").unwrap());
        for json in [json, bare] {
            let resource: Resource = serde_json::from_str(json).unwrap();
            known.saw(&key, &resource);
            assert_eq!(format!("{:?}", known.resource(&key).unwrap()), format!("{resource:?}"));
            assert_eq!(known.generation(&key), Some(resource.generation));
        }
    }
}
