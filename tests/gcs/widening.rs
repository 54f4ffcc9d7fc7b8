//! Loads over a slow connection. Google's addresses lead to the strict server by way of `HTTP_PROXY`, which
//! only another process can have.

use std::{process::Command, time::Duration};

use persist::GcsConfig;

use crate::{
    strict::{BUCKET, Fault, Kind, Server},
    support::{config, data, open_with, read},
};

const CHUNK: u64 = 256 * 1024;
const SIZE: u64 = 12 * CHUNK;
/// 64 KiB in 30 ms are 2 MiB a second.
const SLOW: Fault = Fault::Slow(Duration::from_millis(30));

/// `persist load` of an object whose first answer is slow, the next ones spoilt by `faults`: the server, and
/// whether the state came, or why not.
async fn load(env: &[(&str, &str)], faults: Vec<Fault>) -> (Server, Result<(), String>) {
    let server = Server::start().await;
    let bytes = data(SIZE as usize, 1);
    server.state().plant("k", bytes.clone());
    server.script(Kind::Media, [SLOW].into_iter().chain(faults));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let mut command = Command::new(env!("CARGO_BIN_EXE_persist"));
    command.args(["--storage", &format!("gs://{BUCKET}"), "load", "k", "-o"]).arg(&file).env_clear();
    command.env("STORAGE_EMULATOR_HOST", "http://storage.googleapis.com").env("HTTP_PROXY", &server.url);
    command.env("PERSIST_GCS_CHUNK_SIZE", "256KiB").envs(env.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let loaded = if output.status.success() {
        assert!(std::fs::read(&file).unwrap() == bytes);
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    (server, loaded)
}

/// First and last byte of what was asked for, without requests for everything.
fn ranges(server: &Server) -> Vec<(u64, u64)> {
    let generation = server.state().objects["k"].generation.to_string();
    let media = server.logged(Kind::Media);
    let ranged = media.iter().filter_map(|request| Some((request, request.header("range")?)));
    let mut ranges: Vec<(u64, u64)> = ranged
        .map(|(request, range)| {
            assert_eq!(request.query("generation"), Some(generation.as_str()), "{range}");
            let (first, last) = range["bytes=".len()..].split_once('-').unwrap();
            (first.parse().unwrap(), last.parse().unwrap())
        })
        .collect();
    ranges.sort_unstable();
    ranges
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_load_goes_on_with_ranges_of_the_same_generation() {
    let (server, loaded) = load(&[], vec![]).await;
    loaded.unwrap();
    let ranges = ranges(&server);
    assert_eq!(server.count(Kind::Media), ranges.len() + 1, "one request for everything");
    assert!(ranges.len() > 4, "{ranges:?}");
    let first = SIZE / CHUNK - ranges.len() as u64;
    let pieces: Vec<_> = (first..SIZE / CHUNK).map(|n| (n * CHUNK, (n + 1) * CHUNK - 1)).collect();
    assert_eq!(ranges, pieces, "each once, to the end");
    server.clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_resumed_and_compared_with_the_checksum_of_the_whole() {
    let (server, loaded) = load(&[], vec![Fault::Cut(1000), Fault::Status(503)]).await;
    loaded.unwrap();
    let resumed = ranges(&server).iter().filter(|(first, _)| first % CHUNK == 1000).count();
    assert_eq!(resumed, 1);
    server.clean();
    let (_, loaded) = load(&[], vec![Fault::Pass, Fault::Flip(7)]).await;
    assert!(loaded.unwrap_err().contains("crc32c"));
    // What the ranges are of is gone: the load begins once more, with what is there now.
    let (server, loaded) = load(&[], vec![Fault::Status(404)]).await;
    loaded.unwrap();
    let media = server.logged(Kind::Media);
    assert_eq!(media.iter().filter(|request| request.header("range").is_none()).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_deployment_and_the_kind_of_server_say_is_kept() {
    let (server, loaded) = load(&[("PERSIST_GCS_PARALLEL", "1")], vec![]).await;
    loaded.unwrap();
    assert_eq!(server.count(Kind::Media), 1);
    // At a server that is not Google's, as slow a connection is waited for longer.
    let server = Server::start().await;
    let store = open_with(GcsConfig { parallel: None, ..config(&server) }).await;
    server.state().plant("k", data(SIZE as usize, 1));
    // 12 MiB a second, which is waited for with a wide margin.
    server.script(Kind::Media, [Fault::Slow(Duration::from_millis(5))]);
    assert!(read(&store, "k").await.unwrap() == data(SIZE as usize, 1));
    assert_eq!(server.count(Kind::Media), 1);
}
