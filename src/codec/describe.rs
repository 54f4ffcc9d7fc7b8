//! What an object says about its state, without reading it whole.

use super::{
    Digest, Format, Summary,
    decode::{Kind, head},
    foreign::Compressed,
    indexed, plain, zstd,
};
use crate::{ByteRange, GetOptions, Key, ObjectMeta, Result, SnapshotAdapter};

/// What a stored object says about its state.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Description {
    /// The object.
    pub meta: ObjectMeta,
    /// In which form it is stored.
    pub format: Format,
    /// The state's size in bytes, where the object says it.
    pub size: Option<u64>,
    /// The state's SHA-256, where the object says it.
    pub digest: Option<Digest>,
    /// How many segments can be decoded side by side and by range; 0 for files without an index.
    pub segments: u64,
}

/// Reads the start and the end of an object: one request for a small one, two for a large one (three where
/// its index is unusually long).
pub(crate) async fn describe<A: SnapshotAdapter + ?Sized>(adapter: &A, key: &Key) -> Result<Description> {
    let object = adapter.get(key, GetOptions::new()).await?;
    let (meta, mut body) = (object.meta, object.body);
    let first = head(&mut body).await?;
    let (format, summary, segments) = match Kind::of(&first, &meta)? {
        Kind::Indexed => {
            let (index, ..) = indexed::open(adapter, key, &meta, first, body).await?;
            let summary = Summary { raw_size: index.raw_size, digest: index.digest };
            (Format::Gzip, Some(summary), index.segments().count() as u64)
        }
        Kind::Foreign(Compressed::Gzip) => (Format::Gzip, None, 0),
        Kind::Foreign(Compressed::Zstd) => {
            drop(body);
            let options = GetOptions::new()
                .range(ByteRange::Last(zstd::FOOTER_LEN as u64))
                .if_version(meta.version.clone());
            let end = adapter.get(key, options).await?.body.collect(zstd::FOOTER_LEN as u64).await?;
            (Format::Zstd, zstd::read_footer(&end)?, 0)
        }
        Kind::Plain => (Format::Plain, plain::promised(&meta)?, 0),
    };
    let size = match format {
        Format::Plain => Some(meta.size),
        _ => summary.map(|summary| summary.raw_size),
    };
    Ok(Description { meta, format, size, digest: summary.map(|summary| summary.digest), segments })
}
