//! Damage of more than one byte, to files that nothing but their bytes tells apart from those of other tools:
//! on a local disk, most snapshots are such files.

use persist::{Codec, ErrorKind, Key, PutOptions, SaveOptions, SnapshotAdapter, SnapshotAdapterExt};

use crate::store::{SEGMENT, Store, noise, state};

/// What can be wrong with the end of a file, besides nothing.
fn ends(file: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut zeroed = file.to_vec();
    let from = file.len() - file.len().min(512);
    zeroed[from..].fill(0);
    let mut flipped = file.to_vec();
    flipped[file.len() - 1] ^= 0x40;
    vec![
        ("whole", file.to_vec()),
        ("a byte cut", file[..file.len() - 1].to_vec()),
        ("half cut", file[..file.len() / 2].to_vec()),
        ("its last block zeros", zeroed),
        ("its last byte flipped", flipped),
        ("bytes behind it", [file, b"{\"more\":1}"].concat()),
        ("a block of zeros behind it", [file, &[0; 512]].concat()),
    ]
}

/// What can be wrong with the start of a file.
fn starts(file: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for lost in [3, 512, 4096, file.len()] {
        let mut bad = file.to_vec();
        bad[..lost.min(file.len())].fill(0);
        all.push((format!("{lost} zeros"), bad));
    }
    for (at, flip) in (0..2).flat_map(|at| [1, 0x10, 0x80, 0xff].map(|flip| (at, flip))) {
        let mut bad = file.to_vec();
        bad[at] ^= flip;
        all.push((format!("byte {at} with {flip:#x}"), bad));
    }
    // Of the four bytes that a zstd file begins with, three say too little.
    if file.starts_with(b"\x28\xb5") {
        all.remove(0);
    } else {
        all.push(("two bytes wrong".into(), [b"\x1e\x8a", &file[2..]].concat()));
    }
    all
}

async fn try_all(codec: Codec) {
    for raw in [Vec::new(), b"{\"step\":1}".to_vec(), state(9000), noise(20_000), state(3 * SEGMENT)] {
        let store = Store::new(5000);
        store.save_with(raw.clone(), "saved", SaveOptions::new().codec(codec)).await.unwrap();
        let good = store.bytes("saved").await;
        for (start, damaged) in starts(&good) {
            // Of a file that is lost whole, there is no end that could be damaged as well.
            let all_lost = damaged.iter().all(|byte| *byte == 0);
            for (end, bytes) in ends(&damaged) {
                if all_lost && bytes.iter().any(|byte| *byte != 0) {
                    continue;
                }
                store.foreign("key", bytes).await;
                let loaded = store.load("key").await.map_err(|error| error.kind());
                assert_eq!(
                    loaded,
                    Err(ErrorKind::Corrupt),
                    "{codec}: {start}, {end}, of {} bytes",
                    good.len()
                );
                let part = store.load_range("key", 0..10).await.unwrap_err();
                assert_eq!(part.kind(), ErrorKind::Corrupt, "{start}, {end}: {part}");
            }
        }
        // Blocks in the middle: lost, doubled and exchanged.
        for at in (512..good.len().saturating_sub(1024)).step_by(good.len().div_ceil(20)) {
            let (mut lost, mut doubled, mut moved) = (good.to_vec(), good.to_vec(), good.to_vec());
            lost[at..at + 512].fill(0);
            doubled.copy_within(at..at + 512, at + 512);
            moved[at..at + 1024].rotate_left(512);
            for bytes in [lost, doubled, moved] {
                store.foreign("key", bytes).await;
                assert!(!store.is_intact("key", &raw).await, "{codec}: block at {at} of {}", good.len());
            }
        }
    }
}

#[tokio::test]
async fn damaged_gzip_files_are_not_states() {
    try_all(Codec::default()).await;
}

#[cfg(feature = "zstd")]
#[tokio::test]
async fn damaged_zstd_files_are_not_states() {
    try_all("zstd".parse().unwrap()).await;
}

/// What is none of our files loads as it is.
#[tokio::test]
async fn files_of_other_tools_may_begin_with_zeros_and_with_much_else() {
    let zeros = |count: usize, rest: &[u8]| [&vec![0; count][..], rest].concat();
    let files = [
        b"{\"step\":1}".to_vec(),
        vec![0; 8],
        zeros(16, b""),
        zeros(100, b"a counter or a vector"),
        zeros(516, &noise(1000)),
        b"\xff\xfe{\0\"\0s\0".to_vec(),
        b"SQLite format 3\0\x10\0\x01\x01\0\x40\x20\x20\0\0\0\x02".to_vec(),
        b"\x80\x04\x95\x0c\0\0\0\0\0\0\0}\x94\x8c\x01a\x94K\x01s.".to_vec(),
        b"PK\x03\x04\x14\0\0\0\x08\0".to_vec(),
        b"BZh91AY&SY".to_vec(),
        b"(\xb5".to_vec(),
        b"x".to_vec(),
    ];
    for file in files {
        let store = Store::new(300);
        store.foreign("key", file.clone()).await;
        assert_eq!(store.load("key").await.unwrap(), file);
    }
}

/// Each error says what speaks against the file, and how to save it if it is meant as it is.
#[tokio::test]
async fn files_of_other_tools_that_are_refused_have_a_way_out() {
    let store = Store::new(1000);
    let gzip = PutOptions::new().content_type("application/gzip");
    let plain = SaveOptions::new().codec(Codec::None);
    for (key, file, options, reason) in [
        (
            "key",
            vec![0; 4096],
            PutOptions::new(),
            "it begins with zeros, as lost blocks do (if it is meant so, save it with the codec `none`)",
        ),
        (
            "state.json.gz",
            b"{}".to_vec(),
            PutOptions::new(),
            "its first bytes are not those of gzip, as its name says (if it is meant so, save it with the codec `none`)",
        ),
        (
            "state.json",
            b"{}".to_vec(),
            gzip,
            "its first bytes are not those of gzip, as its content type says (if it is meant so, save it with the codec `none`)",
        ),
        (
            "empty",
            Vec::new(),
            PutOptions::new(),
            "it has no bytes, like a file that was cut (if it is meant so, save it with the codec `none`)",
        ),
    ] {
        store.put(&Key::new(key).unwrap(), file.clone().into(), options).await.unwrap();
        let error = store.load(key).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("load \"{key}\": the snapshot is damaged: {reason}; restore an older one or a copy")
        );
        store.save_with(file.clone(), key, plain.clone()).await.unwrap();
        assert_eq!(store.load(key).await.unwrap(), file);
    }
}

/// Another file's blocks lie where its first ones were: nothing at its start tells that it is one of ours.
async fn start_of_another_file(codec: Codec) {
    for raw in [noise(900), noise(20_000), noise(SEGMENT)] {
        let store = Store::new(5000);
        store.save_with(raw.clone(), "saved", SaveOptions::new().codec(codec)).await.unwrap();
        let mut bytes = store.bytes("saved").await.to_vec();
        let lost = bytes.len().min(32);
        bytes[..lost].fill(b'x');
        store.foreign("key", bytes.clone()).await;
        let error = store.load("key").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{codec}: of {} bytes: {error}", bytes.len());
    }
}

#[tokio::test]
async fn a_gzip_file_with_the_start_of_another_one_is_not_a_state() {
    start_of_another_file(Codec::default()).await;
}

#[cfg(feature = "zstd")]
#[tokio::test]
async fn a_zstd_file_with_the_start_of_another_one_is_not_a_state() {
    start_of_another_file("zstd".parse().unwrap()).await;
}
