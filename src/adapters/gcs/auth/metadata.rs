//! The metadata server of Google's machines: tokens of the account that the machine runs as.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use reqwest::StatusCode;
use tokio::time::Instant;
use url::Url;

use super::{
    Env, Fetched, bad_credentials,
    oauth::{self, Advice},
    unauthenticated,
};
use crate::{Error, ErrorKind, Result, lock::lock};

const HOST: &str = "metadata.google.internal";
const PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
/// It is link-local and answers within milliseconds; where there is none, nobody should wait for it.
const QUIET: Duration = Duration::from_secs(3);
/// So long a server that is not there is not asked again, where none is expected.
const ABSENT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct MetadataServer {
    host: String,
    url: Url,
    /// Whether there should be one. Then it is waited for: a pod may start before its metadata server does.
    expected: bool,
    /// When it was last found absent, where none is expected.
    absent: Mutex<Option<Instant>>,
}

/// Whether this is one of Google's machines, as far as it can be told without asking anybody.
pub(super) async fn expected(env: Env<'_>) -> bool {
    let set = ["GCE_METADATA_HOST", "K_SERVICE", "CLOUD_RUN_JOB", "GAE_SERVICE"]
        .iter()
        .any(|name| env(name).is_some());
    // The firmware's word, on Linux; in containers as well.
    set || tokio::fs::read_to_string("/sys/class/dmi/id/product_name")
        .await
        .is_ok_and(|name| name.starts_with("Google"))
}

impl MetadataServer {
    /// The server at `host` (`GCE_METADATA_HOST`, with or without a port), or at its usual name.
    pub(super) fn new(host: Option<String>, expected: bool) -> Result<Self> {
        let host = host.unwrap_or_else(|| HOST.into());
        let odd = || {
            bad_credentials(format!(
                "GCE_METADATA_HOST={host:?} is not a host name; set for example {HOST}, without http:// and path"
            ))
        };
        let url = Url::parse(&format!("http://{host}{PATH}")).map_err(|_| odd())?;
        let plain = url.path() == PATH && url.query().is_none() && url.username().is_empty();
        if plain && url.fragment().is_none() && url.password().is_none() {
            Ok(MetadataServer { host, url, expected, absent: Mutex::default() })
        } else {
            Err(odd())
        }
    }

    pub(super) async fn fetch(&self, direct: &reqwest::Client) -> Result<Fetched> {
        if self.known_absent().is_some_and(|since| since.elapsed() < ABSENT) {
            return Err(self.nothing_found());
        }
        let request = direct
            .get(self.url.clone())
            .query(&[("scopes", super::SCOPE)])
            .header("Metadata-Flavor", "Google");
        match oauth::ask(request, None, QUIET, of_a_machine).await {
            Ok((headers, body)) => {
                if headers.get("metadata-flavor").is_some_and(|is| is == "Google") {
                    oauth::token(&body)
                } else {
                    Err(unauthenticated(format!(
                        "what answers at {} is not Google's metadata server; use a credentials file",
                        self.host
                    )))
                }
            }
            Err(error) if absent(&error) => {
                if !self.expected {
                    *self.known_absent() = Some(Instant::now());
                }
                Err(self.nothing_found().with_source(error))
            }
            Err(error) => Err(error),
        }
    }

    fn known_absent(&self) -> MutexGuard<'_, Option<Instant>> {
        lock(&self.absent)
    }

    fn nothing_found(&self) -> Error {
        unauthenticated(format!(
            "no Google credentials: set PERSIST_GCS_CREDENTIALS_PATH or GOOGLE_APPLICATION_CREDENTIALS to a credentials file, or run \
             `gcloud auth application-default login` (there is no metadata server at {} either)",
            self.host
        ))
        .with_retryable(self.expected)
    }
}

fn of_a_machine(_: StatusCode) -> Advice {
    (ErrorKind::Unauthenticated, "attach a service account to this machine or pod")
}

/// No answer at all: in all likelihood this is not one of Google's machines.
fn absent(error: &Error) -> bool {
    error.kind() == ErrorKind::Timeout
        || std::error::Error::source(error)
            .and_then(|source| source.downcast_ref::<reqwest::Error>())
            .is_some_and(reqwest::Error::is_connect)
}

#[cfg(test)]
#[path = "metadata_tests.rs"]
mod tests;
