use bytes::Bytes;
use persist::{Body, Codec, Digest, ErrorKind, LoadOptions, SaveOptions, SnapshotAdapterExt};
use proptest::prelude::*;

use crate::store::{SEGMENT, SHORT, Store, chunked, noise, state};

fn codecs() -> Vec<Codec> {
    let all = [
        Some(Codec::default()),
        Some(Codec::None),
        cfg!(feature = "zstd").then_some("zstd".parse().unwrap()),
    ];
    all.into_iter().flatten().collect()
}

#[tokio::test]
async fn sizes_around_the_segment_borders_in_any_chunks() {
    for codec in codecs() {
        for (len, chunk) in [
            (0, 1),
            (1, 1),
            (8192, 7),
            (SHORT, SHORT),
            (SHORT + 1, 9_999),
            (3 * SHORT, 100_000),
            (SEGMENT - 1, 64 * 1024),
            (SEGMENT, SEGMENT),
            (SEGMENT + 1, 100_000),
            (2 * SEGMENT, 64 * 1024),
            (2 * SEGMENT + 9, 3 * SEGMENT),
            (7 * SEGMENT + 5, 1_000_003),
        ] {
            let (store, raw) = (Store::new(50_000), state(len));
            let options = SaveOptions::new().codec(codec);
            let saved = store.save_body_with(chunked(&raw, chunk), "key", options.clone()).await.unwrap();
            assert_eq!((saved.size, saved.digest), (len as u64, Digest::of(&raw)), "{codec} {len}");
            let stored = store.bytes("key").await;
            assert_eq!(saved.meta.size, stored.len() as u64);
            assert!(store.load("key").await.unwrap() == raw, "{codec} {len}");
            let verified = store.load_with("key", LoadOptions::new().verify_digest()).await.unwrap();
            assert!(verified == raw, "{codec} {len}");
            let about = store.describe("key").await.unwrap();
            assert_eq!((about.format.as_str(), about.size), (codec.name(), Some(len as u64)));
            // From memory the same bytes are written as from a stream.
            store.save_with(raw.clone(), "same", options).await.unwrap();
            assert!(store.bytes("same").await == stored, "{codec} {len}");
            assert!(store.load("same").await.unwrap() == raw);
            assert_eq!(store.describe("same").await.unwrap().digest, Some(saved.digest));
        }
    }
}

/// The index ends with the size of a segment and 12 bytes for each, before the last 18 bytes of the file.
#[tokio::test]
async fn a_state_of_one_segment_is_cut_further_for_the_cores_where_it_is_long() {
    let store = Store::new(50_000);
    for (len, bits, segments) in
        [(SHORT, 20, 1), (SHORT + 1, 18, 2), (SEGMENT, 18, 4), (SEGMENT + 1, 20, 2), (3 * SEGMENT, 20, 3)]
    {
        store.save(state(len), "key").await.unwrap();
        let file = store.bytes("key").await;
        assert_eq!(file[file.len() - 18 - 12 * segments - 1], bits, "{len}");
        let part = store.load_range("key", 1000..200_000).await.unwrap();
        assert!(part == state(len)[1000..200_000], "{len}");
    }
}

#[tokio::test]
async fn every_level_of_every_codec() {
    let store = Store::new(1000);
    // What does not compress is longer than it was: at level 1 by more than a twentieth.
    for raw in [state(30_000), noise(300_000)] {
        for codec in codecs() {
            for level in 1..=19 {
                let Ok(codec) = codec.with_level(level) else { continue };
                store.save_with(raw.clone(), "key", SaveOptions::new().codec(codec)).await.unwrap();
                assert!(store.load("key").await.unwrap() == raw, "{codec}");
            }
        }
    }
}

#[tokio::test]
async fn a_small_state_is_one_request_with_a_length_and_a_large_one_is_two_requests() {
    let store = Store::new(64 * 1024);
    store.save_stream(&b"small"[..], "small").await.unwrap();
    assert!(store.lengths.lock().unwrap()[0].is_some_and(|len| len > 0));
    store.load("small").await.unwrap();
    assert_eq!(store.requests(), 1);
    // Many segments, but less than 2 MiB stored.
    store.save(state(8 * SEGMENT), "middle").await.unwrap();
    store.load("middle").await.unwrap();
    assert_eq!(store.requests(), 1);
    let raw = noise(6 * SEGMENT);
    store.save(raw.clone(), "large").await.unwrap();
    assert!(store.load("large").await.unwrap() == raw);
    assert_eq!(store.requests(), 2);
    store.describe("large").await.unwrap();
    assert_eq!(store.requests(), 2);
}

#[tokio::test]
async fn a_part_of_a_state_reads_only_the_segments_that_hold_it() {
    let (store, raw) = (Store::new(64 * 1024), noise(8 * SEGMENT + 100));
    let size = raw.len() as u64;
    store.save(raw.clone(), "large").await.unwrap();
    store.save(raw[..5000].to_vec(), "small").await.unwrap();
    store.save_with(raw.clone(), "plain", SaveOptions::new().codec(Codec::None)).await.unwrap();
    let segment = SEGMENT as u64;
    for range in [
        0..1,
        0..size,
        5..segment,
        segment - 1..segment + 1,
        3 * segment..4 * segment,
        size - 1..size,
        size - 50..u64::MAX,
    ] {
        let expected = &raw[range.start as usize..range.end.min(size) as usize];
        assert!(store.load_range("large", range.clone()).await.unwrap() == expected, "{range:?}");
        assert!(store.load_range("plain", range.clone()).await.unwrap() == expected, "{range:?}");
    }
    assert_eq!(store.load_range("small", 4990..9000).await.unwrap(), raw[4990..5000]);
    store.read.store(0, std::sync::atomic::Ordering::Relaxed);
    store.load_range("large", segment..segment + 10).await.unwrap();
    let read = store.read.load(std::sync::atomic::Ordering::Relaxed);
    assert!(read < 2 * segment, "{read} bytes were read");
    store.save_with("", "nothing", SaveOptions::new().codec(Codec::None)).await.unwrap();
    for key in ["large", "small", "plain", "nothing"] {
        let error = store.load_range(key, size..size + 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    assert_eq!(store.load_range("large", 5..5).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_load_that_meets_a_newer_version_gives_that_one_whole() {
    // The object is replaced between the two requests of a large load: the store's first body is old, its end
    // is new.
    let store = Store::new(64 * 1024);
    store.save(noise(3 * SEGMENT), "key").await.unwrap();
    let new = noise(4 * SEGMENT);
    let replacing = crate::flow::Replacing::new(store.clone(), new.clone());
    assert!(replacing.load("key").await.unwrap() == new);
    for round in 0..2 {
        store.save(noise(3 * SEGMENT), "key").await.unwrap();
        let replacing = crate::flow::Replacing::new(store.clone(), new.clone());
        if round == 0 {
            let range = SEGMENT as u64 * 3..SEGMENT as u64 * 4;
            assert!(replacing.load_range("key", range).await.unwrap() == new[3 * SEGMENT..]);
        } else {
            assert_eq!(replacing.describe("key").await.unwrap().size, Some(new.len() as u64));
        }
    }
    let old = store.head_version("key").await;
    store.save(noise(3 * SEGMENT), "key").await.unwrap();
    let replacing = crate::flow::Replacing::new(store.clone(), new);
    let error = replacing.load_with("key", LoadOptions::new().if_version(old)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_level_that_no_codec_has_is_refused() {
    let store = Store::new(1000);
    for codec in [
        Codec::Gzip { level: 0 },
        Codec::Gzip { level: 10 },
        Codec::Gzip { level: 255 },
        Codec::Zstd { level: 99 },
    ] {
        for len in [10, 3 * SEGMENT] {
            let error =
                store.save_with(state(len), "key", SaveOptions::new().codec(codec)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
    }
    assert!(!store.exists("key").await.unwrap());
}

#[tokio::test]
async fn a_reader_that_fails_is_no_missing_snapshot() {
    let store = Store::new(1000);
    for kind in [std::io::ErrorKind::NotFound, std::io::ErrorKind::AlreadyExists] {
        let reader = tokio_util::io::StreamReader::new(futures_util::stream::iter([
            Ok(Bytes::from_static(b"begun")),
            Err(std::io::Error::new(kind, "the pipe is gone")),
        ]));
        let error = store.save_stream(reader, "key").await.unwrap_err();
        assert!(
            error.kind() == ErrorKind::Io && format!("{error:?}").ends_with(": the pipe is gone"),
            "{error}"
        );
    }
    assert!(!store.exists("key").await.unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_chunks_in_and_out(
        sizes in prop::collection::vec(prop_oneof![0usize..20, 0usize..70_000, 900_000usize..1_200_000], 0..6),
        chunk in prop_oneof![1usize..50, 1000usize..2_000_000],
        noisy: bool,
    ) {
        let len: usize = sizes.iter().sum();
        prop_assume!(len < chunk * 100_000);
        let raw = Bytes::from(if noisy { noise(len) } else { state(len) });
        let mut rest = raw.clone();
        let chunks: Vec<_> = sizes.iter().map(|size| Ok(rest.split_to(*size))).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = Store::new(chunk);
            let body = Body::from_stream(futures_util::stream::iter(chunks));
            store.save_body_with(body, "key", SaveOptions::new()).await.unwrap();
            assert!(store.load("key").await.unwrap() == raw);
        });
    }
}
