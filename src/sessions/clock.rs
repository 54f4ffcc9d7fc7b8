//! How much time has passed, by both clocks.

use std::time::{Duration, SystemTime};

use super::Clock;
use crate::ObjectMeta;

/// A moment on both clocks. The monotonic one may stand still while a machine sleeps, the other one may be
/// set back: what has passed is the longer of the two.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    wall: SystemTime,
    monotonic: Duration,
}

impl Moment {
    pub(super) fn now(clock: &dyn Clock) -> Self {
        Moment { wall: clock.now(), monotonic: clock.monotonic() }
    }

    pub(super) fn elapsed(self, clock: &dyn Clock) -> Duration {
        let wall = clock.now().duration_since(self.wall).unwrap_or_default();
        wall.max(clock.monotonic().saturating_sub(self.monotonic))
    }

    /// At least what had passed when the storage made this. A machine that was stopped with all of its
    /// clocks, as a sandbox is, goes on behind the storage's clock.
    pub(super) fn elapsed_until(self, made: &ObjectMeta, clock: &dyn Clock) -> Duration {
        let behind = made.modified.duration_since(clock.now()).unwrap_or_default();
        self.elapsed(clock).saturating_add(behind)
    }
}
