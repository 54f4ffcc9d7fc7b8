//! Any text as a key: it is refused, or it comes back as it was and stays below any root.
//! `cargo +nightly fuzz run key`

#![no_main]

use libfuzzer_sys::fuzz_target;
use persist::Key;

fuzz_target!(|text: &str| {
    let segment = Key::encode_segment(text);
    assert_eq!(Key::decode_segment(&segment).expect("what was encoded"), text);
    let _ = Key::decode_segment(text);
    if !text.is_empty() && segment.len() <= Key::MAX_SEGMENT_BYTES {
        assert_eq!(Key::new(&segment).expect("an encoded segment is a key").segments().count(), 1);
    }
    if let Ok(key) = Key::new(text) {
        assert_eq!(key.as_str(), text);
        assert!(key.segments().all(|segment| !matches!(segment, "" | "." | "..")));
        assert!(!text.contains('\0') && !text.starts_with('/') && text.len() <= Key::MAX_BYTES);
    }
});
