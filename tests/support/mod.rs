//! What several integration tests share. Each uses a part of it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod http1;
pub mod proxy;
#[cfg(feature = "s3")]
pub mod s3;
#[cfg(feature = "s3")]
pub mod s3_access;
#[cfg(feature = "s3")]
pub mod s3_server;
#[cfg(feature = "s3")]
pub mod s3_store;

/// The environment variable `name`, which `scripts/services up` prints.
///
/// A missing server fails the test; it is never passed over.
pub fn service(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set: start the servers with `eval \"$(scripts/services up)\"`, or run scripts/test"
        )
    })
}

/// A sequence of numbers that only the seed decides (SplitMix64), so that a failing run can be repeated.
#[derive(Debug, Clone)]
pub struct Seeded(pub u64);

impl Seeded {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// `len` bytes that do not compress.
    pub fn bytes(&mut self, len: usize) -> bytes::Bytes {
        let mut out = Vec::with_capacity(len + 8);
        while out.len() < len {
            out.extend_from_slice(&self.next().to_le_bytes());
        }
        out.truncate(len);
        out.into()
    }
}
