//! What the tests share.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use persist::{Body, GcsConfig, Key, RetryConfig, adapters::gcs::GcsAdapter};

use crate::strict::{BUCKET, Kind, Rules, Server};

/// Retries without the waiting.
pub fn retry() -> RetryConfig {
    RetryConfig {
        max_attempts: 6,
        initial_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(4),
        deadline: Duration::from_secs(20),
    }
}

/// Anonymous, with small chunks, so that small bodies take the ways of large ones, and as many ranges at once
/// whatever the machine does.
pub fn config(server: &Server) -> GcsConfig {
    GcsConfig {
        endpoint_url: Some(server.url.clone()),
        chunk_size: Some(256 * 1024),
        parallel: Some(4),
        timeout: Some(Duration::from_secs(10)),
        ..GcsConfig::default()
    }
}

pub async fn open(server: &Server) -> GcsAdapter {
    open_with(config(server)).await
}

/// A server and an adapter for it.
pub async fn setup() -> (Server, GcsAdapter) {
    let server = Server::start().await;
    let store = open(&server).await;
    (server, store)
}

pub async fn open_with(config: GcsConfig) -> GcsAdapter {
    GcsAdapter::open(BUCKET, &config, &retry()).await.unwrap()
}

/// A server that wants a token.
pub async fn guarded() -> Server {
    Server::with(Rules { tokens: true, ..Rules::default() }).await
}

pub fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

/// Bytes that differ everywhere.
pub fn data(len: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

/// A body of unknown length that can be read once.
pub fn streamed(bytes: &Bytes) -> Body {
    let chunks: Vec<_> = bytes.chunks(37_003).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    Body::from_stream(stream::iter(chunks))
}

pub async fn read(store: &GcsAdapter, name: &str) -> persist::Result<Bytes> {
    use persist::SnapshotAdapter;
    store.get(&key(name), persist::GetOptions::new()).await?.body.collect(u64::MAX).await
}

/// The ranges of the data requests of uploads.
pub fn ranges(server: &Server) -> Vec<String> {
    let sent = server.log().into_iter().filter(|request| matches!(request.kind, Kind::Data | Kind::Probe));
    sent.map(|request| request.header("content-range").unwrap().to_owned()).collect()
}
