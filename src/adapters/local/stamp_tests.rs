use std::cell::Cell;

use super::*;

thread_local! {
    static GRANULE: Cell<i64> = const { Cell::new(1) };
    static AHEAD: Cell<i64> = const { Cell::new(0) };
}

/// How far the clock of this thread is ahead.
pub(super) fn ahead() -> i64 {
    AHEAD.get()
}

/// So much time passes on this thread, in nanoseconds.
pub(in super::super) fn pass(time: i64) {
    AHEAD.set(AHEAD.get() + time);
}

/// What of a time a file system keeps that is as coarse as the test on this thread wants it.
pub(super) fn kept(time: i64) -> i64 {
    GRANULE.with(|granule| time / granule.get() * granule.get())
}

/// For this thread, file times are multiples of so many nanoseconds.
pub(in super::super) fn coarse(granule: i64) {
    GRANULE.set(granule);
}

#[test]
fn the_next_time_is_the_next_one_that_is_kept() {
    let file = tempfile::tempfile().unwrap();
    for granule in [1, 100, 10_000_000, 1_000_000_000, 2_000_000_000] {
        coarse(granule);
        let old = set_time(&file, 1_800_000_000_000_000_000).unwrap();
        let later = set_later(&file, old.mtime).unwrap().unwrap();
        assert!(
            later.mtime > old.mtime && later.mtime <= old.mtime + granule.max(1_000),
            "{granule}: {later:?}"
        );
    }
}

#[test]
fn times_differ_and_none_looks_as_if_it_was_cut() {
    let mut last = 0;
    for _ in 0..1000 {
        let next = next_time();
        assert!(next > last && step(next) == 1, "{next} behind {last}");
        last = next;
    }
    let now = 1_800_000_000_000_000_000;
    assert_eq!((behind(0, now), behind(now + 99, now)), (now + 1, now + 101));
}

/// Python splits the seconds, others multiply them.
#[test]
fn a_time_that_a_program_rounded_is_known_as_such() {
    for round in 0..100_000 {
        let time = behind(0, 1_800_000_000_000_000_000 + round * 7_919_777_777);
        let (seconds, rest) = (time.div_euclid(1_000_000_000), time.rem_euclid(1_000_000_000));
        let float = seconds as f64 + 1e-9 * rest as f64;
        let split = seconds * 1_000_000_000 + (float.fract() * 1e9) as i64;
        for moved in [split, split / 100 * 100, (float * 1e9) as i64] {
            assert!(step(moved) > 1 && (moved - time).abs() <= ROUNDED, "{time} became {moved}");
        }
    }
}

/// A machine without a clock of its own may begin with any time.
#[test]
fn a_clock_that_was_far_ahead_is_not_followed() {
    let (now, day) = (1_800_000_000_000_000_005, 86_400_000_000_000);
    assert_eq!(behind(now + day, now), now);
    assert_eq!(behind(now + 1_000, now), now + 1_001);
}
