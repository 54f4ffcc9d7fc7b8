//! The order in which a copy of folders goes about its objects.
//!
//! Listings have the newest commit of a session first. Copied like that, a copy that breaks off would leave
//! commits at its destination without those that they are made of, in front of a history that was whole
//! before.

use std::mem;

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use persist::{Key, ObjectMeta, Result, sessions::PartKind};

use super::fate::Fate;
use crate::place::Part;

/// An object of the source.
pub(super) struct Row {
    pub(super) meta: ObjectMeta,
    /// The copy's key.
    pub(super) name: Key,
    /// Of which session.
    pub(super) part: Option<Part>,
    pub(super) fate: Fate,
}

/// Groups of objects that are copied one after the other: each session is one, bodies in front, then commits
/// from the oldest on, so that what is there at any time is a state that the source had. A plain snapshot is
/// one by itself.
pub(super) fn groups(rows: impl Stream<Item = Result<Row>>) -> impl Stream<Item = Result<Vec<Row>>> {
    let begun = (Box::pin(rows.fuse()), Vec::<Row>::new());
    stream::try_unfold(begun, |(mut rows, mut session)| async move {
        while let Some(row) = rows.try_next().await? {
            let Some(part) = &row.part else {
                return Ok(Some((vec![row], (rows, session))));
            };
            let of_other = |first: &Row| first.part.as_ref().is_none_or(|first| first.folder != part.folder);
            if session.first().is_some_and(of_other) {
                let whole = mem::replace(&mut session, vec![row]);
                return Ok(Some((oldest_first(whole), (rows, session))));
            }
            session.push(row);
        }
        let whole = mem::take(&mut session);
        Ok((!whole.is_empty()).then(|| (oldest_first(whole), (rows, session))))
    })
}

/// In the order of keys, bodies are in front of commits, and what names commits is behind them.
fn oldest_first(mut session: Vec<Row>) -> Vec<Row> {
    let is_commit = |row: &Row| row.part.as_ref().is_some_and(|part| part.kind == PartKind::Commit);
    if let Some(first) = session.iter().position(is_commit) {
        let behind = session.iter().rposition(is_commit).map_or(first, |last| last + 1);
        session[first..behind].reverse();
    }
    session
}
