//! Every adapter and layer against every bullet of the contract.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use persist::{
    Codec, Key, SnapshotAdapter,
    adapters::memory::MemoryAdapter,
    layers::{DefaultCodec, Fault, Namespace, Observe, Timeout},
    testing::Suite,
};

persist::testing::conformance!(memory, || async { Suite::new(MemoryAdapter::new()) });
#[cfg(unix)]
persist::testing::conformance!(local, || async {
    let directory = tempfile::tempdir().unwrap();
    Suite::new(persist::adapters::local::LocalAdapter::open(directory.path()).unwrap()).keep(directory)
});
persist::testing::conformance!(namespace, || async {
    Suite::new(Namespace::new(memory(), "team/é").unwrap()).longest_key(Key::MAX_BYTES - "team/é/".len())
});
persist::testing::conformance!(default_codec, || async {
    Suite::new(DefaultCodec::new(memory(), Codec::None))
});
persist::testing::conformance!(timeout, || async {
    Suite::new(Timeout::new(memory(), Duration::from_secs(60)))
});
persist::testing::conformance!(observe, || async { Suite::new(Observe::new(memory(), "memory")) });
persist::testing::conformance!(fault, || async { Suite::new(Fault::new(memory())) });

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
