//! Loads where something is damaged: the newest good commit before it.

use futures_util::StreamExt;

use super::{
    At, CommitId, Damaged, Restored, Session,
    clock::Moment,
    load::{Look, Shown, Unrestored},
    manifest::{Manifest, chain},
    names::{Place, unbody},
    object,
    refs::{self, Origin},
    restore::Checked,
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
    /// conflict then. Where the newest is damaged, this waits for a save of a clone that is under way.
    ///
    /// # Errors
    /// `Corrupt` if no commit before it is good either, or if a damaged tag no longer says which commit is
    /// meant; else as [`load`](Session::load).
    pub async fn load_with_fallback(&self, at: impl Into<At> + Send) -> Result<Restored> {
        let at = at.into();
        let looked = Moment::now(&*self.store().clock);
        match self.load(at.clone()).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.fall_back(&at, error, looked).await.map_err(|error| error.with_operation("load"))
            }
            loaded => loaded,
        }
    }

    /// What a load gives that failed with `first`.
    async fn fall_back(&self, at: &At, first: Error, looked: Moment) -> Result<Restored> {
        // The number before the look: a commit behind it is a rival's, which the look finds, or else the next
        // save is a conflict.
        let number = if *at == At::Latest { self.store().newest_number(self.place()).await? } else { None };
        let mut passed = Passed::default();
        let from = match self.look_again(at, &first, &mut passed).await? {
            Again::Load => return self.load(at.clone()).await,
            Again::Give => return Err(first),
            Again::Search(from) => from,
        };
        let damaged = if let Start::Damaged(_, seq) = &from { Some(*seq) } else { None };
        let good = match self.newest_good(at, from, number, &mut passed).await? {
            Search::Overtaken => return self.load(at.clone()).await,
            Search::Found(good) => Some(*good),
            Search::Nothing => None,
        };
        if *at == At::Latest {
            if let Some(newest) = damaged.or(number) {
                self.go_on_behind(newest, passed.epoch, passed.not_before, looked).await;
            }
        } else if let Some((restored, place)) = &good {
            let (manifest, base) = (&restored.manifest, Some(&restored.base));
            let why = format!(
                "commit {}, which was loaded in place of a damaged one, is not the newest; rebase or fork to go on",
                manifest.seq
            );
            self.begin(Shown { manifest, base, place, is_origin: false }, Look::Instead(why)).await?;
        }
        let Some((restored, place)) = good else { return Err(first) };
        Ok(self.shown(restored, &place, passed.skipped))
    }

    /// Looks at what was asked for once more: it tells where the search begins.
    async fn look_again(&self, at: &At, first: &Error, passed: &mut Passed) -> Result<Again> {
        let found = match self.store().find(self.place(), at, Part::Whole).await {
            Ok(found) => found,
            // It does not tell which commit it is.
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                let below = match at {
                    At::Seq(seq) => Some(*seq),
                    At::Tag(name) => match self.store().tag_ref(self.place(), name).await {
                        Ok(tag) => Some(tag.target.seq),
                        // What a damaged tag named is not known.
                        Err(_) => return Ok(Again::Give),
                    },
                    _ => None,
                };
                passed.skip(below, first);
                return Ok(Again::Search(Start::Anywhere(below)));
            }
            // It is missing, or cannot be looked at now: the first error says more.
            Err(_) => return Ok(Again::Give),
        };
        let (place, seq, manifest) = (found.place.clone(), found.seq, found.manifest().ok());
        passed.note(manifest.as_ref());
        match self.restore(found).await {
            // It is another one than was read first, or was repaired meanwhile.
            Ok(_) => Ok(Again::Load),
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                passed.broken = Broken::of(manifest, &place, &error).filter(|_| error.key() == first.key());
                passed.skip(Some(seq), &error);
                Ok(Again::Search(Start::Damaged(place, seq)))
            }
            // A prune removed it, so there is a newer one. It must not read as "no session yet".
            Err(error) if *at == At::Latest && error.kind() == ErrorKind::NotFound => Ok(Again::Load),
            Err(error) => Err(error),
        }
    }

    /// The newest good commit on the way down from there, and where it lies.
    async fn newest_good(
        &self,
        at: &At,
        from: Start,
        number: Option<u64>,
        passed: &mut Passed,
    ) -> Result<Search> {
        let (mut rows, is_anywhere) = match &from {
            Start::Damaged(place, seq) => (self.store().history(place, Some(*seq)), false),
            Start::Anywhere(below) => (self.store().history(self.place(), *below), true),
        };
        while let Some(step) = rows.next().await {
            let (place, seq) = match step {
                // Behind this, nothing can be found.
                Err(error) if error.kind() == ErrorKind::Corrupt => break,
                step => step?,
            };
            // A rival has gone on behind the damage.
            if is_anywhere && number.is_some_and(|number| seq > number) {
                return Ok(Search::Overtaken);
            }
            if passed.skips_unread(seq) {
                continue;
            }
            // From here, so that a commit which took the place of a fork's start does not pass for it.
            let found = match self.store().find_seq(self.place(), seq, Part::Whole).await {
                Ok(found) => found,
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => {
                    passed.skip(Some(seq), &error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let (home, manifest) = (found.place.clone(), found.manifest().ok());
            // Behind a commit that was found, all are older.
            if is_anywhere
                && manifest
                    .as_ref()
                    .is_some_and(|manifest| !manifest.is_removed() && at.is_before(manifest.id))
            {
                continue;
            }
            passed.note(manifest.as_ref());
            // The session was removed there: what lies before is no state of this one.
            if manifest.as_ref().is_some_and(Manifest::is_removed) {
                break;
            }
            match self.restore_twice(found).await {
                Ok(restored) => return Ok(Search::Found(Box::new((restored, place)))),
                Err(Unrestored { error, is_sure }) => {
                    // Not found: a prune removed it, or what it is made of.
                    if !matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) {
                        return Err(error);
                    }
                    let broken = Broken::of(manifest, &home, &error).filter(|_| is_sure);
                    passed.broken = broken.or(passed.broken.take());
                    passed.skip(Some(seq), &error);
                }
            }
        }
        Ok(Search::Nothing)
    }
}

/// What a second look at what was asked for says.
enum Again {
    /// Load it again: it is another commit by now, or was repaired.
    Load,
    /// Give the first error: it is missing, or nobody knows what it was.
    Give,
    /// Search from here.
    Search(Start),
}

/// Where the search for a good commit begins.
enum Start {
    /// Behind this damaged commit.
    Damaged(Place, u64),
    /// Which commit is damaged is not known, only perhaps that it is this number.
    Anywhere(Option<u64>),
}

/// What the search came to. Boxed: a state's manifest is large.
enum Search {
    Found(Box<(Checked, Place)>),
    Nothing,
    /// Somebody has saved meanwhile.
    Overtaken,
}

/// What was met and passed over on the way down.
#[derive(Default)]
struct Passed {
    skipped: Vec<Damaged>,
    /// The last object that older commits may be made of as well.
    broken: Option<Broken>,
    epoch: u64,
    not_before: Option<CommitId>,
}

impl Passed {
    /// What a damaged commit says about itself may be whole: a writer that it fenced off must stay so, and
    /// what comes next is not older.
    fn note(&mut self, manifest: Option<&Manifest>) {
        if let Some(manifest) = manifest {
            self.epoch = self.epoch.max(manifest.epoch);
            self.not_before = self.not_before.max(Some(manifest.id));
        }
    }

    fn skip(&mut self, seq: Option<u64>, error: &Error) {
        self.skipped.push(Damaged::new(seq, error));
    }

    /// Passes over a commit that is made of what was found broken: it needs no read.
    fn skips_unread(&mut self, seq: u64) -> bool {
        let Some(broken) = self.broken.as_ref().filter(|broken| broken.is_part_of(seq)) else { return false };
        self.skipped.push(Damaged { seq: Some(seq), ..broken.skipped.clone() });
        true
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
