//! Buffers that are used again: fresh memory costs a page fault for every 4 KiB, which at gigabytes a second
//! is most of the work.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex},
};

use bytes::Bytes;

use crate::lock::lock;

/// Buffers of one size, as many as are in use at once.
#[derive(Debug)]
pub(crate) struct Pool {
    size: usize,
    idle: Mutex<Vec<Vec<u8>>>,
}

impl Pool {
    /// A pool of buffers of `size` bytes.
    pub(crate) fn new(size: usize) -> Arc<Self> {
        Arc::new(Pool { size, idle: Mutex::default() })
    }

    /// A buffer with any content.
    pub(crate) fn take(self: &Arc<Self>) -> Buffer {
        let idle = lock(&self.idle).pop();
        Buffer { bytes: idle.unwrap_or_else(|| vec![0; self.size]), pool: self.clone() }
    }
}

/// A buffer on loan.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    pool: Arc<Pool>,
}

impl Buffer {
    /// Its first `len` bytes; it goes back to the pool with the last clone of them. Those of less than half
    /// of it are copied: who keeps them would keep all of it.
    pub(crate) fn freeze(self, len: usize) -> Bytes {
        if len < self.bytes.len() / 2 {
            return Bytes::copy_from_slice(&self.bytes[..len]);
        }
        Bytes::from_owner(Frozen { len: len.min(self.bytes.len()), buffer: self })
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        lock(&self.pool.idle).push(bytes);
    }
}

struct Frozen {
    buffer: Buffer,
    len: usize,
}

impl AsRef<[u8]> for Frozen {
    fn as_ref(&self) -> &[u8] {
        &self.buffer.bytes[..self.len]
    }
}

#[cfg(test)]
#[path = "buffers_tests.rs"]
mod tests;
