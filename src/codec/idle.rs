//! Compressors and decompressors that are used again: a compressor has 270 KB of tables, too much to set up
//! afresh for a state of 8 KB or for the change of a step.

use std::sync::Mutex;

use flate2::{Compress, Compression, Decompress};

use crate::lock::lock;

/// How many of each kind are kept.
const MOST: usize = 16;
static COMPRESSORS: Mutex<Vec<(u8, Compress)>> = Mutex::new(Vec::new());
static DECOMPRESSORS: Mutex<Vec<Decompress>> = Mutex::new(Vec::new());

/// A compressor for a raw deflate stream.
pub(crate) fn compressor(level: u8) -> Compress {
    let mut idle = lock(&COMPRESSORS);
    let found = idle.iter().position(|(of, _)| *of == level).map(|at| idle.swap_remove(at));
    drop(idle);
    match found {
        Some((_, mut compress)) => {
            compress.reset();
            compress
        }
        None => Compress::new(Compression::new(level.into()), false),
    }
}

/// Keeps one that has given out all that it had: zlib-rs does not empty the buffers of one that was left in
/// the middle of a stream, and the next stream would meet them.
pub(crate) fn keep_compressor(level: u8, compress: Compress) {
    keep(&COMPRESSORS, (level, compress));
}

/// A decompressor for a raw deflate stream.
pub(crate) fn decompressor() -> Decompress {
    let found = lock(&DECOMPRESSORS).pop();
    match found {
        Some(mut decompress) => {
            decompress.reset(false);
            decompress
        }
        None => Decompress::new(false),
    }
}

/// Keeps one that has done its work.
pub(crate) fn keep_decompressor(decompress: Decompress) {
    keep(&DECOMPRESSORS, decompress);
}

fn keep<T>(all: &Mutex<Vec<T>>, idle: T) {
    let mut all = lock(all);
    if all.len() < MOST {
        all.push(idle);
    }
}
