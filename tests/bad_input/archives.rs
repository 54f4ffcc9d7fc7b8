//! Stored bytes that are not what was saved, and files of others that are broken.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use persist::{Body, Key, Limits, LoadOptions, PutOptions, SnapshotAdapterExt, StorageConfig};

use super::{answer, compare};

fn gzip(state: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(state).unwrap();
    encoder.finish().unwrap()
}

/// A state in the two forms: by `save`, and by another tool.
async fn saved() -> (Vec<u8>, Vec<u8>) {
    let state: String = (0..60_000_u32).map(|i| format!("{} ", i.wrapping_mul(2_654_435_761))).collect();
    let store = StorageConfig::memory().open().await.unwrap();
    store.save(state.clone(), "key").await.unwrap();
    let object = store.get(&Key::new("key").unwrap(), Default::default()).await.unwrap();
    (object.body.collect(u64::MAX).await.unwrap().to_vec(), gzip(state.as_bytes()))
}

/// The bytes, damaged as `what` says.
fn damaged(what: &str, own: &[u8], foreign: &[u8]) -> Vec<u8> {
    let (whose, how) = what.split_once(": ").unwrap();
    let mut bytes = if whose == "own" { own.to_vec() } else { foreign.to_vec() };
    let end = bytes.len();
    match how {
        "one byte" => bytes.truncate(1),
        "header only" => bytes.truncate(10),
        "cut in the middle" => bytes.truncate(end / 2),
        "last byte missing" => bytes.truncate(end - 1),
        "bit flipped in the middle" => bytes[end / 2] ^= 4,
        "bit flipped in the first bytes" => bytes[2] ^= 4,
        "bit flipped in the last byte" => bytes[end - 1] ^= 4,
        "bit flipped in the checksum" => bytes[end - 8] ^= 4,
        "garbage behind" => bytes.extend_from_slice(b"garbage"),
        "another file behind" => bytes.extend(gzip(b"more")),
        "cut file behind" => bytes.extend(&gzip(b"more")[..12]),
        _ => unreachable!("{how}"),
    }
    bytes
}

#[tokio::test]
async fn each_bad_archive_has_its_answer() {
    let rows = [
        ("own: one byte", "corrupt: the snapshot is damaged: it was cut; restore an older one or a copy"),
        ("own: header only", "corrupt: the snapshot is damaged: it was cut; restore an older one or a copy"),
        (
            "own: cut in the middle",
            "corrupt: the snapshot is damaged: it does not end with its index, so it was cut or something was appended; restore an older one or a copy",
        ),
        (
            "own: last byte missing",
            "corrupt: the snapshot is damaged: it does not end with its index, so it was cut or something was appended; restore an older one or a copy",
        ),
        (
            "own: bit flipped in the middle",
            "corrupt: the snapshot is damaged: the checksum of its compressed bytes is wrong; restore an older one or a copy",
        ),
        (
            "own: bit flipped in the first bytes",
            "corrupt: the snapshot is damaged: it cannot be decompressed, or something else follows it, such as zeros to the end of a block (`gunzip` passes over them; if that is meant, cut them off); restore an older one or a copy <- Invalid gzip header",
        ),
        (
            "own: bit flipped in the last byte",
            "corrupt: the snapshot is damaged: it does not end with its index, so it was cut or something was appended; restore an older one or a copy",
        ),
        (
            "own: garbage behind",
            "corrupt: the snapshot is damaged: it does not end with its index, so it was cut or something was appended; restore an older one or a copy",
        ),
        (
            "own: another file behind",
            "corrupt: the snapshot is damaged: it does not end with its index, so it was cut or something was appended; restore an older one or a copy",
        ),
        (
            "foreign: header only",
            "corrupt: the snapshot is damaged: it was cut; restore an older one or a copy <- unexpected end of file",
        ),
        (
            "foreign: cut in the middle",
            "corrupt: the snapshot is damaged: it was cut; restore an older one or a copy <- unexpected end of file",
        ),
        (
            "foreign: last byte missing",
            "corrupt: the snapshot is damaged: it was cut; restore an older one or a copy <- unexpected end of file",
        ),
        (
            "foreign: bit flipped in the middle",
            "corrupt: the snapshot is damaged: it cannot be decompressed, or something else follows it, such as zeros to the end of a block (`gunzip` passes over them; if that is meant, cut them off); restore an older one or a copy <- CRC computed does not match",
        ),
        (
            "foreign: bit flipped in the checksum",
            "corrupt: the snapshot is damaged: it cannot be decompressed, or something else follows it, such as zeros to the end of a block (`gunzip` passes over them; if that is meant, cut them off); restore an older one or a copy <- CRC computed does not match",
        ),
        (
            "foreign: bit flipped in the last byte",
            "corrupt: the snapshot is damaged: it cannot be decompressed, or something else follows it, such as zeros to the end of a block (`gunzip` passes over them; if that is meant, cut them off); restore an older one or a copy <- amount of bytes read does not match",
        ),
        (
            "foreign: garbage behind",
            "corrupt: the snapshot is damaged: it cannot be decompressed, or something else follows it, such as zeros to the end of a block (`gunzip` passes over them; if that is meant, cut them off); restore an older one or a copy <- Invalid gzip header",
        ),
        (
            "foreign: cut file behind",
            "corrupt: the snapshot is damaged: it was cut; restore an older one or a copy <- unexpected end of file",
        ),
    ];
    let (own, foreign) = saved().await;
    let folder = tempfile::tempdir().unwrap();
    let store = StorageConfig::local(folder.path().join("store")).open().await.unwrap();
    let (key, file) = (Key::new("key").unwrap(), folder.path().join("out/state"));
    std::fs::create_dir(folder.path().join("out")).unwrap();
    std::fs::write(&file, "old").unwrap();
    let mut found = std::collections::BTreeMap::new();
    for (what, _) in rows {
        let bytes = damaged(what, &own, &foreign);
        store.put(&key, Body::from(bytes), PutOptions::new()).await.unwrap();
        let loaded = answer(&store.load(&key).await.unwrap_err());
        assert_eq!(answer(&store.download(&key, &file).await.unwrap_err()), loaded, "{what}");
        found.insert(what.to_string(), loaded);
    }
    compare(17, &rows, |what| found[what].clone());
    // Whatever went wrong, the file is the old one, and alone.
    assert_eq!(std::fs::read(&file).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
}

#[tokio::test]
async fn each_bomb_has_its_answer() {
    let store = StorageConfig::memory().open().await.unwrap();
    let bomb = gzip(&vec![0; 1 << 20]);
    store.put(&Key::new("foreign").unwrap(), Body::from(bomb), PutOptions::new()).await.unwrap();
    store.save(vec![0; 1 << 20], "own").await.unwrap();
    let limits = |what: &str| match what {
        "size" => Limits::new().max_bytes(1 << 19),
        _ => Limits::new().max_ratio(100).ratio_free_bytes(1 << 16),
    };
    let rows = [
        (
            "own size",
            "invalid_input: the snapshot is larger than the limit of 524288 bytes; raise `max_bytes` (PERSIST_MAX_BYTES)",
        ),
        (
            "own ratio",
            "invalid_input: the snapshot expands more than 100 times; if it is no bomb, raise `max_ratio` (PERSIST_MAX_RATIO)",
        ),
        (
            "foreign size",
            "invalid_input: the snapshot is larger than the limit of 524288 bytes; raise `max_bytes` (PERSIST_MAX_BYTES)",
        ),
        (
            "foreign ratio",
            "invalid_input: the snapshot expands more than 100 times; if it is no bomb, raise `max_ratio` (PERSIST_MAX_RATIO)",
        ),
    ];
    let mut found = std::collections::BTreeMap::new();
    for (what, _) in rows {
        let (key, limit) = what.split_once(' ').unwrap();
        let load = store.load_with(key, LoadOptions::new().limits(limits(limit))).await;
        found.insert(what.to_string(), answer(&load.unwrap_err()));
    }
    compare(4, &rows, |what| found[what].clone());
}

#[tokio::test]
async fn each_json_that_is_none_has_its_answer() {
    let store = StorageConfig::memory().open().await.unwrap();
    store.save("{\"step\": 1", "key").await.unwrap();
    let error = store.load_json::<serde_json::Value>("key").await.unwrap_err();
    assert_eq!(
        answer(&error),
        "invalid_input: the snapshot is intact, but not the JSON that was asked for <- EOF while parsing an object at line 1 column 10"
    );
}
