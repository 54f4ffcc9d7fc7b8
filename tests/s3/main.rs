//! The S3 adapter: every bullet of the contract on three servers (here), requests counted, faults on the
//! wire.
#![cfg(all(feature = "s3", feature = "testing"))]
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "cli")]
mod amazon;
mod bench;
mod between;
#[cfg(feature = "cli")]
mod credentials;
#[cfg(feature = "cli")]
mod doctor;
mod doubt;
mod errors;
mod faults;
mod foreign;
mod limits;
mod open_upload;
mod options;
#[cfg(feature = "cli")]
mod policy;
mod probe;
mod ranges;
mod requests;
mod servers;
#[cfg(all(feature = "cli", unix))]
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
    Suite::new(strict.server.open().await).large(LARGE).content_versions().dated_when_begun().keep(strict)
});

async fn suite(name: &str) -> Suite {
    let secret = support::service(&format!("SVC_{name}_SECRET_KEY"));
    Suite::new(running(name).open().await).large(LARGE).content_versions().dated_when_begun().secret(secret)
}
