use super::*;
use crate::{GcsConfig, GetOptions, RetryConfig, adapters::gcs::GcsAdapter};

/// The future of an operation is allocated and moved as a whole, with all branches that are never taken. From
/// about 1 KiB on each allocation takes a lock that threads share, so what is rare is boxed.
#[tokio::test]
async fn the_futures_of_small_operations_are_small() {
    let config = GcsConfig { anonymous: true, ..GcsConfig::default() };
    let bucket = GcsAdapter::open("states", &config, &RetryConfig::default()).await.unwrap().0;
    let key = Key::new("k").unwrap();
    let put = size_of_val(&bucket.put(&key, Body::empty(), PutOptions::new()));
    let get = size_of_val(&bucket.get(&key, GetOptions::new()));
    let send = size_of_val(&bucket.client.send(bucket.metadata(&key)));
    assert!(put <= 3300 && get <= 3600 && send <= 1500, "put {put}, get {get}, send {send}");
}
