//! Opening a snapshot to read: its metadata and an answer with its bytes, of one generation.

use std::{cmp::Ordering, ops::Range, sync::Arc};

use futures_util::future::join;
use reqwest::{
    Method, Response, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderMap, HeaderName, HeaderValue, RANGE, WARNING},
};
use tokio::time::Instant;

use super::{
    Bucket,
    client::Call,
    doubt::generation,
    errors::{MARK, not_the_services},
    model::{self, Resource},
};
use crate::{
    ByteRange, Error, ErrorKind, GetOptions, Key, Result, meta::is_page, options::REPLACED,
    transfer::content_range,
};

/// A snapshot that can be read.
pub(super) struct Opened {
    pub(super) resource: Resource,
    pub(super) range: Range<u64>,
    /// An answer with all bytes of the range; `None` for an empty one.
    pub(super) answer: Option<Response>,
    /// Whether it was not known before.
    pub(super) news: bool,
}

impl Bucket {
    /// Metadata and bytes, of one generation. Both requests at once, since an answer with media has no custom
    /// metadata; one behind the other where the second is likely not to be needed, or its range is not known.
    /// What this process has stored or seen already takes one request, whose answer shows that nothing has
    /// changed.
    ///
    /// Writers may come between the two. Then the older one is asked for again, until both show the same
    /// generation. Each further request follows a write, so this uses up no attempts: it ends as soon as no
    /// writer comes within one request.
    pub(super) async fn open(self: &Arc<Self>, key: &Key, options: &GetOptions) -> Result<Opened> {
        let needs_size = needs_size(options.range)?;
        let mut news = true;
        let (resource, mut media) = if options.if_not_version.is_none() && !needs_size {
            let call = conditional(self.media(key, options.range), options)?;
            let (resource, media) = match self.known.resource(key) {
                Some(known) => match self.client.send(call).await {
                    Ok(answer) if describes(&answer, &known) => {
                        news = false;
                        (Ok(known), Ok(answer))
                    }
                    // Boxed, as all that takes a second request: its future would be part of every
                    // load's.
                    other => (Box::pin(self.describe(key, options)).await, other),
                },
                None => Box::pin(join(self.describe(key, options), self.client.send(call))).await,
            };
            (resource, Some(media))
        } else {
            (Box::pin(self.describe(key, options)).await, None)
        };
        let mut resource = resource?;
        let started = Instant::now();
        // Whether the bytes at hand were asked for by their generation.
        let mut certain = options.if_version.is_some();
        loop {
            check_version(&resource, options)?;
            let range = match options.range {
                None => 0..resource.size,
                Some(range) => range.resolve(resource.size)?,
            };
            if range.is_empty() {
                return Ok(Opened { resource, range, answer: None, news });
            }
            let generation = resource.generation;
            // Whether the bytes are requested after the metadata was read; an answer at hand is older than
            // that.
            let asked = media.is_none();
            let answer = match media.take() {
                Some(answer) => answer,
                None => {
                    let part = if needs_size { Some(bounded(&range)) } else { options.range };
                    let call = self.media(key, part).query("generation", generation.to_string());
                    certain = true;
                    Box::pin(self.client.send(conditional(call, options)?)).await
                }
            };
            match answer {
                // Something between has removed what says which bytes these are.
                Ok(answer) if !certain && seen(&answer).is_none() => {}
                Ok(answer) => match seen(&answer).unwrap_or(generation).cmp(&generation) {
                    Ordering::Equal => {
                        check_media(&answer, &range, resource.size, resource.is_page())?;
                        return Ok(Opened { resource, range, answer: Some(answer), news });
                    }
                    // Asked again, it would give the same, as often as it is asked.
                    Ordering::Less if asked => {
                        let what = "gives older bytes than were asked for by their generation; something between caches them";
                        return Err(unsteady(what).with_retryable(false));
                    }
                    Ordering::Less => {}
                    Ordering::Greater => {
                        (resource, news) = (Box::pin(self.describe(key, options)).await?, true);
                        if resource.generation == generation {
                            return Err(unsteady("contradicts itself on the snapshot's generation"));
                        }
                        // What was asked for by the size of an older one may be another part of this one.
                        media = (!needs_size).then_some(Ok(answer));
                    }
                },
                // Gone, or too short for the range: the metadata must show another generation, or nothing.
                Err(failure) if failure.not_found() || failure.is(412) || failure.is(416) => {
                    (resource, news) = (Box::pin(self.describe(key, options)).await?, true);
                    if resource.generation == generation {
                        // What the metadata show is there: a 404 is a proxy's, or will pass.
                        return Err(if failure.not_found() {
                            unsteady("contradicts itself on whether the snapshot is there")
                        } else {
                            failure.error
                        });
                    }
                }
                Err(failure) => return Err(failure.error),
            }
            if started.elapsed() > self.retry.deadline {
                let what = "gets new versions of the snapshot faster than one can be opened";
                // The time for attempts is used up.
                return Err(unsteady(what).with_retryable(false));
            }
        }
    }

    async fn describe(&self, key: &Key, options: &GetOptions) -> Result<Resource> {
        let call = self.metadata(key).headers(self.client.settings.encryption.headers());
        let call = conditional(call, options)?;
        match self.client.json::<Resource>(call).await {
            Ok((resource, _)) => Ok(resource),
            Err(failure) if failure.refused => Err(replaced()),
            Err(failure) => Err(failure.error),
        }
    }

    /// A request for metadata. The checksum of an object with a customer's key is shown to whoever sends the
    /// key along.
    pub(super) fn metadata(&self, key: &Key) -> Call {
        self.object(Method::GET, key).query("fields", model::FIELDS)
    }

    /// A request for bytes as they are stored: without `Accept-Encoding: gzip` the service would decompress
    /// what other tools stored with `contentEncoding`.
    pub(super) fn media(&self, key: &Key, range: Option<ByteRange>) -> Call {
        let call = self
            .object(Method::GET, key)
            .query("alt", "media")
            .headers(self.client.settings.encryption.headers())
            .header(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        match range.map(|range| HeaderValue::from_str(&range.to_header())) {
            Some(Ok(range)) => call.header(RANGE, range),
            _ => call,
        }
    }
}

/// Whether it depends on the object's size which bytes are meant.
fn needs_size(range: Option<ByteRange>) -> Result<bool> {
    match range {
        // Of an empty range, `resolve` says what is wrong with it, whatever the size.
        Some(range @ (ByteRange::Bounded { length: 0, .. } | ByteRange::Last(0))) => {
            range.resolve(u64::MAX).map(|_| true)
        }
        Some(ByteRange::Last(_)) => Ok(true),
        _ => Ok(false),
    }
}

/// Servers that do not know the conditions of reads answer all the same.
fn check_version(resource: &Resource, options: &GetOptions) -> Result<()> {
    let current = resource.generation.to_string();
    if options.if_version.as_ref().is_some_and(|version| version.as_str() != current) {
        return Err(replaced());
    }
    if options.if_not_version.as_ref().is_some_and(|version| version.as_str() == current) {
        return Err(Error::new(ErrorKind::NotModified, "the snapshot is unchanged"));
    }
    Ok(())
}

/// Adds the conditions of a read.
fn conditional(mut call: Call, options: &GetOptions) -> Result<Call> {
    if let Some(version) = &options.if_version {
        let wanted = generation(version).ok_or_else(|| {
            Error::new(ErrorKind::Conflict, "the snapshot has another version than the one asked for")
        })?;
        call = call.condition("ifGenerationMatch", wanted);
    }
    // What is no generation is not the current one either.
    Ok(call.maybe(
        "ifGenerationNotMatch",
        options.if_not_version.as_ref().and_then(generation).map(|g| g.to_string()),
    ))
}

fn replaced() -> Error {
    Error::new(ErrorKind::Conflict, REPLACED)
}

fn unsteady(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the service {what}; load it again"))
}

/// The generation that an answer with media is of.
pub(super) fn seen(answer: &Response) -> Option<u64> {
    text(answer, "x-goog-generation")?.parse().ok()
}

/// Whether an answer with media is of the object that is known, with all that is known of it.
fn describes(answer: &Response, known: &Resource) -> bool {
    let metageneration = text(answer, "x-goog-metageneration").and_then(|text| text.parse().ok());
    let class = text(answer, "x-goog-storage-class");
    seen(answer) == Some(known.generation)
        && metageneration.is_some()
        && metageneration == known.metageneration
        && class.is_none_or(|class| Some(class) == known.storage_class.as_deref())
}

fn text<'a>(answer: &'a Response, name: &'static str) -> Option<&'a str> {
    answer.headers().get(HeaderName::from_static(name))?.to_str().ok()
}

pub(super) fn bounded(range: &Range<u64>) -> ByteRange {
    ByteRange::Bounded { start: range.start, length: range.end - range.start }
}

/// Whether an answer holds the stored bytes of `range`. `page`: the object says that it is one itself.
pub(super) fn check_media(answer: &Response, range: &Range<u64>, size: u64, page: bool) -> Result<()> {
    if is_foreign_media(answer, range, page) {
        return Err(not_the_services());
    }
    let headers = answer.headers();
    if decompressed(headers) {
        let message = "the service decompressed the object on its way, so it cannot be verified; remove its contentEncoding with \
                       `gcloud storage objects update --clear-content-encoding`";
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let told = headers.get(CONTENT_RANGE).map(|told| told.to_str().unwrap_or_default());
    match (answer.status(), told) {
        (StatusCode::PARTIAL_CONTENT, Some(told)) if content_range(told) == Some((range.clone(), size)) => {
            Ok(())
        }
        (StatusCode::OK, None) if *range == (0..size) => Ok(()),
        (status, told) => Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "asked for the bytes {range:?} of {size}, the service answered http {} with {:?}; something between ignores ranges",
                status.as_u16(),
                told.unwrap_or("no Content-Range"),
            ),
        )),
    }
}

/// Whether a success has nothing of the service's and is not what was asked for either: taken for the object,
/// it would be a damaged one, and an older one would be loaded in its place.
fn is_foreign_media(answer: &Response, range: &Range<u64>, page: bool) -> bool {
    let own = |name: &HeaderName| name.as_str().starts_with("x-goog-") || name == MARK;
    // What comes in chunks has no length; but a page has no Content-Range either.
    let told = text(answer, "content-range").and_then(content_range);
    let other_length = match (told, answer.content_length()) {
        (Some((of, _)), None) => of != *range,
        (_, length) => length != Some(range.end - range.start),
    };
    let other_type = !page && text(answer, "content-type").is_some_and(is_page);
    !answer.headers().keys().any(own) && (other_length || other_type)
}

/// The marks of the service's "decompressive transcoding"
/// (<https://cloud.google.com/storage/docs/transcoding>).
fn decompressed(headers: &HeaderMap) -> bool {
    let has = |name: HeaderName, mark: &str| {
        headers.get_all(name).iter().any(|value| value.to_str().is_ok_and(|value| value.contains(mark)))
    };
    has(HeaderName::from_static("x-guploader-response-body-transformations"), "gunzipped")
        || has(WARNING, "214 UploadServer gunzipped")
}
