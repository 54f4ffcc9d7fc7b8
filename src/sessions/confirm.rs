//! The look of a writer that slept: whether what it created is on the line, and others went on from it.

use std::time::Duration;

use super::{
    CommitId,
    names::Place,
    store::{Described, Store},
    writer::Writer,
};
use crate::{ErrorKind, ObjectMeta, Result, Version};

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
