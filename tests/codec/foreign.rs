//! Files that other tools wrote.

use std::io::Write;

use flate2::{Compression, GzBuilder, write::GzEncoder};
use persist::{ErrorKind, Format, SnapshotAdapter, SnapshotAdapterExt};

use crate::store::{SEGMENT, Store, noise, state};

fn gzip(raw: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(raw).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn gzip_of_one_and_many_members_with_any_header() {
    let raw = state(3 * SEGMENT);
    let third = SEGMENT;
    let many =
        [gzip(&raw[..third]), gzip(b""), gzip(&raw[third..2 * third]), gzip(&raw[2 * third..])].concat();
    let header = GzBuilder::new().filename("state.json").comment("by hand").mtime(1).extra(vec![1, 2, 0, 0]);
    let mut named = header.write(Vec::new(), Compression::fast());
    named.write_all(&raw).unwrap();
    for (chunk, file) in
        [(1 << 20, gzip(&raw)), (10_000, many.clone()), (100, many), (999, named.finish().unwrap())]
    {
        let store = Store::new(chunk);
        store.foreign("key", file).await;
        assert!(store.load("key").await.unwrap() == raw);
        assert_eq!(store.requests(), 1);
        let about = store.describe("key").await.unwrap();
        assert_eq!((about.format, about.size, about.digest, about.segments), (Format::Gzip, None, None, 0));
        assert!(store.load_range("key", 10..20).await.unwrap() == raw[10..20]);
    }
}

#[tokio::test]
async fn a_damaged_foreign_gzip_file_is_corrupt() {
    let (store, raw) = (Store::new(100), state(700));
    let (first, second) = (gzip(&raw[..300]), gzip(&raw[300..]));
    let good = [&first[..], &second].concat();
    for len in 0..good.len() {
        store.foreign("key", good[..len].to_vec()).await;
        // Between two members a gzip file is complete: only our own index tells that one is missing.
        let expected = if len == first.len() { &raw[..300] } else { &raw };
        assert_eq!(store.is_intact("key", expected).await, len == first.len(), "cut at {len}");
    }
    for more in [&b"\0"[..], b"x", &[0; 512], b"garbage behind it"] {
        store.foreign("key", [&good, more].concat()).await;
        assert!(!store.is_intact("key", &raw).await, "{more:?}");
        let error = store.load("key").await.unwrap_err().to_string();
        assert!(error.contains("or something else follows it, such as zeros") || more.len() < 10, "{error}");
    }
    for at in first.len()..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        store.foreign("key", bad).await;
        store.is_intact("key", &raw).await;
    }
}

#[tokio::test]
async fn a_file_that_is_not_what_its_name_says_is_damaged() {
    let store = Store::new(1000);
    let raw = state(5000);
    store.foreign("key.gz", gzip(&raw)).await;
    assert!(store.load("key.gz").await.unwrap() == raw);
    for at in 0..2 {
        let mut bad = gzip(&raw);
        bad[at] ^= 1;
        store.foreign("key.gz", bad.clone()).await;
        assert_eq!(store.load("key.gz").await.unwrap_err().kind(), ErrorKind::Corrupt);
        store.foreign("key.zst", bad).await;
        assert_eq!(store.load("key.zst").await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

/// Decoding waits for the storage, and the storage for a thread: of those there may be one.
#[test]
fn as_many_loads_at_once_as_there_are_threads() {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    runtime.block_on(async {
        let store = persist::adapters::local::LocalAdapter::open(folder.path()).unwrap();
        let raw = noise(4 * SEGMENT);
        store.put(&"key".parse().unwrap(), gzip(&raw).into(), Default::default()).await.unwrap();
        let loads = (0..4).map(|_| store.load("key"));
        for loaded in futures_util::future::join_all(loads).await {
            assert!(loaded.unwrap() == raw);
        }
    });
}

#[tokio::test]
async fn plain_bytes_of_other_tools_load_as_they_are() {
    for (chunk, raw) in
        [(10, state(100)), (1 << 20, noise(3 * SEGMENT)), (50_000, noise(3 * SEGMENT)), (1, b"{}".to_vec())]
    {
        let store = Store::new(chunk);
        store.foreign("key", raw.clone()).await;
        assert!(store.load("key").await.unwrap() == raw);
        let about = store.describe("key").await.unwrap();
        assert_eq!((about.format, about.size, about.digest), (Format::Plain, Some(raw.len() as u64), None));
    }
    // No bytes at all are not a state: what writes an empty state says so.
    let store = Store::new(1);
    store.foreign("key", Vec::new()).await;
    assert_eq!(store.load("key").await.unwrap_err().kind(), ErrorKind::Corrupt);
}

/// What `printf one | zstd` writes.
const ZSTD: &[u8] =
    &[0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x58, 0x19, 0x00, 0x00, 0x6f, 0x6e, 0x65, 0xf6, 0xa1, 0x08, 0x24];

#[tokio::test]
async fn zstd_loads_where_it_is_built_in_and_says_so_where_not() {
    let store = Store::new(5);
    store.foreign("key", [ZSTD, ZSTD].concat()).await;
    let loaded = store.load("key").await;
    if cfg!(feature = "zstd") {
        assert_eq!(loaded.unwrap(), "oneone");
        store.foreign("key", &ZSTD[..ZSTD.len() - 1]).await;
        assert!(!store.is_intact("key", b"one").await);
        store.foreign("key", [ZSTD, b"x"].concat()).await;
        assert!(!store.is_intact("key", b"one").await);
    } else {
        let error = loaded.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("--features zstd"), "{error}");
        let options = persist::SaveOptions::new().codec("zstd".parse().unwrap());
        assert_eq!(store.save_with("s", "k", options).await.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    assert_eq!(store.describe("key").await.unwrap().format, Format::Zstd);
}

/// What is whole, but made in a way that this cannot read, looks like damage; the message says what else it
/// can be.
#[cfg(feature = "zstd")]
#[tokio::test]
async fn zstd_that_needs_more_than_the_file_says_so() {
    let block = [0x19, 0, 0, b'o', b'n', b'e'];
    // As of `zstd --long=31`, and with a dictionary of which the number is 7.
    for (header, says) in [(&[0u8, 21 << 3][..], "--long"), (&[1, 0, 7], "dictionary")] {
        let store = Store::new(5);
        store.foreign("key", [&[0x28, 0xb5, 0x2f, 0xfd], header, &block].concat()).await;
        let error = store.load("key").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}
