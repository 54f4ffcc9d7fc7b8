//! Who the requests come from.
//!
//! - `source`: finds the credentials and dispatches on their `type`
//! - `cache`: one token for all requests: fetched once, renewed early, replaced after a 401
//! - `oauth`: one exchange with a token endpoint
//! - `service_account` with `signer`, `authorized_user`, `external_account`, `impersonated`, `metadata`: one
//!   way to a token each

mod authorized_user;
mod cache;
mod external_account;
mod fields;
mod impersonated;
mod metadata;
mod oauth;
mod service_account;
mod signer;
mod source;

pub(super) use cache::{Auth, Token};
pub(super) use source::{Credentials, Env, Found, discover};

use std::time::Duration;

use crate::{Error, ErrorKind, Secret};

/// Reading, writing, listing, deleting and rewriting objects, and nothing more: no access lists, no bucket
/// settings.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";
/// What Google's IAM wants to see in a token that stands for another account.
const IAM_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// A new access token.
#[derive(Debug)]
struct Fetched {
    token: Secret,
    lifetime: Duration,
}

fn unauthenticated(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unauthenticated, message).with_backend("gcs")
}

fn bad_credentials(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message).with_backend("gcs")
}
