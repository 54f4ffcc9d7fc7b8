//! How long ago something began, on a machine that may have slept since.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A moment on two clocks: the one stands still while the machine sleeps, the other may be set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Began {
    pub(crate) running: Instant,
    pub(crate) clock: SystemTime,
}

impl Began {
    pub(crate) fn now() -> Self {
        Began { running: Instant::now(), clock: SystemTime::now() }
    }

    /// How long ago, the longer of both answers.
    pub(crate) fn ago(self) -> Duration {
        self.running.elapsed().max(self.clock.elapsed().unwrap_or_default())
    }

    /// How long the machine slept since, by the difference of the two.
    pub(crate) fn slept(self) -> Duration {
        self.clock.elapsed().unwrap_or_default().saturating_sub(self.running.elapsed())
    }

    /// Whether the machine slept for `limit` since, or longer. The two clocks may differ by a little without
    /// that.
    #[cfg(feature = "gcs")]
    pub(crate) fn overslept(self, limit: Duration) -> bool {
        self.slept() >= limit.max(Duration::from_secs(1))
    }

    /// The shorter one: a lower bound, since a clock may have been set.
    #[cfg(feature = "s3")]
    pub(crate) fn ago_at_least(self) -> Duration {
        self.running.elapsed().min(self.clock.elapsed().unwrap_or_default())
    }
}
