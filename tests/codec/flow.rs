//! Sources and readers that fail, stop or are slow: nothing is stored, nothing is stuck, memory stays
//! bounded.

use std::{
    fmt,
    io::Read,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use persist::{
    Body, ByteRange, Capabilities, Codec, DeleteOptions, Error, ErrorKind, GetOptions, Key, ListEntry,
    ListOptions, LoadOptions, Object, ObjectMeta, PutOptions, Result, SaveOptions, SnapshotAdapter,
    SnapshotAdapterExt, Tier,
};

use crate::store::{SEGMENT, Store, noise, state};

#[tokio::test]
async fn a_source_that_fails_stores_nothing_and_keeps_its_error() {
    for codec in ["gzip", "none", "zstd"] {
        let codec: Codec = codec.parse().unwrap();
        if codec.name() == "zstd" && !cfg!(feature = "zstd") {
            continue;
        }
        for good in [0, 10, SEGMENT, 5 * SEGMENT + 1] {
            let store = Store::new(1000);
            let gone = Error::new(ErrorKind::Unavailable, "the source is gone");
            let chunks = [Ok(Bytes::from(state(good))), Err(gone)];
            let body = Body::from_stream(stream::iter(chunks));
            let error = store.save_body_with(body, "key", SaveOptions::new().codec(codec)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(error.to_string().ends_with("the source is gone"), "{error}");
            assert!(!store.exists("key").await.unwrap());
        }
    }
}

/// Runs `work` in a runtime of its own and shuts that down, which waits for its threads.
fn leaves_no_thread<F: Future<Output = ()>>(work: impl FnOnce() -> F + Send + 'static) {
    let (done, waiting) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(work());
        drop(runtime);
        done.send(()).unwrap();
    });
    waiting.recv_timeout(Duration::from_secs(60)).expect("a thread is stuck, or the work panicked");
}

#[test]
fn a_dropped_save_leaves_no_thread() {
    for codec in ["gzip", "none"] {
        leaves_no_thread(move || async move {
            let (tell, taken) = tokio::sync::oneshot::channel();
            let stuck = stream::once(async move {
                tell.send(()).unwrap();
                std::future::pending().await
            });
            let chunks = stream::iter((0..6).map(|_| Ok(Bytes::from(noise(SEGMENT))))).chain(stuck);
            let store = Store::new(1000);
            let options = SaveOptions::new().codec(codec.parse().unwrap());
            let save = store.save_body_with(Body::from_stream(chunks), "key", options);
            // Dropped when it has taken all that there is.
            tokio::select! {
                _ = save => panic!("the source has not ended"),
                taken = taken => taken.unwrap(),
            }
            assert!(!store.exists("key").await.unwrap());
        });
    }
}

#[test]
fn a_dropped_load_leaves_no_thread() {
    for form in ["ours", "foreign", "plain"] {
        leaves_no_thread(move || async move {
            let store = Store::new(1 << 16);
            let raw = noise(6 * SEGMENT);
            match form {
                "ours" => drop(store.save(raw, "key").await.unwrap()),
                "foreign" => store.foreign("key", crate::tools::run("gzip", &["-1"], &raw).await).await,
                _ => store.foreign("key", raw).await,
            }
            // In mid-flight, and while the storage is silent.
            let mut reader = store.load_stream("key").await.unwrap();
            reader.chunk().await.unwrap().unwrap();
            drop(reader);
            let silent = Silent(store.clone());
            let load = silent.load("key");
            assert!(tokio::time::timeout(Duration::from_millis(50), load).await.is_err());
        });
    }
}

/// How many chunks of a stream exist at once.
#[derive(Default)]
struct Alive {
    now: AtomicUsize,
    most: AtomicUsize,
}

struct Tracked(Vec<u8>, Arc<Alive>);

impl AsRef<[u8]> for Tracked {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.1.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Alive {
    fn chunk(self: &Arc<Self>, bytes: Vec<u8>) -> Bytes {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Bytes::from_owner(Tracked(bytes, self.clone()))
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_save_of_any_length_holds_a_few_segments() {
    for codec in ["gzip:1", "none", "zstd:1"] {
        let codec: Codec = codec.parse().unwrap();
        if codec.name() == "zstd" && !cfg!(feature = "zstd") {
            continue;
        }
        let alive = Arc::new(Alive::default());
        let counted = alive.clone();
        let source = stream::iter((0..32).map(move |_| Ok(counted.chunk(noise(SEGMENT)))));
        let body = Body::from_stream(source);
        // Stores nothing, slowly.
        let adapter = Replacing::new(Store::new(1000), Vec::new());
        let saved = adapter.save_body_with(body, "discard", SaveOptions::new().codec(codec)).await.unwrap();
        assert_eq!(saved.size, 32 * SEGMENT as u64);
        assert!(alive.most() <= 8 + 2 + 4, "{codec}: {} segments at once", alive.most());
    }
}

#[tokio::test]
async fn a_load_of_any_length_holds_a_few_segments() {
    let store = Store::new(1000);
    store.save(noise(48 * SEGMENT), "key").await.unwrap();
    let alive = Arc::new(Alive::default());
    let slow = Counting(store, alive.clone());
    let mut reader = slow.load_stream("key").await.unwrap();
    let mut got = 0;
    while let Some(chunk) = reader.chunk().await.unwrap() {
        got += chunk.len();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(got, 48 * SEGMENT);
    // Chunks of a segment each; those of a segment are let go when it is decoded.
    assert!(alive.most() <= 2 * (8 + 2 + 4), "{} chunks at once", alive.most());
}

#[tokio::test]
async fn a_blocking_reader_is_read_off_the_runtime_and_its_error_comes_through() {
    struct Source(Vec<u8>, std::thread::ThreadId);
    impl Read for Source {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            assert_ne!(std::thread::current().id(), self.1);
            if self.0.is_empty() {
                return Err(std::io::Error::other("the pipe broke"));
            }
            let most = buf.len().min(self.0.len()).min(1000);
            buf[..most].copy_from_slice(&self.0[..most]);
            self.0.drain(..most);
            Ok(most)
        }
    }
    let store = Store::new(1000);
    let here = std::thread::current().id();
    let body = Body::from_blocking(Source(state(5000), here));
    let error = store.save_body_with(body, "key", SaveOptions::new()).await.unwrap_err();
    assert_eq!(format!("{error:?}"), r#"io: save "key": the source cannot be read: the pipe broke"#);
    assert_eq!(error.message(), "the source cannot be read");
    for len in [0, 10, SEGMENT, 3 * SEGMENT + 1] {
        let raw = state(len);
        let body = Body::from_blocking(std::io::Cursor::new(raw.clone()));
        store.save_body_with(body, "key", SaveOptions::new()).await.unwrap();
        assert!(store.load("key").await.unwrap() == raw);
    }
}

/// Gives bodies of which only the first chunk ever comes.
#[derive(Debug)]
pub struct Silent(pub Store);

/// Gives bodies whose chunks are counted while they exist.
struct Counting(Store, Arc<Alive>);

/// Replaces an object as soon as its body has been opened; swallows what is put.
#[derive(Debug)]
pub struct Replacing(Store, Mutex<Option<Vec<u8>>>);

impl Replacing {
    pub fn new(store: Store, with: Vec<u8>) -> Self {
        Replacing(store, Mutex::new(Some(with)))
    }
}

/// Gives bodies that end half-way, because the object is replaced by the next of these.
#[derive(Debug)]
struct Overtaken(Store, Mutex<Vec<Vec<u8>>>);

impl fmt::Debug for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counting")
    }
}

macro_rules! adapter {
    ($name:ident, |$self:ident, $options:ident, $object:ident| $get:block) => {
        #[async_trait]
        impl SnapshotAdapter for $name {
            fn capabilities(&self) -> Capabilities {
                self.0.capabilities()
            }
            async fn put(&$self, key: &Key, mut body: Body, _: PutOptions) -> Result<ObjectMeta> {
                while body.chunk().await?.is_some() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Ok(ObjectMeta::new(key.clone(), 0, persist::Version::new("1"), std::time::SystemTime::now()))
            }
            async fn get(&$self, key: &Key, $options: GetOptions) -> Result<Object> {
                let $object = $self.0.inner.get(key, $options.clone()).await?;
                $get
            }
            async fn head(&self, key: &Key) -> Result<ObjectMeta> {
                self.0.head(key).await
            }
            async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
                self.0.delete(key, options).await
            }
            fn list(&self, options: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
                self.0.list(options)
            }
            async fn set_tier(&self, key: &Key, tier: Tier) -> Result<()> {
                self.0.set_tier(key, tier).await
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("test://")
            }
        }
    };
}

adapter!(Silent, |self, options, object| {
    let Object { meta, range, body, .. } = object;
    if options.range.is_some() {
        return Ok(Object::new(meta, range, body));
    }
    let bytes = body.collect(u64::MAX).await?;
    let body = Body::from_stream(stream::iter([Ok(bytes.slice(..70_000))]).chain(stream::pending()));
    Ok(Object::new(meta, range, body))
});

adapter!(Counting, |self, options, object| {
    let Object { meta, range, body, .. } = object;
    if matches!(options.range, Some(ByteRange::Last(_))) {
        return Ok(Object::new(meta, range, body));
    }
    let (bytes, alive) = (body.collect(u64::MAX).await?, self.1.clone());
    let starts = (0..bytes.len()).step_by(SEGMENT);
    let chunks = starts.map(move |at| Ok(alive.chunk(bytes[at..(at + SEGMENT).min(bytes.len())].to_vec())));
    Ok(Object::new(meta, range, Body::from_stream(stream::iter(chunks))))
});

adapter!(Replacing, |self, options, object| {
    let Object { meta, range, body, .. } = object;
    let with = self.1.lock().unwrap().take();
    if let Some(with) = with {
        self.0.save(with, meta.key.clone()).await?;
    }
    let bytes = body.collect(u64::MAX).await?;
    let chunks: Vec<_> = bytes.chunks(60_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    Ok(Object::new(meta, range, Body::from_stream(stream::iter(chunks))))
});

adapter!(Overtaken, |self, options, object| {
    let Object { meta, range, body, .. } = object;
    let next = self.1.lock().unwrap().pop_if(|_| options.range.is_none());
    let Some(next) = next else { return Ok(Object::new(meta, range, body)) };
    let (bytes, store, key) = (body.collect(u64::MAX).await?, self.0.clone(), meta.key.clone());
    let half = bytes.slice(..bytes.len() / 2);
    let replaced = stream::once(async move {
        store.save_with(next, key, plain()).await.unwrap();
        Err(Error::new(ErrorKind::Conflict, "the snapshot was replaced"))
    });
    Ok(Object::new(meta, range, Body::from_stream(stream::iter([Ok(half)]).chain(replaced.boxed()))))
});

fn plain() -> SaveOptions {
    SaveOptions::new().codec("none".parse().unwrap())
}

/// Only a stream has given something away: whoever has nothing yet gets the new state.
#[tokio::test]
async fn a_load_whose_snapshot_is_replaced_in_mid_body_gives_the_new_one() {
    let overtaken = |first: Vec<u8>, times: usize| async move {
        let store = Store::new(1000);
        let options = if times.is_multiple_of(2) { plain() } else { SaveOptions::new() };
        let version = store.save_with(first, "key", options).await.unwrap().meta.version;
        let later = (0..times).map(|at| state(3 * SEGMENT + at)).collect();
        (Overtaken(store, Mutex::new(later)), version)
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    for times in [1, 2, 3] {
        let (store, _) = overtaken(noise(3 * SEGMENT), times).await;
        assert!(store.load("key").await.unwrap() == state(3 * SEGMENT), "{times}");
        let (store, _) = overtaken(noise(3 * SEGMENT), times).await;
        store.download("key", &path).await.unwrap();
        assert!(std::fs::read(&path).unwrap() == state(3 * SEGMENT), "{times}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
    let (store, version) = overtaken(noise(3 * SEGMENT), 9).await;
    let only = || LoadOptions::new().if_version(version.clone());
    let left = |store: &Overtaken| store.1.lock().unwrap().len();
    for (error, tries) in [
        (store.load_with("key", only()).await.unwrap_err(), 1),
        (store.load("key").await.unwrap_err(), 4),
        // What a device got it keeps.
        (store.download("key", "/dev/null").await.unwrap_err(), 1),
        (store.load_stream("key").await.unwrap().copy_to(std::io::sink()).await.map(drop).unwrap_err(), 1),
    ] {
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Conflict, Some("load")), "{tries}");
    }
    assert_eq!(left(&store), 9 - 1 - 4 - 1 - 1);
}

/// A writer that fails in one way.
struct Fails(std::io::ErrorKind);

impl std::io::Write for Fails {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a writer does not find is no snapshot, and what it may not do says nothing of the storage.
#[tokio::test]
async fn a_writer_that_fails_is_io_whatever_it_says() {
    use std::io::ErrorKind::{InvalidInput, NotFound, PermissionDenied, TimedOut, WriteZero};
    let store = Store::new(1000);
    store.save("state", "key").await.unwrap();
    for kind in [NotFound, PermissionDenied, TimedOut, InvalidInput, WriteZero] {
        let reader = store.load_stream("key").await.unwrap();
        let error = reader.copy_to(Fails(kind)).await.err().unwrap();
        assert_eq!((error.kind(), error.retryable()), (ErrorKind::Io, false), "{kind:?}: {error}");
        assert!(std::error::Error::source(&error).is_some(), "{error}");
    }
}
