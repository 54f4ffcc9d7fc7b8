//! History: the commits of a session's line, newest first, and on into the sessions that it was forked from.

use std::{
    collections::{HashSet, VecDeque},
    ops::RangeInclusive,
    pin::Pin,
};

use futures_util::{StreamExt, TryStreamExt, future::join_all, stream, stream::BoxStream};

use super::{
    At, Commit, Session,
    at::{importing, missing},
    line::LineRecord,
    manifest::Manifest,
    names::Place,
    refs::Origin,
    store::{Described, PARALLEL, Part, Row, Slot, Store, hidden},
};
use crate::{Error, ErrorKind, ListOptions, Result};

impl Session {
    /// The commits, newest first, and behind a fork's own those that it comes from. It ends where the session
    /// was [removed](Session::remove).
    ///
    /// Three things are an `Err` in their place, and the log goes on behind them: a commit whose manifest is
    /// damaged, commits that are missing though nobody pruned them, and objects that are no commits.
    ///
    /// It takes a listing, and a read for each commit: 16 side by side, and before the first of them is given.
    /// A fork's own commits come before those behind them are looked for.
    pub fn log(&self) -> BoxStream<'_, Result<Commit>> {
        self.logged(None)
    }

    /// The [`log`](Session::log) of what is older than this commit: the next page behind the last commit of
    /// one. It costs as much as it shows, and a few requests, however many commits are newer.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use futures_util::{StreamExt, TryStreamExt};
    /// use persist::{adapters::memory::MemoryAdapter, sessions::{Commit, Sessions}};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let session = Sessions::new(Arc::new(MemoryAdapter::new()))?.session("bot", "run-1")?;
    /// for step in 1..=5 {
    ///     session.save(format!("step {step}")).await?;
    /// }
    /// let seqs = |page: Vec<Commit>| page.iter().map(|commit| commit.seq).collect::<Vec<_>>();
    /// assert_eq!(seqs(session.log().take(2).try_collect().await?), [5, 4]);
    /// assert_eq!(seqs(session.log_before(4).take(2).try_collect().await?), [3, 2]);
    /// # Ok::<(), persist::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// In the stream, as those of the log; `NotFound` in front of all if there is no such commit. Of a number,
    /// the commit may be damaged or missing.
    pub fn log_before(&self, at: impl Into<At>) -> BoxStream<'_, Result<Commit>> {
        let at = at.into();
        let number = async move { self.number_of(&at).await };
        stream::once(number).map_ok(|seq| self.logged(Some(seq))).try_flatten().boxed()
    }

    /// The number of a commit whose history is to be shown.
    async fn number_of(&self, at: &At) -> Result<u64> {
        match (self.store().find(self.place(), at, Part::End).await, at) {
            (Err(error), At::Seq(seq)) if error.kind() == ErrorKind::Corrupt => Ok(*seq),
            (found, _) => Ok(found?.seq),
        }
    }

    fn logged<'a>(&'a self, below: Option<u64>) -> BoxStream<'a, Result<Commit>> {
        let store = self.store();
        let described = move |entry: Result<Entry>| async move {
            let (place, seq) = match entry? {
                Entry::Commit(place, seq) => (place, seq),
                Entry::Missing(place, hole) => {
                    return Err(missing(&hole).with_key(&place.commit(*hole.end())?));
                }
                Entry::Stray(error) => return Err(error),
            };
            match store.manifest(&place, seq).await {
                Ok((Described::Commit(manifest), _)) if manifest.is_removed() => Ok(Logged::Ends),
                Ok((Described::Commit(manifest), meta)) => {
                    Ok(Logged::Commit(Box::new(shown(*manifest, &place, meta.size))))
                }
                // Pruned while the log was read.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    store.confirm_gone(&place.commit(seq)?).await.map(|()| Logged::Nothing)
                }
                Err(error) => Err(error),
                // Only an import puts one here: what lies before it is half a session.
                Ok((Described::Origin(_), _)) if seq > 1 => Err(importing(&place)),
                // A read before did not find it.
                Ok((Described::Origin(_), _)) => Err(hidden(&place.commit(seq)?)),
            }
        };
        // Read to the end before the first is given out: a request that nobody polls, while the caller works on
        // a commit, runs into its timeout.
        let read = move |entries: BoxStream<'a, Result<Entry>>| {
            entries.map(described).chunks(PARALLEL).then(join_all).flat_map(stream::iter)
        };
        // A stretch takes a few requests before its first commit. The newest commits do not wait for those of
        // the stretches behind.
        let stretches = store.stretches(self.place(), below, true).try_filter_map(|entries| async move {
            let mut entries = entries.peekable();
            Ok(Pin::new(&mut entries).peek().await.is_some().then(|| entries.boxed()))
        });
        let lines = stream::once(stretches.boxed().into_future()).flat_map(move |(first, rest)| {
            let first = stream::iter(first).try_flatten().boxed();
            read(first).chain(read(rest.try_flatten().boxed()))
        });
        let lines = lines.try_take_while(|line| std::future::ready(Ok(!matches!(line, Logged::Ends))));
        let commit = |line| match line {
            Logged::Commit(commit) => Some(*commit),
            Logged::Nothing | Logged::Ends => None,
        };
        lines.try_filter_map(move |line| std::future::ready(Ok(commit(line)))).boxed()
    }

    /// What is known about a commit, without reading its state.
    ///
    /// # Errors
    /// As [`load`](Session::load), where the commit's own object is damaged.
    pub async fn show(&self, at: impl Into<At> + Send) -> Result<Commit> {
        let found = self.store().find(self.place(), &at.into(), Part::End).await?;
        Ok(shown(found.manifest()?, &found.place, found.total))
    }
}

pub(super) fn shown(manifest: Manifest, place: &Place, object: u64) -> Commit {
    let stored = object + manifest.body.map_or(0, |body| body.stored);
    Commit::new(manifest, place, stored)
}

/// What the log says of one place.
enum Logged {
    Commit(Box<Commit>),
    Nothing,
    /// The session was removed there.
    Ends,
}

/// What a history has in one place.
pub(super) enum Entry {
    Commit(Place, u64),
    /// On the line, and without objects.
    Missing(Place, RangeInclusive<u64>),
    /// An object that is no commit.
    Stray(Error),
}

/// The part of a history that lies in one session.
struct Stretch<'a> {
    store: &'a Store,
    place: Place,
    rows: BoxStream<'a, Result<Row>>,
    line: LineRecord,
    origin: Result<Option<Origin>>,
    /// The number above those that are still to come.
    above: Option<u64>,
    /// The newest row, where the stretch begins with that, until it was looked at.
    newest: Option<Row>,
    begins: bool,
    /// Whether what is missing is looked for.
    holes: bool,
    ready: VecDeque<Entry>,
    ended: bool,
}

impl Stretch<'_> {
    async fn next(&mut self) -> Result<Option<Entry>> {
        while self.ready.is_empty() && !self.ended {
            let row = match self.rows.try_next().await {
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    self.ready.push_back(Entry::Stray(error));
                    continue;
                }
                row => row?,
            };
            if std::mem::take(&mut self.begins) {
                self.newest = row.clone();
            }
            let below = match row {
                // What is damaged there may be a commit or an origin; what must lie above it is not known
                // then.
                Some(Row { seq: 1, .. }) if self.origin.is_err() => continue,
                Some(Row { seq, .. }) => seq,
                None => {
                    self.ended = true;
                    match &self.origin {
                        Ok(origin) => origin.as_ref().map_or(0, |origin| origin.target.seq),
                        Err(_) => continue,
                    }
                }
            };
            let begins = match &self.origin {
                Ok(Some(origin)) if below == 1 && !self.ended => Some(origin.target.seq),
                _ => None,
            };
            // The numbers between are those of the session that this one was forked from.
            if begins.is_some_and(|seq| seq > 0) {
                continue;
            }
            self.note_holes(below).await?;
            if !self.ended {
                self.above = Some(below);
                if begins.is_none() && self.line.has(below) {
                    self.ready.push_back(Entry::Commit(self.place.clone(), below));
                }
            }
        }
        Ok(self.ready.pop_front())
    }

    /// What is on the line between the number that came last and this one.
    async fn note_holes(&mut self, below: u64) -> Result<()> {
        let Some(above) = self.above.filter(|_| self.holes) else { return Ok(()) };
        let holes = |line: &LineRecord| line.holes(below + 1, std::iter::once(above));
        if holes(&self.line).is_empty() {
            return Ok(());
        }
        // A prune may have removed them since the line was read; it changes that first.
        self.line = self.store.line(&self.place).await?.0;
        if holes(&self.line).is_empty() {
            return Ok(());
        }
        // What an import has yet to bring, or has brought since the listing, whose newest row was its keeper
        // then.
        if let Some(newest) = self.newest.take() {
            self.store.not_importing(&self.place, &newest).await?;
        }
        let place = &self.place;
        // A fork's origin that a read before did not find: what lies in its source is not missing.
        if below == 1 && matches!(self.origin, Ok(None)) && self.store.origin(place).await?.is_some() {
            return Err(hidden(&place.commit(1)?));
        }
        self.ready.extend(holes(&self.line).into_iter().map(|hole| Entry::Missing(place.clone(), hole)));
        Ok(())
    }
}

impl Store {
    /// Places and numbers of the line, newest first; those before `below` only. What is missing or no commit
    /// is passed over.
    pub(super) fn history(&self, place: &Place, below: Option<u64>) -> BoxStream<'_, Result<(Place, u64)>> {
        let there = |entry| match entry {
            Entry::Commit(place, seq) => Some((place, seq)),
            Entry::Missing(..) | Entry::Stray(_) => None,
        };
        let entries = self.walk(place, below, false);
        entries.try_filter_map(move |entry| std::future::ready(Ok(there(entry)))).boxed()
    }

    /// The line, across forks, and what is missing there; only what is before `below`, which is on it.
    ///
    /// # Errors
    /// `Conflict` in place of what an import has yet to bring, where no `below` is given.
    pub(super) fn lines(&self, place: &Place, below: Option<u64>) -> BoxStream<'_, Result<Entry>> {
        self.walk(place, below, true)
    }

    fn walk(&self, place: &Place, below: Option<u64>, holes: bool) -> BoxStream<'_, Result<Entry>> {
        self.stretches(place, below, holes).try_flatten().boxed()
    }

    /// The same, session by session.
    fn stretches(
        &self,
        place: &Place,
        below: Option<u64>,
        holes: bool,
    ) -> BoxStream<'_, Result<BoxStream<'_, Result<Entry>>>> {
        let start = Some((place.clone(), below, HashSet::new()));
        let stretches = stream::try_unfold(start, move |next| async move {
            let Some((place, below, mut seen)) = next else { return Ok::<_, Error>(None) };
            // An import or a hand may have made a circle.
            if !seen.insert(place.clone()) {
                return Ok(None);
            }
            let (line, origin) = tokio::join!(self.line(&place), self.origin(&place));
            // Damage at the very end of the line does not hide what lies in front of it.
            let origin = match origin {
                Err(error) if error.kind() != ErrorKind::Corrupt => return Err(error),
                origin => origin,
            };
            let line = line?.0;
            // A fork that was removed has given its start up.
            let next = origin.as_ref().ok().and_then(Option::as_ref).filter(|_| line.has(1));
            let next = next.map(|origin| {
                let above = origin.target.seq.saturating_add(1);
                (origin.source.clone(), Some(below.map_or(above, |below| below.min(above))), seen)
            });
            let mut options = ListOptions::new();
            if let Some(below) = below {
                options = options.start_after(place.commit(below)?.as_str());
            }
            let rows = self.commits(&place, options);
            // `line` was read before: what it tells of is there, or something newer.
            let above = below.or((line.upto > 0).then(|| line.upto.saturating_add(1)));
            let stretch = Stretch {
                store: self,
                place,
                rows,
                line,
                origin,
                above,
                newest: None,
                begins: below.is_none(),
                holes,
                ready: VecDeque::new(),
                ended: false,
            };
            let entries = stream::try_unfold(Some(stretch), |stretch| async move {
                let Some(mut stretch) = stretch else { return Ok(None) };
                match stretch.next().await? {
                    Some(entry) => Ok(Some((entry, Some(stretch)))),
                    None => stretch.origin.map(|_| None),
                }
            });
            Ok(Some((entries.boxed(), next)))
        });
        stretches.boxed()
    }

    /// Where the session was forked from, if it was.
    pub(super) async fn origin(&self, place: &Place) -> Result<Option<Origin>> {
        match self.slot(place, 1, Part::End).await {
            Ok((Slot::Origin(origin), _)) => Ok(Some(origin)),
            Ok((Slot::Commit(_), _)) => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
