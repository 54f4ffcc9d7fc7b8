//! Reading: a commit's state, checked, and what a handle concludes from it.

use super::{
    At, Commit, Damaged, Restored, Session,
    at::{no_commit, removed},
    clock::Moment,
    find::Newest,
    found::Found,
    head::{Base, FirstLoad, Head, forked, head_of},
    manifest::Manifest,
    names::Place,
    refs::Target,
    restore::Checked,
    store::Part,
};
use crate::{Error, ErrorKind, Key, Result};

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

impl Session {
    /// Loads a commit's state. It is returned only after every check has passed.
    ///
    /// The first load through a handle is also what its saves continue: after `load(At::Latest)`, a save that
    /// finds a newer commit is a conflict, also where the load found none. In a fork, what lies before its
    /// start cannot be continued: saves are a conflict until a [`rebase`](Session::rebase).
    ///
    /// # Errors
    /// `NotFound` if there is no such commit, `Corrupt` that names the damaged object, `InvalidInput` for a
    /// number that no commit can have, and what the adapter fails with.
    pub async fn load(&self, at: impl Into<At> + Send) -> Result<Restored> {
        self.loaded(&at.into()).await.map_err(|error| error.with_operation("load"))
    }

    async fn loaded(&self, at: &At) -> Result<Restored> {
        let looked = Moment::now(&*self.store().clock);
        let Whole { restored, place, is_origin } = self.heard(self.state_of(at, Some(looked)).await)?;
        let (manifest, base) = (&restored.manifest, Some(&restored.base));
        self.begin(Shown { manifest, base, place: &place, is_origin }, Look::of(at, looked)).await?;
        Ok(self.shown(restored, &place, Vec::new()))
    }

    /// Finds the commit that `at` means; its manifest may be damaged. In a session without commits this
    /// fails, and if `looked` is given the handle's next save begins the session.
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

    /// The first commit that a handle sees is what its saves continue. Its epoch becomes the handle's; where
    /// it is not the session's own newest line that is shown, that of the newest commit: a later take-over
    /// fences the handle off, an earlier one does not.
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
        // The number behind it is that of another commit, in the session that this one was forked from; so
        // may its epoch be. What is shown in place of a damaged commit may be of an earlier owner.
        let epoch = if !starts || stale.is_some() { self.newest_epoch().await? } else { None };
        let base = base
            .filter(|_| starts)
            .cloned()
            .map(|base| if own { base } else { forked(base, manifest.seq, place.clone()) });
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
                Err(error) => pruned_meanwhile(&At::Latest, error, &mut attempts)?,
            }
        }
    }

    pub(super) async fn restore(&self, found: Found) -> Result<Checked> {
        let Found { place, seq, bytes, total: _ } = found;
        let restored = self.store().restore(&place, seq, bytes).await;
        restored.map_err(|error| self.noticed(error))
    }

    /// As [`restore`](Session::restore), for a load that passes over what is damaged: one wrong answer must
    /// not pass over a commit, nor over all that are made of the same object. What could not be restored is
    /// read once more, and is damaged where both reads found the same object to be so.
    pub(super) async fn restore_twice(&self, found: Found) -> std::result::Result<Checked, Unrestored> {
        let seq = found.seq;
        let first = match self.restore(found).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => error,
            other => return other.map_err(|error| Unrestored { error, is_sure: true }),
        };
        match self.store().find_seq(self.place(), seq, Part::Whole).await {
            Ok(again) => self.restore(again).await.map_err(|error| {
                let is_sure = error.key() == first.key();
                Unrestored { error, is_sure }
            }),
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => {
                Err(Unrestored { error: first, is_sure: false })
            }
            Err(error) => Err(Unrestored { error, is_sure: false }),
        }
    }

    /// Logs damage.
    pub(super) fn noticed(&self, error: Error) -> Error {
        if error.kind() == ErrorKind::Corrupt {
            let object = error.key().map(Key::logged);
            tracing::warn!(session = self.place().logged(), object, "damaged");
        }
        error
    }

    pub(super) fn shown(&self, restored: Checked, place: &Place, skipped: Vec<Damaged>) -> Restored {
        let commit = Commit::new(restored.manifest, place, restored.stored);
        Restored { state: restored.base.state, commit, skipped }
    }
}

/// Why a commit could not be restored.
pub(super) struct Unrestored {
    pub(super) error: Error,
    /// Whether it is sure which object is damaged.
    pub(super) is_sure: bool,
}

/// Where the newest is meant and a prune removed it while it was read, there is a newer one by now.
pub(super) fn pruned_meanwhile(at: &At, error: Error, attempts: &mut u32) -> Result<()> {
    if *at == At::Latest && error.kind() == ErrorKind::NotFound && *attempts < 4 {
        *attempts += 1;
        return Ok(());
    }
    Err(error)
}
