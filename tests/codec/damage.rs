//! What was flipped, cut or added to is `Corrupt` or harmless, never a wrong state.

use persist::{Codec, Digest, ErrorKind, LoadOptions, SaveOptions, SnapshotAdapterExt};

use crate::store::{SEGMENT, Store, noise, state};

/// Every byte flipped in three ways; gives the bytes of which some flip did no harm.
async fn flip_all(store: &Store, raw: &[u8]) -> Vec<usize> {
    let good = store.bytes("key").await.to_vec();
    let mut harmless = Vec::new();
    for at in 0..good.len() {
        for flip in [1, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            store.spoil("key", bad).await;
            if store.is_intact("key", raw).await {
                harmless.push(at);
            }
        }
    }
    store.spoil("key", good).await;
    harmless.dedup();
    harmless
}

/// Cut at every length and with other bytes behind it; gives the lengths at which a cut did no harm.
async fn cut_and_extend(store: &Store, raw: &[u8]) -> Vec<usize> {
    let good = store.bytes("key").await.to_vec();
    for more in [&b"\0"[..], b"x", b"\x1f\x8b", &[0; 600], &good] {
        store.spoil("key", [&good, more].concat()).await;
        assert!(!store.is_intact("key", raw).await, "{} bytes more", more.len());
    }
    let mut harmless = Vec::new();
    for len in 0..good.len() {
        store.spoil("key", good[..len].to_vec()).await;
        if store.is_intact("key", raw).await {
            harmless.push(len);
        }
    }
    harmless
}

#[tokio::test]
async fn every_changed_or_cut_gzip_file_is_corrupt() {
    for raw in [state(700), Vec::new()] {
        let store = Store::new(100);
        store.save(raw.clone(), "key").await.unwrap();
        // Time, flags, system and the name of the extra field: what any gzip reader passes over. The file
        // then counts as another tool's.
        let harmless = flip_all(&store, &raw).await;
        assert!(harmless.iter().all(|at| matches!(at, 3..=9 | 12..=15)), "{harmless:?}");
        assert_eq!(cut_and_extend(&store, &raw).await, [0usize; 0]);
    }
}

#[tokio::test]
async fn gzip_of_many_segments() {
    // Less and more than what is read in one request.
    for raw in [state(3 * SEGMENT + 10), noise(3 * SEGMENT + 10)] {
        let store = Store::new(70_000);
        store.save(raw.clone(), "key").await.unwrap();
        let good = store.bytes("key").await.to_vec();
        let places = (0..40).map(|n| 17 + n * (good.len() - 17) / 40).chain(good.len() - 160..good.len());
        for at in places {
            let mut bad = good.clone();
            bad[at] ^= 4;
            store.spoil("key", bad).await;
            assert!(!store.is_intact("key", &raw).await, "byte {at}");
            store.spoil("key", good[..at].to_vec()).await;
            assert!(!store.is_intact("key", &raw).await, "cut at {at}");
        }
        store.spoil("key", [&good[..], b"more"].concat()).await;
        assert!(!store.is_intact("key", &raw).await);
        // Two segments that change places.
        let mut bad = good.clone();
        bad[SEGMENT / 2..SEGMENT / 2 + 1000].rotate_left(500);
        store.spoil("key", bad).await;
        assert!(!store.is_intact("key", &raw).await);
    }
}

#[cfg(feature = "zstd")]
#[tokio::test]
async fn every_changed_or_cut_zstd_file_is_corrupt() {
    let (store, raw) = (Store::new(100), state(700));
    let options = SaveOptions::new().codec("zstd".parse().unwrap());
    store.save_with(raw.clone(), "key", options).await.unwrap();
    let harmless = flip_all(&store, &raw).await;
    let footer = store.bytes("key").await.len() - 56;
    // Some bits of a frame mean nothing, and a skippable frame that is not marked as ours is passed over. The
    // frame's checksum guards the state.
    let in_frame = harmless.iter().filter(|at| **at < footer).count();
    assert!(in_frame <= 8 && harmless.iter().all(|at| *at < footer + 12), "{harmless:?} of {footer}");
    // Without the footer it is any zstd file, complete and with its checksum.
    assert_eq!(cut_and_extend(&store, &raw).await, [footer]);
}

#[tokio::test]
async fn plain_bytes_saved_from_memory() {
    let (store, raw) = (Store::new(100), state(700));
    store.save_with(raw.clone(), "key", SaveOptions::new().codec(Codec::None)).await.unwrap();
    assert_eq!(flip_all(&store, &raw).await, [0usize; 0]);
    assert_eq!(cut_and_extend(&store, &raw).await, [0usize; 0]);
}

#[tokio::test]
async fn a_plain_state_may_look_like_anything() {
    let store = Store::new(100);
    store.save("inner", "gz").await.unwrap();
    let file = store.bytes("gz").await;
    for raw in [
        file.to_vec(),
        file[..10].to_vec(),
        [b"x", &file[1..]].concat(),
        Vec::new(),
        b"\x28\xb5\x2f\xfd".to_vec(),
    ] {
        let options = SaveOptions::new().codec(Codec::None);
        store.save_with(raw.clone(), "key", options.clone()).await.unwrap();
        assert_eq!(store.load("key").await.unwrap(), raw);
        store.save_body_with(crate::store::chunked(&raw, 3), "key", options).await.unwrap();
        assert_eq!(store.load("key").await.unwrap(), raw);
        // Saved again in another form: what the metadata said of the old one must not stick.
        let mut put = persist::PutOptions::new();
        put.metadata = store.meta("key").await.metadata;
        store.save_with(raw.clone(), "key", SaveOptions::from(put)).await.unwrap();
        assert_eq!(store.load("key").await.unwrap(), raw);
    }
}

#[tokio::test]
async fn a_wrong_digest_is_found_when_it_is_asked_for() {
    for (codec, at_end) in [("gzip", false), ("zstd", true)] {
        let Ok(codec) = codec.parse::<Codec>() else { continue };
        if codec.name() == "zstd" && !cfg!(feature = "zstd") {
            continue;
        }
        let (store, raw) = (Store::new(1000), state(2 * SEGMENT));
        store.save_with(raw.clone(), "key", SaveOptions::new().codec(codec)).await.unwrap();
        // A file that is consistent in itself, and whose digest is that of another state.
        let mut file = store.bytes("key").await.to_vec();
        let digest = *Digest::of(&raw).as_bytes();
        let at = file.windows(32).rposition(|window| window == digest).unwrap();
        file[at] ^= 1;
        let end = file.len();
        let (from, check) = if at_end { (end - 48, end - 4) } else { (tail_start(&file), end - 14) };
        let start = if at_end { 0 } else { crc32c::crc32c(&file[..17]) };
        let crc = crc32c::crc32c_append(start, &file[from..check]);
        file[check..check + 4].copy_from_slice(&crc.to_le_bytes());
        store.spoil("key", file).await;
        assert!(store.load("key").await.unwrap() == raw);
        let error = store.load_with("key", LoadOptions::new().verify_digest()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("SHA-256"), "{error}");
    }
}

fn tail_start(file: &[u8]) -> usize {
    let at = file.len() - 18;
    file.len() - u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize
}

#[tokio::test]
async fn an_error_names_the_operation_the_key_and_what_to_do() {
    let store = Store::new(100);
    store.save(state(700), "a/key").await.unwrap();
    let mut file = store.bytes("a/key").await.to_vec();
    file[40] ^= 1;
    store.spoil("a/key", file).await;
    let error = store.load("a/key").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "load \"a/key\": the snapshot is damaged: the checksum of its compressed bytes is wrong; restore an older one or a copy"
    );
}
