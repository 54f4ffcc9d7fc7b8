//! Every adapter and layer against every bullet of the contract.

#![cfg(feature = "testing")]

use persist::{adapters::memory::MemoryAdapter, testing::Suite};

persist::testing::conformance!(memory, || async { Suite::new(MemoryAdapter::new()) });

#[tokio::test(flavor = "multi_thread")]
async fn a_program_can_run_the_suite() {
    let store = MemoryAdapter::new();
    let report = persist::testing::run_all(|| async { Suite::new(store.clone()) }).await;
    assert!(report.passed(), "{report}");
    assert_eq!(report.to_string(), format!("{0} of {0} cases passed", report.cases.len()));
    assert_eq!(format!("{store:?}"), "MemoryAdapter(0 objects)", "the suite left something behind");
}
