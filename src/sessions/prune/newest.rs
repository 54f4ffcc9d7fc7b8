//! What a prune proves before it removes anything: that the newest commit loads.

use crate::{
    Error, ErrorKind, Result,
    sessions::{
        Session, object,
        restore::Cache,
        store::{Part, Row, Slot},
    },
};

impl Session {
    /// Loads the newest commit, unless it is the one that an attempt before has loaded.
    pub(super) async fn prove(&self, newest: Option<&Row>, proven: &mut Option<Row>) -> Result<()> {
        let Some(newest) = newest else { return Ok(()) };
        // A version says nothing of another key.
        let is_same = |row: &Row| row.seq == newest.seq && row.meta.version == newest.meta.version;
        if !proven.as_ref().is_some_and(is_same) {
            self.check_newest(newest.seq).await?;
            *proven = Some(newest.clone());
        }
        Ok(())
    }

    /// Rules keep commits by their numbers and times. Where the newest is damaged, the last good state may be
    /// one that they give up. Of one whose own words are damaged, all that it may be made of stays anyway.
    async fn check_newest(&self, seq: u64) -> Result<()> {
        let (store, place) = (self.store(), self.place());
        let bytes = match store.slot(place, seq, Part::Whole).await {
            Ok((Slot::Commit(bytes), _)) => bytes,
            // Not there, though it was listed.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return store.confirm_gone(&place.commit(seq)?).await;
            }
            Err(error) if error.kind() != ErrorKind::Corrupt => return Err(error),
            _ => return Ok(()),
        };
        let is_readable =
            object::manifest(&bytes, bytes.len() as u64, seq).is_ok_and(|found| found.is_some());
        match store.check(place, seq, bytes, &mut Cache::default()).await {
            Err(error) if is_readable && error.kind() == ErrorKind::Corrupt => {
                let key = error.key().cloned().map_or_else(|| place.commit(seq), Ok)?;
                let message = format!(
                    "commit {seq}, the newest, is damaged, and what would go may be the last good state: nothing was removed"
                );
                let advice = "load with fallback, save what that gives, and prune again";
                Err(Error::new(ErrorKind::Corrupt, message)
                    .with_advice(advice)
                    .with_key(&key)
                    .with_source(error))
            }
            // A limit says nothing about the commit; what was pruned meanwhile is not the newest any more.
            Err(error)
                if !matches!(
                    error.kind(),
                    ErrorKind::Corrupt | ErrorKind::InvalidInput | ErrorKind::NotFound
                ) =>
            {
                Err(error)
            }
            _ => Ok(()),
        }
    }
}
