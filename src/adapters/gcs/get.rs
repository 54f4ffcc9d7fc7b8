//! Loading: one answer, resumed where it breaks, with more connections where it is slow, verified to the last
//! byte.

use std::{ops::Range, sync::Arc};

use futures_util::stream;
use reqwest::Response;

use super::{
    Bucket,
    model::Resource,
    named,
    open::{Opened, bounded, check_media, seen},
    sum::{extend, verified},
};
use crate::{
    Body, Error, ErrorKind, GetOptions, Key, Object, ObjectMeta, Result, http,
    retry::retry_unseen,
    transfer::{resuming, widening},
};

/// Up to so many bytes are read at once: a stream of them would cost more than they do.
const SHORT: u64 = 64 * 1024;

impl Bucket {
    pub(super) async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        let call = self.metadata(key).headers(self.client.settings.encryption.headers());
        let resource = retry_unseen(&self.retry, &self.client.budget, |_| async {
            let answer = self.client.json::<Resource>(call.clone()).await;
            answer.map(|(resource, _)| resource).map_err(|failure| named("head", key, failure.error))
        });
        let resource = resource.await?;
        self.known.saw(key, &resource);
        Ok(resource.meta(key.clone()))
    }

    pub(super) async fn get(self: &Arc<Self>, key: &Key, options: GetOptions) -> Result<Object> {
        let opened = retry_unseen(&self.retry, &self.client.budget, |_| async {
            self.open(key, &options).await.map_err(|error| named("get", key, error))
        });
        let Opened { resource, range, answer, news } = opened.await?;
        if news {
            self.known.saw(key, &resource);
        }
        let body = match answer {
            Some(answer) if range.end - range.start <= SHORT => {
                self.short(key, &resource, range.clone(), answer).await
            }
            Some(answer) => self.body(key, &resource, range.clone(), self.client.body(answer)),
            None => Body::empty(),
        };
        Ok(Object { meta: resource.meta(key.clone()), range, body })
    }

    /// A few bytes, in memory if they are what is stored. If not, the stream of them goes on from where they
    /// broke off, or fails.
    async fn short(
        self: &Arc<Self>,
        key: &Key,
        resource: &Resource,
        range: Range<u64>,
        answer: Response,
    ) -> Body {
        let len = range.end - range.start;
        let (came, end) = http::read(answer, len as usize + 1, self.client.settings.timeout).await;
        let stored = stored(resource, &range);
        let intact = || stored.is_none_or(|stored| extend(0, &came) == stored);
        if end.is_ok() && came.len() as u64 == len && intact() {
            return Body::from(came);
        }
        let came = Body::from_stream(stream::iter([Ok(came)].into_iter().chain(end.err().map(Err))));
        self.body(key, resource, range, came)
    }

    /// The bytes `range`, all of which the answer has that is already open.
    fn body(self: &Arc<Self>, key: &Key, resource: &Resource, range: Range<u64>, answer: Body) -> Body {
        let (generation, size, page) = (resource.generation, resource.size, resource.is_page());
        let source = Source { bucket: self.clone(), key: key.clone(), generation, size, page };
        let stored = stored(resource, &range);
        let settings = &self.client.settings;
        let open = source.resumed(range.clone(), Some(answer));
        let body = widening(range, settings.piece(), settings.parallel, settings.pace(), open, move |part| {
            source.resumed(part, None)
        });
        let body = match stored {
            Some(stored) => verified(body, stored, size),
            None => body,
        };
        let key = key.clone();
        body.naming(move |error| named("get", &key, error))
    }
}

/// The checksum of these bytes, if they are the whole object.
fn stored(resource: &Resource, range: &Range<u64>) -> Option<u32> {
    resource.checksum().filter(|_| *range == (0..resource.size))
}

/// One generation to read from.
#[derive(Clone)]
struct Source {
    bucket: Arc<Bucket>,
    key: Key,
    generation: u64,
    size: u64,
    /// The object says that it is a page.
    page: bool,
}

impl Source {
    /// The bytes of `range`, beginning with an answer that is already open.
    fn resumed(&self, range: Range<u64>, open: Option<Body>) -> Body {
        let source = self.clone();
        resuming(range, open, self.bucket.retry.clone(), self.bucket.client.budget.clone(), move |range| {
            let source = source.clone();
            async move { source.fetch(range).await }
        })
    }

    async fn fetch(&self, range: Range<u64>) -> Result<Body> {
        let call = self
            .bucket
            .media(&self.key, Some(bounded(&range)))
            .query("generation", self.generation.to_string());
        let answer = match self.bucket.client.send(call).await {
            Ok(answer) => answer,
            Err(failure) if failure.no_object() => return Err(gone()),
            Err(failure) => return Err(failure.error),
        };
        if seen(&answer).is_some_and(|other| other != self.generation) {
            return Err(gone());
        }
        check_media(&answer, &range, self.size, self.page)?;
        Ok(self.bucket.client.body(answer))
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Conflict, "the snapshot was replaced or removed while it was read; load it again")
}
