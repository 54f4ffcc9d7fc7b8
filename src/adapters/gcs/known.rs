//! Objects that this process has seen: what was seen before an attempt was there before it, and what an
//! answer with media does not say is known already.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::{Arc, Mutex, MutexGuard},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use super::model::{CustomerEncryption, PUT_ID, Resource};
use crate::{Key, lock::lock};

/// So many keys are remembered; then all are forgotten, which costs nothing but certainty after a lost
/// answer, and a request.
const MOST: usize = 4096;
/// Metadata of more bytes are not kept.
const METADATA: usize = 1024;

/// What each key had when it was last seen.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    keys: HashMap<Key, Last>,
    /// Those of the object that was seen last, which most others share.
    content_type: Option<Arc<str>>,
    storage_class: Option<Arc<str>>,
}

#[derive(Debug)]
struct Last {
    generation: u64,
    whole: Option<Whole>,
}

/// All that is read of an object. Far more are kept than are ever asked for, so a plain one allocates
/// nothing.
#[derive(Debug, Clone)]
struct Whole {
    size: u64,
    metageneration: Option<u64>,
    crc32c: u32,
    created: Option<SystemTime>,
    content_type: Option<Arc<str>>,
    storage_class: Option<Arc<str>>,
    extras: Extras,
}

/// [`Rare`] as JSON, one allocation in place of a dozen; `None` of a plain object.
type Extras = Option<Arc<[u8]>>;

/// What a plain object does not have.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Rare {
    metadata: BTreeMap<String, String>,
    kms_key_name: Option<String>,
    customer_encryption: Option<CustomerEncryption>,
}

impl Known {
    /// Notes what an answer has shown.
    pub(super) fn saw(&self, key: &Key, resource: &Resource) {
        let extras = extras(resource);
        let mut known = self.lock();
        let seen = &mut *known;
        let whole = extras.and_then(|extras| {
            Some(Whole {
                size: resource.size,
                metageneration: resource.metageneration,
                // Without a checksum, which not every answer shows, a load could not be verified.
                crc32c: resource.crc32c?,
                created: resource.time_created,
                content_type: shared(&mut seen.content_type, resource.content_type.as_deref()),
                storage_class: shared(&mut seen.storage_class, resource.storage_class.as_deref()),
                extras,
            })
        });
        let last = Last { generation: resource.generation, whole };
        let full = seen.keys.len() >= MOST && !seen.keys.contains_key(key);
        // With room for as many again, so that others need not wait while it grows.
        let forgotten = full.then(|| mem::replace(&mut seen.keys, HashMap::with_capacity(MOST)));
        let replaced = seen.keys.insert(key.clone(), last);
        // What is forgotten is freed behind the lock.
        drop(known);
        drop((forgotten, replaced));
    }

    /// The generation that was seen last.
    pub(super) fn generation(&self, key: &Key) -> Option<u64> {
        self.lock().keys.get(key).map(|last| last.generation)
    }

    /// All that was seen last, but for the id of the `put`.
    pub(super) fn resource(&self, key: &Key) -> Option<Resource> {
        let (generation, whole) = {
            let seen = self.lock();
            let last = seen.keys.get(key)?;
            (last.generation, last.whole.clone()?)
        };
        let rare = match &whole.extras {
            Some(json) => serde_json::from_slice(json).ok()?,
            None => Rare::default(),
        };
        Some(Resource {
            name: key.to_string(),
            size: whole.size,
            generation,
            metageneration: whole.metageneration,
            crc32c: Some(whole.crc32c),
            content_type: whole.content_type.map(|text| text.as_ref().into()),
            storage_class: whole.storage_class.map(|text| text.as_ref().into()),
            time_created: whole.created,
            metadata: rare.metadata,
            kms_key_name: rare.kms_key_name,
            customer_encryption: rare.customer_encryption,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        lock(&self.0)
    }
}

/// What is not plain of an object, if anything; `None` where that is too much to keep.
fn extras(resource: &Resource) -> Option<Extras> {
    let own = || resource.metadata.iter().filter(|(name, _)| *name != PUT_ID);
    let metadata: usize = own().map(|(name, value)| name.len() + value.len()).sum();
    if metadata > METADATA {
        return None;
    }
    if own().next().is_none() && resource.kms_key_name.is_none() && resource.customer_encryption.is_none() {
        return Some(None);
    }
    let rare = Rare {
        metadata: own().map(|(name, value)| (name.clone(), value.clone())).collect(),
        kms_key_name: resource.kms_key_name.clone(),
        customer_encryption: resource.customer_encryption.clone(),
    };
    Some(Some(serde_json::to_vec(&rare).ok()?.into()))
}

/// The text, shared with the object that was seen last if it had the same.
fn shared(last: &mut Option<Arc<str>>, text: Option<&str>) -> Option<Arc<str>> {
    let text = text?;
    if last.as_deref() != Some(text) {
        *last = Some(text.into());
    }
    last.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_comes_back_whole() {
        let json = r#"{"name":"k","size":"9007199254740993","generation":"1700000000000001","metageneration":"3","crc32c":"AAAAAQ==",
            "contentType":"text/plain","storageClass":"NEARLINE","timeCreated":"2026-01-01T00:00:00.123Z","metadata":{"a":"\u00e9\n","":""},
            "kmsKeyName":"projects/p","customerEncryption":{"keySha256":"y"}}"#;
        let unnamed = r#"{"name":"k","size":"1","generation":"2","crc32c":"AAAAAQ==","metadata":{"":""}}"#;
        let bare = r#"{"name":"k","size":0,"generation":1,"crc32c":"AAAAAA=="}"#;
        let (known, key) = (Known::default(), Key::new("k").unwrap());
        for json in [json, unnamed, bare, json] {
            let mut resource: Resource = serde_json::from_str(json).unwrap();
            let whole = format!("{resource:?}");
            resource.metadata.insert(PUT_ID.into(), "x".into());
            known.saw(&key, &resource);
            assert_eq!(format!("{:?}", known.resource(&key).unwrap()), whole);
            assert_eq!(known.generation(&key), Some(resource.generation));
        }
    }

    #[test]
    fn what_is_too_much_to_keep_or_cannot_be_verified_is_asked_for_again() {
        let (known, key) = (Known::default(), Key::new("k").unwrap());
        let long = "x".repeat(METADATA);
        let long = format!(
            r#"{{"name":"k","size":0,"generation":1,"crc32c":"AAAAAA==","metadata":{{"a":"{long}"}}}}"#
        );
        for json in [
            &*long,
            r#"{"name":"k","size":0,"generation":1,"crc32c":null}"#,
            r#"{"name":"k","size":0,"generation":1}"#,
        ] {
            known.saw(&key, &serde_json::from_str(json).unwrap());
            assert!(known.resource(&key).is_none(), "{json}");
            assert_eq!(known.generation(&key), Some(1));
        }
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        let (known, keys) = (Known::default(), |n: usize| Key::new(format!("k{n}")).unwrap());
        let resource = serde_json::from_str(r#"{"name":"k","size":0,"generation":1}"#).unwrap();
        (0..MOST).for_each(|n| known.saw(&keys(n), &resource));
        known.saw(&keys(0), &resource);
        assert_eq!(known.lock().keys.len(), MOST);
        known.saw(&keys(MOST), &resource);
        assert_eq!((known.generation(&keys(0)), known.generation(&keys(MOST))), (None, Some(1)));
    }
}
