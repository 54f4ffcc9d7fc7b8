//! Loads: one GET, parallel ranges where that is too slow for a large object, and a resumed range wherever a
//! body breaks.

use std::{ops::Range, sync::Arc};

use aws_sdk_s3::{operation::get_object::GetObjectOutput, primitives::ByteStream};
use futures_util::stream::try_unfold;

use super::{
    bucket::{Bucket, etag, version},
    checksum,
    errors::{Failure, causes},
    fail::{about, fail},
    genuine::Shown,
};
use crate::{
    Body, ByteRange, Error, ErrorKind, GetOptions, Key, Object, Result, Version,
    options::REPLACED,
    transfer::{Pace, content_range, resuming, widening},
};

impl Bucket {
    pub(super) async fn get(self: &Arc<Self>, key: &Key, options: GetOptions) -> Result<Object> {
        if let Some(empty @ (ByteRange::Bounded { length: 0, .. } | ByteRange::Last(0))) = options.range {
            empty.resolve(u64::MAX).map_err(|error| error.with_backend("s3"))?;
        }
        let output = self.retrying_unseen(|_| async { Ok(self.get_output(key, &options).await?) }).await?;
        expected(&options, &version(output.e_tag()))?;
        let (range, size) = extent(&output, options.range)?;
        let meta = self.meta_of_get(key, size, &output).await?;
        let checksum = checksum::told(&output).filter(|_| range == (0..size));
        let mut body = self.body(key, &meta.version, range.clone(), output.body);
        if let Some(checksum) = checksum {
            body = checksum::verified(body, checksum);
        }
        Ok(Object { meta, range, body })
    }

    async fn get_output(&self, key: &Key, options: &GetOptions) -> Result<GetObjectOutput, Failure> {
        // An empty version names what has no ETag; some servers say of that that no condition holds.
        let named = options.if_version.as_ref().filter(|version| !version.as_str().is_empty());
        let expected = named.map(etag).transpose().map_err(Failure::of)?;
        let request = self
            .client()
            .get_object()
            .bucket(&self.name)
            .key(self.key(key))
            .set_range(options.range.map(ByteRange::to_header))
            .set_if_match(expected)
            // A version that is none of S3's is certainly not the current one.
            .set_if_none_match(options.if_not_version.as_ref().and_then(|version| etag(version).ok()))
            .set_request_payer(self.shared.settings.payer.clone());
        let output =
            self.send("get", self.shared.silence_limit(), request.send()).await.map_err(|mut failure| {
                if failure.precondition() {
                    failure.error = fail(ErrorKind::Conflict, REPLACED);
                }
                failure
            })?;
        Shown::from(&output).checked("get", key, &self.shared)?;
        Ok(output)
    }

    /// The bytes `range` of one version, of which `first` is the answer that is already open.
    fn body(self: &Arc<Self>, key: &Key, version: &Version, range: Range<u64>, first: ByteStream) -> Body {
        let (piece, parallel) = (self.shared.settings.part_size, self.shared.settings.parallel);
        let open = self.resumed(key, version, range.clone(), Some(self.stream(first)));
        if version.as_str().is_empty() {
            return open;
        }
        let (bucket, key, version) = (self.clone(), key.clone(), version.clone());
        let pace = if self.server.amazon { Pace::CLOUD } else { Pace::SERVER };
        widening(range, piece, parallel, pace, open, move |part| bucket.resumed(&key, &version, part, None))
    }

    /// A range that goes on where it broke off, in the same version.
    fn resumed(
        self: &Arc<Self>,
        key: &Key,
        version: &Version,
        range: Range<u64>,
        first: Option<Body>,
    ) -> Body {
        let (bucket, key, version) = (self.clone(), key.clone(), version.clone());
        resuming(range, first, self.retry.clone(), self.budget.clone(), move |range| {
            let (bucket, key, version) = (bucket.clone(), key.clone(), version.clone());
            async move { bucket.rest(&key, &version, range).await.map_err(|error| about(error, "get", &key)) }
        })
    }

    /// One request for a part of a version.
    async fn rest(&self, key: &Key, expected: &Version, range: Range<u64>) -> Result<Body> {
        if expected.as_str().is_empty() {
            let message = "the connection broke, and the server gives no ETag by which a load could go on in the same version; load again";
            return Err(fail(ErrorKind::Unsupported, message));
        }
        let part = ByteRange::Bounded { start: range.start, length: range.end - range.start };
        let options = GetOptions::new().range(part).if_version(expected.clone());
        let output = self.get_output(key, &options).await.map_err(|failure| {
            // What was there when the load began, and could be read. A refusal of S3's has a code, unlike a
            // proxy's page.
            let denied = failure.is_denied() && !failure.code.is_empty();
            if failure.not_found() || denied || failure.status == 416 {
                fail(
                    ErrorKind::Conflict,
                    "the snapshot was removed or replaced while it was read; load it again",
                )
                .with_source(failure.error)
            } else {
                failure.error
            }
        })?;
        let (got, _) = extent(&output, Some(part))?;
        if version(output.e_tag()) != *expected {
            // A server that ignores If-Match must not glue two versions together.
            return Err(fail(
                ErrorKind::Conflict,
                "the snapshot was replaced while it was read; load it again",
            ));
        }
        if got != range {
            return Err(another_range());
        }
        Ok(self.stream(output.body))
    }

    /// The SDK's body as ours. It ends with an error where it is silent for too long: the SDK itself would
    /// wait for ever.
    fn stream(&self, body: ByteStream) -> Body {
        let silence = self.shared.settings.read_timeout;
        Body::from_stream(try_unfold(body, move |mut body| async move {
            match tokio::time::timeout(silence, body.next()).await {
                Ok(Some(Ok(chunk))) => Ok(Some((chunk, body))),
                Ok(None) => Ok(None),
                Ok(Some(Err(error))) => {
                    let text = causes(&error);
                    let error = if text.contains("checksum mismatch") {
                        checksum::damaged()
                    } else {
                        fail(ErrorKind::Unavailable, "the connection broke in the middle of the body")
                    };
                    Err(error.with_operation("get").with_source(text))
                }
                Err(_) => {
                    let seconds = silence.as_secs_f32();
                    Err(fail(ErrorKind::Timeout, format!("no byte came for {seconds} s; check the network"))
                        .with_operation("get"))
                }
            }
        }))
    }
}

/// Refuses a version that the conditions rule out: proxies and gateways drop them.
fn expected(options: &GetOptions, got: &Version) -> Result<()> {
    // As the service would have compared them.
    let is = |asked: &Version| etag(asked).is_ok_and(|asked| version(Some(&asked)) == *got);
    if options.if_version.as_ref().is_some_and(|asked| !is(asked)) {
        return Err(fail(ErrorKind::Conflict, REPLACED));
    }
    // Of an object without an ETag, any version is as good as the other.
    if !got.as_str().is_empty() && options.if_not_version.as_ref().is_some_and(is) {
        return Err(fail(ErrorKind::NotModified, "the snapshot is unchanged"));
    }
    Ok(())
}

/// Which bytes an answer holds, and how many the whole object has.
fn extent(output: &GetObjectOutput, asked: Option<ByteRange>) -> Result<(Range<u64>, u64)> {
    let unsaid = |header| {
        let message =
            format!("the server does not say which bytes it sends ({header}); see what is between (a proxy)");
        fail(ErrorKind::Unsupported, message)
    };
    let bad = || unsaid("Content-Range");
    let told = output.content_range().and_then(content_range);
    let len = match output.content_length() {
        Some(len) => u64::try_from(len).ok(),
        // What something in between sends on in chunks has no length; a range tells its own.
        None => told.as_ref().map(|(range, _)| range.end - range.start),
    };
    let len = len.ok_or_else(|| unsaid("Content-Length"))?;
    match (output.content_range(), asked) {
        (None, None) => Ok((0..len, len)),
        // Some servers take a range of an empty object for none.
        (None, Some(range)) => match range.resolve(len).map_err(|error| error.with_backend("s3"))? {
            whole if whole == (0..len) => Ok((whole, len)),
            _ => Err(bad()),
        },
        // Garage answers a range of an empty object with a Content-Range that makes no sense.
        (Some(_), Some(range)) if len == 0 => {
            range.resolve(0).map_err(|error| error.with_backend("s3")).and(Err(bad()))
        }
        (Some(_), asked) => {
            let (range, size) = told.filter(|(r, _)| r.end - r.start == len).ok_or_else(bad)?;
            // Caches cut objects into ranges of their own.
            match asked.map_or(Ok(0..size), |asked| asked.resolve(size)) {
                Ok(right) if right == range => Ok((range, size)),
                _ => Err(another_range()),
            }
        }
    }
}

/// Of what was asked for nothing was seen, so nothing is known to be damaged.
fn another_range() -> Error {
    fail(
        ErrorKind::Unsupported,
        "the service answered with another range than it was asked for; see what is between (a cache)",
    )
}
