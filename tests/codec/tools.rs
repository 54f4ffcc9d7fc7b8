//! The same bytes through the tools that everybody has: gzip and Python. They are needed for the tests; a
//! missing one fails them.

use std::{io::Write, process::Stdio};

use persist::{SaveOptions, SnapshotAdapterExt};
use tokio::io::AsyncReadExt;

use crate::store::{SEGMENT, Store, noise, state};

/// The output of a program that reads `input` from a file.
pub async fn run(program: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let child = tokio::process::Command::new(program).args(args).stdin(file).stderr(Stdio::piped()).output();
    let output = child.await.unwrap_or_else(|error| panic!("the tests need {program}: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

const PYTHON: &str = "import gzip,sys; sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))";
/// Reads the first member only, and says whether it ended.
const FIRST_MEMBER: &str = "import zlib,sys; d=zlib.decompressobj(31); \
    sys.stdout.buffer.write(d.decompress(sys.stdin.buffer.read())); assert d.eof";

#[tokio::test]
async fn every_reader_gives_the_state_to_the_last_byte() {
    for raw in [Vec::new(), state(8192), state(SEGMENT), state(3 * SEGMENT + 1), noise(3 * SEGMENT)] {
        let store = Store::new(100_000);
        store.save(raw.clone(), "key").await.unwrap();
        let file = store.bytes("key").await;
        assert!(run("gzip", &["-dc"], &file).await == raw, "gzip");
        assert!(run("python3", &["-c", PYTHON], &file).await == raw, "Python's gzip");
        assert!(run("python3", &["-c", FIRST_MEMBER], &file).await == raw, "Python's zlib");
        let mut decoded = Vec::new();
        let mut decoder = async_compression::tokio::bufread::GzipDecoder::new(&file[..]);
        decoder.read_to_end(&mut decoded).await.unwrap();
        assert!(decoded == raw, "async-compression");
        run("gzip", &["-t"], &file).await;
    }
}

#[tokio::test]
async fn what_gzip_and_python_write_loads() {
    let raw = state(2 * SEGMENT);
    let store = Store::new(100_000);
    let python = "import gzip,sys; sys.stdout.buffer.write(gzip.compress(sys.stdin.buffer.read()))";
    for (program, args) in
        [("gzip", &["-9", "-c"][..]), ("gzip", &["-1", "-c"]), ("python3", &["-c", python])]
    {
        store.foreign("key", run(program, args, &raw).await).await;
        assert!(store.load("key").await.unwrap() == raw, "{program}");
    }
}

#[cfg(feature = "zstd")]
#[tokio::test]
async fn a_zstd_reader_that_stops_after_the_first_frame_has_the_whole_state() {
    for raw in [Vec::new(), state(8192), state(3 * SEGMENT + 1)] {
        let store = Store::new(100_000);
        let options = SaveOptions::new().codec("zstd".parse().unwrap());
        store.save_with(raw.clone(), "key", options).await.unwrap();
        let (file, mut decoded) = (store.bytes("key").await, Vec::new());
        let mut decoder = async_compression::tokio::bufread::ZstdDecoder::new(&file[..]);
        decoder.read_to_end(&mut decoded).await.unwrap();
        assert!(decoded == raw);
    }
}

#[tokio::test]
async fn a_level_9_file_is_not_larger_than_a_level_1_file() {
    let (store, raw) = (Store::new(100_000), state(SEGMENT + 5));
    let mut sizes = Vec::new();
    for codec in ["gzip:1", "gzip:6", "gzip:9"] {
        let options = SaveOptions::new().codec(codec.parse().unwrap());
        sizes.push(store.save_with(raw.clone(), "key", options).await.unwrap().meta.size);
        assert!(run("gzip", &["-dc"], &store.bytes("key").await).await == raw);
    }
    assert!(sizes[0] > sizes[1] && sizes[1] >= sizes[2], "{sizes:?}");
}
