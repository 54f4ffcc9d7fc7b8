//! Puts that do not come to their end leave everything as it was.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    future::{self, Either},
    stream,
};

use crate::{
    Body, Error, ErrorKind, Key, ListOptions, PutOptions, Version,
    testing::{
        Outcome, Suite,
        check::fails,
        suite::{chunks, pattern, streamed},
    },
};

/// A key with an object and one without; a broken put to either must change neither.
struct Before {
    taken: Key,
    fresh: Key,
    version: Version,
}

impl Before {
    async fn new(suite: &Suite) -> Outcome<Self> {
        let (taken, fresh) = (suite.key("taken")?, suite.key("fresh")?);
        let version = suite.put_with(&taken, "old", PutOptions::new().metadata("a", "1")).await?.version;
        Ok(Before { taken, fresh, version })
    }

    async fn is_unchanged(&self, suite: &Suite, after: &str) -> Outcome {
        let head = suite.adapter.head(&self.taken).await?;
        check_eq!(head.version, self.version, "version after {after}");
        check_eq!(head.metadata.get("a").map(String::as_str), Some("1"), "metadata after {after}");
        check_eq!(suite.read(&self.taken).await?, "old", "content after {after}");
        fails(suite.adapter.head(&self.fresh).await, ErrorKind::NotFound, after)?;
        check_eq!(suite.names(ListOptions::new()).await?, ["taken"], "listing after {after}");
        Ok(())
    }

    /// The keys are not blocked by what broke.
    async fn goes_on(&self, suite: &Suite) -> Outcome {
        let create = if suite.capabilities().create { PutOptions::new().create() } else { PutOptions::new() };
        suite.put_with(&self.fresh, "new", create).await?;
        suite.put(&self.taken, "new").await?;
        check_eq!(suite.read(&self.taken).await?, "new", "content of the next put");
        Ok(())
    }
}

pub(crate) async fn put_dropped_changes_nothing(suite: &Suite) -> Outcome {
    let before = Before::new(suite).await?;
    let all = chunks(&pattern(suite.large, 3));
    for count in [0, 1, all.len() / 2, all.len()] {
        for key in [&before.taken, &before.fresh] {
            let (tell, reached) = tokio::sync::oneshot::channel();
            let stuck = stream::once(async move {
                tell.send(()).ok();
                future::pending::<crate::Result<Bytes>>().await
            });
            let body = Body::from_stream(stream::iter(all[..count].to_vec()).map(Ok).chain(stuck));
            let put = suite.adapter.put(key, body, PutOptions::new());
            match future::select(put, reached).await {
                Either::Left((result, _)) => {
                    return Err(crate::testing::Failure::new(format!(
                        "the put ended although its body had not: {result:?}"
                    )));
                }
                Either::Right((_, put)) => drop(put),
            }
        }
        before.is_unchanged(suite, &format!("puts that were dropped after {count} chunks")).await?;
    }
    before.goes_on(suite).await
}

/// The step that makes the object visible is stopped wherever the adapter waits in it.
pub(crate) async fn put_dropped_behind_its_body_is_all_or_nothing(suite: &Suite) -> Outcome {
    let before = Before::new(suite).await?;
    let mut seen = vec![Bytes::from("old")];
    for (len, polls) in [40_000, suite.large].into_iter().flat_map(|len| [(len, 0), (len, 1), (len, 3)]) {
        let bytes = pattern(len, 10 + polls);
        seen.push(bytes.clone());
        for key in [&before.taken, &before.fresh] {
            let ended = Arc::new(AtomicBool::new(false));
            let (tell, mut left) = (ended.clone(), polls);
            let end = stream::poll_fn(move |_| {
                tell.store(true, Ordering::SeqCst);
                Poll::Ready(None)
            });
            let body = Body::from_stream(stream::iter(chunks(&bytes)).map(Ok).chain(end));
            let mut put = suite.adapter.put(key, body, PutOptions::new());
            let stopped = future::poll_fn(|context| match put.as_mut().poll(context) {
                Poll::Ready(result) => Poll::Ready(result.map(drop)),
                Poll::Pending if !ended.load(Ordering::SeqCst) => Poll::Pending,
                Poll::Pending if left == 0 => Poll::Ready(Ok(())),
                Poll::Pending => {
                    left -= 1;
                    Poll::Pending
                }
            });
            stopped.await?;
            drop(put);
            // Either may be there, and the new object may still come.
            match suite.read(key).await {
                Ok(content) => check!(seen.contains(&content), "what a dropped put left was never put"),
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => check!(
                    error.kind() == ErrorKind::NotFound && key == &before.fresh,
                    "an object cannot be read after a put to it was dropped: {error}"
                ),
            }
        }
        for name in suite.names(ListOptions::new()).await? {
            check!(["fresh", "taken"].contains(&&*name), "a dropped put left {name:?} in the listing");
        }
    }
    for key in [&before.taken, &before.fresh] {
        suite.put(key, "next").await?;
    }
    Ok(())
}

pub(crate) async fn put_dropped_before_it_was_polled_changes_nothing(suite: &Suite) -> Outcome {
    let before = Before::new(suite).await?;
    for key in [&before.taken, &before.fresh] {
        drop(suite.adapter.put(key, Body::from("new"), PutOptions::new()));
    }
    before.is_unchanged(suite, "puts that were never polled").await?;
    before.goes_on(suite).await
}

pub(crate) async fn put_with_a_failing_body_changes_nothing(suite: &Suite) -> Outcome {
    let before = Before::new(suite).await?;
    let all = chunks(&pattern(suite.large, 4));
    for count in [0, 1, all.len()] {
        for key in [&before.taken, &before.fresh] {
            let error = Error::new(ErrorKind::RateLimited, "the source broke off");
            let chunks = all[..count].iter().cloned().map(Ok).chain([Err(error)]);
            let body = Body::from_stream(stream::iter(chunks.collect::<Vec<_>>()));
            let result = suite.adapter.put(key, body, PutOptions::new()).await;
            let error = fails(result, ErrorKind::RateLimited, "a body that fails")?;
            check_eq!(error.message(), "the source broke off", "message of the body's error");
        }
        before.is_unchanged(suite, &format!("bodies that failed after {count} chunks")).await?;
    }
    before.goes_on(suite).await
}

pub(crate) async fn put_with_a_wrong_length_changes_nothing(suite: &Suite) -> Outcome {
    let before = Before::new(suite).await?;
    for bytes in [Bytes::from_static(b"state"), pattern(suite.large, 5)] {
        let len = bytes.len() as u64;
        for announced in [0, len - 1, len + 1] {
            for key in [&before.taken, &before.fresh] {
                for body in [streamed(&bytes), Body::from(bytes.clone())] {
                    let body = body.with_len(announced);
                    let result = suite.adapter.put(key, body, PutOptions::new()).await;
                    let what = format!("a body of {len} bytes that announced {announced}");
                    fails(result, ErrorKind::InvalidInput, &what)?;
                }
            }
        }
        before.is_unchanged(suite, "bodies of a wrong length").await?;
    }
    before.goes_on(suite).await
}
