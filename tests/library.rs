//! The library as its users call it.

use std::sync::Arc;

use persist::{SnapshotAdapter, SnapshotAdapterExt, adapters::memory::MemoryAdapter};

#[tokio::test]
async fn one_line_to_save_one_to_load_through_a_dyn_adapter() {
    let store: Arc<dyn SnapshotAdapter> = Arc::new(MemoryAdapter::new());
    let saved = store.save("state", "agents/42/state.gz").await.unwrap();
    assert_eq!(saved.raw_size, 5);
    assert_eq!(store.load("agents/42/state.gz").await.unwrap(), "state");
    store.save_json(&vec![1, 2], "list.json.gz").await.unwrap();
    assert_eq!(store.load_json::<Vec<i32>, _>("list.json.gz").await.unwrap(), [1, 2]);
    store.save_stream(&b"streamed"[..], "s.gz").await.unwrap();
    assert!(store.exists("s.gz").await.unwrap() && !store.exists("t.gz").await.unwrap());
}
