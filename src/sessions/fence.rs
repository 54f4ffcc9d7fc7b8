//! The fence window: the lengths of time that `docs/adr/0010-fence-window.md` argues about, and the look of a
//! writer that slept.

use std::time::Duration;

use super::{
    CommitId,
    names::Place,
    store::{Described, Store},
    writer::Writer,
};
use crate::{ErrorKind, ObjectMeta, Result, Version};

/// A body without a commit is garbage after so many windows.
const BODY: u32 = 24;

/// The window that all users of a storage have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fence {
    window: Duration,
}

impl Fence {
    pub(super) fn new(window: Duration) -> Self {
        Fence { window }
    }

    /// A prune removes no commit that is younger.
    pub(super) fn window(self) -> Duration {
        self.window
    }

    /// A writer whose last look at the head is longer ago must look again before it tells of success. The
    /// other half of the window is for clocks.
    pub(super) fn must_look(self, looked: Duration) -> bool {
        looked > self.window / 2
    }

    /// How long after its start a body may get its commit, and a fork's reference its origin.
    pub(super) fn body_time(self) -> Duration {
        self.garbage_age() / 2
    }

    /// A prune takes a body without a commit, or a reference without a fork, for garbage when it is older.
    pub(super) fn garbage_age(self) -> Duration {
        self.window * BODY
    }

    /// Whether a commit comes when its body is so old that a prune may have taken that for garbage.
    pub(super) fn is_late(self, age: Duration) -> bool {
        age > self.body_time()
    }
}

/// What others have made behind a commit.
enum Behind {
    /// Nothing, or commits that go on from it.
    Own,
    /// Commits of another line: the number was free because its object was lost.
    Others,
    Unknown,
}

impl Writer {
    /// A writer that last looked long ago may have created a commit that others made and pruned since: then
    /// it is not on the line. Or one whose object something else has removed: then others follow that.
    pub(super) async fn confirm(
        &mut self,
        store: &Store,
        place: &Place,
        (seq, id): (u64, CommitId),
        made: &ObjectMeta,
        version: Option<&Version>,
    ) -> Result<()> {
        let observed = self.head.as_ref().and_then(|head| head.observed);
        let age = observed.map_or(Duration::MAX, |observed| observed.elapsed_until(made, &*store.clock));
        if !store.fence.must_look(age) {
            return Ok(());
        }
        let (line, newest) = tokio::join!(store.line(place), store.newest(place));
        if !line?.0.has(seq) {
            // Nobody reads what is not on the line; if this fails, the next prune removes it.
            self.take_back(store, place, seq, version).await?;
            let message =
                format!("commit {seq} was made by another writer and pruned since; rebase or fork to go on");
            return Err(self.lost(place, message));
        }
        if newest?.is_none_or(|row| row.seq <= seq) {
            return Ok(());
        }
        let message = match behind(store, place, seq, id).await? {
            Behind::Own => return Ok(()),
            Behind::Others => {
                self.take_back(store, place, seq, version).await?;
                format!(
                    "commit {seq} was made by another writer and lost since, and others went on; rebase or fork to go on"
                )
            }
            // Others may have built on it.
            Behind::Unknown => {
                format!(
                    "commit {seq} is there, and nobody can tell what others went on from; rebase or fork to go on"
                )
            }
        };
        Err(self.lost(place, message))
    }

    /// Removes what was just created. If that fails, it stays, and is not acknowledged.
    async fn take_back(
        &self,
        store: &Store,
        place: &Place,
        seq: u64,
        version: Option<&Version>,
    ) -> Result<()> {
        let Some(version) = version else { return Ok(()) };
        if let Err(error) = store.delete_version(&place.commit(seq)?, version).await {
            tracing::debug!(kind = %error.kind(), session = place.logged(), "a commit that is not acknowledged stays");
        }
        Ok(())
    }
}

/// Whose the commit behind this one is.
async fn behind(store: &Store, place: &Place, seq: u64, id: CommitId) -> Result<Behind> {
    match store.manifest(place, seq + 1).await {
        Ok((Described::Commit(next), _)) => Ok(match next.parent {
            Some(parent) if parent == id => Behind::Own,
            Some(_) => Behind::Others,
            None => Behind::Unknown,
        }),
        Ok((Described::Origin(_), _)) => Ok(Behind::Unknown),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::Corrupt | ErrorKind::Unsupported => Ok(Behind::Unknown),
            _ => Err(error),
        },
    }
}
