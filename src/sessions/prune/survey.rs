//! What a prune decides from, once it has listed: no request is made here.

use std::{
    collections::BTreeSet,
    ops::RangeInclusive,
    time::{Duration, SystemTime},
};

use crate::{
    ObjectMeta,
    sessions::{fence::Fence, line::LineRecord, refs::Origin, store::Row},
};

/// A listing that was made after the prune had announced itself, and what the line said before.
pub(super) struct Survey<'a> {
    pub(super) line: &'a LineRecord,
    /// The storage's time of the announcement.
    pub(super) now: SystemTime,
    fence: Fence,
    /// No rule keeps what lies before it.
    from: u64,
    /// All that is listed under numbers, newest first.
    rows: Vec<Row>,
    /// What stands under number 1, if the session was forked or imported.
    start: Option<Origin>,
    /// The commits that are there and on the line.
    pub(super) present: BTreeSet<u64>,
    /// Those of them that rules may keep, newest first, and when they were stored.
    pub(super) commits: Vec<(u64, SystemTime)>,
}

/// What goes with the line that will be.
pub(super) struct Gone {
    /// Newest first.
    pub(super) commits: Vec<Row>,
    pub(super) start: Option<ObjectMeta>,
    /// How many commits are off the line and stay, because they are young.
    pub(super) young: u64,
}

impl<'a> Survey<'a> {
    pub(super) fn new(
        line: &'a LineRecord,
        now: SystemTime,
        fence: Fence,
        from: u64,
        rows: Vec<Row>,
        start: Option<Origin>,
    ) -> Self {
        let mut seen =
            Survey { line, now, fence, from, rows, start, present: BTreeSet::new(), commits: Vec::new() };
        let on_line = seen.rows.iter().filter(|row| seen.is_on_line(row.seq));
        let on_line: Vec<_> = on_line.map(|row| (row.seq, row.meta.modified)).collect();
        seen.present = on_line.iter().map(|(seq, _)| *seq).collect();
        seen.commits = on_line.into_iter().filter(|(seq, _)| *seq >= from).collect();
        seen
    }

    /// The start, unless the line gave it up.
    pub(super) fn origin(&self) -> Option<&Origin> {
        self.start.as_ref().filter(|_| self.line.has(1))
    }

    /// The first number that is the session's own.
    pub(super) fn first(&self) -> u64 {
        self.origin().map_or(0, |origin| origin.target.seq) + 1
    }

    /// The newest number that there ever was.
    pub(super) fn upto(&self) -> u64 {
        self.rows.first().map_or(0, |row| row.seq).max(self.line.upto)
    }

    /// The newest commit that is there and on the line.
    pub(super) fn newest(&self) -> Option<Row> {
        let (newest, _) = self.commits.first()?;
        self.rows.iter().find(|row| row.seq == *newest).cloned()
    }

    /// Whether a commit of this session may have the number.
    pub(super) fn may_be(&self, seq: u64) -> bool {
        seq >= self.first() && !(seq == 1 && self.origin().is_some())
    }

    pub(super) fn is_on_line(&self, seq: u64) -> bool {
        self.line.has(seq) && self.may_be(seq)
    }

    /// Whether the fence window no longer keeps a commit of this time.
    pub(super) fn is_old(&self, time: SystemTime) -> bool {
        self.is_older(time, self.fence.window())
    }

    /// Whether a body or a fork's reference of this time will get no commit or origin any more.
    pub(super) fn is_garbage(&self, time: SystemTime) -> bool {
        self.is_older(time, self.fence.garbage_age())
    }

    fn is_older(&self, time: SystemTime, than: Duration) -> bool {
        self.now.duration_since(time).is_ok_and(|age| age > than)
    }

    /// What is on the line and has no object.
    pub(super) fn holes(&self) -> Vec<RangeInclusive<u64>> {
        self.line.holes(self.first().max(self.from), self.rows.iter().map(|row| row.seq))
    }

    /// What the line will be, with these commits and these runs of missing ones.
    pub(super) fn next_line(
        &self,
        kept: &BTreeSet<u64>,
        missing: Vec<RangeInclusive<u64>>,
        needs_source: bool,
    ) -> LineRecord {
        // A removed fork gives up its start, or it would show what it was forked from again; so does an
        // import that was given up.
        let start = self.origin().filter(|_| self.from == 0 || needs_source).map(|_| 1);
        let left = kept.iter().copied().chain(start).map(|seq| seq..=seq).chain(missing);
        LineRecord::keep_runs(self.upto(), left.collect()).marked(self.line.mark)
    }

    /// What is not on the line that will be. A young object stays even there: it keeps a writer that has just
    /// looked from taking its number.
    pub(super) fn gone(mut self, next: &LineRecord) -> Gone {
        let rows = std::mem::take(&mut self.rows).into_iter().filter(|row| !next.has(row.seq));
        let (old, young): (Vec<Row>, Vec<Row>) = rows.partition(|row| self.is_old(row.meta.modified));
        let is_start = |row: &Row| row.seq == 1 && self.start.is_some();
        let (start, commits): (Vec<Row>, Vec<Row>) = old.into_iter().partition(is_start);
        let young = young.iter().filter(|row| !is_start(row)).count() as u64;
        Gone { commits, start: start.into_iter().next().map(|row| row.meta), young }
    }
}

#[cfg(test)]
#[path = "survey_tests.rs"]
mod tests;
