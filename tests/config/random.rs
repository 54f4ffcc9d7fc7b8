//! Any text through every door: an answer, never a panic; and what is written into a URL comes out of it.

use persist::{
    Key, StorageConfig,
    config::{SETTINGS, Sources, parse_toml, parse_yaml, split_key},
};
use proptest::prelude::*;

/// Text that comes near to what is expected.
fn nearly_url() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("s3://".to_string()),
        Just("gs://".to_string()),
        Just("file://".to_string()),
        Just("?region=".to_string()),
        Just("&retry.attempts=".to_string()),
        "[%/?#&=@:]{1,3}",
        "\\PC{0,8}",
        "%[0-9a-fA-F]{2}",
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

/// Every byte that has a meaning in URLs, written so that it has none.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' => char::from(byte).to_string(),
            _ => format!("%{byte:02x}"),
        })
        .collect()
}

proptest! {
    #[test]
    fn urls_have_answers(text in nearly_url()) {
        let _ = StorageConfig::from_url(&text);
        if let Ok(Some((storage, key))) = split_key(&text) {
            prop_assert_eq!(Key::new(key.as_str()).unwrap(), key);
            let _ = StorageConfig::from_url(&storage);
        }
    }

    #[test]
    fn a_prefix_and_a_value_come_out_of_a_url_as_they_went_in(
        prefix in "[^\\p{C}/]{1,20}(/[^\\p{C}/]{1,20}){0,2}",
        profile in "[^\\p{C}]{1,20}",
    ) {
        // A name of a profile that looks like a URL is refused, with a reason.
        prop_assume!(Key::new(&prefix).is_ok() && !profile.contains("://"));
        let url = format!("s3://bucket/{}?profile={}", encoded(&prefix), encoded(&profile));
        let config = StorageConfig::from_url(&url).unwrap();
        prop_assert_eq!(config.prefix, Some(prefix.clone()));
        prop_assert_eq!(config.s3.profile, Some(profile));
        let (storage, key) = split_key(&url).unwrap().unwrap();
        prop_assert_eq!(key.as_str(), prefix);
        prop_assert!(storage.starts_with("s3://bucket?"));
    }

    #[test]
    fn paths_are_taken_as_they_are(path in "(\\.{0,2}/)?[^\\p{C}\\p{Z}{:~$\"']([^\\p{C}:~]{0,40}[^\\p{C}\\p{Z}:~\"'])?") {
        prop_assert_eq!(StorageConfig::from_url(&path).unwrap(), StorageConfig::local(&path));
    }

    #[test]
    fn variables_have_answers(index in 0..SETTINGS.len(), value in "\\PC{1,30}") {
        let setting = &SETTINGS[index];
        let variables = [(setting.variables[0].to_string(), value.clone())];
        let resolved = Sources::new().environment(variables).and_then(|layers| layers.resolve());
        if let Err(error) = resolved {
            let message = error.message();
            prop_assert!(message.contains(setting.variables[0]) && !message.contains('\n'), "{}", message);
            prop_assert!(!setting.secret || value.trim().is_empty() || !message.contains(&value));
        }
    }

    #[test]
    fn files_have_answers(text in "(\\[storage(\\.s3)?\\]\n)?([a-z_.]{1,12} ?= ?[\"'0-9a-z\\[{]{0,8}\n){0,4}\\PC{0,20}") {
        if let Err(answer) = parse_toml(&text) {
            prop_assert!(!answer.is_empty() && !answer.contains('\n'), "{}", answer);
        }
    }

    #[test]
    fn files_in_yaml_have_answers(text in "(storage:\n)?( {1,4}(bucket|s3|[a-z_.?&*!|>-]{1,8}): ?[\"'0-9a-z\\[{&*!|>.-]{0,8}\n){0,4}\\PC{0,20}") {
        if let Err(answer) = parse_yaml(&text) {
            prop_assert!(!answer.is_empty() && !answer.contains('\n'), "{}", answer);
        }
    }
}
