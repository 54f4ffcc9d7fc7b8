//! Loading: resumed where it breaks, in several ranges at once where it is large, verified to the last byte.

use std::{
    ops::Range,
    sync::{Arc, Mutex},
};

use futures_util::{future::join, stream::try_unfold};
use reqwest::{
    Method, Response, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderMap, HeaderName, HeaderValue, RANGE, WARNING},
};

use super::{
    Store,
    client::Call,
    doubt::generation,
    errors::Failure,
    model::{self, Resource, checksum_text},
};
use crate::{
    Body, ByteRange, Error, ErrorKind, GetOptions, Key, Object, ObjectMeta, Result,
    retry::retry,
    transfer::{in_parallel, resuming},
};

impl Store {
    pub(super) async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        let call = self.metadata(key);
        let resource = retry(&self.retry, &self.client.budget, |_| async {
            let answer = self.client.json::<Resource>(call.clone()).await;
            answer.map(|(resource, _)| resource).map_err(|failure| self.named("head", key, failure.error))
        });
        let resource = resource.await?;
        self.known.saw(key, &resource);
        Ok(resource.meta(key.clone()))
    }

    pub(super) async fn get(self: &Arc<Self>, key: &Key, options: GetOptions) -> Result<Object> {
        let first = self.first_range(&options).map_err(|error| self.named("get", key, error))?;
        let opened = retry(&self.retry, &self.client.budget, |_| async {
            self.open(key, &options, first).await.map_err(|error| self.named("get", key, error))
        });
        let (resource, range, answer) = opened.await?;
        self.known.saw(key, &resource);
        let body = self.assemble(key, &resource, range.clone(), answer);
        Ok(Object { meta: resource.meta(key.clone()), range, body })
    }

    /// Metadata and the first bytes, of one generation. Both requests at once, since an answer with media has no metadata; one behind the
    /// other where the second is likely not to be needed, or its range is not known.
    async fn open(
        self: &Arc<Self>,
        key: &Key,
        options: &GetOptions,
        first: Option<ByteRange>,
    ) -> Result<(Resource, Range<u64>, Option<Response>)> {
        let metadata = self.client.json::<Resource>(conditional(self.metadata(key), options)?);
        let (resource, media) = match first {
            Some(range) if options.if_not_version.is_none() => {
                let media = conditional(self.media(key, Some(range)), options)?;
                let (resource, media) = join(metadata, self.client.send(media)).await;
                (resource, Some(media))
            }
            _ => (metadata.await, None),
        };
        let (resource, _) = resource.map_err(replaced)?;
        self.check_version(&resource, options)?;
        let range = match options.range {
            None => 0..resource.size,
            Some(range) => range.resolve(resource.size)?,
        };
        if range.is_empty() {
            return Ok((resource, range, None));
        }
        let answer = match media {
            Some(Ok(answer)) => answer,
            // The range was cut to the size in the meantime, or the object was; the next attempt sees the same object twice.
            Some(Err(failure)) if failure.is(404) || failure.is(412) || failure.is(416) => {
                return Err(changing());
            }
            Some(Err(failure)) => return Err(failure.error),
            None => {
                let piece = self.piece(&range);
                let call = self
                    .media(key, Some(bounded(&piece)))
                    .query("generation", resource.generation.to_string());
                match self.client.send(call).await {
                    Ok(answer) => answer,
                    Err(failure) if failure.is(404) => return Err(changing()),
                    Err(failure) => return Err(failure.error),
                }
            }
        };
        check_media(&answer, resource.generation, &self.piece(&range), resource.size)?;
        Ok((resource, range, Some(answer)))
    }

    /// The body from an answer that has the first bytes.
    fn assemble(
        self: &Arc<Self>,
        key: &Key,
        resource: &Resource,
        range: Range<u64>,
        answer: Option<Response>,
    ) -> Body {
        let Some(answer) = answer else { return Body::empty() };
        let source = Source {
            store: self.clone(),
            key: key.clone(),
            generation: resource.generation,
            size: resource.size,
        };
        let first = self.client.body(answer);
        let settings = &self.client.settings;
        let piece = settings.piece();
        let body = if range.end - range.start <= piece {
            source.resumed(range.clone(), Some(first))
        } else {
            let (start, first) = (range.start, Mutex::new(Some(first)));
            in_parallel(range.clone(), piece, settings.parallel, move |piece| {
                let open = match piece.start == start {
                    true => first.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take(),
                    false => None,
                };
                std::future::ready(Ok(source.resumed(piece, open)))
            })
        };
        match resource.checksum() {
            Some(checksum) if range == (0..resource.size) => verified(body, checksum, resource.size),
            _ => body,
        }
    }

    /// The range of the first request for media; `None` where it depends on the object's size.
    fn first_range(&self, options: &GetOptions) -> Result<Option<ByteRange>> {
        let most = self.client.settings.piece();
        match options.range {
            None => Ok(Some(ByteRange::Bounded { start: 0, length: most })),
            Some(ByteRange::From(start)) => Ok(Some(ByteRange::Bounded { start, length: most })),
            // Of an empty range, `resolve` says what is wrong with it, whatever the size.
            Some(range @ (ByteRange::Bounded { length: 0, .. } | ByteRange::Last(0))) => {
                range.resolve(u64::MAX).map(|_| None)
            }
            Some(ByteRange::Bounded { start, length }) => {
                Ok(Some(ByteRange::Bounded { start, length: length.min(most) }))
            }
            Some(ByteRange::Last(_)) => Ok(None),
        }
    }

    fn piece(&self, range: &Range<u64>) -> Range<u64> {
        range.start..range.end.min(range.start.saturating_add(self.client.settings.piece()))
    }

    /// Servers that do not know the conditions of reads answer all the same.
    fn check_version(&self, resource: &Resource, options: &GetOptions) -> Result<()> {
        let current = resource.generation.to_string();
        if options.if_version.as_ref().is_some_and(|version| version.as_str() != current) {
            return Err(Error::new(ErrorKind::Conflict, "the snapshot was replaced"));
        }
        if options.if_not_version.as_ref().is_some_and(|version| version.as_str() == current) {
            return Err(Error::new(ErrorKind::NotModified, "the snapshot is unchanged"));
        }
        Ok(())
    }

    fn metadata(&self, key: &Key) -> Call {
        self.object(Method::GET, key)
            .query("fields", model::FIELDS)
            .headers(self.client.settings.encryption.headers())
    }

    /// A request for bytes as they are stored: without `Accept-Encoding: gzip` the service would decompress what other tools stored with
    /// `contentEncoding`.
    fn media(&self, key: &Key, range: Option<ByteRange>) -> Call {
        let call = self
            .object(Method::GET, key)
            .query("alt", "media")
            .headers(self.client.settings.encryption.headers())
            .header(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        match range.and_then(|range| HeaderValue::from_str(&range.to_header()).ok()) {
            Some(range) => call.header(RANGE, range),
            None => call,
        }
    }
}

/// One generation to read from.
#[derive(Clone)]
struct Source {
    store: Arc<Store>,
    key: Key,
    generation: u64,
    size: u64,
}

impl Source {
    /// The bytes of `range`, beginning with an answer that is already open.
    fn resumed(&self, range: Range<u64>, open: Option<Body>) -> Body {
        let source = self.clone();
        resuming(range, open, self.store.retry.clone(), self.store.client.budget.clone(), move |range| {
            let source = source.clone();
            async move { source.fetch(range).await.map_err(|error| source.store.named("get", &source.key, error)) }
        })
    }

    async fn fetch(&self, range: Range<u64>) -> Result<Body> {
        let call = self
            .store
            .media(&self.key, Some(bounded(&range)))
            .query("generation", self.generation.to_string());
        let answer = match self.store.client.send(call).await {
            Ok(answer) => answer,
            Err(failure) if failure.is(404) => {
                let message = "the snapshot was replaced or removed while it was read; load it again";
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            Err(failure) => return Err(failure.error),
        };
        check_media(&answer, self.generation, &range, self.size)?;
        Ok(self.store.client.body(answer))
    }
}

fn bounded(range: &Range<u64>) -> ByteRange {
    ByteRange::Bounded { start: range.start, length: range.end - range.start }
}

/// Adds the conditions of a read.
fn conditional(mut call: Call, options: &GetOptions) -> Result<Call> {
    if let Some(version) = &options.if_version {
        let wanted = generation(version).ok_or_else(|| {
            Error::new(ErrorKind::Conflict, "the snapshot has another version than the one asked for")
        })?;
        call = call.query("ifGenerationMatch", wanted.to_string());
    }
    // What is no generation is not the current one either.
    Ok(call.maybe(
        "ifGenerationNotMatch",
        options.if_not_version.as_ref().and_then(generation).map(|g| g.to_string()),
    ))
}

fn replaced(failure: Failure) -> Error {
    match failure.is(412) {
        true => Error::new(ErrorKind::Conflict, "the snapshot was replaced"),
        false => failure.error,
    }
}

fn changing() -> Error {
    Error::new(ErrorKind::Unavailable, "the snapshot was replaced while it was opened")
}

/// Whether an answer holds the stored bytes of `range` of this generation.
fn check_media(answer: &Response, generation: u64, range: &Range<u64>, size: u64) -> Result<()> {
    let headers = answer.headers();
    if let Some(other) = number(headers, "x-goog-generation").filter(|other| *other != generation) {
        tracing::debug!(generation, other, "two generations in one download");
        return Err(changing());
    }
    if decompressed(headers) {
        let message = "the service decompressed the object on its way, so it cannot be verified; remove its contentEncoding with \
                       `gcloud storage objects update --clear-content-encoding`";
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let starts = headers.get(CONTENT_RANGE).and_then(|range| {
        range.to_str().ok()?.trim().strip_prefix("bytes ")?.split('-').next()?.parse::<u64>().ok()
    });
    match (answer.status(), starts) {
        (StatusCode::PARTIAL_CONTENT, Some(start)) if start == range.start => Ok(()),
        (StatusCode::OK, None) if *range == (0..size) => Ok(()),
        (status, start) => Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "asked for the bytes from {} on, the service answered http {} from {start:?}; something between ignores ranges",
                range.start,
                status.as_u16()
            ),
        )),
    }
}

/// The marks of the service's "decompressive transcoding" (<https://cloud.google.com/storage/docs/transcoding>).
fn decompressed(headers: &HeaderMap) -> bool {
    let has = |name: HeaderName, mark: &str| {
        headers.get_all(name).iter().any(|value| value.to_str().is_ok_and(|value| value.contains(mark)))
    };
    has(HeaderName::from_static("x-guploader-response-body-transformations"), "gunzipped")
        || has(WARNING, "214 UploadServer gunzipped")
}

fn number(headers: &HeaderMap, name: &'static str) -> Option<u64> {
    headers.get(HeaderName::from_static(name))?.to_str().ok()?.parse().ok()
}

/// Passes the body on and fails at its end if it is not what is stored.
fn verified(body: Body, checksum: u32, size: u64) -> Body {
    let stream = try_unfold(Some((body, 0)), move |state| async move {
        let Some((mut body, seen)) = state else { return Ok(None) };
        match body.chunk().await? {
            Some(chunk) => {
                let seen = crc32c::crc32c_append(seen, &chunk);
                Ok(Some((chunk, Some((body, seen)))))
            }
            None if seen == checksum => Ok(None),
            None => Err(Error::new(
                ErrorKind::Corrupt,
                format!(
                    "the bytes that arrived have crc32c {}, stored are {}; load again, and check the network path if it stays",
                    checksum_text(seen),
                    checksum_text(checksum)
                ),
            )
            .with_backend("gcs")
            .with_operation("get")),
        }
    });
    Body::from_stream(stream).with_len(size)
}
