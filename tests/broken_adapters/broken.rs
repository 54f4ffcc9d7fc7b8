//! An adapter that is broken in one way.

use std::{
    collections::BTreeSet,
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream, stream::BoxStream};
use persist::{
    Body, ByteRange, Capabilities, DeleteOptions, Error, ErrorKind, GetOptions, Key, ListEntry, ListOptions,
    Object, ObjectMeta, PutMode, PutOptions, Result, SnapshotAdapter, Tier, Version,
    adapters::memory::MemoryAdapter,
};

/// In which way it is broken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum How {
    DisplayHasTwoLines,
    DisplayNamesAUser,
    DebugShowsTheSecret,
    DebugShowsKeys,
    DebugShowsContent,
    PutAnswersAnotherVersion,
    PutStoresAsItGoes,
    PutBeginsUnasked,
    PutMakesAFileBeside,
    PutIsDatedWhenItBegan,
    PutAnswersAnotherTime,
    PutDroppedInItsCommitBlocksTheKey,
    PutKeepsTheFirst,
    PutCutsLargeStreams,
    PutRefusesEmptyBodies,
    PutTakesAnyLength,
    PutKeepsHalfABody,
    PutRenamesErrorsOfBodies,
    PutForgetsMetadata,
    ConditionsForgetMetadata,
    ConditionsForgetTags,
    PutDropsBadMetadata,
    PutForgetsTheTier,
    PutKeepsOldTags,
    TagsAreIgnored,
    VersionsAreSizes,
    CreateOverwrites,
    CreateIsTwoSteps,
    CreateTakesEqualBytesForItsOwn,
    CreateRemembersRemovedKeys,
    ReplaceIgnoresTheVersion,
    ReplaceCreates,
    ReplaceIsAlwaysAConflict,
    ReplaceIsTwoSteps,
    ConditionsHoldForSmallBodies,
    ConditionsAreIgnoredWhereUnsupported,
    MissingIsUnavailable,
    GetReadsAnyVersion,
    GetSharesItsPlace,
    GetIgnoresTheRange,
    GetCutsRangesToNothing,
    GetIgnoresTheVersion,
    DeleteOfNothingFails,
    DeleteDoesNothing,
    DeleteTakesTheFolder,
    DeleteIgnoresTheVersion,
    DeleteLosesToAnother,
    KeysAreUnescaped,
    KeysAreShort,
    ListIsReversed,
    ListIncludesStartAfter,
    ListStopsAtAPage,
    ListTakesThePrefixForAFolder,
    ListForgetsTheSize,
    ListIgnoresASlash,
    ListCounts,
    SetTierKeepsTheContentAlone,
}

/// What no adapter may show.
pub(crate) const SECRET: &str = "hunter2";

#[derive(Debug)]
pub(crate) struct Broken {
    inner: MemoryAdapter,
    how: How,
    /// Shown by `Debug`.
    _secret: &'static str,
    /// The same.
    shown: Mutex<Vec<String>>,
    pub(crate) puts: Arc<AtomicU64>,
    removed: Mutex<BTreeSet<Key>>,
    /// Keys of commits under way.
    busy: Mutex<BTreeSet<Key>>,
    /// When the puts of versions began.
    began: Mutex<Vec<(Version, SystemTime)>>,
    place: Arc<AtomicU64>,
}

fn fail<T>(kind: ErrorKind, message: &str) -> Result<T> {
    Err(Error::new(kind, message))
}

/// A version that says nothing but the size.
fn of_size(meta: &ObjectMeta) -> Version {
    Version::new(meta.size.to_string())
}

impl Broken {
    pub(crate) fn new(how: How) -> Self {
        let _secret = if how == How::DebugShowsTheSecret { SECRET } else { "" };
        Broken {
            inner: MemoryAdapter::new(),
            how,
            _secret,
            shown: Mutex::default(),
            puts: Arc::default(),
            removed: Mutex::default(),
            busy: Mutex::default(),
            began: Mutex::default(),
            place: Arc::default(),
        }
    }

    fn is(&self, how: How) -> bool {
        self.how == how
    }

    /// What callers see of an object.
    fn seen(&self, mut meta: ObjectMeta) -> ObjectMeta {
        if self.is(How::VersionsAreSizes) {
            meta.version = of_size(&meta);
        }
        if let Some((_, began)) = self.began.lock().unwrap().iter().find(|(of, _)| *of == meta.version) {
            meta.modified = *began;
        }
        meta
    }

    /// The version inside for one that a caller saw.
    async fn inside(&self, key: &Key, version: Version) -> Version {
        match self.inner.head(key).await {
            Ok(meta) if self.is(How::VersionsAreSizes) && of_size(&meta) == version => meta.version,
            _ => version,
        }
    }

    async fn exists(&self, key: &Key) -> bool {
        self.inner.head(key).await.is_ok()
    }

    async fn stored(&self, key: &Key, mut body: Body, mut options: PutOptions) -> Result<ObjectMeta> {
        let create = options.mode == PutMode::Create;
        let replace = matches!(options.mode, PutMode::Replace(_));
        if self.is(How::VersionsAreSizes)
            && let PutMode::Replace(version) = options.mode
        {
            options.mode = PutMode::Replace(self.inside(key, version).await);
        }
        match self.how {
            How::CreateOverwrites if create => options.mode = PutMode::Overwrite,
            How::CreateIsTwoSteps if create => {
                if self.exists(key).await {
                    return fail(ErrorKind::AlreadyExists, "taken");
                }
                tokio::task::yield_now().await;
                options.mode = PutMode::Overwrite;
            }
            How::CreateRemembersRemovedKeys if create && self.removed.lock().unwrap().contains(key) => {
                return fail(ErrorKind::AlreadyExists, "was there once");
            }
            How::CreateTakesEqualBytesForItsOwn if create => {
                let bytes = body.collect(u64::MAX).await?;
                if let Ok(there) = self.inner.get(key, GetOptions::new()).await
                    && there.body.collect(u64::MAX).await? == bytes
                {
                    return self.inner.head(key).await;
                }
                body = Body::from(bytes);
            }
            How::ReplaceIgnoresTheVersion if replace => {
                let Ok(there) = self.inner.head(key).await else { return fail(ErrorKind::Conflict, "gone") };
                options.mode = PutMode::Replace(there.version);
            }
            How::ReplaceCreates if !self.exists(key).await => options.mode = PutMode::Overwrite,
            How::ReplaceIsAlwaysAConflict if replace => return fail(ErrorKind::Conflict, "no"),
            How::ReplaceIsTwoSteps if replace => {
                let there = self.inner.head(key).await.ok();
                if there.map(|meta| PutMode::Replace(meta.version)).as_ref() != Some(&options.mode) {
                    return fail(ErrorKind::Conflict, "another is there");
                }
                tokio::task::yield_now().await;
                options.mode = PutMode::Overwrite;
            }
            How::ConditionsAreIgnoredWhereUnsupported => options.mode = PutMode::Overwrite,
            How::PutKeepsTheFirst if !create && !replace && self.exists(key).await => {
                return self.inner.head(key).await;
            }
            How::DebugShowsKeys => self.shown.lock().unwrap().push(key.to_string()),
            How::DebugShowsContent => {
                let bytes = body.collect(u64::MAX).await?;
                self.shown.lock().unwrap().push(format!("{bytes:?}"));
                body = Body::from(bytes);
            }
            How::PutForgetsMetadata => options.metadata.clear(),
            How::ConditionsForgetMetadata if create || replace => options.metadata.clear(),
            How::ConditionsForgetTags if create || replace => options.tags.clear(),
            How::PutDropsBadMetadata if options.check(&self.capabilities()).is_err() => {
                options.metadata.clear();
                options.content_type = None;
            }
            How::PutForgetsTheTier => options.tier = None,
            How::PutKeepsOldTags if options.tags.is_empty() => {
                options.tags = self.inner.head(key).await.map(|meta| meta.tags).unwrap_or_default();
            }
            How::KeysAreShort if key.as_str().len() > 700 => {
                return fail(ErrorKind::InvalidInput, "too long");
            }
            How::PutTakesAnyLength | How::PutKeepsHalfABody => {
                let mut taken = Vec::new();
                loop {
                    match body.chunk().await {
                        Ok(Some(chunk)) => taken.extend_from_slice(&chunk),
                        Ok(None) => break,
                        Err(error)
                            if self.is(How::PutTakesAnyLength) && error.kind() != ErrorKind::InvalidInput =>
                        {
                            return Err(error);
                        }
                        Err(error) if self.is(How::PutKeepsHalfABody) => {
                            self.inner.put(key, Body::from(taken), options).await?;
                            return Err(error);
                        }
                        Err(_) => break,
                    }
                }
                body = Body::from(taken);
            }
            How::PutStoresAsItGoes if !create && !replace => {
                let mut taken = Vec::new();
                while let Some(chunk) = body.chunk().await? {
                    taken.extend_from_slice(&chunk);
                    self.inner.put(key, Body::from(taken.clone()), options.clone()).await?;
                    tokio::task::yield_now().await;
                }
                body = Body::from(taken);
            }
            How::PutMakesAFileBeside => {
                let beside = Key::new(format!("{key}.part"))?;
                self.inner.put(&beside, Body::from("part"), PutOptions::new()).await?;
                let bytes = body.collect(u64::MAX).await;
                self.inner.delete(&beside, DeleteOptions::new()).await?;
                body = Body::from(bytes?);
            }
            How::PutDroppedInItsCommitBlocksTheKey => {
                body = Body::from(body.collect(u64::MAX).await?);
                let mut tries = 0..300;
                while !self.busy.lock().unwrap().insert(key.clone()) {
                    if tries.next().is_none() {
                        return fail(ErrorKind::Unavailable, "busy");
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                tokio::task::yield_now().await;
                let stored = self.inner.put(key, body, options).await;
                self.busy.lock().unwrap().remove(key);
                return stored;
            }
            How::PutCutsLargeStreams if body.len().is_none() => {
                let bytes = body.collect(u64::MAX).await?;
                body = Body::from(bytes.slice(..bytes.len().min(100_000)));
            }
            How::ConditionsHoldForSmallBodies => {
                let bytes = body.collect(u64::MAX).await?;
                if bytes.len() > 100_000 {
                    options.mode = PutMode::Overwrite;
                }
                body = Body::from(bytes);
            }
            How::PutRefusesEmptyBodies => {
                let bytes = body.collect(u64::MAX).await?;
                if bytes.is_empty() {
                    return fail(ErrorKind::InvalidInput, "nothing to store");
                }
                body = Body::from(bytes);
            }
            How::PutRenamesErrorsOfBodies => {
                let renamed = |error: Error| match error.kind() {
                    ErrorKind::InvalidInput => error,
                    _ => Error::new(ErrorKind::Unavailable, "the upload failed"),
                };
                body = Body::from(body.collect(u64::MAX).await.map_err(renamed)?);
            }
            _ => {}
        }
        self.inner.put(key, body, options).await
    }

    /// Bytes `range` of whatever is there when they are asked for, or from where another reader has come to.
    fn lazily(&self, key: &Key, range: std::ops::Range<u64>) -> Body {
        let (inner, key) = (self.inner.clone(), key.clone());
        let place = if self.is(How::GetSharesItsPlace) { self.place.clone() } else { Arc::default() };
        place.store(range.start, Ordering::SeqCst);
        let next = move |place: Arc<AtomicU64>| {
            let (inner, key, end) = (inner.clone(), key.clone(), range.end);
            async move {
                tokio::task::yield_now().await;
                let start = place.fetch_add(1000, Ordering::SeqCst);
                if start >= end {
                    return Ok(None);
                }
                let piece = ByteRange::Bounded { start, length: 1000.min(end - start) };
                match inner.get(&key, GetOptions::new().range(piece)).await {
                    Ok(object) => Ok(Some((object.body.collect(1000).await?, place))),
                    // As if that had been all.
                    Err(_) => Ok(None),
                }
            }
        };
        Body::from_stream(stream::try_unfold(place, next))
    }
}

#[async_trait]
impl SnapshotAdapter for Broken {
    fn capabilities(&self) -> Capabilities {
        match self.how {
            How::TagsAreIgnored => Capabilities::default().with_tiers(),
            How::ConditionsAreIgnoredWhereUnsupported => {
                Capabilities::default().with_tags().with_tiers().unconditional()
            }
            _ => self.inner.capabilities(),
        }
    }

    /// Not an `async fn`, which does nothing before it is polled.
    fn put<'a: 'f, 'k: 'f, 'f>(
        &'a self,
        key: &'k Key,
        body: Body,
        options: PutOptions,
    ) -> Pin<Box<dyn Future<Output = Result<ObjectMeta>> + Send + 'f>> {
        if self.is(How::PutBeginsUnasked) && !matches!(options.mode, PutMode::Create) {
            let _ = self.inner.put(key, Body::from("begun"), PutOptions::new()).now_or_never();
        }
        self.puts.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let began = SystemTime::now();
            let stored = self.stored(key, body, options).await?;
            if self.is(How::PutIsDatedWhenItBegan) {
                self.began.lock().unwrap().push((stored.version.clone(), began));
            }
            let mut meta = self.seen(stored);
            match self.how {
                How::PutAnswersAnotherVersion => meta.version = Version::new("another"),
                How::PutAnswersAnotherTime => meta.modified -= Duration::from_secs(60),
                _ => {}
            }
            Ok(meta)
        })
    }

    async fn get(&self, key: &Key, mut options: GetOptions) -> Result<Object> {
        match self.how {
            How::GetIgnoresTheRange => options.range = None,
            How::GetIgnoresTheVersion => (options.if_version, options.if_not_version) = (None, None),
            How::VersionsAreSizes => {
                if let Some(version) = options.if_version.take() {
                    options.if_version = Some(self.inside(key, version).await);
                }
                if let Some(version) = options.if_not_version.take() {
                    options.if_not_version = Some(self.inside(key, version).await);
                }
            }
            _ => {}
        }
        let mut object = match self.inner.get(key, options).await {
            Err(error) if self.is(How::GetCutsRangesToNothing) && error.kind() == ErrorKind::InvalidInput => {
                let mut object = self.inner.get(key, GetOptions::new()).await?;
                (object.range, object.body) = (0..0, Body::empty());
                object
            }
            Err(error) if self.is(How::MissingIsUnavailable) && error.kind() == ErrorKind::NotFound => {
                return fail(ErrorKind::Unavailable, "nothing there");
            }
            object => object?,
        };
        if self.is(How::GetReadsAnyVersion) || self.is(How::GetSharesItsPlace) {
            object.body = self.lazily(key, object.range.clone());
        }
        object.meta = self.seen(object.meta);
        Ok(object)
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        match self.inner.head(key).await {
            Err(error) if self.is(How::MissingIsUnavailable) && error.kind() == ErrorKind::NotFound => {
                fail(ErrorKind::Unavailable, "nothing there")
            }
            meta => Ok(self.seen(meta?)),
        }
    }

    async fn delete(&self, key: &Key, mut options: DeleteOptions) -> Result<()> {
        match self.how {
            How::DeleteOfNothingFails => drop(self.inner.head(key).await?),
            How::DeleteDoesNothing => return Ok(()),
            How::DeleteTakesTheFolder => {
                let below = ListOptions::new().prefix(format!("{key}/"));
                let rows: Vec<_> = self.inner.list(below).try_collect().await?;
                for row in rows {
                    self.inner.delete(&Key::new(row.name())?, DeleteOptions::new()).await?;
                }
            }
            How::DeleteLosesToAnother if self.exists(key).await => {
                tokio::task::yield_now().await;
                drop(self.inner.head(key).await?);
            }
            How::DeleteIgnoresTheVersion | How::ConditionsAreIgnoredWhereUnsupported => {
                options.if_version = None
            }
            How::VersionsAreSizes => {
                if let Some(version) = options.if_version.take() {
                    options.if_version = Some(self.inside(key, version).await);
                }
            }
            _ => {}
        }
        self.removed.lock().unwrap().insert(key.clone());
        self.inner.delete(key, options).await
    }

    fn list(&self, mut options: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
        let mut first = None;
        match self.how {
            How::ListIncludesStartAfter => first = options.start_after.clone(),
            How::ListTakesThePrefixForAFolder if !options.prefix.ends_with('/') => options.prefix.push('/'),
            How::ListIgnoresASlash => options.prefix = options.prefix.trim_end_matches('/').to_owned(),
            // Which row comes next is a number, whatever has been removed since.
            How::ListCounts => {
                let row = move |n: usize| {
                    let options = options.clone();
                    async move {
                        let row = self.inner.list(options).skip(n).next().await;
                        row.map(|row| (row, n + 1))
                    }
                };
                return stream::unfold(0, row).boxed();
            }
            _ => {}
        }
        let most = if self.is(How::ListStopsAtAPage) { 50 } else { usize::MAX };
        let rows = async move {
            let head = match first.and_then(|name| Key::new(name).ok()) {
                Some(key) => self.inner.head(&key).await.ok().map(ListEntry::Object),
                None => None,
            };
            let rows: Vec<_> = self.inner.list(options).take(most).try_collect().await?;
            let mut rows: Vec<_> = head.into_iter().chain(rows).collect();
            if self.is(How::ListIsReversed) {
                rows.reverse();
            }
            for row in &mut rows {
                if let ListEntry::Object(meta) = row {
                    *meta = self.seen(meta.clone());
                    match self.how {
                        How::KeysAreUnescaped => meta.key = Key::new(meta.key.as_str().replace("%41", "A"))?,
                        How::ListForgetsTheSize => meta.size = 0,
                        _ => {}
                    }
                }
            }
            Ok::<_, Error>(stream::iter(rows).map(Ok))
        };
        stream::once(rows).try_flatten().boxed()
    }

    async fn set_tier(&self, key: &Key, tier: Tier) -> Result<()> {
        if self.is(How::SetTierKeepsTheContentAlone) {
            let bytes = self.inner.get(key, GetOptions::new()).await?.body.collect(u64::MAX).await?;
            return self.inner.put(key, Body::from(bytes), PutOptions::new().tier(tier)).await.map(drop);
        }
        self.inner.set_tier(key, tier).await
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.how {
            How::DisplayHasTwoLines => f.write_str("memory://\nwith two lines"),
            How::DisplayNamesAUser => f.write_str("memory://user@host/bucket"),
            _ => fmt::Display::fmt(&self.inner, f),
        }
    }
}
