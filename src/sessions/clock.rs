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
    /// How far the storage's clock was ahead of this machine's, as far as it told.
    behind: Duration,
    /// The storage's clock at that moment, where it made something right then.
    stored: Option<SystemTime>,
}

impl Moment {
    pub(super) fn now(clock: &dyn Clock) -> Self {
        Moment { wall: clock.now(), monotonic: clock.monotonic(), behind: Duration::ZERO, stored: None }
    }

    /// The same moment, where the storage made something right then: a clock that is always behind is no
    /// time that passes.
    pub(super) fn with(self, made: &ObjectMeta, clock: &dyn Clock) -> Self {
        Moment { behind: behind(made, clock), stored: Some(made.modified), ..self }
    }

    pub(super) fn elapsed(self, clock: &dyn Clock) -> Duration {
        let wall = clock.now().duration_since(self.wall).unwrap_or_default();
        wall.max(clock.monotonic().saturating_sub(self.monotonic))
    }

    /// At least what had passed when the storage made this. A machine that was stopped with all of its
    /// clocks, as a sandbox is, goes on behind the storage's clock; and one whose clock was ahead and was set
    /// right measures less than it slept.
    pub(super) fn elapsed_until(self, made: &ObjectMeta, clock: &dyn Clock) -> Duration {
        let here = self.elapsed(clock).saturating_add(behind(made, clock).saturating_sub(self.behind));
        let there = self.stored.and_then(|stored| made.modified.duration_since(stored).ok());
        here.max(there.unwrap_or_default())
    }
}

/// How far the storage's clock, which has just made this, is ahead of this machine's.
fn behind(made: &ObjectMeta, clock: &dyn Clock) -> Duration {
    made.modified.duration_since(clock.now()).unwrap_or_default()
}
