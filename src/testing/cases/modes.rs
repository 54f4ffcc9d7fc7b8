//! Conditional puts that do not come to their end, or are not allowed: the same as for unconditional ones.

use bytes::Bytes;
use futures_util::{
    future::{self, Either},
    stream,
};

use crate::{
    Body, DeleteOptions, Error, ErrorKind, ListOptions, PutMode, PutOptions, Result, Version,
    testing::{
        Failure, Outcome, Suite,
        check::fails,
        suite::{chunks, pattern, streamed},
    },
};

/// What a put that fails must leave as it was: `taken` has an object, `fresh` has none.
async fn modes(suite: &Suite) -> Outcome<(Version, Vec<(&'static str, PutMode)>)> {
    let capabilities = suite.capabilities();
    let version = suite.put(&suite.key("taken")?, "old").await?.version;
    let mut modes = vec![("taken", PutMode::Overwrite), ("fresh", PutMode::Overwrite)];
    if capabilities.create {
        modes.push(("fresh", PutMode::Create));
    }
    if capabilities.replace {
        modes.push(("taken", PutMode::Replace(version.clone())));
    }
    Ok((version, modes))
}

async fn is_unchanged(suite: &Suite, version: &Version, after: &str) -> Outcome {
    let taken = suite.key("taken")?;
    check_eq!(suite.adapter.head(&taken).await?.version, *version, "version after {after}");
    check_eq!(suite.read(&taken).await?, "old", "content after {after}");
    check_eq!(suite.names(ListOptions::new()).await?, ["taken"], "listing after {after}");
    Ok(())
}

pub(crate) async fn put_gives_a_bodys_error_back_in_every_mode(suite: &Suite) -> Outcome {
    let (version, modes) = modes(suite).await?;
    // Kinds that an adapter could take for its service's own, or try again.
    let kinds = [
        ErrorKind::Io,
        ErrorKind::Corrupt,
        ErrorKind::Conflict,
        ErrorKind::AlreadyExists,
        ErrorKind::NotFound,
        ErrorKind::Timeout,
    ];
    for (name, mode) in modes {
        for kind in kinds {
            for len in [None, Some(100)] {
                let broken =
                    [Ok(Bytes::from_static(b"state")), Err(Error::new(kind, "the source broke off"))];
                let mut body = Body::from_stream(stream::iter(broken));
                if let Some(len) = len {
                    body = body.with_len(len);
                }
                let options = PutOptions::new().mode(mode.clone());
                let result = suite.adapter.put(&suite.key(name)?, body, options).await;
                let error = fails(result, kind, &format!("{mode:?} of a body that fails"))?;
                check_eq!(error.message(), "the source broke off", "message of the body's error");
            }
        }
        is_unchanged(suite, &version, &format!("{mode:?} of bodies that failed")).await?;
    }
    Ok(())
}

pub(crate) async fn put_checks_the_length_in_every_mode(suite: &Suite) -> Outcome {
    let (version, modes) = modes(suite).await?;
    let bytes = pattern(1000, 1);
    for (name, mode) in modes {
        for announced in [0, 999, 1001] {
            let options = PutOptions::new().mode(mode.clone());
            let body = streamed(&bytes).with_len(announced);
            let result = suite.adapter.put(&suite.key(name)?, body, options).await;
            fails(
                result,
                ErrorKind::InvalidInput,
                &format!("{mode:?} of 1000 bytes that announced {announced}"),
            )?;
        }
        is_unchanged(suite, &version, &format!("{mode:?} with a wrong length")).await?;
    }
    Ok(())
}

pub(crate) async fn conditions_hold_for_large_streams(suite: &Suite) -> Outcome {
    let (taken, gone) = (suite.key("taken")?, suite.key("gone")?);
    let old = suite.put(&taken, "old").await?;
    let stale = suite.put(&gone, "removed").await?.version;
    suite.adapter.delete(&gone, DeleteOptions::new()).await?;
    let capabilities = suite.capabilities();
    let bytes = pattern(suite.large, 6);
    for (key, mode, kind, can) in [
        (&taken, PutMode::Create, ErrorKind::AlreadyExists, capabilities.create),
        (&taken, PutMode::Replace(stale.clone()), ErrorKind::Conflict, capabilities.replace),
        (&gone, PutMode::Replace(stale), ErrorKind::Conflict, capabilities.replace),
    ] {
        let result = suite.adapter.put(key, streamed(&bytes), PutOptions::new().mode(mode.clone())).await;
        match result {
            // Which of the two an adapter that cannot do it finds first differs; both are true.
            Err(error) if !(can && capabilities.create_large) && error.kind() == ErrorKind::Unsupported => {}
            result => drop(fails(result, kind, &format!("a large {mode:?}"))?),
        }
        is_unchanged(suite, &old.version, &format!("a large {mode:?}")).await?;
    }
    suite.adapter.put(&taken, streamed(&bytes), PutOptions::new()).await?;
    check!(suite.read(&taken).await? == bytes, "the content of the next put is not what was put");
    Ok(())
}

pub(crate) async fn put_shows_no_folder_before_it_is_done(suite: &Suite) -> Outcome {
    let key = suite.key("deep/er/fresh")?;
    let all = chunks(&pattern(suite.large, 8));
    for len in [None, Some(suite.large as u64 + 1)] {
        for chunks in [all.clone(), all[..1].to_vec()] {
            let (tell, reached) = tokio::sync::oneshot::channel();
            let (go, gone) = tokio::sync::oneshot::channel::<()>();
            let end = async move {
                tell.send(()).ok();
                gone.await.ok();
                Err(Error::new(ErrorKind::Io, "the source broke off"))
            };
            let body = stream::iter(chunks.into_iter().map(Ok));
            let body = Body::from_stream(futures_util::StreamExt::chain(body, stream::once(end)));
            let body = match len {
                Some(len) => body.with_len(len),
                None => body,
            };
            let put = suite.adapter.put(&key, body, PutOptions::new());
            let look = async {
                // The put goes on meanwhile.
                reached.await.ok();
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                no_folder(suite, "during a put").await
            };
            let put = match future::select(put, Box::pin(look)).await {
                Either::Left((result, _)) => return Err(ended(result)),
                Either::Right((looked, put)) => looked.map(|()| put)?,
            };
            if len.is_some() {
                drop(put);
                no_folder(suite, "after a put that was dropped").await?;
            } else {
                go.send(()).ok();
                fails(put.await, ErrorKind::Io, "a body that fails")?;
                no_folder(suite, "after a put that failed").await?;
            }
        }
    }
    let short = streamed(&pattern(1000, 2)).with_len(1001);
    fails(suite.adapter.put(&key, short, PutOptions::new()).await, ErrorKind::InvalidInput, "a short body")?;
    no_folder(suite, "after a put of a wrong length").await
}

fn ended(result: Result<crate::ObjectMeta>) -> Failure {
    Failure::new(format!("the put ended although its body had not: {result:?}"))
}

async fn no_folder(suite: &Suite, when: &str) -> Outcome {
    for (prefix, delimiter) in [("", true), ("deep/", true), ("deep", true), ("", false)] {
        let mut options = ListOptions::new().prefix(prefix);
        options.delimiter = delimiter;
        let names = suite.names(options).await?;
        check!(names.is_empty(), "{when}, the prefix {prefix:?} lists {names:?}");
    }
    Ok(())
}

pub(crate) async fn put_keeps_metadata_in_every_mode(suite: &Suite) -> Outcome {
    let (_, modes) = modes(suite).await?;
    for (round, (name, mode)) in modes.into_iter().enumerate() {
        let key = suite.key(name)?;
        if mode == PutMode::Create {
            suite.adapter.delete(&key, DeleteOptions::new()).await?;
        }
        // What was there before has other names, too.
        let mode = match mode {
            PutMode::Replace(_) => {
                let old = PutOptions::new().metadata("old", "1").content_type("text/csv");
                PutMode::Replace(suite.put_with(&key, "old", old).await?.version)
            }
            mode => mode,
        };
        let mut options = PutOptions::new().metadata("round", round.to_string()).content_type("text/plain");
        if suite.capabilities().tags {
            options = options.tag("team", "a/b c");
        }
        let what = format!("of a put in the mode {mode:?}");
        suite.put_with(&key, "new", options.clone().mode(mode)).await?;
        let head = suite.adapter.head(&key).await?;
        check_eq!(head.metadata, options.metadata, "metadata {what}");
        check_eq!(head.content_type, options.content_type, "content type {what}");
        check_eq!(head.tags, options.tags, "tags {what}");
    }
    Ok(())
}
