//! One SDK client per configuration, shared by everything in the process that uses it.

use std::{
    collections::HashMap,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use aws_config::{BehaviorVersion, ConfigLoader, Region, timeout::TimeoutConfig};
use aws_sdk_s3::{
    Client,
    config::{
        Credentials, RequestChecksumCalculation, ResponseChecksumValidation, SharedCredentialsProvider,
        StalledStreamProtectionConfig, retry::RetryConfig as SdkRetries,
    },
};
use aws_smithy_http_client::{Connector, proxy::ProxyConfig, tls};
use aws_types::service_config::ServiceConfigKey;

use futures_util::FutureExt;

use super::{
    amazon::is_s3,
    fail::fail,
    keys::{Checked, UNFIT, fits},
    server::Probes,
    settings::{Checksums, Settings, check_endpoint},
};
use crate::{ErrorKind, Result, RetryBudget, S3Config, lock::lock, tls::system_roots};

/// A client and what belongs to it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) settings: Settings,
    /// The server, if it is not S3 itself.
    pub(super) endpoint: Option<String>,
    /// The region that requests are signed for.
    pub(super) region: String,
    /// Whether requests carry CRC32 checksums.
    pub(super) checksums: bool,
    /// Whether large uploads carry that of the whole object.
    pub(super) whole_checksums: bool,
    pub(super) budget: Arc<RetryBudget>,
    /// By bucket, so that each server is probed once.
    probes: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Probes>>>>,
}

impl Shared {
    /// What was found in this bucket.
    pub(super) fn probes(&self, bucket: &str) -> Arc<tokio::sync::Mutex<Probes>> {
        let mut probes = lock(&self.probes);
        probes.entry(bucket.into()).or_default().clone()
    }
}

/// What decides whether a client can be used again. Connections belong to the runtime that opened them, and
/// the SDK's credential chain reads the environment and the shared files once.
#[derive(PartialEq)]
struct Identity {
    config: S3Config,
    runtime: tokio::runtime::Id,
    environment: Vec<(OsString, OsString)>,
    files: Vec<Option<(u64, SystemTime)>>,
}

/// The newest clients. A process has a handful of configurations; the bound is for tests that open hundreds.
static CLIENTS: Mutex<Vec<(Identity, Arc<Shared>)>> = Mutex::new(Vec::new());
const MOST_CLIENTS: usize = 16;

/// The client for this configuration.
///
/// # Errors
/// `InvalidConfig` that names the setting.
pub(super) async fn shared(config: &S3Config) -> Result<Arc<Shared>> {
    let settings = Settings::new(config)?;
    let environment: Vec<_> = std::env::vars_os()
        .filter(|(name, _)| {
            name.to_str().is_some_and(|name| {
                name.starts_with("AWS_")
                    || matches!(name, "HOME" | "USERPROFILE")
                    || name.to_ascii_uppercase().ends_with("_PROXY")
            })
        })
        .collect();
    let identity = Identity {
        config: config.clone(),
        runtime: tokio::runtime::Handle::current().id(),
        files: shared_files(&environment),
        environment,
    };
    let find = |clients: &[(Identity, Arc<Shared>)]| {
        clients.iter().find(|(i, _)| *i == identity).map(|(_, shared)| shared.clone())
    };
    let known = find(&lock(&CLIENTS));
    if let Some(shared) = known {
        return Ok(shared);
    }
    // Boxed: the SDK's futures nest so deep that a caller's compiler would give up on them.
    let built = Arc::new(build(config, settings).boxed().await?);
    let mut clients = lock(&CLIENTS);
    if let Some(shared) = find(&clients) {
        return Ok(shared); // another task was faster
    }
    if clients.len() >= MOST_CLIENTS {
        clients.remove(0);
    }
    clients.push((identity, built.clone()));
    Ok(built)
}

/// How the SDK's shared files are now: keys that others renew there are found by whoever opens an adapter
/// behind that.
fn shared_files(environment: &[(OsString, OsString)]) -> Vec<Option<(u64, SystemTime)>> {
    let variable = |name: &str| environment.iter().find(|(found, _)| found == name).map(|(_, value)| value);
    let home = variable("HOME").or_else(|| variable("USERPROFILE"));
    [("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")]
        .into_iter()
        .map(|(name, file)| {
            let path: PathBuf = match variable(name) {
                Some(path) => path.into(),
                None => Path::new(home?).join(".aws").join(file),
            };
            let found = path.metadata().ok()?;
            Some((found.len(), found.modified().ok()?))
        })
        .collect()
}

/// What the SDK is given: everything else it finds by itself.
fn loader(config: &S3Config, settings: &Settings) -> ConfigLoader {
    let http = aws_smithy_http_client::Builder::new().build_with_connector_fn(|settings, components| {
        // Without a certificate of the system, the SDK would panic in a debug build, also where no TLS is
        // spoken.
        let store = tls::TrustStore::empty().with_native_roots(!system_roots().is_empty());
        let context = tls::TlsContext::builder().with_trust_store(store).build();
        let mut connector = Connector::builder()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            // HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, as everything else does.
            .proxy_config(ProxyConfig::from_env());
        if let Ok(context) = context {
            connector.set_tls_context(context);
        }
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector.build()
    });
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        // All attempts are counted in one place, which is ours: the SDK's own retries would multiply them.
        .retry_config(SdkRetries::disabled())
        // Silence ends by our own timeouts, which do not take a slow reader for a stalled server.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(settings.connect_timeout).build());
    if let Some(profile) = &config.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(url) = &config.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    if config.anonymous {
        loader = loader.no_credentials();
    } else if let (Some(id), Some(secret)) = (&config.access_key_id, &config.secret_access_key) {
        let token = config.session_token.as_ref().map(|token| token.expose().to_string());
        let keys = Credentials::new(id.expose(), secret.expose(), token, None, "persist");
        loader = loader.credentials_provider(SharedCredentialsProvider::new(keys));
    }
    loader
}

async fn build(config: &S3Config, settings: Settings) -> Result<Shared> {
    let mut sdk = loader(config, &settings).load().await;
    if let Some(chain) = sdk.credentials_provider() {
        let checked = SharedCredentialsProvider::new(Checked(chain));
        sdk = sdk.into_builder().credentials_provider(checked).build();
    }
    let endpoint = configured_endpoint(config, &sdk)?;

    let supported = |variable, profile| {
        let chosen = chosen(&sdk, variable, profile)?;
        Some(chosen.eq_ignore_ascii_case("when_supported"))
    };
    let asked = settings.checksums.map(|asked| asked != Checksums::Required);
    // Many servers that speak the S3 API refuse the newer checksum headers.
    let checksums = asked
        .or_else(|| supported("AWS_REQUEST_CHECKSUM_CALCULATION", "request_checksum_calculation"))
        .unwrap_or(endpoint.is_none());
    let compared = asked
        .or_else(|| supported("AWS_RESPONSE_CHECKSUM_VALIDATION", "response_checksum_validation"))
        .unwrap_or(checksums);
    let region = sdk.region().map_or("us-east-1", |region| region.as_ref()).to_string();
    if !fits(&region) {
        let message = format!("region (here or in AWS_REGION or the profile): it {UNFIT}");
        return Err(fail(ErrorKind::InvalidConfig, message));
    }
    let mut builder = aws_sdk_s3::config::Builder::from(&sdk)
        .region(Region::new(region.clone()))
        .force_path_style(config.path_style.unwrap_or(endpoint.is_some()))
        .request_checksum_calculation(if checksums {
            RequestChecksumCalculation::WhenSupported
        } else {
            RequestChecksumCalculation::WhenRequired
        })
        .response_checksum_validation(if compared {
            ResponseChecksumValidation::WhenSupported
        } else {
            ResponseChecksumValidation::WhenRequired
        });
    if config.anonymous {
        builder = builder.allow_no_auth();
    }
    // Servers that take checksums of parts do not all know this one, which is younger.
    let whole_checksums = checksums && (endpoint.is_none() || settings.checksums == Some(Checksums::Whole));
    Ok(Shared {
        client: Client::from_conf(builder.build()),
        settings,
        endpoint,
        region,
        checksums,
        whole_checksums,
        budget: Arc::default(),
        probes: Default::default(),
    })
}

/// The server that requests go to if it is not Amazon's: from our configuration, or where the SDK looks
/// (`AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, the profile).
fn configured_endpoint(config: &S3Config, sdk: &aws_config::SdkConfig) -> Result<Option<String>> {
    let of_service = || chosen(sdk, "AWS_ENDPOINT_URL", "endpoint_url");
    let url = config.endpoint_url.clone().or_else(of_service).or_else(|| sdk.endpoint_url().map(Into::into));
    url.as_deref().map(check_endpoint).transpose()?;
    Ok(url.filter(|url| {
        // S3's own addresses (VPC endpoints, FIPS, dual stack) keep Amazon's promises.
        let url = url::Url::parse(url).ok();
        !url.as_ref().and_then(url::Url::host_str).is_some_and(is_s3)
    }))
}

/// A setting of the SDK's environment and profile, which it does not tell from its own default.
fn chosen(sdk: &aws_config::SdkConfig, variable: &'static str, profile: &'static str) -> Option<String> {
    let key = ServiceConfigKey::builder().service_id("S3").env(variable).profile(profile).build().ok()?;
    sdk.service_config()?.load_config(key)
}

impl Shared {
    /// How long a server may be silent before it answers a request that moves no data.
    pub(super) fn silence_limit(&self) -> Duration {
        self.settings.attempt_timeout.min(self.settings.read_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewed_keys_make_another_client() {
        let home = tempfile::tempdir().unwrap();
        let elsewhere = home.path().join("elsewhere");
        let mut environment = vec![("HOME".into(), home.path().into())];
        assert_eq!(shared_files(&environment), [None, None]);
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        std::fs::write(home.path().join(".aws/credentials"), "[default]").unwrap();
        let first = shared_files(&environment);
        assert!(first[0].is_none() && first[1].is_some());
        assert_eq!(shared_files(&environment), first);
        std::fs::write(home.path().join(".aws/credentials"), "[default]\nnew").unwrap();
        assert_ne!(shared_files(&environment), first);
        std::fs::write(&elsewhere, "[default]").unwrap();
        environment.push(("AWS_CONFIG_FILE".into(), elsewhere.into()));
        assert!(shared_files(&environment)[0].is_some());
    }
}
