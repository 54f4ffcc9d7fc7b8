use persist::{SnapshotAdapterExt, adapters::memory::MemoryAdapter};

use super::*;

/// Keeps nothing, and refuses what does not come as bytes in memory.
#[derive(Debug)]
struct InMemory;

#[async_trait]
impl SnapshotAdapter for InMemory {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn put(&self, key: &Key, body: Body, _: PutOptions) -> persist::Result<ObjectMeta> {
        let bytes = body.in_memory().expect("a body in memory").clone();
        MemoryAdapter::new().put(key, Body::from(bytes), PutOptions::new()).await
    }

    async fn get(&self, key: &Key, _: GetOptions) -> persist::Result<Object> {
        MemoryAdapter::new().get(key, GetOptions::new()).await
    }

    async fn head(&self, key: &Key) -> persist::Result<ObjectMeta> {
        MemoryAdapter::new().head(key).await
    }

    async fn delete(&self, _: &Key, _: DeleteOptions) -> persist::Result<()> {
        Ok(())
    }

    fn list(&self, _: ListOptions) -> BoxStream<'_, persist::Result<ListEntry>> {
        Box::pin(futures_util::stream::empty())
    }

    async fn set_tier(&self, _: &Key, _: Tier) -> persist::Result<()> {
        Ok(())
    }
}

impl fmt::Display for InMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nowhere")
    }
}

/// What is in memory is one request, with time by its length.
#[tokio::test]
async fn what_is_in_memory_stays_there() {
    let progress = Progress(Some(ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())));
    let key = Key::new("one").unwrap();
    let counting = progress.counting(Arc::new(InMemory));
    assert_eq!(counting.put(&key, Body::from("one"), PutOptions::new()).await.unwrap().size, 3);
    assert_eq!(told(&progress), (3, None));
}

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
