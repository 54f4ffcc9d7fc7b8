//! One round of one client: prints lines of client, case, operations, seconds, and seconds of processor time.
//! `scripts/bench-gcs` runs it.

mod server;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, gcp::GoogleCloudStorageBuilder, path::Path};
use persist::{
    Body, Codec, GcsConfig, GetOptions, Key, PutOptions, RetryConfig, SaveOptions, SnapshotAdapter,
    SnapshotAdapterExt, adapters::gcs::GcsAdapter,
};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What is saved and loaded: small states one after another, small ones 16 at a time, and one large one.
struct Plan {
    small: Bytes,
    count: usize,
    large: Bytes,
    times: usize,
}

fn data(len: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(len).collect()
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// In a task, as in any server: what `main` itself waits for is on a thread of its own.
#[tokio::main]
async fn main() -> Result {
    tokio::spawn(chosen_client()).await?
}

async fn chosen_client() -> Result {
    if std::env::args().nth(1).as_deref() == Some("serve") {
        return server::serve().await;
    }
    let [client, endpoint, bucket] = [1, 2, 3].map(|at| std::env::args().nth(at));
    let (Some(client), Some(endpoint), Some(bucket)) = (client, endpoint, bucket) else {
        return Err("usage: bench-gcs serve, or bench-gcs persist|object_store|memory ENDPOINT BUCKET".into());
    };
    if client == "memory" {
        return memory(&endpoint, &bucket).await;
    }
    let plan = Plan {
        small: data(8 * 1024),
        count: number("COUNT", 400),
        large: match std::env::var("DATA") {
            Ok(path) => std::fs::read(path)?.into(),
            Err(_) => data(number("LARGE_MIB", 64) << 20),
        },
        times: number("TIMES", 4),
    };
    match client.as_str() {
        "persist" | "persist-save" => {
            let config = GcsConfig { endpoint_url: Some(endpoint), anonymous: true, ..GcsConfig::default() };
            let store = GcsAdapter::open(&bucket, &config, &RetryConfig::default()).await?;
            match client.as_str() {
                "persist" => run("persist", Arc::new(Adapter(store)), &plan).await,
                _ => run("persist-save", Arc::new(Persist(store)), &plan).await,
            }
        }
        _ => {
            let key = format!(
                r#"{{"gcs_base_url":"{endpoint}","disable_oauth":true,"client_email":"","private_key":"","private_key_id":""}}"#
            );
            let builder = GoogleCloudStorageBuilder::new()
                .with_bucket_name(bucket)
                .with_service_account_key(key)
                .with_client_options(object_store::ClientOptions::new().with_allow_http(true));
            run("object_store", Arc::new(Peer(Arc::new(builder.build()?))), &plan).await
        }
    }
}

/// The most memory that a save and a load of `LARGE_MIB` have in this process, which has nothing else.
async fn memory(endpoint: &str, bucket: &str) -> Result {
    let config = GcsConfig { endpoint_url: Some(endpoint.into()), anonymous: true, ..GcsConfig::default() };
    let store = GcsAdapter::open(bucket, &config, &RetryConfig::default()).await?;
    let block = data(1 << 20);
    for codec in [Codec::None, Codec::default()] {
        let source = block.clone();
        let blocks = (0..number("LARGE_MIB", 64)).map(move |_| Ok(source.clone()));
        let options = SaveOptions::new().codec(codec);
        store.save_body_with(Body::from_stream(stream::iter(blocks)), "memory", options).await?;
        let saved = peak()?;
        let mut body = store.load_stream("memory").await?;
        let mut len = 0;
        while let Some(chunk) = body.chunk().await? {
            len += chunk.len();
        }
        println!("{}: {} MiB, at most {saved} MiB to save, {} MiB in all", codec.name(), len >> 20, peak()?);
    }
    Ok(())
}

fn peak() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}

trait Client: Send + Sync + 'static {
    fn put(&self, name: String, bytes: Bytes) -> impl Future<Output = Result> + Send;
    /// From a stream of unknown length, in chunks of 64 KiB.
    fn stream(&self, name: String, bytes: Bytes) -> impl Future<Output = Result> + Send;
    fn get(&self, name: String) -> impl Future<Output = Result<usize>> + Send;
}

/// The adapter alone, which is what the peers are: bytes as they are.
struct Adapter(GcsAdapter);

/// A stream in chunks of 64 KiB, whose length nobody has said.
fn chunked(bytes: Bytes) -> Body {
    let chunks =
        (0..bytes.len()).step_by(65_536).map(move |at| Ok(bytes.slice(at..bytes.len().min(at + 65_536))));
    Body::from_stream(stream::iter(chunks))
}

impl Client for Adapter {
    async fn put(&self, name: String, bytes: Bytes) -> Result {
        self.0.put(&Key::new(name)?, Body::from(bytes), PutOptions::new()).await?;
        Ok(())
    }

    async fn stream(&self, name: String, bytes: Bytes) -> Result {
        self.0.put(&Key::new(name)?, chunked(bytes), PutOptions::new()).await?;
        Ok(())
    }

    async fn get(&self, name: String) -> Result<usize> {
        let mut body = self.0.get(&Key::new(name)?, GetOptions::new()).await?.body;
        let mut len = 0;
        while let Some(chunk) = body.chunk().await? {
            len += chunk.len();
        }
        Ok(len)
    }
}

/// What users call: with a SHA-256 of the state, which a load compares.
struct Persist(GcsAdapter);

/// Without compression, which no peer has.
fn plain() -> SaveOptions {
    SaveOptions::new().codec(Codec::None)
}

impl Client for Persist {
    async fn put(&self, name: String, bytes: Bytes) -> Result {
        self.0.save_with(bytes, name, plain()).await?;
        Ok(())
    }

    async fn stream(&self, name: String, bytes: Bytes) -> Result {
        self.0.save_body_with(chunked(bytes), name, plain()).await?;
        Ok(())
    }

    async fn get(&self, name: String) -> Result<usize> {
        let mut body = self.0.load_stream(name).await?;
        let mut len = 0;
        while let Some(chunk) = body.chunk().await? {
            len += chunk.len();
        }
        Ok(len)
    }
}

struct Peer(Arc<dyn ObjectStore>);

impl Client for Peer {
    async fn put(&self, name: String, bytes: Bytes) -> Result {
        self.0.put(&Path::parse(name)?, PutPayload::from(bytes)).await?;
        Ok(())
    }

    async fn stream(&self, name: String, bytes: Bytes) -> Result {
        let upload = self.0.put_multipart(&Path::parse(name)?).await?;
        let mut writer = object_store::WriteMultipart::new_with_chunk_size(upload, 8 << 20);
        for at in (0..bytes.len()).step_by(65_536) {
            writer.wait_for_capacity(4).await?;
            writer.write(&bytes[at..bytes.len().min(at + 65_536)]);
        }
        writer.finish().await?;
        Ok(())
    }

    async fn get(&self, name: String) -> Result<usize> {
        let mut body = self.0.get(&Path::parse(name)?).await?.into_stream();
        let mut len = 0;
        while let Some(chunk) = body.try_next().await? {
            len += chunk.len();
        }
        Ok(len)
    }
}

/// Whether a case is to run: all do, unless `CASES` names some.
fn chosen(case: &str) -> bool {
    std::env::var("CASES").map_or(true, |cases| cases.split(',').any(|name| name == case))
}

/// When a case began, and what this process had used by then.
struct Started(Instant, Duration);

impl Started {
    fn now() -> Self {
        Started(Instant::now(), used())
    }
}

/// The processor time of all threads, in user mode and in the kernel.
fn used() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}

async fn run<C: Client>(name: &str, client: Arc<C>, plan: &Plan) -> Result {
    let report = |case: &str, operations: usize, Started(started, before): Started| {
        let (elapsed, used) = (started.elapsed().as_secs_f64(), (used() - before).as_secs_f64());
        println!("{name} {case} {operations} {elapsed:.6} {used:.6}");
    };
    client.put(format!("bench/{name}/warm"), plan.small.clone()).await?;
    if chosen("save-8K") {
        let started = Started::now();
        for i in 0..plan.count {
            client.put(format!("bench/{name}/{i}"), plan.small.clone()).await?;
        }
        report("save-8K", plan.count, started);
    }
    if chosen("load-8K") {
        let started = Started::now();
        for _ in 0..plan.count {
            assert_eq!(client.get(format!("bench/{name}/warm")).await?, plan.small.len());
        }
        report("load-8K", plan.count, started);
    }
    if chosen("save-8K-x16") {
        let (started, next) = (Started::now(), Arc::new(AtomicUsize::new(0)));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let (client, next, count) = (client.clone(), next.clone(), plan.count);
            let (name, small) = (name.to_owned(), plan.small.clone());
            tasks.spawn(async move {
                loop {
                    match next.fetch_add(1, Ordering::Relaxed) {
                        i if i < count => client.put(format!("bench/{name}/{i}"), small.clone()).await?,
                        _ => return Result::Ok(()),
                    }
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        report("save-8K-x16", plan.count, started);
    }
    if chosen("save-large") {
        let started = Started::now();
        for _ in 0..plan.times {
            client.put(format!("bench/{name}/large"), plan.large.clone()).await?;
        }
        report("save-large", plan.times, started);
    }
    if chosen("load-large") {
        client.put(format!("bench/{name}/large"), plan.large.clone()).await?;
        let started = Started::now();
        for _ in 0..plan.times {
            assert_eq!(client.get(format!("bench/{name}/large")).await?, plan.large.len());
        }
        report("load-large", plan.times, started);
    }
    if chosen("stream-large") {
        let started = Started::now();
        for _ in 0..plan.times {
            match client.stream(format!("bench/{name}/stream"), plan.large.clone()).await {
                Ok(()) => {}
                Err(error) => {
                    eprintln!("{name}: stream-large: {error}");
                    return Ok(());
                }
            }
        }
        report("stream-large", plan.times, started);
    }
    Ok(())
}
