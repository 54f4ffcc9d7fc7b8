//! The codec through the public API: what is written, what is read, what is refused.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod damage;
mod files;
mod flow;
mod foreign;
mod golden;
mod limits;
mod lost;
mod pool;
mod round_trip;
mod store;
mod tools;
