//! One round of one client: prints `CLIENT CASE OPERATIONS SECONDS` lines. `scripts/bench-gcs` runs it.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, gcp::GoogleCloudStorageBuilder, path::Path};
use persist::{
    Body, GcsConfig, GetOptions, Key, PutOptions, RetryConfig, SnapshotAdapter, adapters::gcs::GcsAdapter,
};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The sizes: small states one after another, small ones 16 at a time, and one large one.
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

#[tokio::main]
async fn main() -> Result {
    let mut args = std::env::args().skip(1);
    let (client, endpoint, bucket) = (args.next(), args.next(), args.next());
    let (Some(client), Some(endpoint), Some(bucket)) = (client, endpoint, bucket) else {
        return Err("usage: bench-gcs persist|object_store ENDPOINT BUCKET".into());
    };
    let plan = Plan {
        small: data(8 * 1024),
        count: number("COUNT", 400),
        large: data(number("LARGE_MIB", 64) << 20),
        times: number("TIMES", 4),
    };
    match client.as_str() {
        "persist" => {
            let config = GcsConfig { endpoint_url: Some(endpoint), anonymous: true, ..GcsConfig::default() };
            let store = GcsAdapter::open(&bucket, &config, &RetryConfig::default()).await?;
            run("persist", Arc::new(Persist(store)), &plan).await
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

trait Client: Send + Sync + 'static {
    fn put(&self, name: String, bytes: Bytes) -> impl Future<Output = Result> + Send;
    /// From a stream of unknown length, in chunks of 64 KiB.
    fn stream(&self, name: String, bytes: Bytes) -> impl Future<Output = Result> + Send;
    fn get(&self, name: String) -> impl Future<Output = Result<usize>> + Send;
}

struct Persist(GcsAdapter);

impl Client for Persist {
    async fn put(&self, name: String, bytes: Bytes) -> Result {
        self.0.put(&Key::new(name)?, Body::from(bytes), PutOptions::new()).await?;
        Ok(())
    }

    async fn stream(&self, name: String, bytes: Bytes) -> Result {
        let chunks =
            (0..bytes.len()).step_by(65_536).map(move |at| Ok(bytes.slice(at..bytes.len().min(at + 65_536))));
        self.0.put(&Key::new(name)?, Body::from_stream(stream::iter(chunks)), PutOptions::new()).await?;
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

async fn run<C: Client>(name: &str, client: Arc<C>, plan: &Plan) -> Result {
    let report = |case: &str, operations: usize, started: Instant| {
        println!("{name} {case} {operations} {:.6}", started.elapsed().as_secs_f64());
    };
    client.put(format!("bench/{name}/warm"), plan.small.clone()).await?;
    let started = Instant::now();
    for i in 0..plan.count {
        client.put(format!("bench/{name}/{i}"), plan.small.clone()).await?;
    }
    report("save-8K", plan.count, started);
    let started = Instant::now();
    for i in 0..plan.count {
        assert_eq!(client.get(format!("bench/{name}/{i}")).await?, plan.small.len());
    }
    report("load-8K", plan.count, started);
    let started = Instant::now();
    let all =
        stream::iter(0..plan.count).map(|i| client.put(format!("bench/{name}/{i}"), plan.small.clone()));
    all.buffer_unordered(16).try_collect::<()>().await?;
    report("save-8K-x16", plan.count, started);
    let started = Instant::now();
    for _ in 0..plan.times {
        client.put(format!("bench/{name}/large"), plan.large.clone()).await?;
    }
    report("save-large", plan.times, started);
    let started = Instant::now();
    for _ in 0..plan.times {
        assert_eq!(client.get(format!("bench/{name}/large")).await?, plan.large.len());
    }
    report("load-large", plan.times, started);
    let started = Instant::now();
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
    Ok(())
}
