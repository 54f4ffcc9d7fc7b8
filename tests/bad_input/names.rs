//! Keys, metadata, tags and ranges.

use persist::{Body, ByteRange, GetOptions, Key, PutOptions, SaveOptions, SnapshotAdapterExt, StorageConfig};

use super::{answer, compare, is_empty};

#[tokio::test]
async fn each_bad_key_has_its_answer() {
    let long = "x".repeat(241);
    let longer = ["x".repeat(200), "y".repeat(200), "z".repeat(200), "w".repeat(200)].join("/");
    let rows = [
        (
            "",
            "invalid_input: key \"\": it is empty; name the snapshot, for example `agents/42/state.json.gz`",
        ),
        (
            "/",
            "invalid_input: key \"/\": it starts with `/`; keys are relative to the storage, remove the `/`",
        ),
        (
            "/etc/passwd",
            "invalid_input: key \"/etc/passwd\": it starts with `/`; keys are relative to the storage, remove the `/`",
        ),
        ("a/", "invalid_input: key \"a/\": it ends with `/`; name a snapshot, not a folder"),
        ("a//b", "invalid_input: key \"a//b\": it has an empty segment (`//`); remove one `/`"),
        (".", "invalid_input: key \".\": the segment `.` is not allowed; write the key without it"),
        ("..", "invalid_input: key \"..\": the segment `..` is not allowed; write the key without it"),
        (
            "../secret",
            "invalid_input: key \"../secret\": the segment `..` is not allowed; write the key without it",
        ),
        (
            "a/../../b",
            "invalid_input: key \"a/../../b\": the segment `..` is not allowed; write the key without it",
        ),
        ("a/./b", "invalid_input: key \"a/./b\": the segment `.` is not allowed; write the key without it"),
        ("a\0b", "invalid_input: key \"a\\0b\": it has the control character U+0000; remove it"),
        ("a\nb", "invalid_input: key \"a\\nb\": it has the control character U+000A; remove it"),
        ("a\tb", "invalid_input: key \"a\\tb\": it has the control character U+0009; remove it"),
        ("a\u{7f}b", "invalid_input: key \"a\\u{7f}b\": it has the control character U+007F; remove it"),
        ("a\u{85}b", "invalid_input: key \"a\\u{85}b\": it has the control character U+0085; remove it"),
        (
            "\u{1b}[31mred",
            "invalid_input: key \"\\u{1b}[31mred\": it has the control character U+001B; remove it",
        ),
        (
            &long,
            "invalid_input: key \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"…: a segment has 241 bytes, the limit between two `/` is 240",
        ),
        (
            &longer,
            "invalid_input: key \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"…: it has 803 bytes, the limit is 768",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let store = StorageConfig::local(folder.path()).open().await.unwrap();
    compare(18, &rows, |name| answer(&Key::new(name).unwrap_err()));
    for (name, _) in rows {
        assert!(store.save("state", name).await.is_err() && store.load(name).await.is_err());
    }
    assert!(is_empty(folder.path()));
}

#[tokio::test]
async fn each_bad_metadata_and_tag_has_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let store = StorageConfig::local(folder.path()).open().await.unwrap();
    let options = |what: &str| match what {
        "name" => PutOptions::new().metadata("Not Allowed", "x"),
        "underscore" => PutOptions::new().metadata("User_id", "x"),
        "no name" => PutOptions::new().metadata("", "x"),
        "value" => PutOptions::new().metadata("name", "naïve"),
        "line break" => PutOptions::new().metadata("name", "a\r\nx-injected: b"),
        "spaces" => PutOptions::new().metadata("name", " x "),
        "too much" => PutOptions::new().metadata("name", "x".repeat(2048)),
        "tags" => (0..11).fold(PutOptions::new(), |put, i| put.tag(format!("t{i}"), "x")),
        "tag name" => PutOptions::new().tag("a&b", "x"),
        "tag value" => PutOptions::new().tag("a", "x".repeat(257)),
        "media type" => PutOptions::new().content_type("text/plain\r\nx: y"),
        "tier" => PutOptions::new().tier(persist::Tier::Cold),
        _ => unreachable!(),
    };
    let rows = [
        ("name", "invalid_input: metadata name \"Not Allowed\": use 1 to 64 characters of a-z, 0-9 and `-`"),
        (
            "underscore",
            "invalid_input: metadata name \"User_id\": use 1 to 64 characters of a-z, 0-9 and `-`, as in \"user-id\"",
        ),
        ("no name", "invalid_input: metadata name \"\": use 1 to 64 characters of a-z, 0-9 and `-`"),
        (
            "value",
            "invalid_input: metadata \"name\": its value must be printable ASCII without spaces at the ends",
        ),
        (
            "line break",
            "invalid_input: metadata \"name\": its value must be printable ASCII without spaces at the ends",
        ),
        (
            "spaces",
            "invalid_input: metadata \"name\": its value must be printable ASCII without spaces at the ends",
        ),
        (
            "too much",
            "invalid_input: metadata: 2052 bytes in all, the limit is 2008; put it into the state instead",
        ),
        ("tags", "invalid_input: tags: 11 of them, the limit is 10"),
        (
            "tag name",
            "invalid_input: tag \"a&b\": names have 1 to 128 and values up to 256 letters, digits, spaces and `+-=._:/@`",
        ),
        (
            "tag value",
            "invalid_input: tag \"a\": names have 1 to 128 and values up to 256 letters, digits, spaces and `+-=._:/@`",
        ),
        (
            "media type",
            "invalid_input: content type \"text/plain\\r\\nx: y\": use a media type such as application/json",
        ),
        ("tier", "unsupported: this storage has no storage tiers; leave the tier out"),
    ];
    let mut found = std::collections::BTreeMap::new();
    for (what, _) in rows {
        let save = store.save_with("state", "key", SaveOptions::from(options(what))).await;
        found.insert(what.to_string(), answer(&save.unwrap_err()));
    }
    compare(12, &rows, |what| found[what].clone());
    assert!(is_empty(folder.path()));
}

#[tokio::test]
async fn each_bad_range_and_length_has_its_answer() {
    let store = StorageConfig::memory().open().await.unwrap();
    let key = Key::new("key").unwrap();
    store.put(&key, Body::from("12345"), PutOptions::new()).await.unwrap();
    let rows = [
        ("empty", "invalid_input: an empty range cannot be read; ask for at least one byte"),
        ("last 0", "invalid_input: an empty range cannot be read; ask for at least one byte"),
        ("behind", "invalid_input: the range starts at byte 9, the object has 5 bytes"),
        ("at the end", "invalid_input: the range starts at byte 5, the object has 5 bytes"),
    ];
    let range = |what: &str| match what {
        "empty" => ByteRange::Bounded { start: 0, length: 0 },
        "last 0" => ByteRange::Last(0),
        "behind" => ByteRange::Bounded { start: 9, length: 1 },
        _ => ByteRange::From(5),
    };
    let mut found = std::collections::BTreeMap::new();
    for (what, _) in rows {
        let get = store.get(&key, GetOptions::new().range(range(what))).await;
        found.insert(what.to_string(), answer(&get.unwrap_err()));
    }
    compare(4, &rows, |what| found[what].clone());
    for (body, expected) in [
        ("1234", "invalid_input: the body has fewer than the 5 bytes that were announced"),
        ("123456", "invalid_input: the body has more than the 5 bytes that were announced"),
    ] {
        let put = store.put(&key, Body::from_reader(body.as_bytes()).with_len(5), PutOptions::new()).await;
        assert_eq!(answer(&put.unwrap_err()), expected);
    }
}
