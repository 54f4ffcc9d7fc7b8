//! Loading: one answer, resumed where it breaks, with more connections where it is slow, verified to the last byte.

use std::{ops::Range, sync::Arc};

use reqwest::Response;

use super::{
    Store,
    model::Resource,
    named,
    open::{Opened, bounded, check_media, seen},
    sum::verified,
};
use crate::{
    Body, Error, ErrorKind, GetOptions, Key, Object, ObjectMeta, Result,
    retry::retry_unseen,
    transfer::{resuming, widening},
};

impl Store {
    pub(super) async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        let call = self.metadata(key).headers(self.client.settings.encryption.headers());
        let resource = retry_unseen(&self.retry, &self.client.budget, |_| async {
            let answer = self.client.json::<Resource>(call.clone()).await;
            answer.map(|(resource, _)| resource).map_err(|failure| self.named("head", key, failure.error))
        });
        let resource = resource.await?;
        self.known.saw(key, &resource);
        Ok(resource.meta(key.clone()))
    }

    pub(super) async fn get(self: &Arc<Self>, key: &Key, options: GetOptions) -> Result<Object> {
        let opened = retry_unseen(&self.retry, &self.client.budget, |_| async {
            self.open(key, &options).await.map_err(|error| self.named("get", key, error))
        });
        let Opened { resource, range, answer, news } = opened.await?;
        if news {
            self.known.saw(key, &resource);
        }
        let body = match answer {
            Some(answer) => self.body(key, &resource, range.clone(), answer),
            None => Body::empty(),
        };
        Ok(Object { meta: resource.meta(key.clone()), range, body })
    }

    /// The bytes `range`, all of which the answer has that is already open.
    fn body(self: &Arc<Self>, key: &Key, resource: &Resource, range: Range<u64>, answer: Response) -> Body {
        let (generation, size) = (resource.generation, resource.size);
        let source = Source { store: self.clone(), key: key.clone(), generation, size };
        let stored = resource.checksum().filter(|_| range == (0..size));
        let settings = &self.client.settings;
        let open = source.resumed(range.clone(), Some(self.client.body(answer)));
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
            async move { source.fetch(range).await }
        })
    }

    async fn fetch(&self, range: Range<u64>) -> Result<Body> {
        let call = self
            .store
            .media(&self.key, Some(bounded(&range)))
            .query("generation", self.generation.to_string());
        let answer = match self.store.client.send(call).await {
            Ok(answer) => answer,
            Err(failure) if failure.is(404) => return Err(gone()),
            Err(failure) => return Err(failure.error),
        };
        if seen(&answer).is_some_and(|other| other != self.generation) {
            return Err(gone());
        }
        check_media(&answer, &range, self.size)?;
        Ok(self.store.client.body(answer))
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Conflict, "the snapshot was replaced or removed while it was read; load it again")
}
