//! The limit for an operation as a whole: attempts, the delays between them, and the content.

use std::{future::Future, time::Duration};

use futures_util::{
    Stream, StreamExt,
    stream::{BoxStream, try_unfold},
};
use tokio::time::{Instant, timeout_at};

use super::{bucket::Bucket, fail::fail};
use crate::{Error, ErrorKind, Object, Result};

/// When an operation has to be done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Total {
    limit: Duration,
    end: Instant,
}

impl Bucket {
    /// For an operation that begins now.
    pub(super) fn total(&self) -> Option<Total> {
        let limit = self.shared.settings.total_timeout?;
        Some(Total { limit, end: Instant::now().checked_add(limit)? })
    }
}

/// `work`, which is dropped where it takes too long.
pub(super) async fn within<T>(total: Option<Total>, work: impl Future<Output = Result<T>>) -> Result<T> {
    match total {
        None => work.await,
        Some(total) => timeout_at(total.end, work).await.unwrap_or_else(|_| Err(total.passed())),
    }
}

/// An object whose content has to be read in time.
pub(super) fn object(total: Option<Total>, object: Object) -> Object {
    let Object { meta, range, body } = object;
    Object { meta, range, body: body.map_stream(|chunks| rows(total, chunks)) }
}

/// A stream that has to be read in time, of a listing or of content.
pub(super) fn rows<'a, T: Send + 'a>(
    total: Option<Total>,
    stream: impl Stream<Item = Result<T>> + Send + 'a,
) -> BoxStream<'a, Result<T>> {
    let rows = stream.boxed();
    let Some(total) = total else { return rows };
    try_unfold(rows, move |mut rows| async move {
        let row = within(Some(total), async { rows.next().await.transpose() }).await?;
        Ok(row.map(|row| (row, rows)))
    })
    .boxed()
}

impl Total {
    fn passed(&self) -> Error {
        let seconds = self.limit.as_secs_f32();
        fail(ErrorKind::Timeout, format!("not done within {seconds} s in all; raise total_timeout"))
    }
}
