use persist::{SnapshotAdapterExt, adapters::memory::MemoryAdapter};

use super::*;

/// Where a bar stands, and what it takes for the end.
fn told(progress: &Progress) -> (u64, Option<u64>) {
    progress.0.as_ref().map_or((0, None), |bar| (bar.position(), bar.length()))
}

/// A bar whose end comes nearer with each object that is opened would be full from the first one on.
#[tokio::test]
async fn what_nobody_knows_the_size_of_is_counted_without_an_end() {
    let progress = Progress(Some(ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())));
    let store: Arc<dyn SnapshotAdapter> = Arc::new(MemoryAdapter::new());
    let counting = progress.counting(store.clone());
    let mut size = 0;
    for key in ["one", "two"] {
        size += counting.save(key, key).await.unwrap().meta.size;
        assert_eq!(told(&progress), (size, None));
    }
    assert_eq!(counting.load("two").await.unwrap(), "two");
    let read = told(&progress);
    assert!(read.0 > size && read.1.is_none(), "{read:?}");
    // Of one snapshot it is known.
    progress.over(store.clone()).load("one").await.unwrap();
    assert_eq!(told(&progress).1, Some(store.head(&Key::new("one").unwrap()).await.unwrap().size));
}
