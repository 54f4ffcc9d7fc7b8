//! Prunes that have nothing to do, told from one listing: of sessions that were removed, or that nobody uses.

use futures_util::TryStreamExt;

use super::{KeptBy, Pruned, Retention};
use crate::{
    ListOptions, Result,
    sessions::{
        Session,
        line::LineRecord,
        store::{Part, Row, Slot, is_version},
    },
};

/// What a listing of the session's folder shows, as far as it was read.
pub(super) struct Glance {
    /// Newest first.
    rows: Vec<Row>,
    has_line: bool,
    /// There are commits and `line`, and nothing else.
    is_all: bool,
}

impl Glance {
    pub(super) fn newest(self) -> Option<Row> {
        self.rows.into_iter().next()
    }
}

impl Session {
    /// Reads the listing until there is a tag, a fork or a body, or more commits than rules may keep.
    pub(super) async fn glance(&self, retention: &Retention) -> Result<Glance> {
        let (place, line) = (self.place(), self.place().line()?);
        let mut seen = Glance { rows: Vec::new(), has_line: false, is_all: true };
        let mut listed = self.store().adapter.list(ListOptions::new().prefix(place.prefix("")));
        while let Some(entry) = listed.try_next().await? {
            let Some(meta) = entry.into_object() else { continue };
            let seq = place.seq_of(&meta.key).ok().filter(|_| (seen.rows.len() as u64) < retention.most());
            if let Some(seq) = seq {
                seen.rows.push(Row { seq, meta });
            } else if meta.key == line {
                seen.has_line = true;
            } else {
                seen.is_all = false;
                break;
            }
        }
        Ok(seen)
    }

    /// What a prune reports that removes nothing; `None` where that takes a closer look, which also tells of
    /// what is wrong. All commits are on the line, none is missing, and the rules keep them all at any time.
    /// It is not announced: nothing is removed, so there is no race to guard.
    pub(super) async fn nothing_to_prune(
        &self,
        retention: &Retention,
        from: u64,
        seen: &Glance,
    ) -> Result<Option<Pruned>> {
        let (store, place, rows) = (self.store(), self.place(), &seen.rows);
        let (Some(newest), Some(oldest)) = (rows.first(), rows.last()) else { return Ok(None) };
        let times: Vec<_> = rows.iter().map(|row| (row.seq, row.meta.modified)).collect();
        let kept = retention.keep_at_any_time(&times);
        if !seen.is_all || oldest.seq < from || rows[1..].iter().any(|row| !kept.contains(&row.seq)) {
            return Ok(None);
        }
        // Number 1 may be a fork's origin, and the newest what an import stands by.
        for row in [Some(newest), Some(oldest).filter(|row| row.seq == 1 && newest.seq > 1)].iter().flatten()
        {
            match store.slot(place, row.seq, Part::End).await {
                Ok((Slot::Commit(_), meta)) if is_version(&meta, &row.meta) => {}
                _ => return Ok(None),
            }
        }
        let line = if seen.has_line { store.line(place).await } else { Ok((LineRecord::default(), None)) };
        let Ok((line, _)) = line else { return Ok(None) };
        let seqs = || rows.iter().map(|row| row.seq);
        // What no prune has seen can be lost without a trace.
        let is_whole = line.newest() == newest.seq
            && seqs().all(|seq| line.has(seq))
            && line.holes(1, seqs()).is_empty();
        if line.announced().is_some() || !is_whole {
            return Ok(None);
        }
        let kept = rows.len() as u64;
        let kept_by = KeptBy { rules: kept, ..KeptBy::default() };
        Ok(Some(Pruned { kept, kept_by, ..Pruned::default() }))
    }
}
