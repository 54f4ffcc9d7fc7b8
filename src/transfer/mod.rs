//! What adapters for large objects share: replayable parts on the way in, resumed and parallel ranges on the way out.

mod parts;
mod ranges;
mod resume;
mod widen;

pub use parts::Parts;
pub use ranges::in_parallel;
pub use resume::resuming;
pub use widen::widening;

#[cfg(test)]
mod tests;
