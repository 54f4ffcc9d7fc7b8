use super::*;

#[test]
fn the_newest_commit_sorts_first_across_folders() {
    let place = Place::new("a", "s").unwrap();
    let keys: Vec<Key> = [1, 2, 9, 10, 998, 999, 1000, 1001, 20_000, MAX_SEQ]
        .into_iter()
        .map(|seq| {
            let key = place.commit(seq).unwrap();
            assert_eq!(place.seq_of(&key).unwrap(), seq);
            key
        })
        .collect();
    assert!(keys.is_sorted_by(|old, new| new < old), "{keys:?}");
    assert_eq!(keys[0].as_str(), "sessions/a/s/c/999999999/998-1");
    assert!(place.commit(0).is_err() && place.commit(MAX_SEQ + 1).is_err());
}

#[test]
fn keys_that_no_commit_has_are_refused() {
    let place = Place::new("a", "s").unwrap();
    for key in
        ["sessions/a/s/c/999999999/998-2", "sessions/a/s/c/1-1", "sessions/a/t/c/999999999/998-1", "x-0"]
    {
        assert_eq!(place.seq_of(&Key::new(key).unwrap()).unwrap_err().kind(), ErrorKind::Corrupt, "{key}");
    }
}

#[test]
fn any_id_has_one_place_of_its_own() {
    let long = "ü/".repeat(300);
    let longer = format!("{long}x");
    let ids = [
        "a",
        "A",
        "outer:1|inner:2",
        "user@example.com",
        "..",
        "line",
        "🦀",
        "a/b",
        "a%2Fb",
        "\n",
        &long,
        &longer,
    ];
    let segments: Vec<String> = ids.iter().map(|id| segment(id, "agent").unwrap()).collect();
    for (at, segment) in segments.iter().enumerate() {
        assert!(segment.len() <= 160 && !segments[..at].contains(segment), "{segment}");
        let back = unsegment(segment);
        assert_eq!(back.as_deref(), (ids[at].len() < 300).then_some(ids[at]));
        assert!(Place::new(ids[at], ids[at]).unwrap().commit(MAX_SEQ).is_ok());
    }
    // An id that looks like a cut one is encoded like any other.
    assert!(!segment(&segments[10], "agent").unwrap().contains(CUT) || segments[10].len() * 3 > 160);
    assert!(segment("", "agent").unwrap_err().to_string().contains("the agent is empty"));
}
