use std::cell::Cell;

use super::*;

thread_local! {
    static GRANULE: Cell<i64> = const { Cell::new(1) };
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
