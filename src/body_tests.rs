use bytes::Bytes;
use futures_util::stream;
use tokio::io::AsyncReadExt;

use crate::{Body, Error, ErrorKind};

fn chunks(parts: &[&'static str]) -> Body {
    Body::from_stream(stream::iter(
        parts.iter().map(|p| Ok(Bytes::from_static(p.as_bytes()))).collect::<Vec<_>>(),
    ))
}

#[tokio::test]
async fn gives_chunks_without_empty_ones() {
    let mut body = chunks(&["", "ab", "", "c", ""]);
    assert_eq!(body.chunk().await.unwrap().unwrap(), "ab");
    assert_eq!(body.chunk().await.unwrap().unwrap(), "c");
    assert!(body.chunk().await.unwrap().is_none());
}

#[tokio::test]
async fn collects_up_to_the_limit() {
    assert_eq!(chunks(&["ab", "c"]).collect(3).await.unwrap(), "abc");
    assert_eq!(Body::from("abc").collect(3).await.unwrap(), "abc");
    assert_eq!(Body::empty().collect(0).await.unwrap(), "");
    for body in [chunks(&["ab", "cd"]), chunks(&["abcd"]), Body::from("abcd")] {
        assert_eq!(body.collect(3).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

/// Who logs an error and reads on must not meet what looks like a good end.
#[tokio::test]
async fn a_body_that_failed_has_no_end() {
    let failing = |kind| {
        let rows = [Ok(Bytes::from_static(b"ab")), Err(Error::new(kind, "no more"))];
        Body::from_stream(stream::try_unfold(rows.into_iter(), |mut rows| async move {
            rows.next().transpose().map(|row| row.map(|row| (row, rows)))
        }))
    };
    for kind in [ErrorKind::Unavailable, ErrorKind::Corrupt] {
        let mut body = failing(kind);
        assert_eq!(body.chunk().await.unwrap().unwrap(), "ab");
        assert!(body.chunk().await.unwrap_err().to_string().contains("no more"));
        for _ in 0..2 {
            let error = body.chunk().await.unwrap_err();
            assert!(error.kind() == kind && !error.retryable(), "{error}");
        }
        let mut reader = failing(kind).into_reader();
        let mut all = Vec::new();
        reader.read_to_end(&mut all).await.unwrap_err();
        reader.read_to_end(&mut all).await.unwrap_err();
        assert_eq!(all, b"ab");
    }
}

#[tokio::test]
async fn an_announced_length_takes_no_memory() {
    let body = chunks(&["ab", "cd", "ef"]).with_len(u64::MAX);
    assert_eq!(body.collect(u64::MAX).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn holds_the_source_to_its_length() {
    assert_eq!(chunks(&["ab", "c"]).with_len(3).collect(9).await.unwrap(), "abc");
    assert!(
        chunks(&["ab", "c"])
            .with_len(2)
            .collect(9)
            .await
            .unwrap_err()
            .to_string()
            .contains("more than the 2 bytes")
    );
    assert!(
        chunks(&["ab", "c"])
            .with_len(4)
            .collect(9)
            .await
            .unwrap_err()
            .to_string()
            .contains("fewer than the 4 bytes")
    );
}

#[tokio::test]
async fn holds_bytes_in_memory_to_their_length() {
    assert!(Body::from("abc").with_len(3).in_memory().is_some());
    for (len, says) in
        [(0, "more than the 0 bytes"), (2, "more than the 2 bytes"), (4, "fewer than the 4 bytes")]
    {
        let error = Body::from("abc").with_len(len).collect(9).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn counts_down() {
    let mut body = chunks(&["ab", "c"]).with_len(3);
    body.chunk().await.unwrap();
    assert_eq!(body.len(), Some(1));
    let mut body = Body::from("abc");
    body.chunk().await.unwrap();
    assert!(body.is_empty() && body.chunk().await.unwrap().is_none());
}

#[tokio::test]
async fn errors_keep_their_kind_through_a_reader() {
    let body =
        Body::from_stream(stream::iter([Ok(Bytes::from("a")), Err(Error::new(ErrorKind::Corrupt, "bad"))]));
    let error = body.into_reader().read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(Error::from(error).kind(), ErrorKind::Corrupt);
}

#[test]
fn debug_hides_the_bytes() {
    assert!(!format!("{:?}", Body::from("secret")).contains("secret"));
}

#[tokio::test]
async fn a_stream_is_not_asked_behind_its_end() {
    // It panics then.
    let once =
        stream::unfold(Some(Bytes::from_static(b"state")), |left| async move { Some((Ok(left?), None)) });
    let mut body = Body::from_stream(once);
    assert_eq!(body.chunk().await.unwrap().unwrap(), "state");
    for _ in 0..3 {
        assert!(body.chunk().await.unwrap().is_none());
    }
}
