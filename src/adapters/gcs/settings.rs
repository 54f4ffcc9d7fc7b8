//! What the configuration and the environment come to.

use std::time::Duration;

use url::Url;

use super::{
    auth::{self, Env, Found},
    encryption::Encryption,
    model,
};
use crate::{Error, ErrorKind, GcsConfig, Result, config::is_googles, transfer::Pace};

/// What the service wants every chunk of a resumable upload but the last to be a multiple of.
pub(super) const QUANTUM: u64 = 256 * 1024;
const MIB: u64 = 1024 * 1024;

/// Checked settings. Two adapters whose settings are equal share one client.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    /// Scheme, host and port, and nothing behind them.
    pub(super) base: Url,
    pub(super) credentials: Found,
    pub(super) project: Option<String>,
    /// The project that the environment wants to be billed, which `project` and not the credentials come
    /// before.
    pub(super) quota_project: Option<String>,
    pub(super) encryption: Encryption,
    pub(super) storage_class: Option<String>,
    /// Longest silence within one attempt.
    pub(super) timeout: Duration,
    pub(super) connect_timeout: Duration,
    /// Bytes of one request of an upload.
    pub(super) chunk: u64,
    /// Ranges of a slow load under way at once.
    pub(super) parallel: usize,
}

impl Settings {
    /// Bytes of one of several ranges of a load. They wait in memory, so it does not grow with the chunks of
    /// uploads.
    pub(super) fn piece(&self) -> u64 {
        self.chunk.min(4 * MIB)
    }

    /// When a load goes on with ranges.
    pub(super) fn pace(&self) -> Pace {
        if self.is_google() { Pace::CLOUD } else { Pace::SERVER }
    }

    /// By how much an answer's `Date` may be ahead of the clock that objects are dated by. At Google's own
    /// both are the service's; elsewhere something between may put its own there.
    pub(super) fn clock_margin(&self) -> Duration {
        Duration::from_secs(if self.is_google() { 1 } else { 60 })
    }

    /// Private endpoints (`storage-NAME.p.googleapis.com`) are Google's too.
    pub(super) fn is_google(&self) -> bool {
        self.base.host_str().is_some_and(|host| host.ends_with(".googleapis.com"))
    }

    /// Checks `config` and adds what the environment says.
    ///
    /// # Errors
    /// `InvalidConfig` that names the setting.
    pub(super) async fn new(config: &GcsConfig, env: Env<'_>) -> Result<Self> {
        let named = config
            .endpoint_url
            .clone()
            .or_else(|| env("STORAGE_EMULATOR_HOST"))
            .filter(|text| !text.is_empty());
        let base = match &named {
            Some(text) => endpoint(text)?,
            None => endpoint("https://storage.googleapis.com")?,
        };
        // Plain http is an emulator: it wants no credentials, and none should go out in clear text because of
        // a variable.
        let emulator = named.is_some() && base.scheme() == "http";
        let chunk = config.chunk_size.unwrap_or(8 * MIB);
        if chunk == 0 || !chunk.is_multiple_of(QUANTUM) || chunk > 1024 * MIB {
            return Err(bad(format!(
                "chunk size {chunk}: use a multiple of 262144 bytes (256 KiB), at most 1 GiB"
            )));
        }
        let parallel = config.parallel.unwrap_or(4);
        if !(1..=64).contains(&parallel) {
            return Err(bad(format!("{parallel} parallel ranges: use 1 to 64")));
        }
        let storage_class = config.storage_class.clone();
        if let Some(class) = storage_class.as_deref().filter(|class| model::tier(class).is_none()) {
            return Err(bad(format!("storage class {class:?}: use STANDARD, NEARLINE, COLDLINE or ARCHIVE")));
        }
        let timeout = config.timeout.unwrap_or(Duration::from_secs(30));
        let connect_timeout = config.connect_timeout.unwrap_or(Duration::from_secs(5));
        if timeout.is_zero() || connect_timeout.is_zero() {
            return Err(bad("a timeout of 0: leave it out for the default".into()));
        }
        Ok(Settings {
            base,
            credentials: auth::discover(config, emulator, env).await?,
            project: config.project.clone(),
            quota_project: env("GOOGLE_CLOUD_QUOTA_PROJECT").filter(|_| !emulator),
            encryption: Encryption::new(config)?,
            storage_class,
            timeout,
            connect_timeout,
            chunk,
            parallel,
        })
    }
}

/// The server's address: emulators are named with and without scheme, and with and without the API's path
/// behind.
fn endpoint(text: &str) -> Result<Url> {
    let wrong = |what: &str| bad(format!("endpoint {text:?} {what}; use for example http://127.0.0.1:4443"));
    let scheme = if is_googles(text) { "https" } else { "http" };
    let whole = if text.contains("://") { text.to_owned() } else { format!("{scheme}://{text}") };
    let mut url: Url = whole.parse().map_err(|_| wrong("is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("is not an http or https URL"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(bad(
            "the endpoint has a user name, password or query; leave only scheme, host and port".into()
        ));
    }
    if !matches!(url.path().trim_end_matches('/'), "" | "/storage/v1" | "/storage/v1/b") {
        return Err(wrong("has a path"));
    }
    url.set_path("");
    url.set_fragment(None);
    Ok(url)
}

fn bad(message: String) -> Error {
    Error::new(ErrorKind::InvalidConfig, message).with_backend("gcs")
}

#[cfg(test)]
mod tests {
    use super::endpoint;

    #[test]
    fn what_is_googles_is_not_asked_in_clear_text_for_want_of_a_scheme() {
        for (text, base) in [
            ("storage-x.p.googleapis.com", "https://storage-x.p.googleapis.com/"),
            ("Storage.GoogleAPIs.com/storage/v1", "https://storage.googleapis.com/"),
            ("storage.googleapis.com:8443", "https://storage.googleapis.com:8443/"),
            // Asked for: a sidecar adds TLS.
            ("http://storage.googleapis.com", "http://storage.googleapis.com/"),
            ("localhost:4443", "http://localhost:4443/"),
            ("[::1]:4443", "http://[::1]:4443/"),
            ("googleapis.com.example.org", "http://googleapis.com.example.org/"),
        ] {
            assert_eq!(endpoint(text).unwrap().as_str(), base, "{text}");
        }
    }
}
