use super::*;
use crate::{Error, ErrorKind, SnapshotAdapterExt, adapters::memory::MemoryAdapter};

/// An adapter may announce anything.
#[tokio::test]
async fn an_announced_length_takes_no_memory() {
    let body = Body::from_stream(stream::iter([Ok(Bytes::from_static(b"b")), Ok(Bytes::from_static(b"c"))]));
    let error = whole(Bytes::from_static(b"a"), body.with_len(u64::MAX)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

/// It is held for as long as the load takes.
#[test]
fn what_is_read_of_the_end_is_bounded() {
    assert_eq!([0, 1, 20_000].map(guess), [1, 1, 16_386]);
    assert_eq!(guess(1 << 30), 16 * 1024 + (1 << 17));
    assert_eq!([1 << 40, u64::MAX].map(guess), [1 << 20; 2]);
}

/// There an adapter tells whether what came is what the service has sent.
#[tokio::test]
async fn a_large_file_is_read_to_its_end() {
    let (adapter, key) = (MemoryAdapter::new(), Key::new("state").unwrap());
    let noise =
        (0..3u64 << 17).flat_map(|n| n.wrapping_mul(n | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    let state: Vec<u8> = noise.collect();
    adapter.save(state.clone(), &key).await.unwrap();
    let object = adapter.get(&key, GetOptions::new()).await.unwrap();
    assert!(object.meta.size > READ_WHOLE, "{}", object.meta.size);
    let stored = object.body.collect(u64::MAX).await.unwrap();
    let checksum = || Error::new(ErrorKind::Io, "the checksum is wrong");
    for (behind, kind) in [
        (None, None),
        (Some(Err(checksum())), Some(ErrorKind::Io)),
        (Some(Ok(Bytes::from_static(b"more"))), Some(ErrorKind::Corrupt)),
    ] {
        let (first, rest) = (stored.slice(..1000), stored.slice(1000..));
        let body = Body::from_stream(stream::iter([Ok(rest)].into_iter().chain(behind)));
        let raw = decode(&adapter, &key, &object.meta, first, body, Limits::default(), false).await.unwrap();
        let loaded = raw.collect(u64::MAX).await;
        assert_eq!(loaded.as_ref().err().map(Error::kind), kind);
        assert!(loaded.map_or(true, |loaded| loaded == state), "a wrong state was loaded");
    }
}
