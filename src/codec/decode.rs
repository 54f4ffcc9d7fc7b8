//! A state on its way in: what kind of file it is shows in its first bytes.

use bytes::{Bytes, BytesMut};

use super::{Limits, corrupt, foreign, foreign::Compressed, frame, indexed, plain, zstd};
use crate::{Body, Key, Object, ObjectMeta, Result, SnapshotAdapter};

/// The kind of a file, from its first bytes and its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Indexed,
    Foreign(Compressed),
    Plain,
}

impl Kind {
    /// `head` is what [`head`] gives.
    pub(super) fn of(head: &[u8], meta: &ObjectMeta) -> Result<Self> {
        let shorter = head.len() < frame::HEAD.len();
        Ok(match head {
            _ if plain::is_plain(meta) => Kind::Plain,
            [] => {
                return Err(corrupt(
                    "it has no bytes, like a file that was cut (if it is meant so, save it with the codec `none`)",
                ));
            }
            _ if shorter && frame::HEAD.starts_with(head) => return Err(corrupt("it was cut")),
            _ if head.starts_with(frame::MARK) => Kind::Indexed,
            [31, 139, ..] => Kind::Foreign(Compressed::Gzip),
            _ if zstd::is_zstd(head) => Kind::Foreign(Compressed::Zstd),
            _ => match claimed(meta) {
                Some((kind, by)) => {
                    return Err(corrupt(format!(
                        "its first bytes are not those of {kind}, as {by} says (if it is meant so, save it with the codec `none`)"
                    )));
                }
                None => {
                    plain::refuse_lost_start(head)?;
                    Kind::Plain
                }
            },
        })
    }
}

/// The compressed form that an object is said to have, and by what.
fn claimed(meta: &ObjectMeta) -> Option<(&'static str, &'static str)> {
    let (kind, key) = (meta.content_type.as_deref(), meta.key.as_str());
    let forms = [("gzip", "application/gzip", ".gz"), ("zstd", "application/zstd", ".zst")];
    forms.into_iter().find_map(|(name, media, end)| {
        if key.ends_with(end) {
            Some((name, "its name"))
        } else if kind == Some(media) {
            Some((name, "its content type"))
        } else {
            None
        }
    })
}

/// The state in `object`, which is the whole object that `adapter` has under `key`, and whether the object
/// says anything that it is checked against. With `verify`, the SHA-256 that the file carries is compared
/// too.
///
/// # Errors
/// `Corrupt`, `InvalidInput` where `limits` are hit, `Unsupported`; here or at the end of the body.
/// `Conflict` where the object was replaced before its index was read.
pub(crate) async fn decode<A: SnapshotAdapter + ?Sized>(
    adapter: &A,
    key: &Key,
    object: Object,
    limits: Limits,
    verify: bool,
) -> Result<(Body, bool)> {
    let Object { meta, mut body, .. } = object;
    let first = head(&mut body).await?;
    Ok(match Kind::of(&first, &meta)? {
        Kind::Indexed => (indexed::decode(adapter, key, &meta, first, body, limits, verify).await?, true),
        Kind::Foreign(format) => {
            let checked = format == Compressed::Gzip || zstd::has_checksum(&first);
            (foreign::decode(format, meta.size, first, body, limits, verify)?, checked)
        }
        Kind::Plain => {
            let checked = plain::promised(&meta)?.is_some();
            (plain::decode(first, body, &meta, limits).await?, checked)
        }
    })
}

/// The state in an object that `save` wrote as gzip, and nobody else: another kind of file is damage, even
/// where it could be read.
pub(crate) async fn decode_own<A: SnapshotAdapter + ?Sized>(
    adapter: &A,
    key: &Key,
    object: Object,
    limits: Limits,
) -> Result<Body> {
    let Object { meta, mut body, .. } = object;
    let first = head(&mut body).await?;
    if !first.starts_with(frame::MARK) {
        return Err(corrupt("its first bytes are not those of an indexed gzip file"));
    }
    indexed::decode(adapter, key, &meta, first, body, limits, false).await
}

/// The first chunk, grown to [`plain::START`] bytes where the body has that many.
pub(super) async fn head(body: &mut Body) -> Result<Bytes> {
    let first = body.chunk().await?.unwrap_or_default();
    if first.len() >= plain::START {
        return Ok(first);
    }
    let mut joined = BytesMut::from(first);
    while joined.len() < plain::START {
        let Some(more) = body.chunk().await? else { break };
        joined.extend_from_slice(&more);
    }
    Ok(joined.freeze())
}
