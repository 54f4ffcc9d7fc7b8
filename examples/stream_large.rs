//! Saves and loads a state of any size in a few MiB of memory:
//! `cargo run --release --example stream_large [MiB]`.
//!
//! The state never exists as a whole: it is made while it is saved, and read to its verified end while it is
//! loaded.

use std::{
    io::{self, Read, Write},
    time::Instant,
};

use persist::{Body, Error, SnapshotAdapterExt, StorageConfig};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mebibytes: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(64);
    let folder = tempfile::tempdir()?;
    let store = StorageConfig::local(folder.path().join("store")).open().await?;

    // Anything that implements `Read` is read on a thread of its own; `save_stream` takes an `AsyncRead`.
    let source = Steps { left: mebibytes << 20, step: 0, rest: Vec::new() };
    let started = Instant::now();
    let saved = store.save_body(Body::from_blocking(source), "agent/state.gz").await?;
    say(format_args!("saved  {} bytes as {} in {:.1?}", saved.size, saved.meta.size, started.elapsed()));

    let started = Instant::now();
    let reader = store.load_stream("agent/state.gz").await?;
    // Only a clean end says that the state is good: here, that `copy_to` returns `Ok`.
    let (count, bytes) = reader.copy_to(Lines::default()).await?;
    say(format_args!("loaded {bytes} bytes, {} steps, in {:.1?}", count.0, started.elapsed()));
    assert_eq!(bytes, saved.size);

    // A part of it reads only the segments that hold it.
    let part = store.load_range("agent/state.gz", 0..60).await?;
    say(format_args!("begins {}", String::from_utf8_lossy(&part)));
    if let Some(peak) = peak_memory() {
        say(format_args!("peak memory of the process: {peak}"));
    }
    Ok(())
}

/// The log of a long run, made while it is read.
struct Steps {
    left: u64,
    step: u64,
    rest: Vec<u8>,
}

impl Read for Steps {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            self.step += 1;
            let check = self.step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            writeln!(
                self.rest,
                "{{\"step\":{},\"tool\":\"search\",\"result\":\"{check:016x}\"}}",
                self.step
            )?;
        }
        let most = buf.len().min(self.rest.len()).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        buf[..most].copy_from_slice(&self.rest[..most]);
        self.rest.drain(..most);
        self.left -= most as u64;
        Ok(most)
    }
}

/// Counts lines.
#[derive(Default)]
struct Lines(usize);

impl Write for Lines {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0 += buf.iter().filter(|byte| **byte == b'\n').count();
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What Linux counts.
fn peak_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")).map(|peak| peak.trim().to_owned())
}

/// What is said to nobody, as behind `| head -1`, is no failure: `println!` would panic.
fn say(what: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{what}");
}
