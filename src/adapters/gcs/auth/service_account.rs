//! A service account's key: a signed claim (RFC 7523) in exchange for a token. `yup-oauth2` signs and exchanges.
//!
//! That crate writes claims and tokens to the `log` facade at level debug. Nothing in persist listens to that facade; a program that
//! does must switch the target `yup_oauth2` off, which the first fetch points out.

use std::time::{Duration, SystemTime};

use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use url::Url;
use yup_oauth2::{
    CustomHyperClientBuilder, ServiceAccountAuthenticator, ServiceAccountKey,
    authenticator::Authenticator,
    error::{AuthErrorCode, Error as OAuthError},
    hyper_rustls::{HttpsConnector, HttpsConnectorBuilder},
};

use super::{Fetched, bad_credentials, fields::Fields, unauthenticated};
use crate::{
    Error, ErrorKind, Result,
    http::{self, redact},
};

const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
/// Longest wait for the token endpoint.
const TIMEOUT: Duration = Duration::from_secs(15);

type Connector = HttpsConnector<HttpConnector>;

pub(super) struct ServiceAccount {
    authenticator: Authenticator<Connector>,
    email: String,
    scope: &'static str,
}

impl std::fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServiceAccount({})", self.email)
    }
}

impl ServiceAccount {
    pub(super) async fn new(fields: Fields<'_>, scope: &'static str) -> Result<Self> {
        // Checked here: the crate would panic on a URL that is none.
        let token_uri: Url =
            super::fields::secure("token_uri", fields.optional("token_uri").unwrap_or(TOKEN_URI))?;
        let email = fields.text("client_email")?.to_owned();
        let key = ServiceAccountKey {
            key_type: None,
            project_id: None,
            private_key_id: fields.optional("private_key_id").map(Into::into),
            private_key: fields.text("private_key")?.into(),
            client_email: email.clone(),
            client_id: None,
            auth_uri: None,
            token_uri: token_uri.into(),
            auth_provider_x509_cert_url: None,
            client_x509_cert_url: None,
        };
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(http::tls()?).https_or_http().enable_http1().build();
        // No idle connections: a token is fetched once an hour.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        let client = CustomHyperClientBuilder::from(client);
        let builder = ServiceAccountAuthenticator::with_client(key, client);
        let authenticator = builder.build().await.map_err(|error| {
            bad_credentials(
                "`private_key` in the credentials is not an RSA key in PEM form; download the key file anew",
            )
            .with_source(error)
        })?;
        Ok(ServiceAccount { authenticator, email, scope })
    }

    pub(super) async fn fetch(&self) -> Result<Fetched> {
        warn_of_debug_logs();
        let scopes = [self.scope];
        let fetching = self.authenticator.force_refreshed_token(&scopes);
        let token = tokio::time::timeout(TIMEOUT, fetching)
            .await
            .map_err(|_| named(Error::new(ErrorKind::Timeout, "the token endpoint did not answer")))?
            .map_err(|error| named(failed(error)))?;
        // The crate takes an error in Google's own form for an answer without a token: it does not look at the status.
        let value = token.token().ok_or_else(|| {
            named(Error::new(ErrorKind::Unavailable, "the token endpoint answered without a token"))
        })?;
        let end = token
            .expiration_time()
            .map(|end| SystemTime::UNIX_EPOCH + Duration::from_secs(end.unix_timestamp().max(0) as u64));
        let left = end.map_or(Duration::from_secs(3600), |end| {
            end.duration_since(SystemTime::now()).unwrap_or_default()
        });
        Ok(Fetched { token: value.into(), lifetime: left.min(Duration::from_secs(12 * 3600)) })
    }
}

fn named(error: Error) -> Error {
    error.with_backend("gcs").with_operation("token")
}

/// What the crate reports, as ours. It does not look at the status, so that an error page comes as JSON that cannot be parsed.
fn failed(error: OAuthError) -> Error {
    match error {
        OAuthError::AuthError(error) => {
            let passes = matches!(&error.error, AuthErrorCode::Other(code)
                if matches!(code.as_str(), "internal_failure" | "server_error" | "temporarily_unavailable"));
            let text = redact(&error.to_string());
            if passes {
                return Error::new(ErrorKind::Unavailable, format!("the token endpoint failed: {text}"));
            }
            unauthenticated(format!(
                "the token endpoint refused the service account's key: {text}; check the clock, and that neither key nor account are \
                 deleted or disabled"
            ))
        }
        // The crate's JSON errors may quote the answer.
        OAuthError::JSONError(_) => {
            Error::new(ErrorKind::Unavailable, "the token endpoint answered something that is not a token")
        }
        OAuthError::HttpClientError(yup_oauth2::client::SendError::Timeout) => {
            Error::new(ErrorKind::Timeout, "the token endpoint did not answer")
        }
        other => {
            Error::new(ErrorKind::Unavailable, "the token endpoint cannot be reached").with_source(other)
        }
    }
}

/// Says once that a logger shows what it must not.
fn warn_of_debug_logs() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    if log::log_enabled!(target: "yup_oauth2::service_account", log::Level::Debug) {
        ONCE.call_once(|| tracing::warn!("this program logs `yup_oauth2` at level debug, which shows access tokens: add `yup_oauth2=off`"));
    }
}
