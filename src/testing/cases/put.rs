//! What `put` stores.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{
    StreamExt,
    future::{self, Either},
    stream,
};
use tokio::sync::oneshot;

use crate::{
    Body, ErrorKind, GetOptions, Key, ListOptions, ObjectMeta, PutOptions, Tier,
    testing::{
        Failure, Outcome, Suite,
        check::fails,
        suite::{SAME_TIME, chunks, pattern, streamed},
    },
};

pub(crate) async fn put_is_seen_at_once(suite: &Suite) -> Outcome {
    let key = suite.key("state")?;
    let meta = suite.put(&key, "state").await?;
    check_eq!(meta.key, key, "key of the answer");
    check_eq!(meta.size, 5, "size of the answer");
    check_eq!(suite.read(&key).await?, "state", "content");
    check_eq!(suite.adapter.head(&key).await?.version, meta.version, "version");
    check_eq!(suite.names(ListOptions::new()).await?, ["state"], "listing");
    Ok(())
}

pub(crate) async fn put_shows_nothing_before_it_is_done(suite: &Suite) -> Outcome {
    let (fresh, taken) = (suite.key("fresh")?, suite.key("taken")?);
    let old = suite.put(&taken, "old").await?;
    let new = pattern(suite.large, 1);
    for key in [&fresh, &taken] {
        let Held { body, reached, go } = Held::new(&new);
        let put = suite.adapter.put(key, body, PutOptions::new());
        let look = async {
            // The adapter has taken all but the last chunk, and goes on meanwhile with what it does with
            // them.
            reached.await.ok();
            tokio::time::sleep(Duration::from_millis(40)).await;
            fails(suite.adapter.head(&fresh).await, ErrorKind::NotFound, "head of an unfinished object")?;
            check_eq!(suite.adapter.head(&taken).await?.version, old.version, "version during the put");
            check_eq!(suite.read(&taken).await?, "old", "content during the put");
            check_eq!(suite.names(ListOptions::new()).await?, ["taken"], "listing during the put");
            Outcome::Ok(())
        };
        let put = match future::select(put, Box::pin(look)).await {
            Either::Left((result, _)) => {
                return Err(Failure::new(format!("the put ended before its body did: {result:?}")));
            }
            Either::Right((looked, put)) => looked.map(|()| put)?,
        };
        go.send(()).ok();
        put.await?;
        check!(suite.read(key).await? == new, "the content after the put is not what was put");
        if key == &fresh {
            suite.adapter.delete(&fresh, Default::default()).await?;
        }
    }
    Ok(())
}

/// A streamed body whose last chunk is held back.
struct Held {
    body: Body,
    /// Answers when the adapter has taken all other chunks.
    reached: oneshot::Receiver<()>,
    /// Lets the last one go.
    go: oneshot::Sender<()>,
}

impl Held {
    fn new(bytes: &Bytes) -> Self {
        let ((go, gone), (tell, reached)) = (oneshot::channel(), oneshot::channel());
        let mut first = chunks(bytes);
        let last = first.pop().unwrap_or_default();
        let rest = stream::once(async move {
            tell.send(()).ok();
            // A dropped sender lets the body end as well: the case fails by what it then sees.
            gone.await.ok();
            Ok(last)
        });
        Held { body: Body::from_stream(stream::iter(first).map(Ok).chain(rest)), reached, go }
    }
}

pub(crate) async fn put_is_dated_when_it_is_seen(suite: &Suite) -> Outcome {
    let mut lengths = vec![("small", 40_000)];
    if !suite.dated_when_begun {
        lengths.push(("large", suite.large));
    }
    let dated = lengths.into_iter().map(|(name, len)| async move {
        let (slow, quick) = (suite.key(name)?, suite.key(&format!("{name}-quick"))?);
        // By the same clock, right before.
        suite.put(&quick, "quick").await?;
        let Held { body, reached, go } = Held::new(&pattern(len, 9));
        let put = suite.adapter.put(&slow, body, PutOptions::new());
        let meanwhile = async {
            reached.await.ok();
            // So long that a time from before shows.
            tokio::time::sleep(2 * SAME_TIME).await;
            go.send(()).ok();
        };
        let (put, ()) = future::join(put, meanwhile).await;
        put?;
        let slow = suite.adapter.head(&slow).await?.modified;
        let quick = suite.adapter.head(&quick).await?.modified;
        check!(
            slow >= quick + SAME_TIME,
            "a {name} object has the time {slow:?}, and was not there yet {SAME_TIME:?} after {quick:?}: a time from before its body had ended"
        );
        Outcome::Ok(())
    });
    future::try_join_all(dated).await.map(drop)
}

pub(crate) async fn put_overwrites(suite: &Suite) -> Outcome {
    let key = suite.key("state")?;
    for content in ["a long first state", "short", "", "a state that is longer than all before it"] {
        suite.put(&key, content).await?;
        check_eq!(suite.read(&key).await?, content, "content");
    }
    check_eq!(suite.names(ListOptions::new()).await?, ["state"], "listing");
    Ok(())
}

pub(crate) async fn put_gives_every_write_its_own_version(suite: &Suite) -> Outcome {
    let key = suite.key("state")?;
    let mut versions = Vec::new();
    for round in 0..10 {
        // Where versions come from content, only new content can have a new version.
        let content = if suite.content_versions { format!("state {round}") } else { "state".into() };
        versions.push(suite.put(&key, content).await?.version);
        if round % 2 == 0 {
            suite.adapter.delete(&key, Default::default()).await?;
        }
    }
    for (index, version) in versions.iter().enumerate() {
        check!(!versions[..index].contains(version), "two writes have the version {version}");
    }
    Ok(())
}

pub(crate) async fn put_stores_large_bodies_of_unknown_length(suite: &Suite) -> Outcome {
    for (seed, len) in [suite.large, suite.large - 1, suite.large / 2, 37_003, 1].into_iter().enumerate() {
        let (key, bytes) = (suite.key("large")?, pattern(len, seed as u64));
        let meta = suite.adapter.put(&key, streamed(&bytes), PutOptions::new()).await?;
        check_eq!(meta.size, len as u64, "size of the answer");
        check!(suite.read(&key).await? == bytes, "{len} bytes of unknown length came back changed");
        let meta = suite.adapter.put(&key, streamed(&bytes).with_len(len as u64), PutOptions::new()).await?;
        check_eq!(suite.adapter.head(&key).await?.version, meta.version, "version");
        check!(suite.read(&key).await? == bytes, "{len} bytes of known length came back changed");
        suite.put(&key, bytes.clone()).await?;
        check!(suite.read(&key).await? == bytes, "{len} bytes from memory came back changed");
    }
    Ok(())
}

pub(crate) async fn put_stores_empty_bodies(suite: &Suite) -> Outcome {
    let key = suite.key("empty")?;
    let no_chunks = || Body::from_stream(stream::empty());
    let empty_chunks = || Body::from_stream(stream::iter([Ok(Default::default()), Ok(Default::default())]));
    for body in [Body::empty(), no_chunks(), no_chunks().with_len(0), empty_chunks()] {
        suite.put(&key, "not empty").await?;
        check_eq!(suite.adapter.put(&key, body, PutOptions::new()).await?.size, 0, "size of the answer");
        let object = suite.adapter.get(&key, GetOptions::new()).await?;
        check_eq!(object.meta.size, 0, "size");
        check_eq!(object.range, 0..0, "range");
        check_eq!(object.body.collect(10).await?.len(), 0, "length of the content");
    }
    check_eq!(suite.names(ListOptions::new()).await?, ["empty"], "listing");
    Ok(())
}

pub(crate) async fn put_keeps_metadata(suite: &Suite) -> Outcome {
    let (small, large) = (suite.key("small")?, suite.key("large")?);
    let options = || {
        PutOptions::new()
            .content_type("application/gzip")
            .metadata("agent", "outer:1|inner:2")
            .metadata("run-7", "100% \"done\", a=b; c+d")
    };
    let bytes = pattern(suite.large, 7);
    let from_memory = suite.put_with(&small, "state", options()).await?;
    let from_stream = suite.adapter.put(&large, streamed(&bytes), options()).await?;
    for (key, put) in [(&small, from_memory), (&large, from_stream)] {
        let head = suite.adapter.head(key).await?;
        let got = suite.adapter.get(key, GetOptions::new()).await?.meta;
        for (source, meta) in [("put", &put), ("head", &head), ("get", &got)] {
            check_eq!(meta.metadata, options().metadata, "metadata from {source}");
            check_eq!(meta.content_type.as_deref(), Some("application/gzip"), "content type from {source}");
        }
    }
    // Metadata belongs to a version: the next one does not inherit it.
    suite.put(&small, "state").await?;
    check!(suite.adapter.head(&small).await?.metadata.is_empty(), "an overwrite kept the old metadata");
    suite.put_with(&small, "state", PutOptions::new().metadata("a", "1")).await?;
    suite.adapter.delete(&small, Default::default()).await?;
    suite.put(&small, "state").await?;
    check!(suite.adapter.head(&small).await?.metadata.is_empty(), "a new object has old metadata");
    Ok(())
}

pub(crate) async fn put_keeps_tags_or_refuses_them(suite: &Suite) -> Outcome {
    let key = suite.key("state")?;
    let options = PutOptions::new().tag("team", "a/b c").tag("keep", "30d");
    let result = suite.put_with(&key, "state", options.clone()).await;
    if !suite.capabilities().tags {
        return refused(suite, &key, result, "tags").await;
    }
    check_eq!(result?.tags, options.tags, "tags from put");
    check_eq!(suite.adapter.head(&key).await?.tags, options.tags, "tags from head");
    check_eq!(suite.adapter.get(&key, GetOptions::new()).await?.meta.tags, options.tags, "tags from get");
    Ok(())
}

pub(crate) async fn put_keeps_the_tier_or_refuses_it(suite: &Suite) -> Outcome {
    let key = suite.key("state")?;
    let result = suite.put_with(&key, "state", PutOptions::new().tier(Tier::Cool)).await;
    if !suite.capabilities().tiers {
        return refused(suite, &key, result, "a tier").await;
    }
    result?;
    check_eq!(suite.adapter.head(&key).await?.tier, Some(Tier::Cool), "tier");
    check_eq!(suite.read(&key).await?, "state", "content");
    Ok(())
}

pub(crate) async fn put_inherits_no_tags_and_no_tier(suite: &Suite) -> Outcome {
    let (key, other) = (suite.key("state")?, suite.key("other")?);
    let capabilities = suite.capabilities();
    let mut special = PutOptions::new();
    if capabilities.tags {
        special = special.tag("team", "a");
    }
    if capabilities.tiers {
        special = special.tier(Tier::Cool);
    }
    suite.put(&other, "plain").await?;
    let plain = suite.adapter.head(&other).await?;
    for remove in [false, true] {
        suite.put_with(&key, "special", special.clone()).await?;
        if remove {
            suite.adapter.delete(&key, Default::default()).await?;
        }
        suite.put(&key, "plain").await?;
        let head = suite.adapter.head(&key).await?;
        check!(head.tags.is_empty(), "a new object has the tags {:?} of the one before it", head.tags);
        check_eq!(head.tier, plain.tier, "tier of a plain object after one in another tier");
    }
    Ok(())
}

/// What the adapter cannot honour is refused before anything is stored.
async fn refused(suite: &Suite, key: &Key, result: crate::Result<ObjectMeta>, what: &str) -> Outcome {
    fails(result, ErrorKind::Unsupported, what)?;
    fails(suite.adapter.head(key).await, ErrorKind::NotFound, "head after a refused put")?;
    Ok(())
}

pub(crate) async fn put_refuses_bad_metadata(suite: &Suite) -> Outcome {
    let key = suite.key("state")?;
    let new = PutOptions::new;
    for (what, options) in [
        ("a name in capitals", new().metadata("Agent", "x")),
        ("a name with a line break", new().metadata("a\nb", "x")),
        ("a value with a line break", new().metadata("agent", "x\r\ny: z")),
        ("a value that is not ASCII", new().metadata("agent", "é")),
        ("2 KiB of metadata", new().metadata("agent", "x".repeat(2004))),
        ("a content type with a line break", new().content_type("text/plain\r\n")),
    ] {
        fails(suite.put_with(&key, "state", options).await, ErrorKind::InvalidInput, what)?;
    }
    check!(suite.names(ListOptions::new()).await?.is_empty(), "a refused put stored something");
    Ok(())
}
