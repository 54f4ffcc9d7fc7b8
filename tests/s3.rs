//! The S3 adapter against every bullet of the contract, on real servers.
#![cfg(all(feature = "s3", feature = "testing"))]
#![allow(clippy::unwrap_used)]

mod support;

use persist::testing::{Suite, conformance};
use support::{
    s3::{LARGE, running},
    s3_server::StrictServer,
};

conformance!(seaweedfs, || async { suite("SEAWEEDFS").await.wide_backslash() });
conformance!(moto, || async { suite("MOTO").await });

conformance!(strict, || async {
    let strict = StrictServer::start().await;
    Suite::new(strict.server.open().await).large(LARGE).content_versions().keep(strict)
});

async fn suite(name: &str) -> Suite {
    Suite::new(running(name).open().await).large(LARGE).content_versions()
}
