//! Which commits are on a session's line after prunes: a few runs of numbers, and the announcement of a prune.

use std::ops::RangeInclusive;

use super::{
    CommitId,
    refs::{Kind, unwrap, wrap},
    wire::{corrupt, put_id, put_number},
};
use crate::Result;

/// What prunes left. Commits above `upto` are untouched; of those up to it, the runs are left. Whatever else
/// lies there was created by a writer that slept, and is not history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LineRecord {
    pub(super) upto: u64,
    /// Descending, apart from each other.
    pub(super) runs: Vec<RangeInclusive<u64>>,
    pub(super) mark: Mark,
}

/// The last prune that wrote this, by the id of its announcement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Mark {
    #[default]
    None,
    /// It announced itself and has not decided yet.
    Announced(CommitId),
    /// It decided, or was cancelled. Without the id, the record could be what it was before, and where
    /// versions are digests of the content, an announcement that arrives late would stand again.
    Ended(CommitId),
}

impl LineRecord {
    /// The record that keeps these numbers of those up to `upto`.
    pub(super) fn keep(upto: u64, seqs: Vec<u64>) -> Self {
        Self::keep_runs(upto, seqs.into_iter().map(|seq| seq..=seq).collect())
    }

    /// The same with runs of numbers, which may overlap.
    pub(super) fn keep_runs(upto: u64, mut kept: Vec<RangeInclusive<u64>>) -> Self {
        kept.retain(|run| *run.end() <= upto);
        kept.sort_unstable_by(|a, b| b.end().cmp(a.end()));
        let mut runs: Vec<RangeInclusive<u64>> = Vec::new();
        for run in kept {
            match runs.last_mut() {
                Some(last) if run.end() + 1 >= *last.start() => {
                    *last = (*run.start()).min(*last.start())..=*last.end();
                }
                _ => runs.push(run),
            }
        }
        LineRecord { upto, runs, mark: Mark::None }
    }

    /// Whether the commit that lies under this number is on the line.
    pub(super) fn has(&self, seq: u64) -> bool {
        let run = self.runs.partition_point(|run| *run.start() > seq);
        seq > self.upto || self.runs.get(run).is_some_and(|run| run.contains(&seq))
    }

    /// Whether all of these are on the line.
    pub(super) fn covers(&self, run: &RangeInclusive<u64>) -> bool {
        let (start, end) = (*run.start(), (*run.end()).min(self.upto));
        let own = self.runs.partition_point(|own| *own.start() > start);
        start > self.upto || self.runs.get(own).is_some_and(|own| own.contains(&start) && own.contains(&end))
    }

    /// The newest number that it tells of; 0 if none. A prune keeps the newest, so the commit is there, or a
    /// newer one, unless something else than persist has removed it.
    pub(super) fn newest(&self) -> u64 {
        if self.has(self.upto) { self.upto } else { 0 }
    }

    /// The runs that are on the line, from `first` up, and not in `present`, which descends from the newest.
    pub(super) fn holes(&self, first: u64, present: impl Iterator<Item = u64>) -> Vec<RangeInclusive<u64>> {
        let untouched = self.upto.saturating_add(1)..=u64::MAX;
        let (mut above, mut holes) = (None, Vec::new());
        for seq in present.take_while(|seq| *seq >= first).chain([first - 1]) {
            if let Some(above) = above {
                // Runs descend, too: of all of them, those between the two.
                let (low, high) = (seq + 1, above - 1);
                let runs = &self.runs[self.runs.partition_point(|run| *run.start() > high)..];
                let runs = runs.iter().take_while(|run| *run.end() >= low);
                let inside = std::iter::once(&untouched).chain(runs);
                let inside = inside.map(|run| (*run.start()).max(low)..=(*run.end()).min(high));
                holes.extend(inside.filter(|range| !range.is_empty()));
            }
            above = Some(seq);
        }
        holes
    }

    /// The announcement that stands.
    pub(super) fn announced(&self) -> Option<CommitId> {
        match self.mark {
            Mark::Announced(id) => Some(id),
            Mark::None | Mark::Ended(_) => None,
        }
    }

    /// The record with this mark.
    pub(super) fn marked(self, mark: Mark) -> Self {
        LineRecord { mark, ..self }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_number(&mut out, self.upto);
        put_number(&mut out, self.runs.len() as u64);
        let mut from = self.upto;
        for run in &self.runs {
            put_number(&mut out, from - run.end());
            put_number(&mut out, run.end() - run.start());
            from = *run.start();
        }
        match self.mark {
            Mark::None => out.push(0),
            Mark::Announced(id) => {
                out.push(1);
                put_id(&mut out, id);
            }
            Mark::Ended(id) => {
                out.push(2);
                put_id(&mut out, id);
            }
        }
        wrap(Kind::Line, &out)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut input = unwrap(Kind::Line, bytes)?;
        let upto = input.number()?;
        let (mut from, mut runs) = (upto, Vec::new());
        for _ in 0..input.count()? {
            let top = from.checked_sub(input.number()?);
            let bottom = top.zip(top.and_then(|top| top.checked_sub(input.number().ok()?)));
            let (top, bottom) = bottom.ok_or_else(|| corrupt("a run of its line is below 0"))?;
            runs.push(bottom..=top);
            from = bottom;
        }
        let mark = match input.byte()? {
            0 => Mark::None,
            1 => Mark::Announced(input.id()?),
            2 => Mark::Ended(input.id()?),
            _ => return Err(corrupt("its announcement is of no known kind")),
        };
        input.end()?;
        Ok(LineRecord { upto, runs, mark })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_come_back_and_tell_what_is_on_the_line() {
        for kept in [vec![], vec![1], vec![9], vec![1, 2, 3, 5, 8, 9], (1..=9).collect::<Vec<_>>()] {
            let mut record = LineRecord::keep(9, kept.clone());
            for seq in 0..20 {
                assert_eq!(record.has(seq), seq > 9 || kept.contains(&seq), "{seq} of {kept:?}");
            }
            assert_eq!(LineRecord::decode(&record.encode()).unwrap(), record);
            for mark in [Mark::Announced, Mark::Ended] {
                record.mark = mark(CommitId::from_bytes([7; 16]));
                assert_eq!(LineRecord::decode(&record.encode()).unwrap(), record);
            }
        }
        assert!(LineRecord::default().has(1));
    }

    #[test]
    fn its_bytes_are_those_of_the_format() {
        let line = LineRecord::keep(9, vec![1, 2, 9]);
        let id = CommitId::from_bytes([7; 16]);
        for (mark, bytes) in [
            (Mark::None, &[0][..]),
            (Mark::Announced(id), &[&[1][..], &[7; 16]].concat()),
            (Mark::Ended(id), &[&[2][..], &[7; 16]].concat()),
        ] {
            let written = line.clone().marked(mark).encode();
            let expected = [&b"PSR\x01l\x09\x02\0\0\x07\x01"[..], bytes].concat();
            assert_eq!(&written[..written.len() - 4], expected, "{mark:?}");
        }
    }

    #[test]
    fn a_run_is_on_the_line_if_all_of_it_is() {
        let record = LineRecord::keep(9, vec![1, 2, 4, 5, 6, 9]);
        for start in 1..14 {
            for end in start..14 {
                assert_eq!(
                    record.covers(&(start..=end)),
                    (start..=end).all(|seq| record.has(seq)),
                    "{start} {end}"
                );
            }
        }
        assert!(LineRecord::default().covers(&(1..=u64::MAX)));
    }

    #[test]
    fn runs_may_overlap() {
        let of = |upto, runs: &[RangeInclusive<u64>]| LineRecord::keep_runs(upto, runs.to_vec()).runs;
        assert_eq!(of(9, &[2..=3, 7..=9, 4..=4, 8..=8, 3..=3]), [7..=9, 2..=4]);
        assert_eq!(of(u64::MAX, &[5..=9, 2..=8, 20..=u64::MAX]), [20..=u64::MAX, 2..=9]);
        // What lies behind is on the line without being said.
        assert_eq!(of(6, &[7..=7, 6..=6]), [6..=6]);
    }

    #[test]
    fn holes_are_what_is_on_the_line_and_not_there() {
        let record = LineRecord::keep(9, vec![1, 2, 4, 5, 6, 9]);
        for (first, present, holes) in [
            (1, &[12, 11, 10, 9, 6, 5, 4, 2, 1][..], &[][..]),
            (1, &[12, 9, 5, 1], &[10..=11, 6..=6, 4..=4, 2..=2]),
            (1, &[12, 11], &[10..=10, 9..=9, 4..=6, 1..=2]),
            (5, &[12, 11, 10, 9, 1], &[5..=6]),
            (13, &[1], &[]),
            (1, &[], &[]),
        ] {
            assert_eq!(record.holes(first, present.iter().copied()), holes, "{first} {present:?}");
        }
    }

    #[test]
    fn holes_are_those_of_all_runs() {
        let slow = |record: &LineRecord, first: u64, present: &[u64]| {
            let mut holes = Vec::new();
            let below = present.iter().copied().take_while(|seq| *seq >= first).chain([first - 1]);
            for (above, seq) in present.iter().zip(below.skip(1)) {
                let runs = std::iter::once(record.upto + 1..=u64::MAX).chain(record.runs.clone());
                let inside = runs.map(|run| (*run.start()).max(seq + 1)..=(*run.end()).min(above - 1));
                holes.extend(inside.filter(|range| !range.is_empty()));
            }
            holes
        };
        let chosen = |bits: u64| (1..=9).rev().filter(move |seq| bits >> (seq - 1) & 1 == 1);
        for kept in 0..1 << 7 {
            for upto in [7, 9] {
                let record = LineRecord::keep(upto, chosen(kept).collect());
                for bits in 0..1 << 9 {
                    let present: Vec<u64> = chosen(bits).collect();
                    for first in 1..4 {
                        let holes = record.holes(first, present.iter().copied());
                        assert_eq!(holes, slow(&record, first, &present), "{record:?} {present:?} {first}");
                    }
                }
            }
        }
    }

    #[test]
    fn damage_never_panics_and_never_passes() {
        let bytes = LineRecord::keep(300, vec![1, 2, 200, 300]).encode();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x81;
            assert!(LineRecord::decode(&bad).is_err() && LineRecord::decode(&bytes[..at]).is_err());
            // With a right check around wrong numbers: an error or a record, and no panic.
            let mut bad = bytes[..bytes.len() - 4].to_vec();
            if let Some(byte) = bad.get_mut(at) {
                *byte ^= 0x81;
                super::super::wire::seal(&mut bad);
                let _ = LineRecord::decode(&bad);
            }
        }
    }
}
