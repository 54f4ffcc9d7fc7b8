//! `load_range`: a part of a state.

use std::ops::Range;

use futures_util::{StreamExt, stream};

use super::{
    Limits,
    decode::{Kind, decode, head},
    indexed,
};
use crate::{Body, ByteRange, Error, ErrorKind, GetOptions, Key, Object, Result, SnapshotAdapter};

/// The bytes `range` of the state under `key`, cut where the state ends. From an indexed file only the
/// segments that hold them are read; any other file is read to its end, because only there its checks are
/// complete.
///
/// # Errors
/// `InvalidInput` for an empty range and one that starts behind the end of an indexed file's state; else as a
/// load.
pub(crate) async fn decode_range<A: SnapshotAdapter + ?Sized>(
    adapter: &A,
    key: &Key,
    range: Range<u64>,
    limits: Limits,
) -> Result<Body> {
    if range.is_empty() {
        let message = format!("the range {}..{} is empty; ask for at least one byte", range.start, range.end);
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    let Object { meta, mut body, range: stored } = adapter.get(key, GetOptions::new()).await?;
    let first = head(&mut body).await?;
    if Kind::of(&first, &meta)? == Kind::Indexed {
        let (index, _, first, body) = indexed::open(adapter, key, &meta, first, body).await?;
        drop(body);
        let (start, length) = (range.start, range.end - range.start);
        let raw = ByteRange::Bounded { start, length }.resolve(index.raw_size)?;
        // The size of the part counts, but the ratio of the whole file: a part of a bomb is one.
        limits.check(u64::MAX, raw.end - raw.start)?;
        Limits { max_bytes: u64::MAX, ..limits }.check(meta.size, index.raw_size)?;
        return indexed::decode_range(adapter, key, &meta, &index, first, raw).await;
    }
    let body = Body::from_stream(stream::iter([Ok(first)]).chain(body));
    let (state, _) = decode(adapter, key, Object { meta, body, range: stored }, limits, false).await?;
    Ok(indexed::cut(state, range))
}
