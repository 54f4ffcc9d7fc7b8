use proptest::prelude::*;

use super::*;
use crate::{
    Digest,
    sessions::{
        CommitId,
        manifest::{BodyRef, Line, Notes},
        names::Place,
    },
};

/// A manifest with every field, or with none that may be left out.
fn sample(full: bool, depth: u64) -> Manifest {
    let id = |byte| CommitId::from_bytes([byte; 16]);
    Manifest {
        seq: 300,
        id: id(1),
        parent: full.then(|| id(2)),
        depth,
        base: (depth > 0).then(|| id(3)),
        digest: Digest::of(b"state"),
        size: 5,
        epoch: u64::from(full) * 9,
        writer: full.then(|| "host/1".into()),
        notes: if full {
            Notes {
                label: Some("label".into()),
                step: Some(1 << 40),
                metadata: [("a".into(), "b".into()), ("c".into(), "".into())].into(),
            }
        } else {
            Notes::default()
        },
        values: if full { vec![("x".into(), 2), ("y".into(), 3)] } else { Vec::new() },
        body: None,
        lines: if full { vec![Line { upto: 299, place: Place::new("a", "s").unwrap() }] } else { Vec::new() },
        ids: full.then(|| ("agent".into(), "session".into())),
    }
}

fn limits() -> Limits {
    Limits::default()
}

#[test]
fn every_kind_of_commit_comes_back_whole_and_by_its_end() {
    for full in [false, true] {
        let manifest = sample(full, 0);
        let file = keyframe(&manifest, b"state", 6).unwrap();
        let object = decode(file.clone().into(), 300, &limits()).unwrap();
        assert_eq!(object.manifest, manifest);
        assert!(matches!(object.content, Content::State(state) if state == b"state"[..]));
        assert_eq!(super::manifest(&file, file.len() as u64, 300).unwrap(), Some(manifest));

        let delta = delta::encode(&delta::Copies::find(b"stat", b"state"), b"state", 6);
        let manifest = sample(full, 7);
        let file = other(&manifest, &delta);
        let object = decode(file.clone().into(), 300, &limits()).unwrap();
        assert_eq!((object.manifest, object.stored), (manifest.clone(), file.len() as u64));
        assert!(matches!(object.content, Content::Delta(_)));
        let total = file.len() as u64;
        let ends: Vec<_> = (0..file.len()).map(|cut| super::manifest(&file[cut..], total, 300)).collect();
        assert_eq!(ends[0].as_ref().unwrap(), &Some(manifest.clone()));
        // From the manifest on the end is enough; with less it says so.
        let start = 4 + delta.len();
        assert!(ends[..=start].iter().all(|end| end.as_ref().unwrap().is_some()));
        assert!(ends[start + 1..file.len() - 8].iter().all(|end| matches!(end, Ok(None))));

        for depth in [0, 7] {
            let body = Some(BodyRef { id: CommitId::from_bytes([4; 16]), stored: 77 });
            let manifest = Manifest { body, ..sample(full, depth) };
            let object = decode(other(&manifest, &[]).into(), 300, &limits()).unwrap();
            assert_eq!(object.manifest, manifest);
            assert!(matches!(object.content, Content::Elsewhere));
        }
    }
}

#[test]
fn a_small_commit_costs_little() {
    let bare = sample(false, 1);
    assert_eq!(bare.encode().len(), 1 + 1 + 2 + 16 + 1 + 16 + 32 + 1);
    let plain = crate::codec::frame::encode(b"state", 6, &[]).unwrap().len();
    assert_eq!(keyframe(&sample(false, 0), b"state", 6).unwrap().len(), plain + 4 + 21);
}

#[test]
fn what_is_too_short_for_a_commit_is_corrupt() {
    let whole = other(&sample(false, 1), b"");
    for len in 0..12 {
        let error = decode(whole[..len].to_vec().into(), 300, &limits()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{len}: {error}");
    }
}

#[test]
fn a_commit_under_another_key_is_corrupt() {
    let file = keyframe(&sample(false, 0), b"state", 6).unwrap();
    let error = decode(file.into(), 301, &limits()).unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("commit 300"), "{error}");
    let snapshot = frame::encode(b"state", 6, &[]).unwrap();
    let error = decode(snapshot.into(), 300, &limits()).unwrap_err();
    assert!(error.to_string().contains("no commit"), "{error}");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, at in 0usize..200, to: u8, full: bool) {
        let _ = Manifest::decode(&bytes, None);
        let _ = decode(bytes.clone().into(), 1, &limits());
        let _ = manifest(&bytes, bytes.len() as u64, 1);
        // Wrong numbers under a right check.
        let mut inner = sample(full, 7).encode();
        let at = at % inner.len();
        inner[at] = to;
        let _ = Manifest::decode(&inner, None);
        let _ = Manifest::decode(&inner[..at], Some((Digest::of(b""), 0)));
    }
}

/// What keeps an import's first number has the id of a commit, and is none.
#[test]
fn forks_have_an_id_and_imports_have_none() {
    let place = Place::from_segments("a".into(), "s".into());
    let id = CommitId::from_bytes([7; 16]);
    let import = Origin::of_import(id, 9, &place, None);
    let mut fork = Origin::of_import(id, 9, &place, None);
    fork.target.seq = 3;
    let told = |origin: &Origin| {
        let bytes = origin.encode();
        commit_id("c/999999999/998-1", &bytes, bytes.len() as u64)
    };
    assert_eq!((told(&import), told(&fork)), (None, Some(id)));
}
