//! Every adapter and layer against every bullet of the contract.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used)]

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use persist::{
    Body, Capabilities, Codec, DeleteOptions, GetOptions, Key, ListEntry, ListOptions, Object, ObjectMeta,
    PutOptions, Result, SnapshotAdapter, Tier,
    adapters::memory::MemoryAdapter,
    layers::{Defaults, Fault, Namespace, Observe, ReadOnly, Timeout},
    testing::Suite,
};

#[path = "../examples/custom_adapter.rs"]
#[allow(dead_code)]
mod custom_adapter;
use custom_adapter::Shelf;

persist::testing::conformance!(memory, || async { Suite::new(MemoryAdapter::new()) });
#[cfg(unix)]
persist::testing::conformance!(local, || async {
    let directory = tempfile::tempdir().unwrap();
    Suite::new(persist::adapters::local::LocalAdapter::open(directory.path()).unwrap()).keep(directory)
});
persist::testing::conformance!(shelf, || async { persist::testing::Suite::new(Shelf::default()) });
persist::testing::conformance!(namespace, || async {
    Suite::new(Namespace::new(memory(), "team/é").unwrap()).longest_key(Key::MAX_BYTES - "team/é/".len())
});
persist::testing::conformance!(default_codec, || async {
    Suite::new(Defaults::new(memory()).codec(Codec::None))
});
persist::testing::conformance!(timeout, || async {
    Suite::new(Timeout::new(memory(), Duration::from_secs(60)))
});
persist::testing::conformance!(observe, || async { Suite::new(Observe::new(memory(), "memory")) });
persist::testing::conformance!(fault, || async { Suite::new(Fault::new(memory())) });

persist::testing::conformance!(read_only, || async {
    let memory = memory();
    Suite::new(Split { reads: ReadOnly::new(memory.clone()), writes: memory })
});

/// Reads through the layer that cannot write, and writes past it.
#[derive(Debug)]
struct Split {
    reads: ReadOnly,
    writes: Arc<dyn SnapshotAdapter>,
}

#[async_trait]
impl SnapshotAdapter for Split {
    fn capabilities(&self) -> Capabilities {
        self.reads.capabilities()
    }

    async fn put(&self, key: &Key, body: Body, options: PutOptions) -> Result<ObjectMeta> {
        self.writes.put(key, body, options).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<Object> {
        self.reads.get(key, options).await
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        self.reads.head(key).await
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        self.writes.delete(key, options).await
    }

    fn list(&self, options: ListOptions) -> BoxStream<'_, Result<ListEntry>> {
        self.reads.list(options)
    }

    async fn set_tier(&self, key: &Key, tier: Tier) -> Result<()> {
        self.writes.set_tier(key, tier).await
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.reads, f)
    }
}

fn memory() -> Arc<dyn SnapshotAdapter> {
    Arc::new(MemoryAdapter::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_can_run_the_suite() {
    let store = MemoryAdapter::new();
    let report = persist::testing::run_all(|| async { Suite::new(store.clone()) }).await;
    assert!(report.passed(), "{report}");
    assert_eq!(report.to_string(), format!("{0} of {0} cases passed", report.cases.len()));
    assert_eq!(format!("{store:?}"), "MemoryAdapter(0 objects)", "the suite left something behind");
}
