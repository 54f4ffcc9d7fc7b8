//! What adapters for large objects share: replayable parts on the way in, one resumed stream or several ranges at once on the way out.

mod adaptive;
mod parts;
mod pieces;
mod ranges;
mod resume;
mod widen;

pub use adaptive::{Line, adaptive};
pub use parts::Parts;
pub(crate) use pieces::Pieces;
pub use ranges::in_parallel;
pub use resume::resuming;
pub use widen::{Pace, widening};

#[cfg(test)]
mod tests;
