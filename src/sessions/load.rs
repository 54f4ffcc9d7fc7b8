//! Reading: a commit's state, checked, or the newest good one before it.

use std::fmt;

use bytes::Bytes;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use super::{
    At, Commit, Session,
    at::{Found, Newest, no_commit, removed},
    clock::Moment,
    head::{Base, Head},
    manifest::Manifest,
    names::Place,
    object,
    refs::{self, Origin, Target},
    restore::Checked,
    store::{Part, Store},
    wire,
    writer::{FirstLoad, forked, head_of},
};
use crate::{Error, ErrorKind, Key, Result};

/// What a load gave.
#[derive(Clone)]
#[non_exhaustive]
pub struct Restored {
    /// The whole state. Several values stand one behind the other: [`value`](Restored::value).
    pub state: Bytes,
    /// The commit that it is of.
    pub commit: Commit,
    /// Newer commits that were passed over because they are damaged; only with [`Session::load_with_fallback`].
    pub skipped: Vec<Skipped>,
}

/// A commit's state, and where it lies.
pub(super) struct Whole {
    pub(super) restored: Checked,
    pub(super) place: Place,
    /// It is what this session, a fork without commits of its own, starts from.
    pub(super) is_origin: bool,
}

/// What a load shows, and where it lies.
pub(super) struct Shown<'a> {
    pub(super) manifest: &'a Manifest,
    /// Where its state was read.
    pub(super) base: Option<&'a Base>,
    pub(super) place: &'a Place,
    /// As [`Whole::is_origin`].
    pub(super) is_origin: bool,
}

/// What a handle that saw nothing before may conclude from a load.
pub(super) enum Look {
    /// It shows what was the newest commit at this moment.
    Newest(Moment),
    /// It shows the commit that was named, which may be an older one.
    Named,
    /// It shows another one in place of a damaged one: saves are a conflict, for this reason.
    Instead(String),
}

impl Look {
    pub(super) fn of(at: &At, looked: Moment) -> Self {
        if *at == At::Latest { Look::Newest(looked) } else { Look::Named }
    }
}

/// The newest commit.
pub(super) enum Latest {
    Whole(Whole),
    /// What it says about itself, which was enough.
    Manifest(Manifest),
}

/// A damaged commit.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Skipped {
    /// Its number, where that is known.
    pub seq: Option<u64>,
    /// The object's key, where one object is at fault.
    pub key: Option<String>,
    /// What is wrong.
    pub reason: String,
}

impl Skipped {
    fn new(seq: Option<u64>, error: &Error) -> Self {
        Skipped { seq, key: error.key().map(ToString::to_string), reason: wire::wrong(error).to_owned() }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seq {
            Some(seq) => write!(f, "commit {seq}")?,
            None => f.write_str("a commit")?,
        }
        f.write_str(" is damaged and was passed over: ")?;
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.reason)
    }
}

impl Restored {
    /// The value of this name, of a commit that was saved with names.
    pub fn value(&self, name: &str) -> Option<Bytes> {
        self.values().find(|(of, _)| *of == name).map(|(_, value)| value)
    }

    /// All named values, in the order in which they were saved.
    pub fn values(&self) -> impl Iterator<Item = (&str, Bytes)> {
        let mut at = 0;
        self.commit.values.iter().map(move |value| {
            let start = at;
            at += value.size as usize;
            (value.name.as_str(), self.state.slice(start..at))
        })
    }

    /// The state as a value from JSON. Of several values, each has its own: [`value_json`](Restored::value_json).
    ///
    /// # Errors
    /// `InvalidInput` where it is something else.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        self.from_json(&self.state, || "the state".into())
    }

    /// The value of this name as a value from JSON; `None` where there is no such name.
    ///
    /// # Errors
    /// As [`json`](Restored::json).
    pub fn value_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        self.value(name).map(|value| self.from_json(&value, || format!("the value {name:?}"))).transpose()
    }

    fn from_json<T: DeserializeOwned>(&self, bytes: &[u8], what: impl Fn() -> String) -> Result<T> {
        serde_json::from_slice(bytes).map_err(|error| {
            let Commit { agent, session, seq, .. } = &self.commit;
            let message = format!(
                "{} of commit {seq} of {agent}/{session} is intact, but not the JSON that was asked for",
                what()
            );
            Error::new(ErrorKind::InvalidInput, message).with_operation("load").with_source(error)
        })
    }
}

/// Shows sizes, never the state: it may hold secrets.
impl fmt::Debug for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restored")
            .field("size", &self.state.len())
            .field("commit", &self.commit.seq)
            .field("skipped", &self.skipped)
            .finish()
    }
}

impl Session {
    /// Loads a commit's state. It is returned only after every check has passed.
    ///
    /// The first load through a handle is also what its saves continue: after `load(At::Latest)`, a save that finds a newer
    /// commit is a conflict, also where the load found none. In a fork, what lies before its start cannot be continued: saves are a conflict until a
    /// [`rebase`](Session::rebase).
    ///
    /// # Errors
    /// `NotFound` if there is no such commit, `Corrupt` that names the damaged object, `InvalidInput` for a number that no commit can have, and
    /// what the adapter fails with.
    pub async fn load(&self, at: impl Into<At> + Send) -> Result<Restored> {
        let at = at.into();
        let looked = Moment::now(&*self.store().clock);
        let Whole { restored, place, is_origin } = self.heard(self.state_of(&at, Some(looked)).await)?;
        let (manifest, base) = (&restored.manifest, Some(&restored.base));
        self.begin(Shown { manifest, base, place: &place, is_origin }, Look::of(&at, looked)).await?;
        Ok(self.shown(restored, &place, Vec::new()))
    }

    /// Finds the commit that `at` means; its manifest may be damaged. In a session without commits this fails, and if `looked` is given the
    /// handle's next save begins the session.
    pub(super) async fn meant(&self, at: &At, looked: Option<Moment>) -> Result<Newest> {
        if *at != At::Latest {
            let found = self.store().find(self.place(), at, Part::Whole).await?;
            return Ok(Newest { found, origin: false });
        }
        let (head, none) = match self.store().find_latest(self.place(), Part::Whole).await? {
            Some(newest) => match newest.found.manifest() {
                Ok(marker) if marker.is_removed() => {
                    (head_of(&marker, looked, None), removed(self.place(), marker.seq))
                }
                _ => return Ok(newest),
            },
            None => (Head { observed: looked, ..Head::default() }, no_commit(self.place())),
        };
        if looked.is_some() {
            self.begin_with(FirstLoad { head, epoch: None, stale: None });
        }
        Err(none)
    }

    /// The commit that `at` means, whole.
    pub(super) async fn state_of(&self, at: &At, looked: Option<Moment>) -> Result<Whole> {
        let mut attempts = 0;
        loop {
            let Newest { found, origin } = self.meant(at, looked).await?;
            let place = found.place.clone();
            match self.restore(found).await {
                Ok(restored) => return Ok(Whole { restored, place, is_origin: origin }),
                Err(error) => pruned_meanwhile(at, error, &mut attempts)?,
            }
        }
    }

    /// The first commit that a handle sees is what its saves continue. Its epoch becomes the handle's; where it is not the session's own newest line that is shown,
    /// that of the newest commit: a later take-over fences the handle off, an earlier one does not.
    ///
    /// # Errors
    /// What the adapter fails with where a fork must be told what it starts from.
    pub(super) async fn begin(&self, shown: Shown<'_>, look: Look) -> Result<()> {
        let Shown { manifest, base, place, is_origin } = shown;
        let (observed, stale) = match look {
            Look::Newest(looked) => (Some(looked), None),
            Look::Named => (None, None),
            Look::Instead(why) => (None, Some(why)),
        };
        let own = place == self.place();
        if !self.has_yet_to_begin() {
            return Ok(());
        }
        let shown = Target { seq: manifest.seq, id: manifest.id };
        let starts = own
            || is_origin
            || self.store().origin(self.place()).await?.is_some_and(|origin| origin.target == shown);
        // The number behind it is that of another commit, in the session that this one was forked from; so may its epoch be. What is
        // shown in place of a damaged commit may be of an earlier owner.
        let epoch = match !starts || stale.is_some() {
            true => self.newest_epoch().await?,
            false => None,
        };
        let base = base.filter(|_| starts).cloned().map(|base| match own {
            true => base,
            false => forked(base, manifest.seq, place.clone()),
        });
        let before = || {
            let seq = manifest.seq;
            format!(
                "commit {seq}, which was loaded, lies before what this fork starts from; fork that commit, or rebase to go on from the newest"
            )
        };
        let stale = stale.or_else(|| (!starts).then(before));
        self.begin_with(FirstLoad { head: head_of(manifest, observed, base), epoch, stale });
        Ok(())
    }

    /// Damage that a read met: perhaps the next commit would have started from it.
    pub(super) fn heard<T>(&self, result: Result<T>) -> Result<T> {
        if result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Corrupt) {
            self.heard_of_damage();
        }
        result
    }

    /// The epoch of the newest commit; of one that cannot be read, as the newest before it tells that can be.
    async fn newest_epoch(&self) -> Result<Option<u64>> {
        let looked = Moment::now(&*self.store().clock);
        match self.latest(|_| true).await {
            Ok(Some(Latest::Manifest(manifest))) => Ok(Some(manifest.epoch)),
            Ok(Some(Latest::Whole(newest))) => Ok(Some(newest.restored.manifest.epoch)),
            Ok(None) => Ok(None),
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Conflict) => {
                Ok(Some(self.unread_head(error, looked).await?.epoch))
            }
            Err(error) => Err(error),
        }
    }

    /// The newest commit, read whole unless its manifest is `enough`.
    pub(super) async fn latest(
        &self,
        enough: impl Fn(&Manifest) -> bool + Send + Sync,
    ) -> Result<Option<Latest>> {
        let mut attempts = 0;
        loop {
            let Some(Newest { found, origin }) = self.store().find_latest(self.place(), Part::Whole).await?
            else {
                return Ok(None);
            };
            // Damage shows when it is restored.
            if let Some(manifest) = found.manifest().ok().filter(&enough) {
                return Ok(Some(Latest::Manifest(manifest)));
            }
            let place = found.place.clone();
            match self.restore(found).await {
                Ok(restored) => {
                    return Ok(Some(Latest::Whole(Whole { restored, place, is_origin: origin })));
                }
                // Pruned while it was read: then there is a newer one.
                Err(error) if error.kind() == ErrorKind::NotFound && attempts < 4 => attempts += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Loads a commit's state, or where that is damaged, that of the newest good commit before it.
    /// [`Restored::skipped`] says what was passed over.
    ///
    /// Where the newest is damaged, the next save of this handle goes on behind it with a whole state, also if no commit is good. A handle that was
    /// behind a rival's commit stays so, unless a [`rebase`](Session::rebase) has met the damage before. With anything else than
    /// [`At::Latest`], what comes in place of a damaged commit is not the newest: saves of a handle that saw nothing before are a conflict then. Waits for a save by a clone of this handle that is under way.
    ///
    /// # Errors
    /// `Corrupt` if no commit before it is good either, or if a damaged tag no longer says which commit is meant; else as [`load`](Session::load).
    pub async fn load_with_fallback(&self, at: impl Into<At> + Send) -> Result<Restored> {
        let at = at.into();
        let looked = Moment::now(&*self.store().clock);
        let first = match self.load(at.clone()).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => error,
            other => return other,
        };
        let newest = self.store().find(self.place(), &at, Part::Whole).await;
        // What a damaged commit says about itself may be whole: a writer that it fenced off must stay so, and what comes next is not older.
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

    pub(super) async fn restore(&self, found: Found) -> Result<Checked> {
        let Found { place, seq, bytes, total: _ } = found;
        let restored = self.store().restore(&place, seq, bytes).await;
        restored.map_err(|error| self.noticed(error).with_operation("load"))
    }

    /// Logs damage.
    pub(super) fn noticed(&self, error: Error) -> Error {
        if error.kind() == ErrorKind::Corrupt {
            let object = error.key().map(Key::logged);
            tracing::warn!(session = self.place().logged(), object, "damaged");
        }
        error
    }

    pub(super) fn shown(&self, restored: Checked, place: &Place, skipped: Vec<Skipped>) -> Restored {
        let commit = Commit::new(restored.manifest, place, restored.stored);
        Restored { state: restored.base.state, commit, skipped }
    }
}

impl Store {
    /// The number that the next commit follows, where the newest cannot be read; `None` where that is not known.
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
        // Its start may be what is damaged. Only its end tells then that it is no origin, behind which other numbers come.
        let end = bytes.get(4..).unwrap_or_default();
        let ended = matches!(object::manifest(end, bytes.len() as u64, 1), Ok(Some(_)));
        Ok((ended || object::is_commit(&bytes)).then_some(1))
    }
}

/// Where the newest is meant and a prune removed it while it was read, there is a newer one by now.
pub(super) fn pruned_meanwhile(at: &At, error: Error, attempts: &mut u32) -> Result<()> {
    if *at == At::Latest && error.kind() == ErrorKind::NotFound && *attempts < 4 {
        *attempts += 1;
        return Ok(());
    }
    Err(error)
}

/// An error and its causes in one line.
pub(super) fn told(error: &Error) -> String {
    let mut told = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        told = format!("{told}: {cause}");
        source = cause.source();
    }
    told
}

impl From<u64> for At {
    fn from(seq: u64) -> Self {
        At::Seq(seq)
    }
}

impl From<super::CommitId> for At {
    fn from(id: super::CommitId) -> Self {
        At::Id(id)
    }
}

impl From<std::time::SystemTime> for At {
    fn from(time: std::time::SystemTime) -> Self {
        At::Time(time)
    }
}

impl From<&super::Tag> for At {
    fn from(tag: &super::Tag) -> Self {
        At::Tag(tag.name.clone())
    }
}

impl From<&At> for At {
    fn from(at: &At) -> Self {
        at.clone()
    }
}
