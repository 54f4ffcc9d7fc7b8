use super::*;
use crate::ErrorKind;

/// An adapter may announce anything.
#[tokio::test]
async fn an_announced_length_takes_no_memory() {
    let body = Body::from_stream(stream::iter([Ok(Bytes::from_static(b"b")), Ok(Bytes::from_static(b"c"))]));
    let error = whole(Bytes::from_static(b"a"), body.with_len(u64::MAX)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
