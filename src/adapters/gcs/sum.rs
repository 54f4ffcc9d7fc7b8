//! Checksums: of what is sent, on as many cores as there are, and of what arrives, while it is in the
//! processor's cache.

use bytes::Bytes;
// Twice as fast as the crate of that name, which is ready sooner and enough for what is small.
use crc_fast::{CrcAlgorithm::Crc32Iscsi, Digest, checksum_combine};
use futures_util::{
    TryStreamExt,
    future::try_join_all,
    stream::{BoxStream, try_unfold},
};

use super::model::checksum_text;
use crate::{Body, Error, ErrorKind, Result, http::Payload, threads};

/// Up to so many bytes are summed up here and now, in less than a millisecond.
const SHORT: u64 = 8 * 1024 * 1024 + 8 * 1024 * 1024 / 8;

/// The CRC32C of what has `crc32c` so far and goes on with `data`.
pub(super) fn extend(crc32c: u32, data: &[u8]) -> u32 {
    let mut digest = Digest::new_with_init_state(Crc32Iscsi, u64::from(!crc32c));
    digest.update(data);
    digest.finalize() as u32
}

/// The same of data of any length.
///
/// # Errors
/// When the runtime is ending.
pub(super) async fn append(crc32c: u32, data: &Payload) -> Result<u32> {
    if data.len() <= SHORT {
        return Ok(data.parts().iter().fold(crc32c, |sum, part| extend(sum, part)));
    }
    let size = data.len().div_ceil(threads::parallelism() as u64).max(1) as usize;
    let shares = data.parts().iter().flat_map(|part| {
        let starts = (0..part.len()).step_by(size);
        starts.map(|start| part.slice(start..part.len().min(start + size)))
    });
    let sums = shares.map(|share| threads::run(move || Ok((extend(0, &share), share.len() as u64))));
    let sums = try_join_all(sums.collect::<Vec<_>>()).await?;
    let combine = |sum, (share, len)| checksum_combine(Crc32Iscsi, sum, u64::from(share), len);
    Ok(sums.into_iter().fold(u64::from(crc32c), combine) as u32)
}

/// Passes on a whole object, a stream that gives `size` bytes or fails. If they are not those that are
/// stored, it fails in place of the last ones.
pub(super) fn verified(body: Body, stored: u32, size: u64) -> Body {
    let verify = move |(mut chunks, crc32c, left): (BoxStream<'static, Result<Bytes>>, u32, u64)| async move {
        let Some(chunk) = chunks.try_next().await? else { return Ok(None) };
        let crc32c = extend(crc32c, &chunk);
        let left = left.saturating_sub(chunk.len() as u64);
        if left == 0 && crc32c != stored {
            return Err(damaged(crc32c, stored));
        }
        Ok(Some((chunk, (chunks, crc32c, left))))
    };
    body.map_stream(|chunks| try_unfold((chunks, 0, size), verify))
}

fn damaged(arrived: u32, stored: u32) -> Error {
    let message = format!(
        "the bytes that arrived have crc32c {}, stored are {}",
        checksum_text(arrived),
        checksum_text(stored)
    );
    Error::new(ErrorKind::Corrupt, message)
        .with_advice("load again, and check the network path if it stays")
        .with_backend("gcs")
        .with_operation("get")
}

#[cfg(test)]
#[path = "sum_tests.rs"]
mod tests;
