use std::sync::Arc;

use bytes::Bytes;

use super::{Sum, append};
use crate::{Body, http::Payload};

/// The pieces of `data` that start at `starts`, read in this order.
async fn sum(data: &'static [u8], starts: &[usize]) -> Arc<Sum> {
    let sum = Arc::new(Sum::default());
    let mut ends = starts.to_vec();
    ends.sort_unstable();
    for &start in starts {
        let end = ends.iter().copied().find(|end| *end > start).unwrap_or(data.len());
        let piece = sum.clone().over(start as u64, Body::from(&data[start..end]));
        assert_eq!(piece.collect(100).await.unwrap(), data[start..end]);
    }
    sum
}

#[tokio::test]
async fn the_order_of_the_pieces_does_not_matter() {
    let data = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let whole = crc32c::crc32c(data);
    for starts in [&[0][..], &[0, 9, 30], &[30, 9, 0], &[9, 0, 30]] {
        assert_eq!(sum(data, starts).await.of(36), Some(whole), "{starts:?}");
    }
}

#[tokio::test]
async fn a_missing_piece_is_no_checksum() {
    assert_eq!(sum(b"0123456789", &[3]).await.of(10), None);
    assert_eq!(sum(b"0123456789", &[0]).await.of(11), None);
    assert_eq!(sum(b"0123456789", &[0]).await.of(9), None);
}

#[tokio::test]
async fn what_is_sent_has_one_checksum_however_it_lies_in_memory() {
    let data: Vec<u8> = (0..20_000_003u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let whole = crc32c::crc32c(&data);
    let data = Bytes::from(data);
    for cuts in [&[][..], &[5], &[1, 9_999_999, 19_000_000]] {
        let ends = cuts.iter().copied().chain([data.len()]);
        let starts = [0].into_iter().chain(cuts.iter().copied());
        let payload = Payload::new(starts.zip(ends).map(|(start, end)| data.slice(start..end)));
        assert_eq!(append(0, &payload).await.unwrap(), whole, "{cuts:?}");
        let rest = append(crc32c::crc32c(&data[..100]), &payload.skip(100)).await.unwrap();
        assert_eq!(rest, whole, "{cuts:?}");
    }
}
