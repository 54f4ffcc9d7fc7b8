//! Random faults, the same ones for a seed: whatever goes wrong, a save is whole or not there, and a load is
//! right or an error.

use futures_util::TryStreamExt;
use persist::{
    DeleteOptions, ErrorKind, GcsConfig, ListOptions, PutOptions, RetryConfig, SnapshotAdapter,
    SnapshotAdapterExt, adapters::gcs::GcsAdapter,
};

use crate::{
    strict::{BUCKET, Rules, Server},
    support::{config, data, key, read, retry, streamed},
};

/// `PERSIST_TEST_SEEDS` widens it.
fn seeds() -> u64 {
    std::env::var("PERSIST_TEST_SEEDS").map_or(12, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_over_a_bad_line() {
    for seed in 1..=seeds() {
        let server = Server::with(Rules { tokens: true, page: 3, ..Rules::default() }).await;
        let credentials = server.state().tokens.authorized_user().to_string();
        let config = GcsConfig { credentials_json: Some(credentials.into()), ..config(&server) };
        // Three faults in a row for each kind of request, and some kinds depend on others.
        let patient = RetryConfig { max_attempts: 16, ..retry() };
        let store = GcsAdapter::open(BUCKET, &config, &patient).await.unwrap();
        let sizes = [0, 10, 256 * 1024, 256 * 1024 + 1, 900_000, 1_048_576];
        server.chaos(seed, 30);
        for (i, size) in sizes.into_iter().enumerate() {
            let bytes = data(size, seed + i as u64);
            let name = format!("k{i}");
            let mode = PutOptions::new().create();
            let put = match store.put(&key(&name), persist::Body::from(bytes.clone()), mode).await {
                Ok(put) => put,
                Err(error) => panic!("seed {seed}, {name}: {error:?}"),
            };
            assert_eq!(server.bytes(&name).unwrap(), bytes, "seed {seed}");
            assert_eq!(read(&store, &name).await.unwrap(), bytes, "seed {seed}");
            let again = PutOptions::new().replace(put.version);
            let put = store.put(&key(&name), persist::Body::from(bytes.clone()), again).await.unwrap();
            assert_eq!(store.head(&key(&name)).await.unwrap(), put, "seed {seed}");
        }
        let rows: Vec<_> = store.list(ListOptions::new()).try_collect().await.unwrap();
        assert_eq!(rows.len(), sizes.len(), "seed {seed}");
        for i in 0..sizes.len() {
            store.delete(&key(&format!("k{i}")), DeleteOptions::new()).await.unwrap();
        }
        assert!(server.state().objects.is_empty(), "seed {seed}");
        server.clean();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_leaves_what_was_there() {
    for seed in 1..=seeds() {
        let server = Server::start().await;
        // Few attempts: many operations fail for good.
        let hasty = RetryConfig { max_attempts: 2, ..retry() };
        let store = GcsAdapter::open(BUCKET, &config(&server), &hasty).await.unwrap();
        let (old, new) = (data(700_000, seed), data(700_001, seed + 1));
        store.put(&key("k"), streamed(&old), PutOptions::new()).await.unwrap();
        server.chaos(seed, 60);
        let outcome = store.put(&key("k"), streamed(&new), PutOptions::new()).await;
        let loaded = store.load("k").await;
        server.calm();
        let there = server.bytes("k").unwrap();
        match outcome {
            Ok(_) => assert_eq!(there, new, "seed {seed}"),
            // Where the last answer was lost, both are possible, but nothing in between.
            Err(_) => assert!(there == new || there == old, "seed {seed}: {} bytes", there.len()),
        }
        match loaded {
            Ok(bytes) => assert_eq!(bytes, there, "seed {seed}"),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::RateLimited), "{error}")
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racers_over_a_bad_line_one_wins() {
    for seed in 1..=seeds() {
        let server = Server::start().await;
        let patient = RetryConfig { max_attempts: 16, ..retry() };
        let store = GcsAdapter::open(BUCKET, &config(&server), &patient).await.unwrap();
        server.chaos(seed, 30);
        let racers = (0..6u64).map(|i| {
            let store = store.clone();
            let bytes = data(if i % 2 == 0 { 1000 } else { 300_000 }, i);
            tokio::spawn(async move {
                let outcome = store.put(&key("k"), streamed(&bytes), PutOptions::new().create()).await;
                (bytes, outcome)
            })
        });
        let outcomes = futures_util::future::try_join_all(racers).await.unwrap();
        let winners: Vec<_> = outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).collect();
        assert_eq!(winners.len(), 1, "seed {seed}");
        assert_eq!(server.bytes("k").unwrap(), winners[0].0, "seed {seed}");
        for (_, outcome) in &outcomes {
            if let Err(error) = outcome {
                assert_eq!(error.kind(), ErrorKind::AlreadyExists, "seed {seed}: {error}");
            }
        }
    }
}
