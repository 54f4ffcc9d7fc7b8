//! A first, serial form of the codec: to be replaced by the parallel one.

use std::{
    io::{Read, Write},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::stream;

use super::{Codec, Digest, Limits};
use crate::{Body, Error, ErrorKind, Object, Result};

/// What is known of a state once it has been read to its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Summary {
    pub(crate) raw_size: u64,
    pub(crate) digest: Digest,
}

/// The summary, there after the encoded body has been read to its end.
#[derive(Debug, Default)]
pub(crate) struct Pending(Arc<Mutex<Option<Summary>>>);

impl Pending {
    pub(crate) fn get(self) -> Result<Summary> {
        let summary = *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        summary.ok_or_else(|| Error::new(ErrorKind::Internal, "the adapter did not read the body to its end"))
    }
}

pub(crate) fn encode(body: Body, codec: Codec) -> Result<(Body, Pending)> {
    let pending = Pending::default();
    let slot = pending.0.clone();
    let body = Body::from_stream(stream::once(async move {
        let raw = body.collect(u64::MAX).await?;
        let summary = Summary { raw_size: raw.len() as u64, digest: Digest::of(&raw) };
        *slot.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(summary);
        let Codec::Gzip { level } = codec else { return Ok(raw) };
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level.into()));
        encoder.write_all(&raw)?;
        Ok(Bytes::from(encoder.finish()?))
    }));
    Ok((body, pending))
}

pub(crate) async fn decode(object: Object, limits: Limits) -> Result<Body> {
    let stored = object.body.collect(u64::MAX).await?;
    if !stored.starts_with(&[0x1f, 0x8b]) {
        return Ok(Body::from(stored));
    }
    let mut raw = Vec::new();
    let bad = |e| Error::new(ErrorKind::Corrupt, "the snapshot is damaged").with_source(e);
    flate2::read::MultiGzDecoder::new(&stored[..]).read_to_end(&mut raw).map_err(bad)?;
    limits.check(stored.len() as u64, raw.len() as u64)?;
    Ok(Body::from(raw))
}
