//! The fence window: the lengths of time that `docs/adr/0010-fence-window.md` argues about.

use std::time::Duration;

/// A body without a commit is garbage after so many windows.
const BODY: u32 = 24;

/// The window that all users of a storage have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fence {
    window: Duration,
}

impl Fence {
    pub(super) fn new(window: Duration) -> Self {
        Fence { window }
    }

    /// A prune removes no commit that is younger.
    pub(super) fn window(self) -> Duration {
        self.window
    }

    /// A writer whose last look at the head is longer ago must look again before it tells of success. The
    /// other half of the window is for clocks.
    pub(super) fn must_look(self, looked: Duration) -> bool {
        looked > self.window / 2
    }

    /// How long after its start a body may get its commit, and a fork's reference its origin.
    pub(super) fn body_time(self) -> Duration {
        self.garbage_age() / 2
    }

    /// A prune takes a body without a commit, or a reference without a fork, for garbage when it is older.
    pub(super) fn garbage_age(self) -> Duration {
        self.window * BODY
    }

    /// Whether a commit comes when its body is so old that a prune may have taken that for garbage.
    pub(super) fn is_late(self, age: Duration) -> bool {
        age > self.body_time()
    }
}
