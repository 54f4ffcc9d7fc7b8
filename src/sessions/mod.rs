//! History of an agent's session.

// Used by the session protocol.
#[allow(dead_code)]
pub(crate) mod delta;
