//! Operations times faults on the wire: what comes out is the right result or a typed error, nothing torn,
//! nothing undone.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use persist::{
    Body, ByteRange, DeleteOptions, ErrorKind, GcsConfig, GetOptions, ListOptions, PutOptions, RetryConfig,
    SnapshotAdapter, SnapshotAdapterExt, Tier, Version, adapters::gcs::GcsAdapter,
};

use crate::{
    strict::{BUCKET, Kind, Server},
    support::{config, data, key, read, retry, streamed},
    wire::{
        Seeded,
        proxy::{Fault, Proxy},
    },
};

const CHUNK: usize = 256 * 1024;
/// Three chunks.
const LARGE: usize = 2 * CHUNK + 12_345;

/// A strict server behind a proxy that spoils requests, and an adapter that talks through it.
struct Line {
    server: Server,
    proxy: Proxy,
    store: GcsAdapter,
}

impl Line {
    async fn new(retry: &RetryConfig, timeout: Duration) -> Line {
        let server = Server::start().await;
        let proxy = Proxy::start(&server.url).await;
        // Upload sessions are named by the address that the client knows.
        server.state().url = proxy.url();
        let timeout = Some(timeout);
        let config = GcsConfig { endpoint_url: Some(proxy.url()), timeout, ..config(&server) };
        let store = GcsAdapter::open(BUCKET, &config, retry).await.unwrap();
        Line { server, proxy, store }
    }

    /// The state that every case starts from: objects that are older than any attempt.
    fn reset(&self) {
        self.proxy.clear();
        let mut state = self.server.state();
        state.objects.clear();
        state.log.clear();
        for (name, bytes) in [("old", data(100_000, 9)), ("large", data(LARGE, 4))] {
            state.plant(name, bytes);
            state.age(name, Duration::from_secs(3600));
        }
    }

    fn version(&self, name: &str) -> Version {
        Version::new(self.server.state().objects[name].generation.to_string())
    }

    /// Saves, and checks that exactly this is stored, and that the answer is about it.
    async fn saves(&self, name: &str, body: Body, expected: &Bytes, options: PutOptions) {
        let meta = self.store.put(&key(name), body, options).await.unwrap();
        assert!(self.server.bytes(name).unwrap() == *expected, "torn");
        assert_eq!((meta.version, meta.size), (self.version(name), expected.len() as u64));
    }
}

/// A name, the method and part of the target of the requests to spoil, how many of them pass first, and the
/// operation.
type Case = (&'static str, &'static str, &'static str, usize, for<'a> fn(&'a Line) -> BoxFuture<'a, ()>);

const CASES: [Case; 18] = [
    ("overwrite of nothing", "POST", "uploadType=multipart", 0, |line| {
        let bytes = data(5000, 1);
        async move { line.saves("new", bytes.clone().into(), &bytes, PutOptions::new()).await }.boxed()
    }),
    ("overwrite", "POST", "uploadType=multipart", 0, |line| {
        let bytes = data(5000, 2);
        async move { line.saves("old", bytes.clone().into(), &bytes, PutOptions::new()).await }.boxed()
    }),
    ("create", "POST", "uploadType=multipart", 0, |line| {
        let bytes = data(5000, 3);
        async move { line.saves("new", bytes.clone().into(), &bytes, PutOptions::new().create()).await }
            .boxed()
    }),
    ("replace", "POST", "uploadType=multipart", 0, |line| {
        let (bytes, options) = (data(5000, 4), PutOptions::new().replace(line.version("old")));
        async move { line.saves("old", bytes.clone().into(), &bytes, options).await }.boxed()
    }),
    ("get, bytes", "GET", "alt=media", 0, get_old),
    ("get, metadata", "GET", "fields=", 0, get_old),
    ("large get", "GET", "alt=media", 0, get_large),
    ("get of a range", "GET", "alt=media", 0, |line| {
        async move {
            let end = GetOptions::new().range(ByteRange::Last(70_000));
            let object = line.store.get(&key("large"), end).await.unwrap();
            let bytes = object.body.collect(70_000).await.unwrap();
            assert!(bytes == data(LARGE, 4).slice(LARGE - 70_000..));
        }
        .boxed()
    }),
    ("stat", "GET", "fields=", 0, |line| {
        async move {
            let meta = line.store.head(&key("old")).await.unwrap();
            assert_eq!((meta.version, meta.size), (line.version("old"), 100_000));
        }
        .boxed()
    }),
    ("list", "GET", "maxResults=", 0, |line| {
        async move {
            let rows: Vec<_> = line.store.list(ListOptions::new()).try_collect().await.unwrap();
            assert_eq!(rows.iter().map(|row| row.name()).collect::<Vec<_>>(), ["large", "old"]);
        }
        .boxed()
    }),
    ("delete", "DELETE", "old", 0, |line| {
        async move {
            line.store.delete(&key("old"), DeleteOptions::new()).await.unwrap();
            assert_eq!(line.server.bytes("old"), None);
        }
        .boxed()
    }),
    ("set_tier", "POST", "rewriteTo", 0, |line| {
        async move {
            line.store.set_tier(&key("old"), Tier::Cold).await.unwrap();
            assert_eq!(line.store.head(&key("old")).await.unwrap().tier, Some(Tier::Cold));
            assert!(line.server.bytes("old").unwrap() == data(100_000, 9));
        }
        .boxed()
    }),
    ("large create, start", "POST", "uploadType=resumable", 0, create_large),
    ("large create, first chunk", "PUT", "upload_id", 0, create_large),
    ("large create, middle chunk", "PUT", "upload_id", 1, create_large),
    ("large create, last chunk", "PUT", "upload_id", 2, create_large),
    ("large overwrite from memory", "PUT", "upload_id", 0, |line| {
        let bytes = data(LARGE, 5);
        async move { line.saves("large", bytes.clone().into(), &bytes, PutOptions::new()).await }.boxed()
    }),
    ("large replace, last chunk", "PUT", "upload_id", 2, |line| {
        let (bytes, options) = (data(LARGE, 6), PutOptions::new().replace(line.version("large")));
        async move { line.saves("large", streamed(&bytes), &bytes, options).await }.boxed()
    }),
];

fn get_old(line: &Line) -> BoxFuture<'_, ()> {
    async { assert!(read(&line.store, "old").await.unwrap() == data(100_000, 9)) }.boxed()
}

fn get_large(line: &Line) -> BoxFuture<'_, ()> {
    async { assert!(read(&line.store, "large").await.unwrap() == data(LARGE, 4)) }.boxed()
}

fn create_large(line: &Line) -> BoxFuture<'_, ()> {
    let bytes = data(LARGE, 7);
    async move { line.saves("new", streamed(&bytes), &bytes, PutOptions::new().create()).await }.boxed()
}

/// What passes by itself: the adapter tries again after each of them.
fn passing(method: &str) -> Vec<Fault> {
    let google = r#"{"error":{"code":500,"message":"Backend Error","errors":[{"reason":"backendError"}]}}"#;
    let mut faults = vec![
        Fault::answer_with(500, &[("content-type", "application/json")], google),
        Fault::answer(502),
        Fault::answer_with(503, &[("content-type", "text/html")], "<html>a proxy in between</html>"),
        Fault::answer(504),
        Fault::answer_with(429, &[("retry-after", "0")], ""),
        Fault::answer(408),
        Fault::ResetBefore,
        Fault::Swallow,
        Fault::CutResponse(7),
        Fault::EndResponse(7),
        Fault::Silence,
    ];
    if matches!(method, "POST" | "PUT") {
        faults.push(Fault::CutRequest(100));
    }
    faults
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_carried() {
    let cases = CASES.map(|(name, method, target, before, case)| async move {
        // A rewrite may be silent for ten times as long.
        let quiet = if target == "rewriteTo" { 500 } else { 1500 };
        let line = Line::new(&retry(), Duration::from_millis(quiet)).await;
        for fault in passing(method) {
            line.reset();
            line.proxy.fail(before, method, target, Fault::Pass);
            line.proxy.fail(1, method, target, fault.clone());
            let outcome = std::panic::AssertUnwindSafe(case(&line)).catch_unwind().await;
            assert!(outcome.is_ok(), "{name} with {fault:?}");
            let spoilt = line.proxy.log().iter().filter(|seen| seen.fault == fault).count();
            assert_eq!(spoilt, 1, "{name} with {fault:?}: nothing was spoilt");
        }
        line.server.clean();
    });
    // Beside each other, because much of it is waiting; not all at once, because the rest is work.
    stream::iter(cases).buffer_unordered(6).collect::<()>().await;
}

/// `PERSIST_TEST_SEEDS` sets how many; each run of a seed meets the same faults.
#[tokio::test(flavor = "multi_thread")]
async fn no_storm_of_faults_loses_or_tears_an_object() {
    let seeds = std::env::var("PERSIST_TEST_SEEDS").map_or(12, |text| text.parse().unwrap());
    let faults: Vec<_> = passing("").into_iter().filter(|fault| *fault != Fault::Silence).collect();
    let patient = RetryConfig { max_attempts: 20, ..retry() };
    for seed in 0..seeds {
        let line = Line::new(&patient, Duration::from_secs(5)).await;
        line.proxy.seeded(seed, 25, faults.clone());
        let mut random = Seeded(seed);
        for step in 0..10 {
            let len = [0, 1, 3000, 200_000, LARGE][random.below(5) as usize];
            let (name, bytes) = (format!("storm/{}", random.below(3)), random.bytes(len));
            let body = if random.below(2) == 0 { Body::from(bytes.clone()) } else { streamed(&bytes) };
            let before = line.server.bytes(&name);
            let context = format!("seed {seed}, step {step}, {len} bytes");
            match line.store.put(&key(&name), body, PutOptions::new().create()).await {
                Ok(meta) => {
                    assert!(before.is_none(), "{context}: created twice");
                    assert!(line.server.bytes(&name).unwrap() == bytes, "{context}: torn");
                    assert_eq!(meta.size, len as u64, "{context}");
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{context}: {error}");
                    assert!(before.is_some() && line.server.bytes(&name) == before, "{context}: and written");
                }
            }
            let stored = line.server.bytes(&name).unwrap();
            let loaded = read(&line.store, &name).await.unwrap_or_else(|error| panic!("{context}: {error}"));
            assert!(loaded == stored, "{context}: read something else");
        }
        line.server.clean();
    }
}

#[tokio::test]
async fn a_flipped_bit_on_the_way_up_is_sent_again_where_it_can_be() {
    let line = Line::new(&retry(), Duration::from_secs(10)).await;
    // In the data of the only request.
    let bytes = data(50_000, 1);
    line.proxy.fail(2, "POST", "uploadType=multipart", Fault::FlipRequest(40_000));
    line.saves("k", bytes.clone().into(), &bytes, PutOptions::new().create()).await;
    assert_eq!(line.server.count(Kind::Multipart), 3);
    // In an upload session: from memory it begins anew.
    let bytes = data(LARGE, 2);
    line.proxy.fail(1, "PUT", "upload_id", Fault::FlipRequest(300_000));
    line.saves("l", bytes.clone().into(), &bytes, PutOptions::new().create()).await;
    assert_eq!((line.server.count(Kind::Start), line.server.count(Kind::Cancel)), (2, 1));
    // A stream cannot: an error that names the matter, and nothing stored.
    line.proxy.fail(1, "PUT", "upload_id", Fault::FlipRequest(1000));
    let error = line.store.put(&key("m"), streamed(&bytes), PutOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("changed on their way"), "{error}");
    assert_eq!(line.server.bytes("m"), None);
    // For ever: the attempts end.
    line.proxy.fail(99, "", "upload", Fault::FlipRequest(40_000));
    for len in [50_000, LARGE] {
        let error = line.store.put(&key("n"), data(len, 3).into(), PutOptions::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
    assert_eq!(line.server.bytes("n"), None);
}

#[tokio::test]
async fn a_flipped_bit_on_the_way_down_is_corrupt() {
    let line = Line::new(&retry(), Duration::from_secs(10)).await;
    line.reset();
    for (name, target) in [("old", "o/old?alt=media"), ("large", "o/large?alt=media")] {
        line.proxy.fail(1, "GET", target, Fault::Flip(50_000));
        assert_eq!(read(&line.store, name).await.unwrap_err().kind(), ErrorKind::Corrupt, "{name}");
        read(&line.store, name).await.unwrap();
    }
    // A range has no checksum of the service's; the snapshot has its own.
    line.store.save(data(LARGE, 2), "snapshot.gz").await.unwrap();
    line.proxy.fail(1, "GET", "o/snapshot.gz?alt=media", Fault::Flip(200_000));
    assert_eq!(line.store.load("snapshot.gz").await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(line.store.load("snapshot.gz").await.unwrap() == data(LARGE, 2));
}

#[tokio::test]
async fn attempts_and_waits_are_as_configured() {
    let line = Line::new(&retry(), Duration::from_secs(10)).await;
    let put = async |name| line.store.put(&key(name), "state".into(), PutOptions::new().create()).await;
    let upload = "uploadType=multipart";
    line.proxy.fail(6, "POST", upload, Fault::answer(503));
    assert_eq!(put("down").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(line.proxy.count("POST", upload), 6);
    // What the service asks for is waited for, also where it is longer than any random delay.
    line.proxy.fail(1, "POST", upload, Fault::answer_with(429, &[("retry-after", "1")], ""));
    put("asked").await.unwrap();
    let log = line.proxy.log();
    let at: Vec<_> = log.iter().filter(|seen| seen.target.contains(upload)).map(|seen| seen.at).collect();
    assert_eq!(at.len(), 6 + 2);
    assert!(at[7] - at[6] >= Duration::from_secs(1), "sooner than the service asked");
    // Unless it is longer than the time that is left.
    line.proxy.fail(9, "POST", upload, Fault::answer_with(503, &[("retry-after", "3600")], ""));
    let error = put("later").await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
    assert_eq!(line.proxy.count("POST", upload), 6 + 2 + 1);
}

#[tokio::test]
async fn the_deadline_ends_what_attempts_would_not() {
    let endless = RetryConfig {
        max_attempts: u32::MAX,
        initial_delay: Duration::from_millis(200),
        max_delay: Duration::from_millis(200),
        deadline: Duration::from_secs(2),
    };
    let line = Line::new(&endless, Duration::from_secs(10)).await;
    line.proxy.fail(usize::MAX, "", "", Fault::answer(503));
    let error = line.store.head(&key("k")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    // The hundred retries of a client are not what ended it.
    assert!((2..90).contains(&line.proxy.count("GET", "")));
}

#[tokio::test]
async fn an_outage_is_not_answered_with_a_storm() {
    let many = RetryConfig { max_attempts: 50, ..retry() };
    let line = Line::new(&many, Duration::from_secs(10)).await;
    line.proxy.fail(usize::MAX, "", "", Fault::answer(503));
    for _ in 0..20 {
        line.store.head(&key("k")).await.unwrap_err();
    }
    // Twenty first attempts, and the hundred retries that all operations of a client have together.
    assert_eq!(line.proxy.count("GET", ""), 120);
    // What works again gives retries back.
    line.reset();
    for _ in 0..2 {
        line.store.head(&key("old")).await.unwrap();
    }
    line.proxy.fail(1, "GET", "o/old", Fault::answer(503));
    line.store.head(&key("old")).await.unwrap();
    line.proxy.fail(1, "GET", "o/old", Fault::answer(503));
    line.store.head(&key("old")).await.unwrap_err();
}
