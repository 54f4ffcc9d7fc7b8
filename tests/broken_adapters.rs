//! The suite notices: adapters that are each broken in one way, and the case that must say so.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fmt};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use persist::{
    Body, Capabilities, DeleteOptions, Error, ErrorKind, GetOptions, Key, ListEntry, ListOptions, Object,
    ObjectMeta, PutMode, PutOptions, Result, SnapshotAdapter, Tier,
    adapters::memory::MemoryAdapter,
    testing::{Suite, run_all},
};

/// In which way it is broken.
#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    CreateOverwrites,
    CreateIsTwoSteps,
    CreateTakesEqualBytesForItsOwn,
    ReplaceIgnoresTheVersion,
    ReplaceCreates,
    PutTakesAnyLength,
    PutKeepsHalfABody,
    PutForgetsMetadata,
    TagsAreIgnored,
    ConditionsAreIgnoredWhereUnsupported,
    GetIgnoresTheRange,
    GetIgnoresTheVersion,
    DeleteOfNothingFails,
    DeleteIgnoresTheVersion,
    ListIsReversed,
    ListIncludesStartAfter,
    ListStopsAtAPage,
    ListTakesThePrefixForAFolder,
    KeysAreUnescaped,
}

const ALL: [(How, &str); 19] = [
    (How::CreateOverwrites, "create_on_a_taken_key_is_already_exists"),
    (How::CreateIsTwoSteps, "create_race_has_one_winner"),
    (How::CreateTakesEqualBytesForItsOwn, "create_of_equal_bytes_is_no_own_attempt"),
    (How::ReplaceIgnoresTheVersion, "replace_with_another_version_is_conflict"),
    (How::ReplaceCreates, "replace_of_a_missing_key_is_conflict"),
    (How::PutTakesAnyLength, "put_with_a_wrong_length_changes_nothing"),
    (How::PutKeepsHalfABody, "put_with_a_failing_body_changes_nothing"),
    (How::PutForgetsMetadata, "put_keeps_metadata"),
    (How::TagsAreIgnored, "put_keeps_tags_or_refuses_them"),
    (How::ConditionsAreIgnoredWhereUnsupported, "replace_with_another_version_is_conflict"),
    (How::GetIgnoresTheRange, "get_gives_ranges"),
    (How::GetIgnoresTheVersion, "get_checks_versions"),
    (How::DeleteOfNothingFails, "delete_of_a_missing_key_is_ok"),
    (How::DeleteIgnoresTheVersion, "delete_checks_the_version"),
    (How::ListIsReversed, "list_is_in_byte_order"),
    (How::ListIncludesStartAfter, "list_agrees_with_the_model"),
    (How::ListStopsAtAPage, "list_gives_pages_of_any_length"),
    (How::ListTakesThePrefixForAFolder, "list_agrees_with_the_model"),
    (How::KeysAreUnescaped, "keys_of_any_kind_come_back_unchanged"),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_broken_adapter_is_caught_by_the_case_for_it() {
    let runs = ALL.map(|(how, case)| tokio::spawn(caught(how, case)));
    for run in runs {
        run.await.unwrap();
    }
}

async fn caught(how: How, case: &str) {
    let broken = || async move {
        Suite::new(Broken { inner: MemoryAdapter::new(), how }).large(200_000).objects(60).racers(6)
    };
    let report = run_all(broken).await;
    let failed: BTreeSet<_> =
        report.cases.iter().filter(|case| case.failure.is_some()).map(|case| case.name).collect();
    assert!(failed.contains(case), "{how:?} was not caught by {case}, but by {failed:?}");
}

#[derive(Debug)]
struct Broken {
    inner: MemoryAdapter,
    how: How,
}

impl Broken {
    fn is(&self, how: How) -> bool {
        self.how == how
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

    async fn put(&self, key: &Key, mut body: Body, mut options: PutOptions) -> Result<ObjectMeta> {
        match self.how {
            How::CreateOverwrites if options.mode == PutMode::Create => options.mode = PutMode::Overwrite,
            How::CreateIsTwoSteps if options.mode == PutMode::Create => {
                if self.inner.head(key).await.is_ok() {
                    return Err(Error::new(ErrorKind::AlreadyExists, "taken"));
                }
                tokio::task::yield_now().await;
                options.mode = PutMode::Overwrite;
            }
            How::ReplaceIgnoresTheVersion if matches!(options.mode, PutMode::Replace(_)) => {
                options.mode = PutMode::Replace(
                    self.inner.head(key).await.map_err(|_| Error::new(ErrorKind::Conflict, "gone"))?.version,
                );
            }
            How::ReplaceCreates if self.inner.head(key).await.is_err() => options.mode = PutMode::Overwrite,
            How::ConditionsAreIgnoredWhereUnsupported => options.mode = PutMode::Overwrite,
            How::PutForgetsMetadata => options.metadata.clear(),
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
            How::CreateTakesEqualBytesForItsOwn if options.mode == PutMode::Create => {
                let bytes = body.collect(u64::MAX).await?;
                if let Ok(there) = self.inner.get(key, GetOptions::new()).await
                    && there.body.collect(u64::MAX).await? == bytes
                {
                    return self.inner.head(key).await;
                }
                body = Body::from(bytes);
            }
            _ => {}
        }
        self.inner.put(key, body, options).await
    }

    async fn get(&self, key: &Key, mut options: GetOptions) -> Result<Object> {
        match self.how {
            How::GetIgnoresTheRange => options.range = None,
            How::GetIgnoresTheVersion => (options.if_version, options.if_not_version) = (None, None),
            _ => {}
        }
        self.inner.get(key, options).await
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        self.inner.head(key).await
    }

    async fn delete(&self, key: &Key, mut options: DeleteOptions) -> Result<()> {
        match self.how {
            How::DeleteOfNothingFails => drop(self.inner.head(key).await?),
            How::DeleteIgnoresTheVersion | How::ConditionsAreIgnoredWhereUnsupported => {
                options.if_version = None
            }
            _ => {}
        }
        self.inner.delete(key, options).await
    }

    fn list(&self, mut options: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
        let mut first = None;
        match self.how {
            How::ListIncludesStartAfter => first = options.start_after.clone(),
            How::ListTakesThePrefixForAFolder if !options.prefix.ends_with('/') => options.prefix.push('/'),
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
            if self.is(How::KeysAreUnescaped) {
                for row in &mut rows {
                    if let ListEntry::Object(meta) = row {
                        meta.key = Key::new(meta.key.as_str().replace("%41", "A"))?;
                    }
                }
            }
            Ok::<_, Error>(stream::iter(rows).map(Ok))
        };
        stream::once(rows).try_flatten().boxed()
    }

    async fn set_tier(&self, key: &Key, tier: Tier) -> Result<()> {
        self.inner.set_tier(key, tier).await
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}
