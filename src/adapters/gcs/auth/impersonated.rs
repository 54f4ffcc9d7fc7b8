//! One identity acting as a service account
//! (`gcloud auth application-default login --impersonate-service-account`).

use url::Url;

use super::{Fetched, fields::Fields, oauth};
use crate::{Result, Secret};

/// The account to act as.
#[derive(Debug)]
pub(super) struct Impersonated {
    url: Url,
    delegates: Vec<String>,
}

impl Impersonated {
    pub(super) fn new(fields: Fields<'_>) -> Result<Self> {
        Ok(Impersonated {
            url: fields.endpoint("service_account_impersonation_url")?,
            delegates: fields.texts("delegates"),
        })
    }

    /// A token of the account, for `bearer` that may act as it.
    pub(super) async fn fetch(&self, http: &reqwest::Client, bearer: &Secret) -> Result<Fetched> {
        oauth::impersonate(http, &self.url, bearer, &self.delegates, super::SCOPE, oauth::HOUR).await
    }
}
