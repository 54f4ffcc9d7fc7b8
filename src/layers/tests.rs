use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};

use super::{Defaults, Fault, Injection, Namespace, Operation, ReadOnly, Timeout};
use crate::{
    Body, Capabilities, Codec, DeleteOptions, Error, ErrorKind, GetOptions, Key, ListEntry, ListOptions,
    Object, ObjectMeta, PutOptions, Result, SnapshotAdapter, SnapshotAdapterExt, Tier,
    adapters::memory::MemoryAdapter,
};

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

fn memory() -> Arc<MemoryAdapter> {
    Arc::new(MemoryAdapter::new())
}

#[tokio::test]
async fn a_namespace_hides_itself() {
    let inner = memory();
    let store = Namespace::new(inner.clone(), "team/a/").unwrap();
    store.save("state", "state").await.unwrap();
    inner.save("other", "team/ab").await.unwrap();
    assert!(inner.exists("team/a/state").await.unwrap());
    let error = store.load("missing").await.unwrap_err();
    assert_eq!(error.key(), Some(&key("missing")));
    assert!(!error.to_string().contains("team"), "{error}");
    let rows: Vec<_> = store.list(ListOptions::new()).try_collect().await.unwrap();
    assert_eq!(rows.iter().map(ListEntry::name).collect::<Vec<_>>(), ["state"]);
    assert_eq!(store.to_string(), "memory://team/a");
    let long = store.load("x/".repeat(382) + "xxx").await.unwrap_err();
    assert_eq!(long.kind(), ErrorKind::InvalidInput);
    assert!(long.to_string().contains("prefix and namespace take 7 of the 768"), "{long}");
    for bad in ["", "/", "../up", "a//b", "/a"] {
        assert_eq!(
            Namespace::new(inner.clone(), bad).unwrap_err().kind(),
            ErrorKind::InvalidConfig,
            "{bad:?}"
        );
    }
}

#[tokio::test]
async fn a_namespace_renames_in_errors_of_bodies_and_listings() {
    let inner = Arc::new(WithKeys);
    let store = Namespace::new(inner, "team").unwrap();
    let body = store.get(&key("state"), GetOptions::new()).await.unwrap().body;
    assert_eq!(body.collect(9).await.unwrap_err().key(), Some(&key("state")));
    let row = store.list(ListOptions::new()).next().await.unwrap();
    assert_eq!(row.unwrap_err().key(), Some(&key("state")));
}

#[tokio::test]
async fn a_namespace_leaves_the_errors_of_a_callers_body_alone() {
    let store = Namespace::new(memory(), "team").unwrap();
    for (error, named) in [
        (Error::new(ErrorKind::Io, "the disk is gone"), None),
        (broken(&key("source")), Some(key("source"))),
        (broken(&key("team/source")), Some(key("team/source"))),
    ] {
        let body = Body::from_stream(stream::iter([Err(error)]));
        let error = store.put(&key("state"), body, PutOptions::new()).await.unwrap_err();
        assert_eq!(error.key(), named.as_ref());
    }
    // Those of the storage have the caller's name.
    store.save("state", "state").await.unwrap();
    let taken = store.put(&key("state"), "state".into(), PutOptions::new().create()).await;
    assert_eq!(taken.unwrap_err().key(), Some(&key("state")));
}

/// An adapter whose errors name the key as it knows it.
#[derive(Debug)]
struct WithKeys;

fn broken(key: &Key) -> Error {
    Error::new(ErrorKind::Corrupt, "broken").with_key(key)
}

#[async_trait]
impl SnapshotAdapter for WithKeys {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
    async fn put(&self, key: &Key, _: Body, _: PutOptions) -> Result<ObjectMeta> {
        Err(broken(key))
    }
    async fn get(&self, key: &Key, _: GetOptions) -> Result<Object> {
        let body = Body::from_stream(stream::iter([Err(broken(key))]));
        let meta = ObjectMeta::new(key.clone(), 1, crate::Version::new("1"), std::time::UNIX_EPOCH);
        Ok(Object { meta, range: 0..1, body })
    }
    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        Err(broken(key))
    }
    async fn delete(&self, key: &Key, _: DeleteOptions) -> Result<()> {
        Err(broken(key))
    }
    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
        stream::iter([Err(broken(&key(&format!("{}state", options.prefix))))]).boxed()
    }
    async fn set_tier(&self, key: &Key, _: Tier) -> Result<()> {
        Err(broken(key))
    }
}

impl std::fmt::Display for WithKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("test://")
    }
}

#[tokio::test]
async fn read_only_reads_and_changes_nothing() {
    let inner = memory();
    inner.save("state", "state").await.unwrap();
    let store = ReadOnly::new(inner);
    assert_eq!(store.load("state").await.unwrap(), "state");
    let errors = [
        ("put", store.save("new", "state").await.unwrap_err()),
        ("delete", store.delete(&key("state"), DeleteOptions::new()).await.unwrap_err()),
        ("set_tier", store.set_tier(&key("state"), Tier::Cold).await.unwrap_err()),
    ];
    for (operation, error) in errors {
        assert_eq!(error.operation(), Some(operation), "{error}");
        assert_eq!((error.kind(), error.key()), (ErrorKind::AccessDenied, Some(&key("state"))), "{error}");
    }
    let meta = store.head(&key("state")).await.unwrap();
    assert_eq!(meta.tier, Some(Tier::Hot));
    assert_eq!(store.list(ListOptions::new()).count().await, 1);
}

#[tokio::test]
async fn the_default_codec_is_what_save_writes_unless_told() {
    let inner = memory();
    let store = Defaults::new(inner.clone()).codec(Codec::None);
    assert_eq!(store.save("state", "key").await.unwrap().codec, Codec::None);
    let raw = inner.get(&key("key"), GetOptions::new()).await.unwrap().body.collect(9).await.unwrap();
    assert_eq!(raw, "state");
    assert_eq!(inner.save("state", "key").await.unwrap().codec, Codec::default());
}

#[tokio::test(start_paused = true)]
async fn silence_times_out_and_slow_work_does_not() {
    let fault = Fault::new(memory());
    let store = Timeout::new(Arc::new(fault.clone()), Duration::from_secs(30));
    let put = |body: Body| async { store.put(&key("state"), body, PutOptions::new()).await };
    // The service is silent.
    for operation in [Operation::Put, Operation::Get, Operation::Head, Operation::Delete, Operation::SetTier]
    {
        fault.inject(operation, Injection::Delay(Duration::from_secs(31)));
        let name = key("state");
        let error = match operation {
            Operation::Put => put(Body::from("state")).await.unwrap_err(),
            Operation::Get => store.get(&name, GetOptions::new()).await.unwrap_err(),
            Operation::Head => store.head(&name).await.unwrap_err(),
            Operation::Delete => store.delete(&name, DeleteOptions::new()).await.unwrap_err(),
            _ => store.set_tier(&name, Tier::Cold).await.unwrap_err(),
        };
        assert_eq!((error.kind(), error.key()), (ErrorKind::Timeout, Some(&name)), "{error}");
    }
    fault.inject(Operation::List, Injection::Delay(Duration::from_secs(31)));
    let row = store.list(ListOptions::new()).next().await.unwrap();
    assert_eq!(row.unwrap_err().kind(), ErrorKind::Timeout);
    // The service is slow, but answers in time.
    fault.inject(Operation::Put, Injection::Delay(Duration::from_secs(29)));
    put(Body::from("state")).await.unwrap();
    // The caller's own body takes its time: that is not the service's silence.
    let slow = stream::iter(0..5).then(|_| async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        Ok("chunk".into())
    });
    put(Body::from_stream(slow)).await.unwrap();
    assert_eq!(store.head(&key("state")).await.unwrap().size, 25);
}

/// A body in memory is taken in one go: that its parts are sent one after the other does not show.
#[tokio::test(start_paused = true)]
async fn a_large_body_in_memory_has_more_time() {
    let fault = Fault::new(memory());
    let store = Timeout::new(Arc::new(fault.clone()), Duration::from_secs(30));
    for (mib, seconds, in_time) in [(96, 80, true), (96, 91, false), (97, 110, true), (32, 31, false)] {
        fault.inject(Operation::Put, Injection::Delay(Duration::from_secs(seconds)));
        let put = store.put(&key("state"), Body::from(vec![0; mib << 20]), PutOptions::new()).await;
        assert_eq!(put.is_ok(), in_time, "{mib} MiB in {seconds} s: {put:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_falls_silent_times_out() {
    let silent = stream::iter([Ok("chunk".into())]).chain(stream::pending());
    let body = Body::from_stream(silent);
    let store = Timeout::new(Arc::new(Gives(std::sync::Mutex::new(Some(body)))), Duration::from_secs(30));
    let mut body = store.get(&key("state"), GetOptions::new()).await.unwrap().body;
    assert_eq!(body.chunk().await.unwrap().unwrap(), "chunk");
    let error = body.chunk().await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Timeout, Some(&key("state"))));
}

/// An adapter that gives one body, and never comes to an end with a put.
#[derive(Debug)]
struct Gives(std::sync::Mutex<Option<Body>>);

#[async_trait]
impl SnapshotAdapter for Gives {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
    async fn put(&self, _: &Key, _: Body, _: PutOptions) -> Result<ObjectMeta> {
        std::future::pending().await
    }
    async fn get(&self, key: &Key, _: GetOptions) -> Result<Object> {
        let body = self.0.lock().unwrap().take().unwrap_or_else(Body::empty);
        let meta = ObjectMeta::new(key.clone(), 1, crate::Version::new("1"), std::time::UNIX_EPOCH);
        Ok(Object { meta, range: 0..1, body })
    }
    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        Err(broken(key))
    }
    async fn delete(&self, key: &Key, _: DeleteOptions) -> Result<()> {
        Err(broken(key))
    }
    fn list(&self, _: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
        stream::pending().boxed()
    }
    async fn set_tier(&self, key: &Key, _: Tier) -> Result<()> {
        Err(broken(key))
    }
}

impl std::fmt::Display for Gives {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("test://")
    }
}

#[tokio::test]
async fn an_endless_limit_is_none() {
    let store = Timeout::new(memory(), Duration::MAX);
    store.save("state", "state").await.unwrap();
    assert_eq!(store.load("state").await.unwrap(), "state");
    store.delete(&key("state"), Default::default()).await.unwrap();
    assert!(store.list(ListOptions::new()).try_next().await.unwrap().is_none());
}
