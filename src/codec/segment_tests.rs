use super::*;

/// Whoever gathers segments counts their bytes: a few that hold much more memory would not be noticed.
#[test]
fn a_segment_that_compresses_well_holds_little_memory() {
    let zeros = [vec![0u8; 1 << 20]];
    for level in [1, 6, 9] {
        let (bytes, _) = deflate(&zeros, level, false).unwrap();
        assert!(
            bytes.len() < 16 * 1024 && bytes.capacity() <= 2 * bytes.len(),
            "{level}: {}",
            bytes.capacity()
        );
    }
}

#[cfg(feature = "zstd")]
#[test]
fn zstd_holds_little_memory_for_what_compresses_well() {
    let mut encoder = crate::codec::zstd::Encoder::new(crate::Codec::Zstd { level: 3 }).unwrap().unwrap();
    for last in [false, false, true] {
        let bytes = encoder.encode(&[bytes::Bytes::from(vec![0; 1 << 20])], last).unwrap();
        assert!(bytes.capacity() <= 2 * bytes.len(), "{} for {} bytes", bytes.capacity(), bytes.len());
    }
}

/// What was compressed is whole, and comes to something else than was saved.
#[test]
fn the_checksum_of_the_raw_bytes_is_compared() {
    let raw = b"raw bytes".repeat(40);
    let (stored, entry) = deflate(&[&raw[..]], 6, true).unwrap();
    let mut out = vec![0; raw.len() + SLACK];
    inflate(&[&stored[..]], &entry, true, &mut out).unwrap();
    let wrong = Entry { crc32: entry.crc32 ^ 1, ..entry };
    let error = inflate(&[&stored[..]], &wrong, true, &mut out).unwrap_err();
    assert!(error.to_string().contains("raw bytes"), "{error}");
}
