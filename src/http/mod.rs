//! What adapters that speak HTTP themselves share. Nothing in here knows a service.
//!
//! - `client`: one way to build a client: rustls with ring, HTTP/1.1, no redirects, no decompression behind
//!   one's back
//! - `payload`: a request body that can be sent again without copying
//! - `send`: one attempt: it ends when nothing moves any more, and says whether it can have had an effect
//! - `redact`: cuts from messages what may be a secret

mod client;
mod payload;
mod redact;
mod send;

pub(crate) use client::client;
pub(crate) use payload::Payload;
pub(crate) use redact::redact;
pub(crate) use send::{Lost, body, read, retry_after, send, server_time, text};

#[cfg(test)]
mod tests;
