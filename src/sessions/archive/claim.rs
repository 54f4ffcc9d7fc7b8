//! Whose session it is while an import runs.
//!
//! The number of the first commit is taken before all else: whoever begins a session takes that. Then the
//! number of the newest, which everybody looks at. Both by the same origin of nothing, which says whose it
//! is. `docs/adr/0015-imports-claim-first.md` argues why that is enough.

use bytes::Bytes;
use futures_util::StreamExt;

use super::{import::Import, tar};
use crate::{
    Error, ErrorKind, PutOptions, Result, Version,
    sessions::{
        CommitId,
        line::LineRecord,
        names::MAX_SEQ,
        refs::Origin,
        store::{Part, Slot},
    },
};

/// So many numbers must be left behind those of an archive.
const ROOM: u64 = 1_000_000;

impl Import<'_> {
    /// Makes sure that nobody else begins this session. `first` and `id` are those of the archive's first
    /// commit or body.
    pub(super) async fn claim(&mut self, first: u64, id: CommitId) -> Result<()> {
        if self.keeper.is_some() {
            return Ok(());
        }
        match self.try_claim(first, id).await {
            // Another import of this archive may have gone on between two looks.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => self.try_claim(first, id).await,
            claimed => claimed,
        }
    }

    async fn try_claim(&mut self, first: u64, id: CommitId) -> Result<()> {
        let Some(line) = self.line.clone() else { return Err(tar::bad("a body is in front of its line")) };
        // Leave numbers below `MAX_SEQ` for a removal's marker, and for saves behind it.
        if !(1..MAX_SEQ - ROOM).contains(&line.upto) {
            return Err(tar::bad(format_args!("its newest commit is {}, which cannot be", line.upto)));
        }
        let (store, place) = (self.session.store(), self.session.place());
        if line.upto > 1 && !store.adapter.capabilities().replace {
            let message = "importing a session needs a storage that replaces an object only if it is unchanged; this one cannot";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let keeper = Origin::of_import(id, line.upto, place, self.session.ids());
        match self.slot(line.upto).await? {
            Some((Slot::Origin(there), version)) if there == keeper => {
                self.kept.insert(line.upto, version);
                match self.slot(1).await? {
                    Some((Slot::Origin(there), version)) if there == keeper => {
                        self.kept.insert(1, version);
                    }
                    Some((Slot::Commit(_), _)) if first == 1 => {}
                    _ => return Err(self.taken().await),
                }
                if !self.is_history().await? {
                    return Err(self.taken().await);
                }
            }
            Some((Slot::Origin(_), _)) => return Err(self.taken().await),
            // Imported before: what is there is compared, and what was lost comes back.
            Some((Slot::Commit(_), _)) => {
                let begun = first == 1 || self.version_of(&keeper, 1).await?.is_some();
                if !begun || !self.is_history().await? {
                    return Err(self.taken().await);
                }
            }
            None => self.claim_free(&line, &keeper).await?,
        }
        self.keeper = Some(keeper);
        Ok(())
    }

    /// Takes the first and the newest number, where nothing lies under the newest.
    async fn claim_free(&mut self, line: &LineRecord, keeper: &Origin) -> Result<()> {
        let (store, place) = (self.session.store(), self.session.place());
        let mut created = None;
        match self.slot(1).await? {
            Some((Slot::Origin(there), version)) if there == *keeper => {
                self.kept.insert(1, version);
            }
            Some(_) => return Err(self.taken().await),
            None if !self.is_free(line).await? => return Err(self.taken().await),
            // The first is the newest.
            None if line.upto == 1 => {}
            None => created = self.keep(1, keeper).await?,
        }
        // Others may have made and pruned commit 1 since the look above: a newer one is there then.
        match store.newest(place).await? {
            Some(row) if row.seq > 1 => {
                // Unless it is another import of this archive.
                let theirs = self.version_of(keeper, line.upto).await?.filter(|_| row.seq == line.upto);
                let Some(version) = theirs else {
                    // Where its number was not given up, another import of this archive has gone on with it.
                    if let Some(version) = created
                        && !store.line(place).await?.0.has(1)
                    {
                        store.delete_version(&place.commit(1)?, &version).await?;
                    }
                    return Err(self.taken().await);
                };
                self.kept.insert(line.upto, version);
            }
            _ if line.upto > 1 => {
                self.keep(line.upto, keeper).await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// What lies under a number, if something does.
    async fn slot(&self, seq: u64) -> Result<Option<(Slot, Version)>> {
        match self.session.store().slot(self.session.place(), seq, Part::End).await {
            Ok((slot, meta)) => Ok(Some((slot, meta.version))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether there is no commit, nor was one that these numbers are taken from.
    async fn is_free(&self, line: &LineRecord) -> Result<bool> {
        let (store, place) = (self.session.store(), self.session.place());
        let (there, _) = store.line(place).await?;
        Ok(line.runs.iter().all(|run| there.covers(run)) && store.newest(place).await?.is_none())
    }

    /// The version of this keeper under a number, if it is there.
    async fn version_of(&self, keeper: &Origin, seq: u64) -> Result<Option<Version>> {
        Ok(match self.slot(seq).await? {
            Some((Slot::Origin(there), version)) if there == *keeper => Some(version),
            _ => None,
        })
    }

    /// Takes a number. Gives the version that certainly nobody put there before.
    async fn keep(&mut self, seq: u64, keeper: &Origin) -> Result<Option<Version>> {
        let (store, key) = (self.session.store(), self.session.place().commit(seq)?);
        let bytes = Bytes::from(keeper.encode());
        let options = PutOptions::new().create().content_type(crate::options::OCTETS);
        let (version, created) = match store.put(&key, bytes.clone(), options.clone()).await {
            Ok(meta) => (meta.version.clone(), Some(meta.version)),
            Err(error) => match store.read(&key).await {
                // Of this import, or of another one of the same archive.
                Ok((there, meta)) if there == bytes => {
                    match store.put_again(error, &key, bytes, options).await? {
                        Some(made) => (made.version.clone(), Some(made.version)),
                        None => (meta.version, None),
                    }
                }
                Ok(_) => return Err(self.taken().await.with_source(error)),
                Err(_) => return Err(error),
            },
        };
        self.kept.insert(seq, version);
        Ok(created)
    }

    /// The error where the name belongs to others.
    pub(super) async fn taken(&self) -> Error {
        let place = self.session.place();
        let Ok(Some(upto)) = self.half().await else {
            return self.session.store().taken(place, "import").await;
        };
        let message = format!(
            "the session {place} is being imported from another archive, whose newest commit is {upto}; import that one \
             again, or this one under another name"
        );
        Error::new(ErrorKind::AlreadyExists, message)
    }

    /// The newest number of an archive that is not this one, and of which a part is here.
    async fn half(&self) -> Result<Option<u64>> {
        let (store, place) = (self.session.store(), self.session.place());
        let Some(newest) = store.newest(place).await? else { return Ok(None) };
        let Some((Slot::Origin(there), _)) = self.slot(newest.seq).await? else { return Ok(None) };
        let is_other = self.keeper.as_ref() != Some(&there) && store.is_half(place, newest.seq).await?;
        Ok(there.imports().filter(|_| is_other))
    }

    /// Whether the archive's numbers are on the session's line, and its newest commit in the log: not so
    /// where the session was removed, or a prune has given them up.
    pub(super) async fn is_history(&self) -> Result<bool> {
        Ok(self.is_on_line().await? && self.is_in_log().await?)
    }

    /// The first half of it.
    pub(super) async fn is_on_line(&self) -> Result<bool> {
        let Some(line) = &self.line else { return Ok(false) };
        let (there, _) = self.session.store().line(self.session.place()).await?;
        Ok(line.runs.iter().all(|run| there.covers(run)))
    }

    /// The second half of it.
    pub(super) async fn is_in_log(&self) -> Result<bool> {
        let (store, place, Some(line)) = (self.session.store(), self.session.place(), &self.line) else {
            return Ok(false);
        };
        if store.newest(place).await?.is_none_or(|row| row.seq <= line.upto) {
            return Ok(true);
        }
        let mut log = self.session.log();
        while let Some(commit) = log.next().await {
            match commit {
                Ok(commit) if commit.seq <= line.upto => return Ok(commit.seq == line.upto),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Corrupt => {}
                // What another archive has half brought is no history.
                Err(error) if error.kind() == ErrorKind::Conflict => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}
