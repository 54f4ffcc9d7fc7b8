//! The metadata server of Google's machines: tokens of the account that the machine runs as.

use std::time::Duration;

use url::Url;

use super::{Fetched, bad_credentials, oauth, unauthenticated};
use crate::{Error, ErrorKind, Result};

const HOST: &str = "metadata.google.internal";
/// It is link-local and answers within milliseconds; where there is none, nobody should wait for it.
const QUIET: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct MetadataServer {
    host: String,
    url: Url,
}

impl MetadataServer {
    /// The server at `host` (`GCE_METADATA_HOST`, with or without a port), or at its usual name.
    pub(super) fn new(host: Option<String>) -> Result<Self> {
        let host = host.unwrap_or_else(|| HOST.into());
        let path = "computeMetadata/v1/instance/service-accounts/default/token";
        let url = Url::parse(&format!("http://{host}/{path}"))
            .map_err(|_| bad_credentials(format!("GCE_METADATA_HOST={host:?} is not a host name")))?;
        Ok(MetadataServer { host, url })
    }

    pub(super) async fn fetch(&self, direct: &reqwest::Client) -> Result<Fetched> {
        let request = direct
            .get(self.url.clone())
            .query(&[("scopes", super::SCOPE)])
            .header("Metadata-Flavor", "Google");
        match oauth::ask(request, None, QUIET).await {
            Ok(body) => oauth::token(&body),
            Err(error) if error.kind() == ErrorKind::Unauthenticated => Err(self.no_account(error)),
            Err(error) if self.absent(&error) => Err(self.nothing_found(error)),
            Err(error) => Err(error),
        }
    }

    /// No answer at all: in all likelihood this is not one of Google's machines.
    fn absent(&self, error: &Error) -> bool {
        error.kind() == ErrorKind::Timeout
            || std::error::Error::source(error)
                .and_then(|source| source.downcast_ref::<reqwest::Error>())
                .is_some_and(reqwest::Error::is_connect)
    }

    fn nothing_found(&self, error: Error) -> Error {
        unauthenticated(format!(
            "no Google credentials: set PERSIST_GCS_CREDENTIALS_PATH or GOOGLE_APPLICATION_CREDENTIALS to a credentials file, or run \
             `gcloud auth application-default login` (there is no metadata server at {} either)",
            self.host
        ))
        // A pod may start before its metadata server does.
        .with_retryable(true)
        .with_source(error)
    }

    fn no_account(&self, error: Error) -> Error {
        unauthenticated("the metadata server gives no token; attach a service account to this machine or pod")
            .with_source(error)
    }
}
