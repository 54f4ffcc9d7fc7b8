//! What adapters for large objects share: replayable parts on the way in, one resumed stream on the way out, which widens into several ranges where it is slow.

mod content_range;
mod parts;
mod pieces;
mod ranges;
mod resume;
mod widen;

pub use content_range::content_range;
pub use parts::Parts;
pub(crate) use pieces::Pieces;
pub use ranges::in_parallel;
pub use resume::resuming;
pub use widen::{Pace, widening};

#[cfg(test)]
mod tests;
