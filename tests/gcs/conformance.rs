//! The conformance suite on the strict server and on fake-gcs-server.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use persist::{
    GcsConfig,
    adapters::gcs::GcsAdapter,
    testing::{self, Suite},
};

use crate::{
    strict::Server,
    support::{config, open, retry},
};

persist::testing::conformance!(strict, || async {
    let server = Server::start().await;
    let store = open(&server).await;
    Suite::new(store).keep(server)
});

/// Where fake-gcs-server 1.54 is wrong. These cases run on the strict server instead.
const FAKE_IS_WRONG: &[(&str, &str)] = &[
    ("create_race_of_large_bodies_has_one_winner", "ignores ifGenerationMatch on resumable uploads"),
    ("replace_race_of_large_bodies_has_one_winner", "ignores ifGenerationMatch on resumable uploads"),
    ("delete_checks_the_version", "ignores ifGenerationMatch on deletes"),
    ("delete_never_takes_a_recreated_object_for_the_old_one", "ignores ifGenerationMatch on deletes"),
    ("delete_race_with_replaces_has_one_winner", "ignores ifGenerationMatch on deletes"),
    ("set_tier_keeps_the_content_or_is_unsupported", "keeps the storage class on rewrites"),
    ("set_tier_keeps_everything_else", "keeps the storage class on rewrites"),
];

/// Every case on fake-gcs-server, an independent witness.
#[tokio::test(flavor = "multi_thread")]
async fn fake_gcs_server_passes_but_for_what_it_is_known_not_to_do() {
    let env = |name| {
        std::env::var(name).unwrap_or_else(|_| {
            panic!("{name} is not set: run `eval \"$(scripts/services up fakegcs)\"` first")
        })
    };
    let (endpoint, bucket) = (env("SVC_FAKEGCS_ENDPOINT"), env("SVC_FAKEGCS_BUCKET"));
    let gcs = GcsConfig {
        endpoint_url: Some(endpoint),
        chunk_size: Some(1024 * 1024),
        timeout: Some(Duration::from_secs(20)),
        ..GcsConfig::default()
    };
    for (name, why) in FAKE_IS_WRONG {
        assert!(testing::case_names().any(|case| case == *name), "{name} is no case");
        println!("{name}: on the strict server, because fake-gcs-server {why}");
    }
    let failures: Vec<String> = stream::iter(testing::case_names())
        .map(|name| {
            let (gcs, bucket) = (gcs.clone(), bucket.clone());
            async move {
                let outcome = if FAKE_IS_WRONG.iter().any(|(wrong, _)| *wrong == name) {
                    let server = Server::start().await;
                    let store =
                        GcsAdapter::open(crate::strict::BUCKET, &config(&server), &retry()).await.unwrap();
                    testing::case(name, Suite::new(store).keep(server)).await
                } else {
                    let store = GcsAdapter::open(&bucket, &gcs, &retry()).await.unwrap();
                    testing::case(name, Suite::new(store)).await
                };
                outcome.err().map(|failure| format!("{name}: {failure}"))
            }
        })
        .buffer_unordered(4)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
