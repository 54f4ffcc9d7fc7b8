//! What changed between two states, in bytes: pure functions, no storage, no waiting. `docs/delta.md`
//! specifies the format.
//!
//! # Layout
//! - [`copies`]: which bytes of a new state are bytes of its base; two such lists in a row compose into one
//! - [`find`](Copies::find): finds them, by blocks of the base in a hash table
//! - [`format`]: a delta as bytes and back
//! - [`steps`](base_of): which earlier state a delta starts from
//! - [`pieces`]: a keyframe and its deltas become a state, in one copy of its bytes

mod copies;
mod find;
mod format;
mod pieces;
mod steps;

pub(crate) use copies::Copies;
pub(crate) use format::{Delta, decode, encode};
pub(crate) use pieces::materialize;
pub(crate) use steps::base_of;

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
