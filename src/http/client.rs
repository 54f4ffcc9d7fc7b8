//! The HTTP client of all backends that speak HTTP.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use reqwest::redirect::Policy;
use rustls::{ClientConfig, crypto::ring};

use crate::{Error, ErrorKind, Result, tls};

/// A client with a pool of connections of its own.
///
/// - HTTP/1.1: several connections carry more than the streams of one.
/// - No redirects: 308 is an answer of the upload protocols, and a token must not follow a `Location`.
/// - No decompression, said aloud: cargo unifies features, so any crate in the tree could turn it on.
/// - `proxy` false ignores `HTTP_PROXY` and its kin: link-local servers are not behind one.
pub(crate) fn client(connect_timeout: Duration, proxy: bool) -> Result<reqwest::Client> {
    let mut config = config()?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .http1_only()
        .redirect(Policy::none())
        // It would repeat what HTTP/2 refuses, and copies every request for that.
        .retry(reqwest::retry::never().max_retries_per_request(0))
        .referer(false)
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        .user_agent(concat!("agent-persist/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(connect_timeout)
        .pool_idle_timeout(Duration::from_secs(60));
    if !proxy {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| {
        Error::new(ErrorKind::Internal, "the http client cannot be built").with_source(error)
    })
}

/// TLS as every client here speaks it. The certificates of the system are read once for each process.
fn config() -> Result<ClientConfig> {
    static CONFIG: OnceLock<ClientConfig> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let config = new_config()?;
    Ok(CONFIG.get_or_init(|| config).clone())
}

/// The provider is handed over: a library must not install one for the whole process.
fn new_config() -> Result<ClientConfig> {
    let mut roots = tls::system_roots().clone();
    if roots.is_empty() {
        // Slim containers have no certificates of their own.
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Internal, "tls cannot be set up").with_source(error))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
