//! One save or load of one file by one client: prints `SECONDS PEAK_MIB`. `scripts/bench-s3` runs it.

use std::{sync::Arc, time::Instant};

use futures_util::TryStreamExt;
use object_store::{
    ObjectStore, ObjectStoreExt, WriteMultipart,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};
use persist::{Body, Codec, RetryConfig, S3Config, SaveOptions, SnapshotAdapterExt, adapters::s3::S3Adapter};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn variable(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| format!("{name} is not set").into())
}

#[tokio::main]
async fn main() -> Result {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [client, operation, name, file] = &args[..] else {
        return Err("usage: bench-s3 persist|persist-gzip|object_store save|load NAME FILE".into());
    };
    let seconds = match client.as_str() {
        "object_store" => peer(operation, name, file).await?,
        "persist" => persist(operation, name, file, Codec::None).await?,
        _ => persist(operation, name, file, Codec::default()).await?,
    };
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
    println!("{seconds:.3} {}", peak.unwrap_or(0) / 1024);
    Ok(())
}

async fn persist(operation: &str, name: &str, file: &str, codec: Codec) -> Result<f64> {
    let config = S3Config {
        endpoint_url: Some(variable("SVC_SEAWEEDFS_ENDPOINT")?),
        region: Some(variable("SVC_SEAWEEDFS_REGION")?),
        access_key_id: Some(variable("SVC_SEAWEEDFS_ACCESS_KEY")?.into()),
        secret_access_key: Some(variable("SVC_SEAWEEDFS_SECRET_KEY")?.into()),
        ..S3Config::default()
    };
    let store = S3Adapter::open(&variable("SVC_SEAWEEDFS_BUCKET")?, &config, &RetryConfig::default()).await?;
    let started = Instant::now();
    if operation == "save" {
        let body = Body::from_reader(tokio::fs::File::open(file).await?);
        store.save_body_with(body, name, SaveOptions::new().codec(codec)).await?;
    } else {
        // As the peers write it: neither synced nor renamed.
        let reader = store.load_stream(name).await?;
        reader.copy_to(std::fs::File::create(file)?).await?;
    }
    Ok(started.elapsed().as_secs_f64())
}

async fn peer(operation: &str, name: &str, file: &str) -> Result<f64> {
    let store: AmazonS3 = AmazonS3Builder::new()
        .with_endpoint(variable("SVC_SEAWEEDFS_ENDPOINT")?)
        .with_region(variable("SVC_SEAWEEDFS_REGION")?)
        .with_access_key_id(variable("SVC_SEAWEEDFS_ACCESS_KEY")?)
        .with_secret_access_key(variable("SVC_SEAWEEDFS_SECRET_KEY")?)
        .with_bucket_name(variable("SVC_SEAWEEDFS_BUCKET")?)
        .with_allow_http(true)
        .build()?;
    let (store, path): (Arc<dyn ObjectStore>, _) = (Arc::new(store), Path::parse(name)?);
    let started = Instant::now();
    if operation == "save" {
        let mut source = tokio::fs::File::open(file).await?;
        let mut writer = WriteMultipart::new_with_chunk_size(store.put_multipart(&path).await?, 8 << 20);
        let mut buffer = vec![0; 1 << 20];
        loop {
            let len = source.read(&mut buffer).await?;
            if len == 0 {
                break;
            }
            writer.wait_for_capacity(4).await?;
            writer.write(&buffer[..len]);
        }
        writer.finish().await?;
    } else {
        let mut body = store.get(&path).await?.into_stream();
        let mut out = tokio::fs::File::create(file).await?;
        while let Some(chunk) = body.try_next().await? {
            out.write_all(&chunk).await?;
        }
        out.flush().await?;
    }
    Ok(started.elapsed().as_secs_f64())
}
