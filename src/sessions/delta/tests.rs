use bytes::Bytes;
use proptest::prelude::*;

use super::{Copies, copies::Run, decode, format, materialize, samples};
use crate::{ErrorKind, Limits};

fn encode(base: &[u8], new: &[u8], level: u8) -> Vec<u8> {
    format::encode(&Copies::find(base, new), new, level)
}

/// One call of zlib takes no more than 32 bits count. What it did not take must not be missing.
#[test]
fn more_than_deflate_takes_is_stored() {
    let (base, new) = (vec![b'b'; 500], [vec![b'b'; 400], vec![b'n'; 1000]].concat());
    let copies = Copies::find(&base, &new);
    let len = copies.inserted();
    for (most, form) in [(len - 1, 0x10), (len, 0x11), (0, 0x10), (usize::MAX, 0x11)] {
        let delta = format::encode_within(&copies, &new, 6, most);
        assert_eq!(delta[0], form, "{most}");
        assert_eq!(restore(&base, &[delta])[..], new);
    }
}

fn restore(keyframe: &[u8], deltas: &[Vec<u8>]) -> Bytes {
    let limits = Limits::default();
    let chain: Vec<_> =
        deltas.iter().map(|delta| decode(Bytes::from(delta.clone()), &limits).unwrap()).collect();
    materialize(Bytes::copy_from_slice(keyframe), &chain, 0, &limits).unwrap()
}

/// An edit of a state, with places given as fractions of its length.
#[derive(Debug, Clone)]
enum Edit {
    Insert(f64, Vec<u8>),
    Delete(f64, f64),
    Move(f64, f64, f64),
    Repeat(f64, f64, f64),
    Front(u64),
    Clear,
    Nothing,
}

impl Edit {
    fn apply(&self, state: &mut Vec<u8>) {
        let place = |at: f64, state: &[u8]| (at * state.len() as f64) as usize;
        let range = |a: f64, b: f64, state: &[u8]| place(a.min(b), state)..place(a.max(b), state);
        match self {
            Edit::Insert(at, bytes) => {
                let at = place(*at, state);
                state.splice(at..at, bytes.iter().copied());
            }
            Edit::Delete(a, b) => drop(state.drain(range(*a, *b, state))),
            Edit::Move(a, b, to) => {
                let moved: Vec<u8> = state.drain(range(*a, *b, state)).collect();
                let to = place(*to, state);
                state.splice(to..to, moved);
            }
            Edit::Repeat(a, b, to) => {
                let copy = state[range(*a, *b, state)].to_vec();
                let to = place(*to, state);
                if state.len() < 1 << 16 {
                    state.splice(to..to, copy);
                }
            }
            Edit::Front(number) => {
                let text = format!("{{\"step\":{number}");
                let end = text.len().min(state.len());
                state.splice(..end, text.into_bytes());
            }
            Edit::Clear => state.clear(),
            Edit::Nothing => {}
        }
    }
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..1500),
        "[a-d ]{0,1500}".prop_map(String::into_bytes),
        (any::<u8>(), 0usize..5000).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = || 0.0..1.0f64;
    prop_oneof![
        4 => (at(), text()).prop_map(|(at, text)| Edit::Insert(at, text)),
        2 => (at(), at()).prop_map(|(a, b)| Edit::Delete(a, b)),
        2 => (at(), at(), at()).prop_map(|(a, b, to)| Edit::Move(a, b, to)),
        2 => (at(), at(), at()).prop_map(|(a, b, to)| Edit::Repeat(a, b, to)),
        2 => any::<u64>().prop_map(Edit::Front),
        1 => Just(Edit::Clear),
        1 => Just(Edit::Nothing),
    ]
}

proptest! {
    #[test]
    fn every_state_of_a_chain_comes_back(start in text(), edits in prop::collection::vec(prop::collection::vec(edit(), 0..4), 0..12), level in 1u8..=9) {
        let (mut states, mut deltas) = (vec![start], Vec::new());
        for step in edits {
            let mut next = states.last().unwrap().clone();
            step.iter().for_each(|edit| edit.apply(&mut next));
            deltas.push(encode(states.last().unwrap(), &next, level));
            states.push(next);
        }
        for (steps, state) in states.iter().enumerate() {
            prop_assert_eq!(&restore(&states[0], &deltas[..steps])[..], &state[..]);
        }
    }

    #[test]
    fn copies_in_a_row_compose(start in text(), first in prop::collection::vec(edit(), 0..5), second in prop::collection::vec(edit(), 0..5)) {
        let mut middle = start.clone();
        first.iter().for_each(|edit| edit.apply(&mut middle));
        let mut end = middle.clone();
        second.iter().for_each(|edit| edit.apply(&mut end));
        let both = Copies::find(&start, &middle).then(&Copies::find(&middle, &end));
        let delta = format::encode(&both, &end, 6);
        prop_assert_eq!(&restore(&start, &[delta])[..], &end[..]);
        prop_assert_eq!(Copies::find(&start, &start).then(&both), both);
    }

    #[test]
    fn no_bytes_make_it_panic(mut body in prop::collection::vec(any::<u8>(), 0..200), base in text(), first in prop_oneof![Just(0x10u8), Just(0x11)]) {
        let limits = Limits { max_bytes: 1 << 20, ..Limits::default() };
        prop_assert!(decode(body.clone().into(), &limits).is_err());
        body.insert(0, first);
        if let Ok(delta) = decode(sealed(body).into(), &limits) {
            let _ = materialize(base.into(), &[delta], 0, &limits);
        }
    }

    #[test]
    fn wrong_numbers_under_a_right_check_never_panic(at in 0.0..1.0f64, byte: u8, edits in prop::collection::vec(edit(), 1..6), start in text()) {
        let mut new = start.clone();
        edits.iter().for_each(|edit| edit.apply(&mut new));
        let mut delta = encode(&start, &new, 6);
        delta.truncate(delta.len() - 4);
        let at = (at * delta.len() as f64) as usize;
        delta[at] = byte;
        let limits = Limits { max_bytes: 1 << 20, ..Limits::default() };
        if let Ok(delta) = decode(sealed(delta).into(), &limits) {
            let _ = materialize(start.into(), &[delta], 0, &limits);
        }
    }
}

/// `body` with the check behind it.
fn sealed(mut body: Vec<u8>) -> Vec<u8> {
    body.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    body
}

fn kind<T>(result: crate::Result<T>) -> ErrorKind {
    result.err().unwrap().kind()
}

/// `count` runs of `len` bytes each, from places that `from` gives.
fn runs(base_len: usize, count: usize, len: usize, from: impl Fn(usize) -> usize) -> Copies {
    let mut copies = Copies::none(base_len, count * len);
    (0..count).for_each(|index| copies.push(Run { from: from(index), to: index * len, len }));
    copies
}

#[test]
fn every_flipped_byte_is_found() {
    let states: Vec<_> = samples::growing(3).take(3).collect();
    for delta in [encode(&states[1], &states[2], 6), encode(b"0123456789", b"0123456789abc", 6)] {
        for at in 0..delta.len() {
            for flip in 1..=255 {
                let mut bad = delta.clone();
                bad[at] ^= flip;
                assert_eq!(kind(decode(bad.into(), &Limits::default())), ErrorKind::Corrupt, "{at} {flip}");
            }
            assert_eq!(kind(decode(delta[..at].to_vec().into(), &Limits::default())), ErrorKind::Corrupt);
        }
    }
}

#[test]
fn a_stored_delta_has_exactly_these_bytes() {
    let base: Vec<u8> = (0..160).collect();
    let new = [&base[80..], b"new", &base[..80]].concat();
    let mut copies = Copies::none(160, 163);
    copies.push(Run { from: 80, to: 0, len: 80 });
    copies.push(Run { from: 0, to: 83, len: 80 });
    let mut bytes = vec![0x10];
    // Lengths of the base and of the state, two copies.
    bytes.extend([0xa0, 1, 0xa3, 1, 2]);
    // At once 80 bytes from 80 ahead; after 3 new bytes 80 more from 160 back.
    bytes.extend([0, 80, 0xa0, 1, 3, 80, 0xbf, 2]);
    bytes.extend(b"new");
    bytes.extend([19, 12, 28, 47]);
    assert_eq!(format::encode(&copies, &new, 6), bytes);
    assert_eq!(restore(&base, &[bytes]), new);
}

#[test]
fn a_deflated_delta_of_an_older_release_is_read() {
    let states: Vec<_> = samples::growing(5).take(20).collect();
    let golden: &[u8] = include_bytes!("../../../tests/golden/delta-v1.bin");
    assert_eq!(restore(&states[18], &[golden.to_vec()]), states[19]);
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let error = decode(sealed(vec![0x20, 1, 2, 3]).into(), &Limits::default()).unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::Unsupported, "no delta format 0x20; use a newer release")
    );
}

#[test]
fn a_small_change_of_a_small_state_is_a_small_delta() {
    let mut random = samples::Random::new(9);
    let base: Vec<u8> = (0..2048).map(|_| random.below(256) as u8).collect();
    for at in [0, 1000, 1998] {
        let mut new = base.clone();
        new[at..at + 50].iter_mut().for_each(|byte| *byte = random.below(256) as u8);
        assert!(encode(&base, &new, 6).len() <= 50 + 20);
    }
    assert!(encode(&base, &base, 6).len() < 16);
    // A counter at the front and words at the end.
    let states: Vec<_> = samples::window(4, 2000, 50).take(100).collect();
    let most = states[50..].windows(2).map(|pair| encode(&pair[0], &pair[1], 6).len()).max();
    assert!(most < Some(50 + 120), "{most:?}");
}

/// Compressors are used again: what one made before must not show, nor what did not become shorter.
#[test]
fn a_delta_has_the_same_bytes_whatever_was_made_before() {
    let mut random = samples::Random::new(7);
    let noise = |len| (0..len).map(|_| random.below(256) as u8).collect::<Vec<u8>>();
    let noises = [600, 20_000, 100, 70_000, 3_000].map(noise);
    let pairs = samples::growing(7).take(30).zip(noises.iter().cycle());
    // Each behind the state and in front of the noise of the one before.
    let states: Vec<Bytes> = pairs.map(|(state, noise)| [&state[..], noise].concat().into()).collect();
    for level in [1, 6, 9] {
        let make = |pair: &[Bytes]| encode(&pair[0], &pair[1], level);
        let there: Vec<_> = states.windows(2).map(make).collect();
        let mut back: Vec<_> = states.windows(2).rev().map(make).collect();
        back.reverse();
        assert!(there == back, "{level}");
    }
}

/// One that was left in the middle of a stream is not used again, however often that happens.
#[test]
fn what_does_not_become_shorter_leaves_nothing_behind() {
    let (mut random, base) = (samples::Random::new(8), vec![b'b'; 200]);
    for len in (0..300).map(|n| 600 * (1 + n % 36)) {
        let mut state = base.clone();
        state.extend((0..len).map(|_| random.below(256) as u8));
        assert_eq!(restore(&base, &[encode(&base, &state, 6)])[..], state);
    }
}

#[test]
fn counters_at_the_front_do_not_hide_the_rest() {
    let states: Vec<_> = samples::growing(6).take(60).collect();
    for pair in states[1..].windows(2) {
        let copies = Copies::find(&pair[0], &pair[1]);
        assert!(copies.inserted() < pair[1].len() - pair[0].len() + 200, "{}", copies.inserted());
    }
}

#[test]
fn what_moved_is_found() {
    let mut random = samples::Random::new(1);
    let base: Vec<u8> = (0..300_000).map(|_| random.below(256) as u8).collect();
    let mut new = base.clone();
    new.rotate_left(123_457);
    assert_eq!(Copies::find(&base, &new).inserted(), 0);
    assert!(encode(&base, &new, 6).len() < 40);
}

#[test]
fn sizes_are_checked_before_memory_is_spent() {
    let tight = Limits { max_bytes: 1000, ..Limits::default() };
    let huge = [&[0x11][..], &[0], &[0xff; 7], &[0x7f], &[0], b"x"].concat();
    assert_eq!(kind(decode(sealed(huge.clone()).into(), &tight)), ErrorKind::InvalidInput);
    // No stream of one byte inflates to that.
    assert_eq!(kind(decode(sealed(huge).into(), &Limits::default())), ErrorKind::Corrupt);
    // The whole must be paid for in bytes that were read, whether it is inserted or copied.
    let limits = Limits { ratio_free_bytes: 1000, ..Limits::default() };
    let zeros = encode(b"", &[0; 200_000], 6);
    let bomb = runs(1000, 1000, 1000, |_| 0);
    let bomb = format::encode(&bomb, &vec![0; bomb.new_len], 6);
    for (base, delta, paid) in [(0, zeros, 800), (1000, bomb, 4000)] {
        let base = Bytes::from(vec![0; base]);
        let delta = [decode(delta.into(), &limits).unwrap()];
        let stored = paid - base.len() as u64;
        assert_eq!(kind(materialize(base.clone(), &delta, stored - 1, &limits)), ErrorKind::InvalidInput);
        assert!(materialize(base, &delta, stored, &limits).unwrap().iter().all(|byte| *byte == 0));
    }
}

#[test]
fn what_a_reader_must_not_believe_is_damage() {
    let limits = Limits::default();
    for (why, bytes) in [
        ("a copy beyond the base", vec![0x10, 4, 9, 1, 0, 5, 0]),
        ("a copy before the base", vec![0x10, 4, 9, 1, 0, 2, 1]),
        ("a copy beyond the state", vec![0x10, 4, 3, 1, 0, 4, 0]),
        ("an empty copy", vec![0x10, 4, 4, 1, 0, 0, 0]),
        ("inserted bytes that are missing", vec![0x10, 4, 9, 1, 0, 4, 0, b'x']),
        ("inserted bytes too many", vec![0x10, 4, 4, 1, 0, 4, 0, b'x']),
        ("copies that are missing", vec![0x10, 4, 4, 0xff, 0xff, 3]),
        ("a number without an end", vec![0x10, 0x80, 0x80]),
        ("a number of more than 64 bits", [&[0x10][..], &[0xff; 10], &[1, 0]].concat()),
    ] {
        assert_eq!(kind(decode(sealed(bytes).into(), &limits)), ErrorKind::Corrupt, "{why}");
    }
    for (why, inserted) in [
        ("no deflate stream", &b"\xff\xff\xff"[..]),
        ("a stream without an end", &[0x4b][..]),
        ("a stream that gives too few bytes", &[0x4b, 0x04, 0x00][..]),
        ("bytes behind the stream", &[0x4b, 0x4c, 0x04, 0x00, 0x00][..]),
    ] {
        let delta = decode(sealed([&[0x11, 0, 2, 0], inserted].concat()).into(), &limits).unwrap();
        assert_eq!(kind(materialize(Bytes::new(), &[delta], 0, &limits)), ErrorKind::Corrupt, "{why}");
    }
    let delta = decode(sealed(vec![0x11, 0, 2, 0, 0x4b, 0x4c, 0x04, 0x00]).into(), &limits).unwrap();
    assert_eq!(materialize(Bytes::new(), &[delta], 0, &limits).unwrap(), "aa");
}

#[test]
fn a_delta_of_another_base_is_refused() {
    let delta = decode(encode(b"one base", b"one base and more", 6).into(), &Limits::default()).unwrap();
    assert_eq!(
        kind(materialize(Bytes::from_static(b"another base"), &[delta], 0, &Limits::default())),
        ErrorKind::Corrupt
    );
}

#[test]
fn pieces_never_take_more_memory_than_the_state() {
    // 2,000 pieces of 8 bytes in reverse order, then all of them 20 times over: 40,000 pieces if they were
    // kept apart.
    let base: Vec<u8> = (0..16_000u32).map(|at| ((at * at) >> 3) as u8).collect();
    let turned: Vec<u8> = base.chunks(8).rev().flatten().copied().collect();
    let repeated = turned.repeat(20);
    let deltas = [
        format::encode(&runs(16_000, 2000, 8, |index| 16_000 - 8 * (index + 1)), &turned, 6),
        format::encode(&runs(16_000, 20, 16_000, |_| 0), &repeated, 6),
    ];
    assert_eq!(restore(&base, &deltas), repeated);
}
