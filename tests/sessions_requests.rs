//! What a session asks of S3 and of Cloud Storage, counted on the wire: a proxy stands in front of the
//! servers.
#![cfg(all(feature = "s3", feature = "gcs"))]
#![allow(clippy::unwrap_used)]

mod sessions_support;
mod support;

use std::{collections::BTreeSet, sync::Arc};

use persist::{GcsConfig, RetryConfig, S3Config, SnapshotAdapter, adapters::gcs::GcsAdapter, sessions::*};
use sessions_support::growing;
use support::{Seeded, proxy::Proxy, s3::running, s3_server::StrictServer, service};

/// What one save may bring without becoming an object of its own.
const INLINE: usize = 8 << 20;

/// A server behind a proxy, and a text that is in the target of every request for an object or a listing of
/// this test.
struct Counted {
    proxy: Proxy,
    adapter: Arc<dyn SnapshotAdapter>,
    agent: String,
    /// How many requests find the newest commit.
    listings: usize,
    /// Ends when it is dropped.
    _server: Option<StrictServer>,
}

impl Counted {
    fn new(proxy: Proxy, adapter: impl SnapshotAdapter, server: Option<StrictServer>) -> Self {
        let nanos = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let agent = format!("requests-{}-{nanos:x}", std::process::id());
        Counted { proxy, adapter: Arc::new(adapter), agent, listings: 1, _server: server }
    }

    async fn s3(server: support::s3::Server, keep: Option<StrictServer>) -> Self {
        let proxy = Proxy::start(&server.endpoint).await;
        let mut server = server.behind(proxy.url());
        // As a user has it.
        let S3Config { part_size, parallel, .. } = S3Config::default();
        (server.config.part_size, server.config.parallel) = (part_size, parallel);
        let adapter = server.open().await;
        Counted::new(proxy, adapter, keep)
    }

    async fn gcs() -> Self {
        let proxy = Proxy::start(&service("SVC_FAKEGCS_ENDPOINT")).await;
        let config = GcsConfig { endpoint_url: Some(proxy.url()), ..GcsConfig::default() };
        let bucket = service("SVC_FAKEGCS_BUCKET");
        let adapter = GcsAdapter::open(&bucket, &config, &RetryConfig::default()).await.unwrap();
        Counted::new(proxy, adapter, None)
    }

    fn session(&self, name: &str) -> Session {
        Sessions::new(self.adapter.clone()).unwrap().session(&self.agent, name).unwrap()
    }

    /// The requests that `work` makes: all of them, whatever they are for.
    async fn cost<T>(&self, work: impl Future<Output = persist::Result<T>>) -> (T, Vec<String>) {
        self.proxy.clear();
        let result = work.await.unwrap();
        let log = self.proxy.log();
        (
            result,
            log.iter().map(|seen| format!("{} {}", seen.method, seen.target.replace("%2F", "/"))).collect(),
        )
    }
}

async fn costs(server: Counted) {
    // A run: one request a save, as small and as large as saves are.
    let session = server.session("run");
    assert!(session.rebase().await.unwrap().is_none());
    let states = growing(1, 45);
    for state in &states {
        let (_, requests) = server.cost(session.save(state.clone())).await;
        assert_eq!(requests.len(), 1, "{requests:?}");
    }
    // The latest: one request finds it, and one reads each object of its chain.
    let reader = server.session("run");
    let (restored, requests) = server.cost(reader.load(At::Latest)).await;
    assert!(restored.state == states[44]);
    let objects =
        requests.iter().filter(|request| request.contains("/run/c/9") && !request.contains("list-type"));
    let listings = requests.len() - objects.clone().count();
    assert_eq!(listings, server.listings, "{requests:?}");
    let objects: BTreeSet<&str> = objects.filter_map(|request| request.split('?').next()).collect();
    assert!(objects.len() > 1 && objects.len() <= 63, "{requests:?}");
    // What is known about it: its own object alone. Cloud Storage answers what an object is and what is in it
    // apart.
    let (_, requests) = server.cost(reader.show(At::Latest)).await;
    assert!(requests.len() <= listings + 2, "{requests:?}");

    // 8 MiB that do not compress.
    let session = server.session("large");
    assert!(session.rebase().await.unwrap().is_none());
    let state = Seeded(1).bytes(INLINE);
    let (commit, requests) = server.cost(session.save(state.clone())).await;
    assert_eq!((commit.keyframe, requests.len()), (true, 1), "{requests:?}");
    assert!(server.session("large").load(1).await.unwrap().state == state);
}

/// The same of a delta, and more than that. Once is enough: what goes over the wire is no other than before.
async fn large_changes(server: Counted) {
    let session = server.session("large");
    // A whole state that is so large that the delta pays.
    let start = Seeded(2).bytes(2 * INLINE);
    session.save(start.clone()).await.unwrap();
    let grown = [&start[..], &Seeded(3).bytes(INLINE)].concat();
    let (commit, requests) = server.cost(session.save(grown)).await;
    assert_eq!((commit.keyframe, requests.len()), (false, 1), "{requests:?}");
    assert!(commit.stored_size >= INLINE as u64 && commit.stored_size < INLINE as u64 * 101 / 100);
    // More than that is a body of its own, in front of a small commit.
    let (_, requests) = server.cost(session.save(Seeded(4).bytes(INLINE + (1 << 20)))).await;
    let (last, body) = requests.split_last().unwrap();
    assert!(!body.is_empty() && body.iter().all(|request| request.contains("/large/b/")), "{requests:?}");
    assert!(last.contains("/large/c/"), "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_real_s3_server() {
    // It walks folders in an order of its own: only another page tells that nothing else comes before the
    // first row.
    costs(Counted { listings: 2, ..Counted::s3(running("SEAWEEDFS"), None).await }).await;
}

/// Where conditions on multipart uploads can be trusted, as at Amazon.
#[tokio::test(flavor = "multi_thread")]
async fn on_an_s3_server_as_strict_as_amazon() {
    let strict = StrictServer::start().await;
    let server = strict.server.clone();
    costs(Counted::s3(server.clone(), None).await).await;
    large_changes(Counted::s3(server, Some(strict)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cloud_storage_takes_the_requests_that_the_page_says() {
    costs(Counted::gcs().await).await;
}
