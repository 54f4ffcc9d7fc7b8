//! Decompression bombs.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use persist::{Codec, ErrorKind, Limits, LoadOptions, SaveOptions, SnapshotAdapterExt};

use crate::store::{SEGMENT, Store, chunked, noise, state};

async fn refused(store: &Store, limits: Limits) -> String {
    let error = store.load_with("key", LoadOptions::new().limits(limits)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    error.to_string()
}

#[tokio::test]
async fn a_limit_on_the_size_holds_for_every_form() {
    let raw = state(3 * SEGMENT);
    let limits = |max_bytes| Limits::new().max_bytes(max_bytes);
    for codec in ["gzip", "none", "zstd"] {
        let codec: Codec = codec.parse().unwrap();
        if codec.name() == "zstd" && !cfg!(feature = "zstd") {
            continue;
        }
        let store = Store::new(100_000);
        store.save_with(raw.clone(), "key", SaveOptions::new().codec(codec)).await.unwrap();
        let message = refused(&store, limits(raw.len() as u64 - 1)).await;
        assert!(message.contains("larger than the limit of 3145727 bytes"), "{message}");
        store.load_with("key", LoadOptions::new().limits(limits(raw.len() as u64))).await.unwrap();
    }
}

/// A state of zeros, and one that begins with them.
#[tokio::test]
async fn whatever_was_saved_loads_with_the_default_limits() {
    for codec in ["gzip", "none", "zstd:1"] {
        if codec.starts_with("zstd") && !cfg!(feature = "zstd") {
            continue;
        }
        let options = SaveOptions::new().codec(codec.parse().unwrap());
        let store = Store::new(100_000);
        for end in [0, SEGMENT] {
            let zeros = bytes::Bytes::from(vec![0; SEGMENT]);
            let chunks = std::iter::repeat_n(zeros, 80).chain([bytes::Bytes::from(noise(end))]);
            let source = futures_util::stream::iter(chunks.map(Ok).collect::<Vec<_>>());
            store.save_body_with(persist::Body::from_stream(source), "key", options.clone()).await.unwrap();
            let loaded = store.load_with("key", LoadOptions::new().verify_digest()).await.unwrap();
            assert_eq!(loaded.len(), 80 * SEGMENT + end, "{codec}");
            let part = store.load_range("key", 79 * SEGMENT as u64..80 * SEGMENT as u64).await.unwrap();
            assert_eq!(part.len(), SEGMENT, "{codec}");
        }
    }
}

#[tokio::test]
async fn a_bomb_of_ours_is_refused_before_anything_is_decoded() {
    let store = Store::new(100_000);
    store.save(vec![0; 8 * SEGMENT], "key").await.unwrap();
    let limits = Limits::new().max_ratio(250).ratio_free_bytes(SEGMENT as u64);
    let message = refused(&store, limits).await;
    assert!(message.contains("expands more than 250 times"), "{message}");
    let all = limits.max_ratio(2000);
    let loaded = store.load_with("key", LoadOptions::new().limits(all)).await.unwrap();
    assert_eq!(loaded.len(), 8 * SEGMENT);
}

/// A part is asked for, but who made the file decides how much of it there is.
#[tokio::test]
async fn a_part_of_a_bomb_is_refused_too() {
    let store = Store::new(100_000);
    store.save(vec![0; 8 * SEGMENT], "key").await.unwrap();
    let part = async |limits: Limits, range| {
        let inner: std::sync::Arc<dyn persist::SnapshotAdapter> = std::sync::Arc::new(store.clone());
        persist::layers::Defaults::new(inner).limits(limits).load_range("key", range).await
    };
    let limits = Limits::new().ratio_free_bytes(SEGMENT as u64);
    for range in [0..u64::MAX, 0..10] {
        let Err(error) = part(limits, range).await else { panic!("a bomb was let through") };
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("expands more than 250 times"), "{error}");
    }
    assert_eq!(part(limits.max_ratio(2000), 0..10).await.unwrap().len(), 10);
    // The limit on the size is for the part.
    let limits = Limits::new().max_bytes(10);
    assert_eq!(part(limits, 0..10).await.unwrap().len(), 10);
    assert!(part(limits, 0..11).await.unwrap_err().to_string().contains("larger than the limit of 10 bytes"));
}

#[tokio::test]
async fn a_foreign_bomb_is_refused_while_it_is_read() {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
    (0..70).for_each(|_| bomb.write_all(&vec![0; SEGMENT]).unwrap());
    let bomb = bomb.finish().unwrap();
    let store = Store::new(1000);
    store.foreign("key", bomb.clone()).await;
    let limits = Limits::new().max_bytes(5 << 20);
    refused(&store, limits).await;
    let read = store.read.load(std::sync::atomic::Ordering::Relaxed) as usize;
    assert!(read < bomb.len() / 4, "{read} of {} bytes were read", bomb.len());
    refused(&store, Limits::new().ratio_free_bytes(1 << 20).max_ratio(100)).await;
    // A stream shows no more than the limit before it fails.
    let mut reader = store.load_stream_with("key", LoadOptions::new().limits(limits)).await.unwrap();
    let mut shown = 0;
    let error = loop {
        match reader.chunk().await {
            Ok(chunk) => shown += chunk.unwrap().len(),
            Err(error) => break error,
        }
    };
    assert!(shown <= 5 << 20 && error.kind() == ErrorKind::InvalidInput, "{shown} {error}");
}

#[tokio::test]
async fn an_ordinary_state_is_no_bomb() {
    let store = Store::new(100_000);
    let raw = state(4 * SEGMENT);
    store.save_body_with(chunked(&raw, SEGMENT), "key", SaveOptions::new()).await.unwrap();
    let limits = Limits::new().ratio_free_bytes(1000);
    assert!(store.load_with("key", LoadOptions::new().limits(limits)).await.unwrap() == raw);
}
