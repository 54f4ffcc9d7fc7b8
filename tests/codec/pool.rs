//! Threads that take work in another order than that in which it came.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use persist::{Body, LoadOptions, SaveOptions, SnapshotAdapterExt};

use crate::store::{SEGMENT, Store, noise};

const CHILD: &str = "PERSIST_TEST_POOL_CHILD";

/// Many streams on few threads of a runtime whose queue is not first in, first out.
#[test]
fn streams_go_on_whatever_work_the_threads_take_first() {
    if std::env::var_os(CHILD).is_some() {
        return streams();
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "pool::streams_go_on_whatever_work_the_threads_take_first"])
        .env(CHILD, "1")
        .env("TOKIO_UNSTABLE_SHARDED_BLOCKING_QUEUE", "1")
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(900);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return assert!(status.success());
        }
        if Instant::now() > end {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the streams wait for each other");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn streams() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let raw = noise(6 * SEGMENT);
        let tasks = (0..16).map(|task| {
            let raw = raw.clone();
            tokio::spawn(async move {
                let store = Store::new(1 << 16);
                for codec in ["gzip:1", "none"] {
                    let chunks = raw.chunks(SEGMENT).map(|chunk| Ok(chunk.to_vec().into()));
                    let body = Body::from_stream(futures_util::stream::iter(chunks.collect::<Vec<_>>()));
                    let options = SaveOptions::new().codec(codec.parse().unwrap());
                    store.save_body_with(body, "key", options).await.unwrap();
                    let options = LoadOptions::new().verify_digest();
                    let mut body = store.load_stream_with("key", options).await.unwrap();
                    let mut read = 0;
                    while let Some(chunk) = body.chunk().await.unwrap() {
                        read += chunk.len();
                    }
                    assert_eq!(read, raw.len(), "{task}: {codec}");
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}
