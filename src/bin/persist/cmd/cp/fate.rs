//! What a copy of folders does with one object.

use persist::{Capabilities, sessions::PartKind};

use super::sessions::Standing;
use crate::place::Part;

/// What happens to one object of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is not copied.
    Skip,
    /// It is copied over whatever is there.
    Over,
    /// It is copied where nothing is there: that is looked for, and with `create` it is the condition of the
    /// save.
    IfAbsent { create: bool },
}

/// `standing` is that of the session that the object is a `part` of; a plain snapshot has neither.
pub(super) fn fate(
    standing: Option<Standing>,
    part: Option<&Part>,
    if_absent: bool,
    can: &Capabilities,
) -> Fate {
    let is_written_once = part.is_some_and(Part::is_written_once);
    match standing {
        Some(Standing::Gone | Standing::Other | Standing::Removed) => return Fate::Skip,
        Some(Standing::Ahead | Standing::Ended) if !is_written_once => return Fate::Skip,
        Some(Standing::Ahead | Standing::Behind | Standing::Ended | Standing::Even) | None => {}
    }
    // A session's tags and its `line` go with its newer commits.
    let if_absent = if_absent && standing != Some(Standing::Behind);
    if !if_absent && !is_written_once {
        return Fate::Over;
    }
    // A body's name is its own. Where a server cannot create a large one, the look before has to do.
    let creates = can.create && (can.create_large || part.is_none_or(|part| part.kind != PartKind::Body));
    Fate::IfAbsent { create: if_absent || creates }
}

#[cfg(test)]
mod tests {
    use persist::{SnapshotAdapter, adapters::memory::MemoryAdapter};

    use super::*;

    #[test]
    fn what_may_be_copied_over_a_session() {
        use Standing::{Ahead, Behind, Ended, Even, Gone, Other, Removed};
        let all = MemoryAdapter::new().capabilities();
        let (mut none, mut small) = (all.clone(), all.clone());
        (none.create, none.create_large, small.create_large) = (false, false, false);
        let (all, none, small) = (&all, &none, &small);
        let (skip, over) = (Fate::Skip, Fate::Over);
        let (create, look) = (Fate::IfAbsent { create: true }, Fate::IfAbsent { create: false });
        // Standing, kinds of objects (none: a plain snapshot), what the storage can, without and with
        // --if-absent.
        let rows: &[(Option<Standing>, &[&str], _, Fate, Fate)] = &[
            (None, &[""], all, over, create),
            (None, &[""], none, over, create),
            // A session that is not there yet.
            (None, &["c", "b", "f"], all, create, create),
            (None, &["c", "b", "f"], none, look, create),
            (None, &["c", "f"], small, create, create),
            (None, &["b"], small, look, create),
            (None, &["t", "line"], all, over, create),
            // The source goes on: its tags and its line come along.
            (Some(Behind), &["c", "b", "f"], all, create, create),
            (Some(Behind), &["c", "b", "f"], none, look, look),
            (Some(Behind), &["c", "f"], small, create, create),
            (Some(Behind), &["b"], small, look, look),
            (Some(Behind), &["t", "line"], all, over, over),
            (Some(Even), &["c", "b", "f"], all, create, create),
            (Some(Even), &["t", "line"], all, over, create),
            // What the source lacks stays: only what is missing is added.
            (Some(Ahead), &["c", "b", "f"], all, create, create),
            (Some(Ahead), &["c", "b", "f"], none, look, create),
            (Some(Ahead), &["t", "line"], all, skip, skip),
            // Forks of it may need what is missing.
            (Some(Ended), &["c", "b", "f"], all, create, create),
            (Some(Ended), &["t", "line"], all, skip, skip),
            (Some(Gone), &["c", "b", "f", "t", "line"], all, skip, skip),
            (Some(Other), &["c", "b", "f", "t", "line"], all, skip, skip),
            // Its states are whole there: neither the removal nor what belongs to it is taken along.
            (Some(Removed), &["c", "b", "f", "t", "line"], all, skip, skip),
        ];
        for (standing, kinds, can, without, with) in rows {
            for kind in *kinds {
                let kind_of = match *kind {
                    "c" => Some(PartKind::Commit),
                    "b" => Some(PartKind::Body),
                    "f" => Some(PartKind::Fork),
                    "t" => Some(PartKind::Tag),
                    "line" => Some(PartKind::Line),
                    _ => None,
                };
                let of = |kind| Part { folder: "sessions/a/s/".into(), kind, name: String::new() };
                let part = kind_of.map(of);
                let part = part.as_ref();
                for (if_absent, wanted) in [(false, without), (true, with)] {
                    let fate = fate(*standing, part, if_absent, can);
                    assert_eq!(fate, *wanted, "{standing:?} {kind:?} {if_absent} {can:?}");
                }
            }
        }
    }
}
