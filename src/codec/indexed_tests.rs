use super::*;
use crate::ErrorKind;

/// An adapter may announce anything.
#[tokio::test]
async fn an_announced_length_takes_no_memory() {
    let body = Body::from_stream(stream::iter([Ok(Bytes::from_static(b"b")), Ok(Bytes::from_static(b"c"))]));
    let error = whole(Bytes::from_static(b"a"), body.with_len(u64::MAX)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

/// It is held for as long as the load takes.
#[test]
fn what_is_read_of_the_end_is_bounded() {
    assert_eq!([0, 1, 20_000].map(guess), [1, 1, 16_386]);
    assert_eq!(guess(1 << 30), 16 * 1024 + (1 << 17));
    assert_eq!([1 << 40, u64::MAX].map(guess), [1 << 20; 2]);
}
