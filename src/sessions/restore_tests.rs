use std::sync::Arc;

use super::*;
use crate::{
    PutOptions, SnapshotAdapter,
    adapters::memory::MemoryAdapter,
    sessions::{Session, Sessions},
};

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut x = 7u64;
    let next = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (x >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Saves a state and then a longer one, which is a delta: that state, and the key, object and manifest of it.
async fn delta(session: &Session) -> (Vec<u8>, Key, Bytes, Manifest) {
    let state = noise(20_000);
    session.save(state[..18_000].to_vec()).await.unwrap();
    assert!(!session.save(state.clone()).await.unwrap().keyframe);
    let key = session.place().commit(2).unwrap();
    let bytes = session.store().read(&key).await.unwrap().0;
    let manifest = object::manifest(&bytes, bytes.len() as u64, 2).unwrap().unwrap();
    (state, key, bytes, manifest)
}

/// What a commit claims of its body would otherwise pay for a state of any size.
#[tokio::test]
async fn a_body_is_as_long_as_its_commit_says() {
    let adapter = Arc::new(MemoryAdapter::new());
    let session = Sessions::new(adapter.clone())
        .unwrap()
        .inline_limit(500)
        .stream_limit(64 << 20)
        .session("a", "s")
        .unwrap();
    let (state, key, _, mut manifest) = delta(&session).await;
    for (claim, good) in [(0, true), (1, false), (1 << 40, false)] {
        let body = manifest.body.as_mut().expect("a body of its own");
        body.stored += claim;
        let forged = Body::from(object::other(&manifest, &[]));
        adapter.put(&key, forged, PutOptions::new()).await.unwrap();
        let loaded = session.load(2).await;
        if good {
            assert!(loaded.unwrap().state == state);
        } else {
            let error = loaded.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().contains("its length is wrong"), "{error}");
            assert!(error.to_string().contains("/b/"), "{error}");
        }
    }
}

/// Each checksum is right, and the state that the delta makes is not the one that the commit names.
#[tokio::test]
async fn a_delta_that_makes_another_state_is_damage() {
    let adapter = Arc::new(MemoryAdapter::new());
    let session = Sessions::new(adapter.clone()).unwrap().session("a", "s").unwrap();
    let (state, key, bytes, manifest) = delta(&session).await;
    let delta = &bytes[4..bytes.len() - 8 - manifest.encode().len()];
    for (claimed, good) in [
        (manifest.clone(), true),
        (Manifest { digest: Digest::of(b"another"), ..manifest.clone() }, false),
        (Manifest { size: manifest.size + 1, ..manifest }, false),
    ] {
        let forged = Body::from(object::other(&claimed, delta));
        adapter.put(&key, forged, PutOptions::new()).await.unwrap();
        let loaded = session.load(2).await;
        if good {
            assert!(loaded.unwrap().state == state);
        } else {
            let error = loaded.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().contains("digest is wrong"), "{error}");
        }
    }
}
