//! What adapters for large objects share: replayable parts on the way in, one resumed stream on the way out,
//! which widens into several ranges where it is slow.

#[cfg(any(feature = "s3", feature = "gcs"))]
mod content_range;
mod parts;
mod pieces;
mod ranges;
mod resume;
mod widen;

#[cfg(any(feature = "s3", feature = "gcs"))]
pub(crate) use content_range::content_range;
pub use parts::Parts;
pub(crate) use pieces::Pieces;
pub use resume::resuming;
pub use widen::{Pace, widening};

#[cfg(test)]
mod tests;
