use proptest::prelude::*;

use super::{Location, pieces, segment_of};
use crate::Key;

#[test]
fn what_is_safe_stays_as_it_is() {
    let key = Key::new("agents/user@example.com/état 🦀/state.json.gz").unwrap();
    let place = Location::of(&key);
    let directories: Vec<_> = place.directories.iter().map(|(name, end)| (name.as_str(), *end)).collect();
    assert_eq!(directories, [("agents", 6), ("user@example.com", 23), ("état 🦀", 34)]);
    assert_eq!(place.file, "state.json.gz");
}

#[test]
fn what_is_not_is_escaped() {
    for (segment, name) in [
        ("outer:1|inner:2", "outer%3A1%7Cinner%3A2"),
        ("%41", "%2541"),
        ("back\\slash", "back%5Cslash"),
        ("trailing.", "trailing%2E"),
        ("trailing ", "trailing%20"),
        (" .a b.c", " .a b.c"),
        ("...", "..%2E"),
        (".persist-tmp-x", "%2Epersist-tmp-x"),
        (".hidden", ".hidden"),
    ] {
        assert_eq!(pieces(segment), [name]);
        assert_eq!(segment_of(&[], name.to_string()).as_deref(), Some(segment));
    }
}

#[test]
fn foreign_names_are_no_segments() {
    for name in
        ["outer:1", "%41", "%3a", "%", "a%", "%4", "%zz", "%+1", "a.", "a ", "%FF", ".persist-tmp-x", ""]
    {
        assert!(name.is_empty() || segment_of(&[], name.to_string()).is_none(), "{name:?}");
    }
}

#[test]
fn long_names_go_on_below() {
    let names = pieces(&"*".repeat(240));
    assert_eq!(names.len(), 3);
    assert!(names[..2].iter().all(|name| name.ends_with("%2A%")));
    let (last, above) = names.split_last().unwrap();
    assert_eq!(segment_of(above, last.clone()), Some("*".repeat(240)));
    // Cut elsewhere, it is no name of a key.
    assert_eq!(segment_of(&["%2A%".to_string()], "%2A".to_string()), None);
    assert_eq!(segment_of(&["foo%".to_string()], "bar".to_string()), None);
    assert_eq!(segment_of(&[], "a".repeat(252)), None);
    // A piece is hidden neither by what it begins with.
    let tricky = format!("{}.persist-tmp-x{}", "*".repeat(83), "*".repeat(100));
    assert!(pieces(&tricky).iter().all(|piece| !piece.starts_with(super::RESERVED)), "{:?}", pieces(&tricky));
}

proptest! {
    #[test]
    fn names_are_short_distinct_and_reversible(segment in "[a-c.%: *é🦀-]{1,60}|[*%é]{1,110}|(\\.persist-|x){1,25}") {
        prop_assume!(segment.len() <= Key::MAX_SEGMENT_BYTES && segment != "." && segment != "..");
        let names = pieces(&segment);
        prop_assert!(names.iter().all(|name| !name.is_empty() && name.len() <= 255 && !name.starts_with(".persist-")));
        let (last, goes_on) = names.split_last().unwrap();
        prop_assert!(!last.ends_with('%') && goes_on.iter().all(|name| name.ends_with('%')));
        prop_assert_eq!(segment_of(goes_on, last.clone()), Some(segment));
    }
}
