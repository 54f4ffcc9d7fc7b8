//! Time and chance, which a test replaces.

use std::{
    fmt::Debug,
    time::{Duration, Instant, SystemTime},
};

/// Where sessions take the time and random numbers from.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time of day.
    fn now(&self) -> SystemTime;
    /// A clock that never jumps: time since some fixed moment.
    fn monotonic(&self) -> Duration;
    /// 80 random bits or more, unpredictable and never the same twice.
    fn random(&self) -> u128;
}

/// The clocks of the machine and its random numbers.
#[derive(Debug, Clone)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn random(&self) -> u128 {
        ulid::Ulid::generate().random()
    }
}
