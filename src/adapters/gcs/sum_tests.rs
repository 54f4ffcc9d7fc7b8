use bytes::Bytes;
use futures_util::stream;

use super::{append, verified};
use crate::{Body, ErrorKind, http::Payload};

/// `data` in chunks of three bytes, compared with the checksum of `stored`: what a reader gets, and what it
/// ends with.
async fn read(data: &'static [u8], stored: &[u8]) -> (Vec<u8>, Option<ErrorKind>) {
    let chunks = Body::from_stream(stream::iter(data.chunks(3).map(|chunk| Ok(Bytes::from_static(chunk)))));
    let size = stored.len() as u64;
    let mut body = verified(chunks.with_len(size), crc32c::crc32c(stored), size);
    assert_eq!(body.len(), Some(size));
    let mut read = Vec::new();
    loop {
        match body.chunk().await {
            Ok(Some(chunk)) => read.extend_from_slice(&chunk),
            Ok(None) => return (read, None),
            Err(error) => return (read, Some(error.kind())),
        }
    }
}

#[tokio::test]
async fn damage_shows_before_the_last_bytes_do() {
    let stored = b"0123456789";
    assert_eq!(read(stored, stored).await, (stored.to_vec(), None));
    for damaged in [b"X123456789", b"01234X6789", b"012345678X"] {
        let (read, end) = read(damaged, stored).await;
        assert_eq!((read.len(), end), (9, Some(ErrorKind::Corrupt)));
    }
    // More and fewer bytes are not the object either.
    assert!(read(b"01234567891", stored).await.1.is_some());
    assert!(read(b"012345678", stored).await.1.is_some());
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
