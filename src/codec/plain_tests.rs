use futures_util::stream;

use super::*;
use crate::{ErrorKind, Key, Version};

/// What a load of an object says that has `announced` bytes, and of which these come.
async fn load(announced: u64, metadata: &[(&str, String)], chunks: &[&'static str]) -> Result<Bytes> {
    let key = Key::new("state")?;
    let mut meta = ObjectMeta::new(key, announced, Version::new("1"), std::time::UNIX_EPOCH);
    meta.metadata = metadata.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
    let mut chunks = chunks.iter().map(|chunk| Bytes::from_static(chunk.as_bytes()));
    let first = chunks.next().unwrap_or_default();
    let rest: Vec<_> = chunks.map(Ok).collect();
    let body = Body::from_stream(stream::iter(rest));
    decode(first, body, &meta, Limits::new().max_bytes(8)).await?.collect(u64::MAX).await
}

/// An adapter may announce less than it gives.
#[tokio::test]
async fn more_bytes_than_announced_are_neither_cut_off_nor_let_through() {
    assert_eq!(load(5, &[], &["state"]).await.unwrap(), "state");
    assert_eq!(load(5, &[], &["state", "more"]).await.unwrap_err().kind(), ErrorKind::Corrupt);
    // Of one that is not there whole at first, the limit counts what comes.
    assert_eq!(load(8, &[], &["sta", "te of"]).await.unwrap(), "state of");
    assert_eq!(load(8, &[], &["sta", "te of", "8"]).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

/// A copy by another tool may have lost some of it.
#[tokio::test]
async fn half_of_the_metadata_is_damage() {
    let all = metadata(Some(Summary { raw_size: 5, digest: Digest::of(b"state") }));
    assert_eq!(load(5, &all, &["state"]).await.unwrap(), "state");
    assert_eq!(load(5, &all[1..], &["state"]).await.unwrap_err().kind(), ErrorKind::Corrupt);
}
