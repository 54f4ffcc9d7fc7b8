//! Finds the commit that is meant: where it lies, and its object, read and not yet checked.

use std::time::SystemTime;

use futures_util::{StreamExt, TryStreamExt};

use super::{
    At, CommitId,
    at::{importing, lost, no_commit, removed, two_versions},
    found::Found,
    names::Place,
    object,
    refs::{Origin, TagRef, Target},
    store::{Described, Part, Row, Slot, Store, hidden, is_version, not_on_line},
};
use crate::{Error, ErrorKind, Key, ListOptions, Result};

/// The newest commit of a session.
#[derive(Debug)]
pub(super) struct Newest {
    pub(super) found: Found,
    /// Where the session is a fork without commits of its own: what it starts from.
    pub(super) origin: bool,
}

impl Newest {
    /// Whether it is the marker of a removal. What a damaged one is nobody can tell.
    pub(super) fn is_removed(&self) -> bool {
        self.found.manifest().is_ok_and(|manifest| manifest.is_removed())
    }
}

impl Store {
    pub(super) async fn find(&self, place: &Place, at: &At, part: Part) -> Result<Found> {
        let none =
            || Error::new(ErrorKind::NotFound, format!("there is no {at} in {place}; see `session log`"));
        let found = match at {
            At::Latest => self.find_latest(place, part).await?.ok_or_else(|| no_commit(place))?.found,
            At::Seq(seq) => self.find_seq(place, *seq, part).await?,
            At::Tag(name) => {
                let TagRef { target, .. } = self.tag_ref(place, name).await?;
                self.find_seq(place, target.seq, part).await?.named(target, &place.tag(name)?)?
            }
            At::Time(time) => self.search(place, *time, part, None).await?.ok_or_else(|| {
                let message =
                    format!("there is no commit in {place} until {at}; all are younger, see `session log`");
                Error::new(ErrorKind::NotFound, message)
            })?,
            At::Id(id) => self.search(place, id.time(), part, Some(*id)).await?.ok_or_else(none)?,
        };
        match found.manifest() {
            Ok(manifest) if manifest.is_removed() && *at == At::Latest => Err(removed(place, found.seq)),
            Ok(manifest) if manifest.is_removed() => {
                let message = format!(
                    "the session {place} was removed there, with commit {}; see `session log`",
                    found.seq
                );
                Err(Error::new(ErrorKind::NotFound, message))
            }
            _ => Ok(found),
        }
    }

    /// One listing of one row, and the object that it names.
    pub(super) async fn find_latest(&self, place: &Place, part: Part) -> Result<Option<Newest>> {
        let (mut last, mut other) = (None, None);
        // Between the listing and the read, a newer commit and a prune may have removed the row's object.
        for _ in 0..4 {
            let Some(Row { seq, meta }) = self.newest(place).await? else { return Ok(None) };
            match self.slot(place, seq, part).await {
                // Pruned, and created again by a writer that slept: not what was listed.
                Ok((_, read)) if !is_version(&read, &meta) => other = Some(meta),
                Ok((Slot::Commit(bytes), read)) => {
                    let found = Found { place: place.clone(), seq, bytes, total: read.size };
                    return Ok(Some(Newest { found, origin: false }));
                }
                Ok((Slot::Origin(origin), _)) if origin.imports().is_some() => {
                    return if self.is_half(place, seq).await? { Err(importing(place)) } else { Ok(None) };
                }
                Ok((Slot::Origin(origin), _)) => {
                    let Origin { source, target, .. } = &origin;
                    let found = match self.find_seq(source, target.seq, part).await {
                        // The origin keeps it.
                        Err(error) if error.kind() == ErrorKind::NotFound => {
                            // A first save there would be another history of what is lost.
                            let cause = Error::new(error.kind(), error.what());
                            return Err(lost(&source.commit(target.seq)?).with_source(cause));
                        }
                        found => found?,
                    };
                    let found = found.named(origin.target, &place.commit(1)?)?;
                    return Ok(Some(Newest { found, origin: true }));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => last = Some(meta.key),
                Err(error) => return Err(error),
            }
        }
        Err(match (last, other) {
            (Some(key), _) => hidden(&key),
            (None, Some(meta)) => two_versions(&meta.key),
            (None, None) => no_commit(place),
        })
    }

    /// The commit `seq` of the line that ends in `place`.
    pub(super) async fn find_seq(&self, place: &Place, seq: u64, part: Part) -> Result<Found> {
        let (mut place, mut named, mut before) = (place.clone(), None, u64::MAX);
        loop {
            // In this order: what a sleeping writer created again was removed from the line before.
            let slot = self.slot(&place, seq, part).await;
            let origin = match slot {
                Ok((Slot::Commit(bytes), meta)) if self.line(&place).await?.0.has(seq) => {
                    let found = Found { place, seq, bytes, total: meta.size };
                    return match named {
                        Some((target, key)) => found.named(target, &key),
                        None => Ok(found),
                    };
                }
                Ok((Slot::Origin(_), _)) if seq > 1 => return Err(importing(&place)),
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                // Perhaps it is older than the fork that this session is.
                slot => {
                    let origin = match slot {
                        Ok((Slot::Origin(origin), _)) => Some(origin),
                        _ => self.origin(&place).await?,
                    };
                    match origin {
                        // Not where the fork was removed: it gave its start up.
                        Some(origin) if self.line(&place).await?.0.has(1) => origin,
                        _ => break,
                    }
                }
            };
            if seq > origin.target.seq {
                break;
            }
            before = origin.starts_before(before, &place)?;
            named = (seq == origin.target.seq).then_some((origin.target, place.commit(1)?));
            place = origin.source;
        }
        let found = self.absent(&place, seq, part).await?;
        match named {
            Some((target, key)) => found.named(target, &key),
            None => Ok(found),
        }
    }

    /// The commit, where another look finds it. Else why there is none of this number: nobody made it, a prune
    /// removed it, or something else did.
    async fn absent(&self, place: &Place, seq: u64, part: Part) -> Result<Found> {
        let Some(newest) = self.newest(place).await? else { return Err(no_commit(place)) };
        if newest.seq < seq {
            // Again behind `line`, which tells of what was there when it was read.
            let line = self.line(place).await?.0;
            if seq <= line.newest() && line.has(seq) {
                let newest = self.newest(place).await?;
                if newest.is_none_or(|newest| newest.seq < seq) {
                    return Err(lost(&place.commit(seq)?));
                }
            }
            let message = format!("there is no commit {seq} in {place}; see `session log`");
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        self.not_importing(place, &newest).await?;
        // In this order: a prune changes the line first. The commit may have been made since the first look.
        let found = match self.slot(place, seq, part).await {
            Ok((Slot::Commit(bytes), meta)) => {
                Some(Found { place: place.clone(), seq, bytes, total: meta.size })
            }
            // A fork's, which the looks before did not find: it is listed. That of an import is where no
            // commit of its archive is.
            Ok((Slot::Origin(origin), _)) if origin.target.seq > 0 => None,
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) if error.kind() != ErrorKind::Corrupt => return Err(error),
            _ => return Err(not_on_line(seq)),
        };
        if !self.line(place).await?.0.has(seq) {
            return Err(not_on_line(seq));
        }
        if let Some(found) = found {
            return Ok(found);
        }
        // Listings cost a request: only here, where the answer would be "damaged".
        let key = place.commit(seq)?;
        self.confirm_gone(&key).await?;
        self.not_before_start(place, seq).await?;
        Err(lost(&key))
    }

    /// Fails where `seq` is a number that a fork has from its source, and a read did not find the fork's
    /// origin.
    async fn not_before_start(&self, place: &Place, seq: u64) -> Result<()> {
        let start = place.commit(1)?;
        match self.slot(place, 1, Part::End).await {
            Ok((Slot::Origin(origin), _)) if origin.target.seq >= seq => Err(hidden(&start)),
            Err(error) if error.kind() == ErrorKind::NotFound => self.confirm_gone(&start).await,
            Err(error) if error.kind() != ErrorKind::Corrupt => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) async fn tag_ref(&self, place: &Place, name: &str) -> Result<TagRef> {
        let key = place.tag(name)?;
        match self.read(&key).await {
            Ok((bytes, _)) => object::at(TagRef::decode(&bytes), &key),
            Err(error) if error.kind() == ErrorKind::NotFound && !error.is_of_bucket() => {
                let hint = if looks_like_time(name) {
                    "a time is written as 2026-05-14T09:30:00Z"
                } else {
                    "`session tag` lists the tags, `session log` the commits"
                };
                let message = format!("there is no tag {name:?} in {place}; {hint}");
                Err(Error::new(ErrorKind::NotFound, message))
            }
            Err(error) => Err(error),
        }
    }

    /// The newest commit that is not younger than `time`, or the one of this id, which has that time.
    ///
    /// A damaged manifest has neither time nor id. The search steps over it, and fails only where it may be
    /// the commit that is meant. It steps over what a prune removes meanwhile, too.
    async fn search(
        &self,
        place: &Place,
        time: SystemTime,
        part: Part,
        id: Option<CommitId>,
    ) -> Result<Option<Found>> {
        let (mut place, mut upto, mut named) = (place.clone(), u64::MAX, None::<(Target, Key)>);
        loop {
            let rows = self.rows_upto(&place, upto).await?;
            let from = self.first_until(&place, &rows, time, id.is_some()).await?;
            let (mut origin, mut damage) = (None, None);
            for row in &rows[from..] {
                match self.id_of(&place, row).await {
                    Ok(Described::Commit(manifest))
                        if id.map_or(damage.is_none(), |id| manifest.id == id) =>
                    {
                        let found = match self.find_seq(&place, row.seq, part).await {
                            Err(error) if error.kind() == ErrorKind::NotFound => continue,
                            found => found?,
                        };
                        return match named.filter(|(target, _)| target.seq == row.seq) {
                            Some((target, key)) => found.named(target, &key).map(Some),
                            None => Ok(Some(found)),
                        };
                    }
                    // Rows get older from here on. A search by time wants the first row that is old enough; a
                    // damaged row in front of it may be that one.
                    Ok(Described::Commit(_)) if id.is_none() => {
                        let Some((seq, error)) = damage else { return Ok(None) };
                        return self.damaged_at(&place, seq, part, error).await;
                    }
                    Ok(Described::Commit(manifest)) if manifest.id.time() < time => {
                        return damage.map_or(Ok(None), |(_, error)| Err(error));
                    }
                    Ok(Described::Commit(_)) => {}
                    // What is meant may have yet to come.
                    Ok(Described::Origin(of)) if of.imports().is_some() && row.seq == rows[0].seq => {
                        return if self.is_half(&place, row.seq).await? {
                            Err(importing(&place))
                        } else {
                            Ok(None)
                        };
                    }
                    Ok(Described::Origin(of)) => origin = Some(of),
                    Err(error) if error.kind() == ErrorKind::Corrupt => {
                        damage = damage.or(Some((row.seq, error)));
                    }
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            if let Some((seq, error)) = damage {
                return if id.is_some() {
                    Err(error)
                } else {
                    self.damaged_at(&place, seq, part, error).await
                };
            }
            // On the line; a fork that was removed has given its start up.
            let last = match (origin, rows.last()) {
                (Some(origin), _) => Some(origin),
                (None, Some(row)) if row.seq == 1 => self.origin(&place).await?,
                _ => None,
            };
            let Some(last) = last else { return Ok(None) };
            named = Some((last.target, place.commit(1)?));
            upto = last.starts_before(upto, &place)?;
            place = last.source;
        }
    }

    /// The commits of the line that lie here, newest first, up to this number.
    async fn rows_upto(&self, place: &Place, upto: u64) -> Result<Vec<Row>> {
        let (line, _) = self.line(place).await?;
        let rows = self.commits(place, ListOptions::new()).filter_map(|row| {
            std::future::ready(match row {
                Ok(row) => (row.seq <= upto && line.has(row.seq)).then_some(Ok(row)),
                // An object that is no commit is not meant.
                Err(error) if error.kind() == ErrorKind::Corrupt => None,
                Err(error) => Some(Err(error)),
            })
        });
        rows.try_collect().await
    }

    /// The position of the first of these that is not younger than `time`: by halves, over what is damaged.
    async fn first_until(
        &self,
        place: &Place,
        rows: &[Row],
        time: SystemTime,
        is_by_id: bool,
    ) -> Result<usize> {
        // By id, the id's own time counts and not the storage's.
        let stored = if is_by_id { None } else { self.stored_until(rows, time) };
        let is_younger = |at: usize, made: SystemTime| match &stored {
            Some(stored) if made > stored[at] + self.fence.window() => stored[at] > time,
            _ => made > time,
        };
        let (mut from, mut to) = (0, rows.len());
        while from < to {
            let middle = (from + to) / 2;
            match self.next_readable(place, &rows[middle..to]).await? {
                Some((at, Described::Commit(manifest))) if is_younger(middle + at, manifest.id.time()) => {
                    from = middle + at + 1;
                }
                _ => to = middle,
            }
        }
        Ok(from)
    }

    /// A damaged commit that is the one of a time: to restore it fails, and a fallback goes on behind it.
    async fn damaged_at(&self, place: &Place, seq: u64, part: Part, damage: Error) -> Result<Option<Found>> {
        match self.find_seq(place, seq, part).await {
            Err(again) if again.kind() == ErrorKind::NotFound => Err(damage),
            found => found.map(Some),
        }
    }

    /// When each of these commits, the newest first, was there at the latest, by the storage's clock. A clock
    /// that was ahead once gives its time to all later commits, and this tells when they were really made: an
    /// import or a copy makes it later, and never earlier.
    ///
    /// `None` where it tells nothing: objects came back from copies, or that clock was wrong, so that an
    /// older commit was stored behind a newer one; or `time` is one from the future, which only ids have.
    fn stored_until(&self, rows: &[Row], time: SystemTime) -> Option<Vec<SystemTime>> {
        let soon = self.clock.now() + self.fence.window();
        let (mut until, mut stored) = (soon, Vec::with_capacity(rows.len()));
        for Row { meta, .. } in rows {
            // On a local disk, the storage's clock is that of the writer.
            if meta.modified <= soon {
                if meta.modified > until + self.fence.window() {
                    return None;
                }
                until = until.min(meta.modified);
            }
            stored.push(until);
        }
        (time <= soon).then_some(stored)
    }

    /// The first of these whose manifest is whole, and its position.
    async fn next_readable(&self, place: &Place, rows: &[Row]) -> Result<Option<(usize, Described)>> {
        for (at, row) in rows.iter().enumerate() {
            match self.id_of(place, row).await {
                Ok(described) => return Ok(Some((at, described))),
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    async fn id_of(&self, place: &Place, row: &Row) -> Result<Described> {
        Ok(self.manifest(place, row.seq).await?.0)
    }
}

/// Whether somebody may have meant a time: a day, or an hour.
fn looks_like_time(text: &str) -> bool {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    (digits == 4 && text[4..].starts_with(['-', '/']))
        || (digits <= 2 && digits > 0 && text[digits..].starts_with(':'))
}
