//! The S3 adapter: every bullet of the contract on three servers (here), requests counted, faults on the wire.
#![cfg(all(feature = "s3", feature = "testing"))]
#![allow(clippy::unwrap_used)]

mod support;

#[cfg(feature = "cli")]
#[path = "s3/amazon.rs"]
mod amazon;
#[path = "s3/begun.rs"]
mod begun;
#[path = "s3/bench.rs"]
mod bench;
#[cfg(feature = "cli")]
#[path = "s3/credentials.rs"]
mod credentials;
#[cfg(feature = "cli")]
#[path = "s3/doctor.rs"]
mod doctor;
#[path = "s3/doubt.rs"]
mod doubt;
#[path = "s3/errors.rs"]
mod errors;
#[path = "s3/faults.rs"]
mod faults;
#[path = "s3/limits.rs"]
mod limits;
#[path = "s3/options.rs"]
mod options;
#[cfg(feature = "cli")]
#[path = "s3/policy.rs"]
mod policy;
#[path = "s3/probe.rs"]
mod probe;
#[path = "s3/requests.rs"]
mod requests;
#[path = "s3/servers.rs"]
mod servers;
#[cfg(all(feature = "cli", unix))]
#[path = "s3/stopped.rs"]
mod stopped;

use persist::testing::{Suite, conformance};
use support::{
    s3::{LARGE, running},
    s3_server::StrictServer,
};

conformance!(seaweedfs, || async { suite("SEAWEEDFS").await.wide_backslash() });
// Python, and slow: the pages of a long listing are seen on the other two.
conformance!(moto, || async { suite("MOTO").await.objects(150) });

conformance!(strict, || async {
    let strict = StrictServer::start().await;
    Suite::new(strict.server.open().await).large(LARGE).content_versions().keep(strict)
});

async fn suite(name: &str) -> Suite {
    let secret = support::service(&format!("SVC_{name}_SECRET_KEY"));
    Suite::new(running(name).open().await).large(LARGE).content_versions().secret(secret)
}
