//! Files that an earlier persist wrote. They must load for ever; a change here is a new version of the
//! format.

#[cfg(feature = "zstd")]
use persist::{Codec, ErrorKind};
use persist::{Digest, LoadOptions, SaveOptions, SnapshotAdapterExt};

use crate::store::{SEGMENT, Store, state};

const SMALL: &[u8] = include_bytes!("../golden/small-v1.json.gz");
const SEGMENTS: &[u8] = include_bytes!("../golden/segments-v1.json.gz");

/// The states in the files: one of 2,000 bytes, one of two segments and a bit.
fn states() -> [(&'static [u8], Vec<u8>); 2] {
    [(SMALL, state(2000)), (SEGMENTS, state(1000).repeat((2 * SEGMENT + 500) / 1000))]
}

#[tokio::test]
async fn the_first_version_loads() {
    for (file, raw) in states() {
        let store = Store::new(1000);
        store.foreign("key", file).await;
        assert!(store.load_with("key", LoadOptions::new().verify_digest()).await.unwrap() == raw);
        assert_eq!(store.describe("key").await.unwrap().digest, Some(Digest::of(&raw)));
    }
}

/// The compressor decides on the bytes of the segments, so a new version of it may change them; then, and
/// only if the test above still passes with the old files, write new ones from what this test saved.
#[tokio::test]
async fn the_same_bytes_are_still_written() {
    for (file, raw) in states() {
        let store = Store::new(1000);
        store.save_with(raw, "key", SaveOptions::new()).await.unwrap();
        let written = store.bytes("key").await;
        assert!(written == file, "{} bytes were written, the file has {}", written.len(), file.len());
    }
}

/// Also what stands behind the frame: without it the digest would silently not be checked any more.
#[cfg(feature = "zstd")]
#[tokio::test]
async fn zstd_of_the_first_version_loads_and_ends_as_what_is_written() {
    const ZSTD: &[u8] = include_bytes!("../golden/zstd-v1.json.zst");
    const FOOTER: usize = 56;
    let raw = b"{\"step\": 7, \"message\": \"the quick brown fox\"}\n".repeat(60);
    let store = Store::new(1000);
    store.foreign("key", ZSTD).await;
    assert!(store.load_with("key", LoadOptions::new().verify_digest()).await.unwrap() == raw);
    assert_eq!(store.describe("key").await.unwrap().digest, Some(Digest::of(&raw)));
    store.save_with(raw, "key", SaveOptions::new().codec(Codec::Zstd { level: 3 })).await.unwrap();
    let written = store.bytes("key").await;
    assert_eq!(written[..4], ZSTD[..4]);
    assert_eq!(written[4] & 4, 4, "the frame has no checksum");
    assert!(written[written.len() - FOOTER..] == ZSTD[ZSTD.len() - FOOTER..]);
    // The digest is looked at.
    let mut bad = ZSTD.to_vec();
    bad[ZSTD.len() - 10] ^= 1;
    store.foreign("key", bad).await;
    let error = store.load_with("key", LoadOptions::new().verify_digest()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}
