//! Decompression bombs.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use persist::{Codec, ErrorKind, Limits, LoadOptions, SaveOptions, SnapshotAdapterExt};

use crate::store::{SEGMENT, Store, chunked, state};

async fn refused(store: &Store, limits: Limits) -> String {
    let error = store.load_with("key", LoadOptions::new().limits(limits)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    error.to_string()
}

#[tokio::test]
async fn a_limit_on_the_size_holds_for_every_form() {
    let raw = state(3 * SEGMENT);
    let limits = |max_bytes| Limits { max_bytes, ..Limits::default() };
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

#[tokio::test]
async fn a_bomb_of_ours_is_refused_before_anything_is_decoded() {
    let store = Store::new(100_000);
    let zeros = vec![0; SEGMENT];
    let source = futures_util::stream::iter(
        (0..80).map(|_| Ok(bytes::Bytes::from(zeros.clone()))).collect::<Vec<_>>(),
    );
    store.save_body_with(persist::Body::from_stream(source), "key", SaveOptions::new()).await.unwrap();
    let message = refused(&store, Limits::default()).await;
    assert!(message.contains("expands more than 250 times"), "{message}");
    let all = Limits { max_ratio: 2000, ..Limits::default() };
    let loaded = store.load_with("key", LoadOptions::new().limits(all)).await.unwrap();
    assert_eq!(loaded.len(), 80 * SEGMENT);
}

#[tokio::test]
async fn a_foreign_bomb_is_refused_while_it_is_read() {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
    (0..70).for_each(|_| bomb.write_all(&vec![0; SEGMENT]).unwrap());
    let bomb = bomb.finish().unwrap();
    let store = Store::new(1000);
    store.foreign("key", bomb.clone()).await;
    let limits = Limits { max_bytes: 5 << 20, ..Limits::default() };
    refused(&store, limits).await;
    let read = store.read.load(std::sync::atomic::Ordering::Relaxed) as usize;
    assert!(read < bomb.len() / 4, "{read} of {} bytes were read", bomb.len());
    refused(&store, Limits { ratio_free_bytes: 1 << 20, max_ratio: 100, ..Limits::default() }).await;
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
    let limits = Limits { ratio_free_bytes: 1000, ..Limits::default() };
    assert!(store.load_with("key", LoadOptions::new().limits(limits)).await.unwrap() == raw);
}
