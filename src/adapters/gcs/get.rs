//! Loading: resumed where it breaks, in several ranges at once where it is large, verified to the last byte.

use std::{
    ops::Range,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use reqwest::Response;

use super::{
    Store,
    model::{Resource, checksum_text},
    open::{Opened, bounded, check_media, seen},
    sum::Sum,
};
use crate::{
    Body, Error, ErrorKind, GetOptions, Key, Object, ObjectMeta, Result,
    retry::retry,
    transfer::{adaptive, resuming},
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
        let opened = retry(&self.retry, &self.client.budget, |_| async {
            self.open(key, &options).await.map_err(|error| self.named("get", key, error))
        });
        let Opened { resource, range, first } = opened.await?;
        self.known.saw(key, &resource);
        let body = self.assemble(key, &resource, range.clone(), first);
        Ok(Object { meta: resource.meta(key.clone()), range, body })
    }

    /// The body from an answer that has the first bytes.
    fn assemble(
        self: &Arc<Self>,
        key: &Key,
        resource: &Resource,
        range: Range<u64>,
        first: Option<(Response, u64)>,
    ) -> Body {
        let Some((answer, len)) = first else { return Body::empty() };
        let source = Source {
            store: self.clone(),
            key: key.clone(),
            generation: resource.generation,
            size: resource.size,
        };
        let first = self.client.body(answer);
        let stored = resource.checksum().filter(|_| range == (0..resource.size));
        let sum = stored.map(|_| Arc::new(Sum::default()));
        let seen = sum.clone();
        let read = move |piece: Range<u64>, open| {
            let body = source.resumed(piece.clone(), open);
            match &seen {
                Some(sum) => sum.clone().over(piece.start, body),
                None => body,
            }
        };
        let body = if range.end - range.start <= len {
            read(range.clone(), Some(first))
        } else {
            let (start, first) = (range.start, Arc::new(Mutex::new(Some(first))));
            let (line, piece) = (self.client.line.clone(), self.client.settings.piece());
            adaptive(range.clone(), len, piece, line, move |piece| {
                let open = match piece.start == start {
                    true => first.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take(),
                    false => None,
                };
                std::future::ready(Ok(read(piece, open)))
            })
        };
        match (stored, sum) {
            (Some(stored), Some(sum)) => verified(body, sum, stored, resource.size),
            _ => body,
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
        let call =
            self.store.media(&self.key, bounded(&range)).query("generation", self.generation.to_string());
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

/// Passes the body on and fails at its end if it is not what is stored.
fn verified(body: Body, sum: Arc<Sum>, stored: u32, size: u64) -> Body {
    let end = stream::once(async move {
        let seen = sum.of(size);
        if seen == Some(stored) {
            return Ok(Bytes::new());
        }
        let message = format!(
            "the bytes that arrived have crc32c {}, stored are {}; load again, and check the network path if it stays",
            seen.map_or("unknown".into(), checksum_text),
            checksum_text(stored)
        );
        Err(Error::new(ErrorKind::Corrupt, message).with_backend("gcs").with_operation("get"))
    });
    Body::from_stream(body.chain(end)).with_len(size)
}
