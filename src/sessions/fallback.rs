//! Loads where something is damaged: the newest good commit before it.

use futures_util::StreamExt;

use super::{
    At, Restored, Session, Skipped,
    clock::Moment,
    find::Found,
    load::{Look, Shown},
    names::Place,
    object,
    refs::{self, Origin},
    store::{Part, Store},
};
use crate::{ErrorKind, Result};

impl Session {
    /// Loads a commit's state, or where that is damaged, that of the newest good commit before it.
    /// [`Restored::skipped`] says what was passed over.
    ///
    /// Where the newest is damaged, the next save of this handle goes on behind it with a whole state, also
    /// if no commit is good. A handle that was behind a rival's commit stays so, unless a
    /// [`rebase`](Session::rebase) has met the damage before. With anything else than [`At::Latest`], what
    /// comes in place of a damaged commit is not the newest: saves of a handle that saw nothing before are a
    /// conflict then. Waits for a save by a clone of this handle that is under way.
    ///
    /// # Errors
    /// `Corrupt` if no commit before it is good either, or if a damaged tag no longer says which commit is
    /// meant; else as [`load`](Session::load).
    pub async fn load_with_fallback(&self, at: impl Into<At> + Send) -> Result<Restored> {
        let at = at.into();
        let looked = Moment::now(&*self.store().clock);
        let first = match self.load(at.clone()).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => error,
            other => return other,
        };
        let newest = self.store().find(self.place(), &at, Part::Whole).await;
        // What a damaged commit says about itself may be whole: a writer that it fenced off must stay so, and
        // what comes next is not older.
        let (mut epoch, mut not_before) = (0, None);
        let mut note = |found: &Found| {
            if let Ok(manifest) = found.manifest() {
                epoch = epoch.max(manifest.epoch);
                not_before = not_before.max(Some(manifest.id));
            }
        };
        if let Ok(found) = &newest {
            note(found);
        }
        let mut skipped = Vec::new();
        let (mut rows, newest) = match newest {
            Ok(found) => {
                let (place, seq) = (found.place.clone(), found.seq);
                match self.restore(found).await {
                    // It is another one than was read first, or was repaired meanwhile.
                    Ok(_) => return self.load(at).await,
                    Err(error) if error.kind() == ErrorKind::Corrupt => {
                        skipped.push(Skipped::new(Some(seq), &error));
                    }
                    Err(error) => return Err(error),
                }
                (self.store().history(&place, Some(seq)), Some(seq))
            }
            // What was asked for is missing, or does not tell what it is.
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                let wanted = match &at {
                    At::Seq(seq) => Some(*seq),
                    // What a damaged tag named is not known.
                    At::Tag(name) => match self.store().tag_ref(self.place(), name).await {
                        Ok(tag) => Some(tag.target.seq),
                        Err(_) => return Err(first),
                    },
                    _ => None,
                };
                skipped.push(Skipped::new(wanted, &first));
                (self.store().history(self.place(), wanted), None)
            }
            Err(_) => return Err(first),
        };
        let searched = newest.is_none();
        let mut good = Err(first);
        while let Some(step) = rows.next().await {
            let (place, seq) = match step {
                // Behind this, nothing can be found.
                Err(error) if error.kind() == ErrorKind::Corrupt => break,
                step => step?,
            };
            // From here, so that a commit which took the place of a fork's start does not pass for it.
            let found = match self.store().find_seq(self.place(), seq, Part::Whole).await {
                // The session was removed there: what lies before is no state of this one.
                Ok(found) if found.manifest().is_ok_and(|manifest| manifest.is_removed()) => {
                    note(&found);
                    break;
                }
                Ok(found) => found,
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => {
                    skipped.push(Skipped::new(Some(seq), &error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            // Behind a commit that was found, all are older.
            if searched && found.manifest().is_ok_and(|manifest| at.is_before(manifest.id)) {
                continue;
            }
            note(&found);
            match self.restore(found).await {
                Ok(restored) => {
                    good = Ok((restored, place));
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    skipped.push(Skipped::new(Some(seq), &error));
                }
                Err(error) => return Err(error),
            }
        }
        if at == At::Latest {
            self.go_on_behind(newest, epoch, not_before, looked).await?;
        } else if let Ok((restored, place)) = &good {
            let (manifest, base) = (&restored.manifest, Some(&restored.base));
            let why = format!(
                "commit {}, which was loaded in place of a damaged one, is not the newest; rebase or fork to go on",
                manifest.seq
            );
            self.begin(Shown { manifest, base, place, is_origin: false }, Look::Instead(why)).await?;
        }
        good.map(|(restored, place)| self.shown(restored, &place, skipped))
    }
}

impl Store {
    /// The number that the next commit follows, where the newest cannot be read; `None` where that is not
    /// known.
    pub(super) async fn newest_number(&self, place: &Place) -> Result<Option<u64>> {
        match self.newest(place).await? {
            Some(row) if row.seq == 1 => {}
            newest => return Ok(newest.map(|row| row.seq)),
        }
        let key = place.commit(1)?;
        let bytes = self.read(&key).await?.0;
        if refs::is_small(&bytes) {
            // What it starts from is damaged or missing, or an import has begun.
            let origin = Origin::decode(&bytes).ok();
            return Ok(origin.map(|origin| origin.imports().unwrap_or(origin.target.seq)));
        }
        // Its start may be what is damaged. Only its end tells then that it is no origin, behind which other
        // numbers come.
        let end = bytes.get(4..).unwrap_or_default();
        let ended = matches!(object::manifest(end, bytes.len() as u64, 1), Ok(Some(_)));
        Ok((ended || object::is_commit(&bytes)).then_some(1))
    }
}
