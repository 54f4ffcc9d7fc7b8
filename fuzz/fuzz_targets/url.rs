//! Any text as the URL of a storage and of a snapshot: an answer, never a panic, and no password in it.
//! `cargo +nightly fuzz run url`

#![no_main]

use libfuzzer_sys::fuzz_target;
use persist::{
    Key, StorageConfig,
    config::{Sources, split_key, split_prefix},
};

const SECRET: &str = "hunter2-hunter2";

fuzz_target!(|text: &str| {
    if let Err(error) = StorageConfig::from_url(text) {
        assert!(!error.message().contains('\n'), "one line");
    }
    if let Ok(Some((storage, key))) = split_key(text) {
        assert_eq!(Key::new(key.as_str()).expect("a key"), key);
        let _ = Sources::new().snapshot_url(&storage);
    }
    let _ = split_prefix(text);
    if !text.contains(SECRET) && !text.contains(['/', '?', '#']) {
        for scheme in ["s3", "gs", "postgres", "redis", "file", "memory"] {
            let url = format!("{scheme}://user:{SECRET}@{text}");
            if let Err(error) = StorageConfig::from_url(&url) {
                assert!(!error.to_string().contains(SECRET), "{error}");
            }
            let variables = [("PERSIST_PREFIX".to_string(), url)];
            if let Err(error) = Sources::new().environment(variables).and_then(|sources| sources.resolve()) {
                assert!(!error.to_string().contains(SECRET), "{error}");
            }
        }
    }
});
