//! Takes the announcement of a prune back that was given up.

use std::time::Duration;

use tokio::{runtime::Handle, time::timeout};

use crate::{
    Key, PutOptions, Result, cleanup,
    sessions::{
        CommitId,
        line::{LineRecord, Mark},
        store::Store,
    },
};

/// How long the caller of a prune that failed waits for this.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes an announcement back, also where it is dropped with one, then behind the caller: else nobody could
/// prune for ten minutes. A decision that is still on its way needs that announcement; so one of the two
/// comes to nothing.
pub(super) struct Undo {
    store: Store,
    line: Key,
    announced: Option<CommitId>,
}

impl Undo {
    pub(super) fn new(store: Store, line: Key) -> Self {
        Undo { store, line, announced: None }
    }

    /// This is about to be announced.
    pub(super) fn announces(&mut self, id: CommitId) {
        self.announced = Some(id);
    }

    /// The announcement was replaced: by the decision, or by a tag or a fork.
    pub(super) fn not_needed(mut self) {
        self.announced = None;
    }

    /// The prune has failed. Whoever hears of that may prune again at once, unless the storage is slow: then
    /// it goes on behind the caller.
    pub(super) async fn now(mut self) {
        if let Some(id) = self.announced
            && timeout(PATIENCE, take_back(&self.store, &self.line, id)).await.is_ok()
        {
            self.announced = None;
        }
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        // Without a runtime nothing can go on behind.
        if let Some(id) = self.announced.take()
            && let Ok(runtime) = Handle::try_current()
        {
            let (store, line) = (self.store.clone(), self.line.clone());
            cleanup::spawn(&runtime, async move { take_back(&store, &line, id).await });
        }
    }
}

async fn take_back(store: &Store, line: &Key, id: CommitId) {
    if let Err(error) = try_take_back(store, line, id).await {
        tracing::debug!(kind = %error.kind(), "the announcement of a prune was left behind");
    }
}

async fn try_take_back(store: &Store, key: &Key, id: CommitId) -> Result<()> {
    let (bytes, meta) = store.read(key).await?;
    let line = LineRecord::decode(&bytes)?;
    if line.announced() != Some(id) {
        return Ok(());
    }
    let bytes = line.marked(Mark::Ended(id)).encode();
    store.put(key, bytes.into(), PutOptions::new().replace(meta.version)).await.map(drop)
}
