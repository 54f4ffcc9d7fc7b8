use super::*;
use crate::{
    Version,
    sessions::{CommitId, names::Place, refs::Target},
};

const WINDOW: Duration = Duration::from_secs(3600);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + 1000 * WINDOW
}

/// A session: what its line said, its commits and their ages, and what number 1 starts from, if it is an
/// origin (0: an import).
struct Listed<'a> {
    line: &'a LineRecord,
    from: u64,
    rows: &'a [(u64, Duration)],
    start: Option<u64>,
}

impl<'a> Listed<'a> {
    fn seen(self) -> Survey<'a> {
        let (place, id) = (Place::new("a", "s").unwrap(), CommitId::from_bytes([7; 16]));
        let row = |&(seq, age): &(u64, Duration)| {
            let key = place.commit(seq).unwrap();
            Row { seq, meta: ObjectMeta::new(key, 1, Version::new("1"), now() - age) }
        };
        let rows = self.rows.iter().map(row).collect();
        let source = Place::new("a", "source").unwrap();
        let start = self.start.map(|seq| Origin { id, target: Target { seq, id }, source, ids: None });
        Survey::new(self.line, now(), Fence::new(WINDOW), self.from, rows, start)
    }
}

fn old(seqs: &[u64]) -> Vec<(u64, Duration)> {
    seqs.iter().map(|seq| (*seq, 2 * WINDOW)).collect()
}

#[test]
fn commits_are_those_on_the_line_and_holes_what_is_missing_there() {
    let (untouched, pruned) = (LineRecord::default(), LineRecord::keep(8, vec![7, 8]));
    let imported = LineRecord::keep(8, vec![1, 7, 8]);
    for (what, line, from, rows, start, present, commits, holes) in [
        ("nothing", &untouched, 0, &[][..], None, &[][..], &[][..], &[][..]),
        ("no prune yet", &untouched, 0, &[4, 3, 1], None, &[1, 3, 4], &[4, 3, 1], &[2..=2]),
        ("pruned", &pruned, 0, &[10, 8, 3], None, &[8, 10], &[10, 8], &[9..=9, 7..=7]),
        ("removed", &untouched, 5, &[7, 5, 2], None, &[2, 5, 7], &[7, 5], &[6..=6]),
        ("a fork of 5", &untouched, 0, &[8, 7, 1], Some(5), &[7, 8], &[8, 7], &[6..=6]),
        // Those below are not its own, even where something lies there.
        ("a fork of 7", &untouched, 0, &[8, 6, 1], Some(7), &[8], &[8], &[]),
        ("a fork that gave up its start", &pruned, 0, &[8, 7, 1], Some(5), &[7, 8], &[8, 7], &[]),
        ("an import from 7 on", &imported, 0, &[8, 7, 1], Some(0), &[7, 8], &[8, 7], &[]),
    ] {
        let rows = old(rows);
        let seen = Listed { line, from, rows: &rows, start }.seen();
        assert_eq!(seen.present.iter().copied().collect::<Vec<_>>(), present, "{what}");
        assert_eq!(seen.commits.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), commits, "{what}");
        assert_eq!(seen.holes(), holes, "{what}");
    }
}

#[test]
fn the_next_line_has_what_is_kept_and_the_start_while_it_is_needed() {
    let (untouched, given_up) = (LineRecord::default(), LineRecord::keep(8, vec![8]));
    let behind = LineRecord::keep(9, vec![3]);
    for (what, line, from, rows, start, kept, missing, needs_source, upto, runs) in [
        ("two", &untouched, 0, &[4, 3, 2, 1][..], None, &[4, 2][..], &[][..], false, 4, &[4..=4, 2..=2][..]),
        ("a hole", &untouched, 0, &[9, 3, 1], None, &[9, 1], &[4..=8], false, 9, &[4..=9, 1..=1]),
        ("a fork", &untouched, 0, &[8, 7, 1], Some(5), &[8], &[], false, 8, &[8..=8, 1..=1]),
        ("a removed fork", &untouched, 8, &[8, 7, 1], Some(5), &[8], &[], false, 8, &[8..=8]),
        ("one in use", &untouched, 8, &[8, 7, 1], Some(5), &[8], &[], true, 8, &[8..=8, 1..=1]),
        ("given up before", &given_up, 0, &[8, 1], Some(5), &[8], &[], true, 8, &[8..=8]),
        ("an import", &untouched, 0, &[8, 7, 1], Some(0), &[8], &[], false, 8, &[8..=8, 1..=1]),
        // Numbers that were there once do not come again.
        ("a smaller newest", &behind, 0, &[3], None, &[3], &[], false, 9, &[3..=3]),
    ] {
        let rows = old(rows);
        let seen = Listed { line, from, rows: &rows, start }.seen();
        let next = seen.next_line(&kept.iter().copied().collect(), missing.to_vec(), needs_source);
        assert_eq!((next.upto, &next.runs[..]), (upto, runs), "{what}");
    }
}

#[test]
fn only_what_is_old_and_off_the_next_line_goes() {
    let (untouched, next) = (LineRecord::default(), LineRecord::keep(6, vec![6]));
    let second = Duration::from_secs(1);
    // What is as old as the window is still in it, and so is what comes from a clock ahead.
    let rows = |start| {
        [(6, 9 * WINDOW), (5, Duration::ZERO), (4, WINDOW), (3, WINDOW + second), (2, 9 * WINDOW), (1, start)]
    };
    for (age, start, commits, origin_goes, young) in [
        (9 * WINDOW, None, &[3, 2, 1][..], false, 2),
        (WINDOW, None, &[3, 2], false, 3),
        (9 * WINDOW, Some(0), &[3, 2], true, 2),
        (WINDOW, Some(0), &[3, 2], false, 2),
    ] {
        let gone = Listed { line: &untouched, from: 0, rows: &rows(age), start }.seen().gone(&next);
        assert_eq!(gone.commits.iter().map(|row| row.seq).collect::<Vec<_>>(), commits);
        assert_eq!((gone.start.is_some(), gone.young), (origin_goes, young));
    }
    let seen = Listed { line: &untouched, from: 0, rows: &[], start: None }.seen();
    for (age, is_old, is_garbage) in
        [(WINDOW, false, false), (WINDOW + second, true, false), (24 * WINDOW + second, true, true)]
    {
        assert_eq!((seen.is_old(now() - age), seen.is_garbage(now() - age)), (is_old, is_garbage));
    }
    assert!(!seen.is_old(now() + WINDOW));
}
