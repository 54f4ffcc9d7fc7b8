use proptest::prelude::*;

use crate::{ErrorKind, Key};

#[test]
fn takes_what_agent_runtimes_use_as_ids() {
    for name in [
        "a",
        "user@example.com",
        "outer:1|inner:2",
        "with space",
        "emoji 🦀/é",
        r"back\slash",
        "a.b-c_d~e",
        "...",
        "%41",
    ] {
        assert_eq!(Key::new(name).unwrap().as_str(), name);
    }
}

#[test]
fn refuses_with_the_rule() {
    let long = "x".repeat(Key::MAX_BYTES + 1);
    let segment = "x".repeat(Key::MAX_SEGMENT_BYTES + 1);
    for (name, says) in [
        ("", "it is empty"),
        ("/etc/passwd", "starts with `/`"),
        ("a/", "ends with `/`"),
        ("a//b", "empty segment"),
        ("..", "`..` is not allowed"),
        ("a/../b", "`..` is not allowed"),
        ("./a", "`.` is not allowed"),
        ("a\0b", "U+0000"),
        ("a\nb", "U+000A"),
        ("a\u{7f}", "U+007F"),
        ("a\u{85}", "U+0085"),
        (long.as_str(), "769 bytes"),
        (segment.as_str(), "241 bytes"),
    ] {
        let error = Key::new(name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(says), "{name:?} gave {error}");
        assert!(error.to_string().len() < 400, "the message must not repeat a long key: {error}");
    }
}

proptest! {
    #[test]
    fn never_panics_and_keeps_what_it_takes(name in ".{0,300}") {
        if let Ok(key) = Key::new(&name) {
            prop_assert_eq!(key.as_str(), name.as_str());
            prop_assert!(key.segments().all(|s| !s.is_empty() && s != "." && s != ".."));
        }
    }

    #[test]
    fn encoded_segments_are_keys_and_come_back(text in "\\PC{1,60}|[\\x00-\\x7f]{1,40}") {
        let segment = Key::encode_segment(&text);
        prop_assert!(!segment.contains('/'));
        prop_assert_eq!(Key::decode_segment(&segment).unwrap(), text);
        if segment.len() <= Key::MAX_SEGMENT_BYTES {
            prop_assert!(Key::new(&segment).is_ok());
        }
    }

    #[test]
    fn decoding_never_panics(text in ".{0,80}") {
        let _ = Key::decode_segment(&text);
    }
}

#[test]
fn serde_validates() {
    assert_eq!(serde_json::to_string(&Key::new("a/b").unwrap()).unwrap(), r#""a/b""#);
    assert!(serde_json::from_str::<Key>(r#""../x""#).is_err());
}
