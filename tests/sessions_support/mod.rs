//! What the tests of sessions share: a clock that they move, an adapter that counts, and seeded states.
#![allow(dead_code)]

pub(crate) mod sim;
// Programs that have `support` as well have it twice.
#[allow(clippy::duplicate_mod)]
#[path = "../support/small.rs"]
pub(crate) mod small;

use std::{
    collections::BTreeMap,
    ops::Sub,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use futures_util::{TryStreamExt, stream::BoxStream};
use persist::{
    adapters::memory::MemoryAdapter,
    layers::Fault,
    sessions::{Clock, Session, Sessions},
    *,
};
pub(crate) use small::Seeded as Random;

/// Time and chance that a test decides.
#[derive(Debug)]
pub(crate) struct TestClock {
    ms: AtomicU64,
    random: Mutex<Random>,
}

impl TestClock {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let ms = 1_700_000_000_000.into();
        Arc::new(TestClock { ms, random: Mutex::new(Random(seed)) })
    }

    pub(crate) fn pass(&self, ms: u64) {
        self.ms.fetch_add(ms, Ordering::SeqCst);
    }

    pub(crate) fn back(&self, ms: u64) {
        self.ms.fetch_sub(ms, Ordering::SeqCst);
    }

    pub(crate) fn ms(&self) -> u64 {
        self.ms.load(Ordering::SeqCst)
    }

    pub(crate) fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.ms())
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        self.time()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.ms())
    }

    fn random(&self) -> u128 {
        let mut random = self.random.lock().unwrap();
        u128::from(random.next()) << 64 | u128::from(random.next())
    }
}

/// Requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) put: u64,
    pub(crate) get: u64,
    pub(crate) list: u64,
    pub(crate) delete: u64,
}

impl Sub for Counts {
    type Output = Counts;
    fn sub(self, before: Counts) -> Counts {
        Counts {
            put: self.put - before.put,
            get: self.get - before.get,
            list: self.list - before.list,
            delete: self.delete - before.delete,
        }
    }
}

/// Counts what goes through.
#[derive(Debug, Clone)]
pub(crate) struct Counting {
    inner: MemoryAdapter,
    counts: Arc<Mutex<Counts>>,
    /// When objects were written, by [`Aged`].
    times: Arc<Mutex<BTreeMap<Key, SystemTime>>>,
    /// What it says that it can: some S3 servers have no conditional replace, others no conditions at all.
    pub(crate) can: Capabilities,
    /// As a gateway does that changes versions, its listings have this one.
    pub(crate) lists_version: Option<&'static str>,
    /// As an S3 adapter behind a proxy that drops the date, [`Aged`] answers a put with the time of a clock
    /// that is a day ahead.
    pub(crate) undated: bool,
}

impl Counting {
    /// For a [`TestClock`]: behind a storage whose clock is ahead, each save looks once more.
    pub(crate) fn memory() -> Self {
        Self::of(MemoryAdapter::with_clock(TestClock::new(0)))
    }

    /// For this machine's clock.
    pub(crate) fn today() -> Self {
        Self::of(MemoryAdapter::new())
    }

    fn of(inner: MemoryAdapter) -> Self {
        Counting {
            inner,
            counts: Arc::default(),
            times: Arc::default(),
            can: MemoryAdapter::new().capabilities(),
            lists_version: None,
            undated: false,
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        *self.counts.lock().unwrap()
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap());
    }

    pub(crate) async fn keys(&self) -> Vec<Key> {
        let rows = self.inner.list(ListOptions::new()).try_collect::<Vec<_>>().await.unwrap();
        rows.into_iter().filter_map(ListEntry::into_object).map(|meta| meta.key).collect()
    }

    /// The bytes of all objects.
    pub(crate) async fn stored(&self) -> u64 {
        let rows = self.inner.list(ListOptions::new()).try_collect::<Vec<_>>().await.unwrap();
        rows.into_iter().filter_map(ListEntry::into_object).map(|meta| meta.size).sum()
    }

    pub(crate) async fn raw(&self, key: &Key) -> Vec<u8> {
        let object = self.inner.get(key, GetOptions::new()).await.unwrap();
        object.body.collect(u64::MAX).await.unwrap().to_vec()
    }

    /// The first key with these characters.
    pub(crate) async fn key(&self, part: &str) -> Key {
        let keys = self.keys().await;
        let found = keys.iter().find(|key| key.as_str().contains(part));
        found.unwrap_or_else(|| panic!("{part} in {keys:?}")).clone()
    }

    /// As something else than persist does.
    pub(crate) async fn remove(&self, key: &Key) {
        self.inner.delete(key, DeleteOptions::new()).await.unwrap();
    }

    pub(crate) async fn set(&self, key: &Key, bytes: Vec<u8>) {
        self.inner.put(key, Body::from(bytes), PutOptions::new()).await.unwrap();
    }

    /// As a storage that keeps times in whole seconds tells when its objects were written.
    pub(crate) fn whole_seconds(&self) {
        for time in self.times.lock().unwrap().values_mut() {
            let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
            *time = SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs());
        }
    }

    pub(crate) async fn flip(&self, key: &Key, at: usize) {
        let mut bytes = self.raw(key).await;
        bytes[at] ^= 0x10;
        self.set(key, bytes).await;
    }
}

impl std::fmt::Display for Counting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl SnapshotAdapter for Counting {
    fn capabilities(&self) -> Capabilities {
        self.can.clone()
    }
    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<ObjectMeta> {
        self.count(|counts| counts.put += 1);
        self.inner.put(key, body, options).await
    }
    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        self.count(|counts| counts.get += 1);
        self.inner.get(key, options).await
    }
    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        self.count(|counts| counts.get += 1);
        self.inner.head(key).await
    }
    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        self.count(|counts| counts.delete += 1);
        self.inner.delete(key, options).await
    }
    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
        self.count(|counts| counts.list += 1);
        let mark = self.lists_version;
        let listed = move |mut entry| {
            if let (ListEntry::Object(meta), Some(mark)) = (&mut entry, mark) {
                meta.version = Version::new(mark);
            }
            entry
        };
        Box::pin(self.inner.list(options).map_ok(listed))
    }
    async fn set_tier(&self, key: &Key, tier: Tier) -> Result<()> {
        self.inner.set_tier(key, tier).await
    }
}

/// An adapter whose objects bear the test's time.
#[derive(Debug)]
pub(crate) struct Aged {
    pub(crate) inner: Counting,
    pub(crate) clock: Arc<TestClock>,
}

impl Aged {
    /// The time at which the version was written, which this keeps beside the inner adapter's own.
    fn aged(&self, mut meta: ObjectMeta) -> ObjectMeta {
        meta.modified = self.inner.times.lock().unwrap().get(&meta.key).copied().unwrap_or(meta.modified);
        meta
    }
}

impl std::fmt::Display for Aged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl SnapshotAdapter for Aged {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<ObjectMeta> {
        let meta = self.inner.put(key, body, options).await?;
        self.inner.times.lock().unwrap().insert(key.clone(), self.clock.time());
        let mut meta = self.aged(meta);
        if self.inner.undated {
            meta.modified += Duration::from_secs(24 * 3600);
        }
        Ok(meta)
    }
    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        let object = self.inner.get(key, options).await?;
        Ok(Object::new(self.aged(object.meta), object.range, object.body))
    }
    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        Ok(self.aged(self.inner.head(key).await?))
    }
    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        self.inner.delete(key, options).await
    }
    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
        let rows = self.inner.list(options);
        let aged = |entry| match entry {
            ListEntry::Object(meta) => ListEntry::Object(self.aged(meta)),
            prefix => prefix,
        };
        Box::pin(rows.map_ok(aged))
    }
    async fn set_tier(&self, key: &Key, tier: Tier) -> Result<()> {
        self.inner.set_tier(key, tier).await
    }
}

pub(crate) fn sessions(adapter: &Counting, clock: &Arc<TestClock>) -> Sessions {
    Sessions::new(Arc::new(adapter.clone())).unwrap().clock(clock.clone())
}

/// Handles whose requests fail as the test says.
pub(crate) fn faulty(adapter: &Counting) -> (Fault, Sessions) {
    let fault = Fault::new(Arc::new(adapter.clone()));
    (fault.clone(), Sessions::new(Arc::new(fault)).unwrap())
}

/// The commits that the log shows, newest first.
pub(crate) async fn seqs(session: &Session) -> Vec<u64> {
    session.log().map_ok(|commit| commit.seq).try_collect().await.unwrap()
}

/// States of a run that grows by a message a step, with a counter at the front that changes each time.
pub(crate) fn growing(seed: u64, steps: usize) -> Vec<Vec<u8>> {
    let (mut random, mut messages) = (Random(seed), String::new());
    (0..steps)
        .map(|step| {
            let words: Vec<String> =
                (0..random.below(30)).map(|_| format!("w{:03x}", random.below(600))).collect();
            let text = words.join(" ");
            messages
                .push_str(&format!(r#",{{"role":"assistant","content":"{text}","n":{}}}"#, random.below(99)));
            format!(r#"{{"step":{step},"tokens":{},"messages":[0{messages}]}}"#, messages.len() / 4)
                .into_bytes()
        })
        .collect()
}

/// Bytes that do not compress.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len).map(|_| random.next() as u8).collect()
}
