//! A service account's key: a signed claim (RFC 7523) in exchange for a token. `yup-oauth2` signs.
//!
//! That crate writes the claim to the `log` facade at level debug, which is good for a token for an hour.
//! Nothing in persist listens to that facade; a program that does must switch the target `yup_oauth2` off,
//! which the first fetch points out.

use url::Url;
use yup_oauth2::ServiceAccountKey;

use super::{
    Fetched, bad_credentials,
    fields::{Fields, secure},
    oauth, signer,
};
use crate::{Error, ErrorKind, Result};

const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

pub(super) struct ServiceAccount {
    key: ServiceAccountKey,
    token_uri: Url,
    scope: &'static str,
}

impl std::fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServiceAccount({})", self.key.client_email)
    }
}

impl ServiceAccount {
    pub(super) async fn new(fields: Fields<'_>, scope: &'static str) -> Result<Self> {
        let token_uri = secure("token_uri", fields.optional("token_uri").unwrap_or(TOKEN_URI))?;
        let key = ServiceAccountKey {
            key_type: None,
            project_id: None,
            private_key_id: fields.optional("private_key_id").map(Into::into),
            private_key: fields.text("private_key")?.into(),
            client_email: fields.text("client_email")?.into(),
            client_id: None,
            auth_uri: None,
            token_uri: token_uri.to_string(),
            auth_provider_x509_cert_url: None,
            client_x509_cert_url: None,
        };
        signer::check(key.clone()).await.map_err(|error| {
            bad_credentials(
                "`private_key` in the credentials is not an RSA key in PEM form; download the key file anew",
            )
            .with_source(error)
        })?;
        Ok(ServiceAccount { key, token_uri, scope })
    }

    pub(super) async fn fetch(&self, http: &reqwest::Client) -> Result<Fetched> {
        warn_of_debug_logs();
        let form = signer::form(self.key.clone(), self.scope).await.map_err(|error| {
            Error::new(ErrorKind::Internal, "the service account's key does not sign")
                .with_backend("gcs")
                .with_operation("token")
                .with_source(error)
        })?;
        oauth::post(http, &self.token_uri, form, oauth::of_a_key).await
    }
}

/// Says once that a logger shows what it must not.
fn warn_of_debug_logs() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    if log::log_enabled!(target: "yup_oauth2::service_account", log::Level::Debug) {
        ONCE.call_once(|| {
            tracing::warn!("this program logs `yup_oauth2` at level debug, which shows signed claims: add `yup_oauth2=off`");
        });
    }
}
