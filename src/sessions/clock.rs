//! How much time has passed, by both clocks.

use std::time::{Duration, SystemTime};

use super::Clock;

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
}
