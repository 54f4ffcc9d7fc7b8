//! Memory of a save and a load through S3, of the whole process, at its highest. Alone in its program, since
//! others would be counted as well; the server is SeaweedFS, a process of its own.
#![cfg(all(feature = "s3", target_os = "linux"))]
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use persist::{S3Config, SnapshotAdapter, SnapshotAdapterExt};
use sha2::{Digest, Sha256};
use support::{
    Seeded,
    s3::running,
    small::{on_two_cores, peak, test_bytes},
};
use tokio::io::{AsyncRead, ReadBuf};

const MIB: u64 = 1 << 20;

/// A state that nobody has in memory: bytes from a seed, half of each block noise and half text, so that gzip
/// has some work.
struct Made {
    left: u64,
    random: Seeded,
    hash: Sha256,
}

impl AsyncRead for Made {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let len = self.left.min(buf.remaining() as u64) as usize;
        let mut block = self.random.bytes(len / 2).to_vec();
        block.resize(len, b'x');
        self.left -= len as u64;
        self.hash.update(&block);
        buf.put_slice(&block);
        if self.left == 0 {
            HASH.lock().unwrap().replace(self.hash.clone().finalize().to_vec());
        }
        Poll::Ready(Ok(()))
    }
}

/// What went in, told when it ended.
static HASH: std::sync::Mutex<Option<Vec<u8>>> = std::sync::Mutex::new(None);

#[test]
fn a_save_and_a_load_of_any_size_stay_below_96_mib() {
    on_two_cores();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(save_and_load(test_bytes(256)));
}

async fn save_and_load(size: u64) {
    let mut server = running("SEAWEEDFS");
    // As a user has it: parts of 8 MiB, four at once.
    let S3Config { part_size, parallel, .. } = S3Config::default();
    (server.config.part_size, server.config.parallel) = (part_size, parallel);
    let adapter = server.open().await;
    // Of this run alone: servers are shared.
    let name = format!("memory/{}/state.gz", std::process::id());
    let made = Made { left: size, random: Seeded(1), hash: Sha256::new() };
    let saved = adapter.save_stream(made, &name).await.unwrap();
    assert_eq!(saved.size, size);
    let after_save = peak("self");
    let mut reader = adapter.load_stream(&name).await.unwrap();
    let (mut hash, mut read) = (Sha256::new(), 0);
    while let Some(chunk) = reader.chunk().await.unwrap() {
        hash.update(&chunk);
        read += chunk.len() as u64;
    }
    assert_eq!(read, size);
    assert_eq!(Some(hash.finalize().to_vec()), *HASH.lock().unwrap());
    let all = peak("self");
    println!("{} MiB: {after_save} MiB of memory after the save, {all} after the load", size / MIB);
    assert!(all <= 96, "{all} MiB of memory");
    adapter.delete(&persist::Key::new(&name).unwrap(), Default::default()).await.unwrap();
}
