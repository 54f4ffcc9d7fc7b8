use std::io::Read;

use proptest::prelude::*;

use super::*;
use crate::ErrorKind;

/// Text that compresses as states do, the same for every run.
pub(crate) fn state(len: usize) -> Vec<u8> {
    let mut seed = 1u64;
    let words = ["role", "assistant", "tool_calls", "{\"id\":", "content", "\",\"", "user", "\n", "step "];
    let mut out = Vec::with_capacity(len + 16);
    while out.len() < len {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        out.extend_from_slice(words[(seed >> 33) as usize % words.len()].as_bytes());
        if seed >> 60 == 0 {
            out.extend_from_slice(seed.to_string().as_bytes());
        }
    }
    out.truncate(len);
    out
}

fn gunzip(file: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut raw).unwrap();
    raw
}

#[test]
fn round_trips_around_the_segment_borders_and_gunzips_from_the_first_member() {
    for len in [0, 1, 100, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT, 2 * SEGMENT + 7] {
        let raw = state(len);
        let file = encode(&raw, 6, &[]).unwrap();
        let frame = decode(&file, Limits::default()).unwrap();
        assert!(frame.raw == raw && frame.extras.is_empty(), "{len}");
        assert_eq!(frame.digest, Digest::of(&raw));
        assert!(gunzip(&file) == raw, "{len}");
        assert_eq!(open(&file).unwrap().0.entries.len(), len.div_ceil(SEGMENT).max(1));
    }
}

#[test]
fn a_small_state_costs_94_bytes_over_plain_gzip() {
    let raw = state(8192);
    let mut plain = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    std::io::Write::write_all(&mut plain, &raw).unwrap();
    assert_eq!(encode(&raw, 6, &[]).unwrap().len(), plain.finish().unwrap().len() + 94);
}

#[test]
fn the_bytes_are_those_of_the_specification() {
    let file = encode(b"", 6, &[(*b"ab", b"xyz")]).unwrap();
    let mut expected = HEAD.to_vec();
    expected.extend([3, 0]);
    expected.extend([0; 8]);
    expected.extend([31, 139, 8, 4, 0, 0, 0, 0, 0, 255, 72, 0]);
    expected.extend(b"ab\x03\0xyzPS\x3d\0");
    expected.extend(Digest::of(b"").as_bytes());
    expected.extend([0; 8]);
    expected.push(20);
    expected.extend([2, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend(crc32c::crc32c(&[3, 0]).to_le_bytes());
    expected.extend([94, 0, 0, 0]);
    let check = crc32c::crc32c_append(crc32c::crc32c(&HEAD), &expected[HEAD.len() + 10..]);
    expected.extend(check.to_le_bytes());
    expected.extend([3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(file, expected);
}

#[test]
fn extras_of_any_length_come_back_in_order() {
    let long: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
    for len in [0, 1, 65_400, 65_450, 65_460, 65_466, 65_467, 65_470, 65_527, 65_528, 65_531, 65_532, 200_000]
    {
        let extras: [([u8; 2], &[u8]); 3] = [(*b"Mf", &long[..len]), (*b"zz", b""), (*b"aa", b"1")];
        let file = encode(b"state", 1, &extras).unwrap();
        let frame = decode(&file, Limits::default()).unwrap();
        let expected: Vec<Extra> = extras.iter().map(|(id, value)| (*id, value.to_vec())).collect();
        assert!(frame.extras == expected, "{len}");
        assert_eq!(frame.extra(*b"aa"), Some(&b"1"[..]));
        assert_eq!(frame.extra(*b"nn"), None);
        assert_eq!(gunzip(&file), b"state");
    }
    for bad in [&[(*b"PS", &b""[..])][..], &[(*b"a\0", b"")], &[(*b"aa", b""), (*b"aa", b"")]] {
        assert_eq!(encode(b"", 6, bad).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn every_flipped_bit_every_cut_and_every_addition_is_corrupt() {
    let raw = state(600);
    let file = encode(&raw, 6, &[(*b"ab", b"value")]).unwrap();
    let kind = |file: &[u8]| decode(file, Limits::default()).unwrap_err().kind();
    for at in 0..file.len() {
        for flip in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
            let mut bad = file.clone();
            bad[at] ^= flip;
            assert_eq!(kind(&bad), ErrorKind::Corrupt, "byte {at} ^ {flip}");
        }
        assert_eq!(kind(&file[..at]), ErrorKind::Corrupt, "cut at {at}");
    }
    for more in [&b"\0"[..], b"x", &file, &[0; 100]] {
        assert_eq!(kind(&[&file, more].concat()), ErrorKind::Corrupt);
    }
}

/// A file of an empty state with these subfields in its tail, and the right lengths and check.
fn with_fields(ids: &[[u8; 2]]) -> Vec<u8> {
    let mut file = encode(b"", 6, &[]).unwrap();
    let extras: Vec<u8> = ids.iter().flat_map(|[a, b]| [*a, *b, 1, 0, b'x']).collect();
    // The tail's header, up to the length of its extra field.
    let tail = file.len() + 8 - closing_len(&file, file.len() as u64).unwrap();
    let fields = file.len() - tail - 12 - 10;
    file[tail + 10..tail + 12].copy_from_slice(&((fields + extras.len()) as u16).to_le_bytes());
    file.splice(tail + 12..tail + 12, extras);
    let end = file.len() - 18;
    let len = (file.len() - tail) as u32;
    file[end..end + 4].copy_from_slice(&len.to_le_bytes());
    let check = crc32c::crc32c_append(crc32c::crc32c(&HEAD), &file[tail..end + 4]);
    file[end + 4..end + 8].copy_from_slice(&check.to_le_bytes());
    file
}

#[test]
fn the_parts_of_a_value_follow_one_another_and_there_are_few_values() {
    let many: Vec<[u8; 2]> = (b'a'..=b'z').map(|letter| [b'M', letter]).collect();
    let (a, b) = (*b"AA", *b"BB");
    for (ids, values) in [(&[a, a, b][..], 2), (&many[..15], 15)] {
        assert_eq!(decode(&with_fields(ids), Limits::default()).unwrap().extras.len(), values);
    }
    for ids in [&[a, b, a][..], &[a, b].repeat(50), &many[..16]] {
        let error = decode(&with_fields(ids), Limits::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{} subfields", ids.len());
    }
}

#[test]
fn a_newer_version_is_refused_by_name_and_limits_hold() {
    let mut file = encode(&state(600), 6, &[]).unwrap();
    let error = decode(&file, Limits { max_bytes: 599, ..Limits::default() }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    file[16] = 2;
    let (tail, end) = (closing_len(&file, file.len() as u64).unwrap() - 8, file.len() - 14);
    let check = crc32c::crc32c_append(crc32c::crc32c(&file[..17]), &file[file.len() - tail..end]);
    file[end..end + 4].copy_from_slice(&check.to_le_bytes());
    let error = decode(&file, Limits::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("format version 2"), "{error}");
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces(raw: Vec<u8>, cuts in prop::collection::vec(0usize..1000, 0..5), level in 1u8..=9) {
        let mut pieces = vec![&raw[..]];
        for cut in cuts {
            let last = pieces.pop().unwrap();
            let (front, back) = last.split_at(cut.min(last.len()));
            pieces.extend([front, back]);
        }
        let file = encode_hashed(&pieces, level, &[], Digest::of(&raw)).unwrap();
        prop_assert_eq!(&file, &encode(&raw, level, &[]).unwrap());
        prop_assert_eq!(decode(&file, Limits::default()).unwrap().raw, raw);
    }

    /// A damaged index with a right check, as only somebody with intent makes it: an error, or the state of
    /// the index that it now is.
    #[test]
    fn no_index_panics(at in 0usize..120, bytes in prop::collection::vec(any::<u8>(), 1..9), level in 1u8..=9) {
        let mut file = encode(&state(300), level, &[(*b"ab", b"value")]).unwrap();
        let tail = file.len() + 8 - closing_len(&file, file.len() as u64).unwrap();
        let end = file.len() - 14;
        let at = tail + at % (end - tail);
        let most = bytes.len().min(end - at);
        file[at..at + most].copy_from_slice(&bytes[..most]);
        let check = crc32c::crc32c_append(crc32c::crc32c(&HEAD), &file[tail..end]);
        file[end..end + 4].copy_from_slice(&check.to_le_bytes());
        if let Ok(frame) = decode(&file, Limits::default()) {
            prop_assert!(frame.raw == state(300));
        }
    }

    #[test]
    fn no_tail_panics(tail: Vec<u8>, total in 0u64..1000) {
        let _ = closing_len(&tail, total);
        let _ = parse(&HEAD, &tail, total);
    }
}
