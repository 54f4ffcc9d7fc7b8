//! Loads where something is damaged: the newest good commit before it.

use futures_util::StreamExt;

use super::{
    At, Damaged, Restored, Session,
    clock::Moment,
    find::Found,
    load::{Look, Shown},
    manifest::{Manifest, chain},
    names::{Place, unbody},
    object,
    refs::{self, Origin},
    store::{Part, Store},
};
use crate::{Error, ErrorKind, Result};

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
        // In this order: what comes behind this number is a rival's, and the look finds it, or the next save is
        // a conflict.
        let number = if at == At::Latest { self.store().newest_number(self.place()).await? } else { None };
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
        let (mut skipped, mut broken) = (Vec::new(), None);
        let (mut rows, newest) = match newest {
            Ok(found) => {
                let (place, seq, manifest) = (found.place.clone(), found.seq, found.manifest());
                match self.restore(found).await {
                    // It is another one than was read first, or was repaired meanwhile.
                    Ok(_) => return self.load(at).await,
                    Err(error) if error.kind() == ErrorKind::Corrupt => {
                        broken =
                            Broken::of(manifest.ok(), &place, &error).filter(|_| error.key() == first.key());
                        skipped.push(Damaged::new(Some(seq), &error));
                    }
                    // A prune removed it, so there is a newer one. It must not read as "no session yet".
                    Err(error) if at == At::Latest && error.kind() == ErrorKind::NotFound => {
                        return self.load(at).await;
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
                skipped.push(Damaged::new(wanted, &first));
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
            // A rival has gone on behind the damage.
            if searched && number.is_some_and(|number| seq > number) {
                return self.load(at).await;
            }
            if let Some(broken) = broken.as_ref().filter(|broken| broken.is_part_of(seq)) {
                skipped.push(Damaged { seq: Some(seq), ..broken.skipped.clone() });
                continue;
            }
            // From here, so that a commit which took the place of a fork's start does not pass for it.
            let found = match self.store().find_seq(self.place(), seq, Part::Whole).await {
                // The session was removed there: what lies before is no state of this one.
                Ok(found) if found.manifest().is_ok_and(|manifest| manifest.is_removed()) => {
                    note(&found);
                    break;
                }
                Ok(found) => found,
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => {
                    skipped.push(Damaged::new(Some(seq), &error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            // Behind a commit that was found, all are older.
            if searched && found.manifest().is_ok_and(|manifest| at.is_before(manifest.id)) {
                continue;
            }
            note(&found);
            let (home, manifest) = (found.place.clone(), found.manifest());
            match self.restore_twice(found).await {
                Ok(restored) => {
                    good = Ok((restored, place));
                    break;
                }
                // Not found: a prune removed it, or what it is made of.
                Err((error, sure)) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => {
                    broken = Broken::of(manifest.ok(), &home, &error).filter(|_| sure).or(broken);
                    skipped.push(Damaged::new(Some(seq), &error));
                }
                Err((error, _)) => return Err(error),
            }
        }
        if at == At::Latest {
            if let Some(number) = newest.or(number) {
                self.go_on_behind(number, epoch, not_before, looked).await;
            }
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

/// An object that a commit could not be restored for, which older commits may be made of as well. Those need
/// no read: in a long run that would be the whole chain, for each of thousands of commits.
struct Broken {
    seq: u64,
    /// The keyframe that the commit's state starts from. Keyframes only go forward: so do those of all
    /// commits between the two.
    keyframe: u64,
    skipped: Damaged,
}

impl Broken {
    /// `None` where the commit's own object is at fault, or it is not known which one is.
    fn of(manifest: Option<Manifest>, place: &Place, error: &Error) -> Option<Self> {
        let (manifest, key) = (manifest?, error.key()?);
        let is_of = |seq: u64| {
            let place = manifest.place_of(seq, place);
            place.seq_of(key).is_ok_and(|of| of == seq)
                || unbody(&place, key).is_some_and(|(of, _)| of == seq)
        };
        let seq = manifest.chain().into_iter().skip(1).find(|seq| is_of(*seq))?;
        let keyframe = manifest.seq - manifest.depth;
        Some(Broken { seq, keyframe, skipped: Damaged::new(None, error) })
    }

    /// Whether the state of the commit `seq`, which is older, is made of it.
    fn is_part_of(&self, seq: u64) -> bool {
        seq >= self.keyframe && chain(self.keyframe, seq).any(|of| of == self.seq)
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
        let bytes = match self.read(&key).await {
            // A prune removed it, behind a newer one. It must not read as "no session yet".
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.confirm_gone(&key).await?;
                return Ok(None);
            }
            read => read?.0,
        };
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
