//! Workload identity federation: a token of another provider in exchange for one of Google's (AIP-4117).

use std::{path::PathBuf, time::Duration};

use reqwest::{
    StatusCode,
    header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue},
};
use serde_json::Value;
use url::Url;

use super::{
    Fetched, IAM_SCOPE, bad_credentials,
    fields::{Fields, is_near},
    oauth::{self, Advice},
    unauthenticated,
};
use crate::{ErrorKind, Result, Secret};

/// Longest silence of the server that gives the other provider's token: it is on the same machine or link.
const QUIET: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct ExternalAccount {
    audience: String,
    subject_token_type: String,
    token_url: Url,
    impersonation_url: Option<Url>,
    /// How long a token of the impersonated account lives.
    lifetime: Duration,
    /// The project that pays for the exchange of workforce identities.
    workforce_project: Option<String>,
    source: TokenSource,
    scope: &'static str,
    /// Where the subject token lies within the source, if that is JSON.
    field: Option<String>,
}

/// Where the other provider's token comes from; it is read anew for each exchange, because it is short-lived.
#[derive(Debug)]
enum TokenSource {
    File(PathBuf),
    Url(Url, HeaderMap),
}

impl ExternalAccount {
    pub(super) fn new(fields: Fields<'_>, scope: &'static str) -> Result<Self> {
        if let Some(field) =
            ["client_id", "client_secret"].into_iter().find(|name| fields.optional(name).is_some())
        {
            return Err(bad_credentials(format!(
                "external accounts with a client of their own (`{field}`) are not supported; make the file anew without it"
            )));
        }
        let source = fields.object("credential_source")?;
        let impersonation_url = if fields.has("service_account_impersonation_url") {
            Some(fields.endpoint("service_account_impersonation_url")?)
        } else {
            None
        };
        Ok(ExternalAccount {
            audience: fields.text("audience")?.into(),
            subject_token_type: fields.text("subject_token_type")?.into(),
            token_url: fields.endpoint("token_url")?,
            impersonation_url,
            lifetime: lifetime(fields)?,
            workforce_project: fields.optional("workforce_pool_user_project").map(Into::into),
            scope,
            field: format(source)?,
            source: token_source(source)?,
        })
    }

    pub(super) async fn fetch(&self, http: &reqwest::Client, direct: &reqwest::Client) -> Result<Fetched> {
        let subject = self.subject_token(http, direct).await?;
        let options = self.workforce_project.as_ref();
        let options = options.map(|project| serde_json::json!({ "userProject": project }).to_string());
        let mut form = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("audience", &self.audience),
            ("subject_token_type", &self.subject_token_type),
            ("subject_token", subject.expose()),
            ("scope", if self.impersonation_url.is_some() { IAM_SCOPE } else { self.scope }),
        ];
        form.extend(options.as_deref().map(|options| ("options", options)));
        let federated = oauth::exchange(http, &self.token_url, &form, of_an_exchange).await?;
        match &self.impersonation_url {
            Some(url) => {
                oauth::impersonate(http, url, &federated.token, &[], self.scope, self.lifetime).await
            }
            None => Ok(federated),
        }
    }

    async fn subject_token(&self, http: &reqwest::Client, direct: &reqwest::Client) -> Result<Secret> {
        let raw = match &self.source {
            TokenSource::File(path) => tokio::fs::read(path).await.map_err(|error| {
                unauthenticated(format!("the subject token {} cannot be read", path.display()))
                    .with_source(error)
            })?,
            TokenSource::Url(url, headers) => {
                // What is plain is on the same machine or link, and not behind a proxy; what is public may
                // be.
                let client = if url.scheme() == "https" { http } else { direct };
                let request = client.get(url.clone()).headers(headers.clone());
                oauth::ask(request, None, QUIET, of_a_subject).await?.1.to_vec()
            }
        };
        let odd = |what: &str| unauthenticated(format!("the subject token's source {what}"));
        let text = match &self.field {
            None => String::from_utf8(raw).map_err(|_| odd("is not text"))?,
            Some(field) => {
                let json: Value = serde_json::from_slice(&raw).map_err(|_| odd("is not JSON"))?;
                json[field].as_str().ok_or_else(|| odd(&format!("has no `{field}`")))?.into()
            }
        };
        match text.trim() {
            "" => Err(odd("is empty")),
            text => Ok(text.into()),
        }
    }
}

/// `service_account_impersonation.token_lifetime_seconds` (AIP-4117).
fn lifetime(fields: Fields<'_>) -> Result<Duration> {
    let given = if fields.has("service_account_impersonation") {
        fields.object("service_account_impersonation")?.value("token_lifetime_seconds")
    } else {
        None
    };
    match given.map(|given| given.as_u64().filter(|seconds| (600..=43_200).contains(seconds))) {
        None => Ok(oauth::HOUR),
        Some(Some(seconds)) => Ok(Duration::from_secs(seconds)),
        Some(None) => {
            Err(bad_credentials("`token_lifetime_seconds` in the credentials must be 600 to 43200"))
        }
    }
}

fn of_an_exchange(_: StatusCode) -> Advice {
    let fix =
        "check the audience and the provider of the workload identity pool, and its conditions on the token";
    (ErrorKind::Unauthenticated, fix)
}

fn of_a_subject(_: StatusCode) -> Advice {
    (ErrorKind::Unauthenticated, "check `url` and `headers` of the `credential_source`")
}

/// The field that holds the token, for sources in JSON.
fn format(source: Fields<'_>) -> Result<Option<String>> {
    if !source.has("format") {
        return Ok(None);
    }
    let format = source.object("format")?;
    match format.optional("type").unwrap_or("text") {
        "text" => Ok(None),
        "json" => Ok(Some(format.text("subject_token_field_name")?.into())),
        other => Err(bad_credentials(format!("`credential_source.format` is {other:?}; use text or json"))),
    }
}

fn token_source(source: Fields<'_>) -> Result<TokenSource> {
    for (field, name) in [("environment_id", "AWS"), ("executable", "executable"), ("certificate", "X.509")] {
        if source.has(field) {
            return Err(bad_credentials(format!(
                "external accounts with an {name} source (`{field}`) are not supported; use a `file` or `url` source"
            )));
        }
    }
    if let Some(file) = source.optional("file") {
        return Ok(TokenSource::File(file.into()));
    }
    let wrong = |what: &str| bad_credentials(format!("`credential_source.url` {what}"));
    let url: Url = source.text("url")?.parse().map_err(|_| wrong("is not a URL"))?;
    let mut headers = HeaderMap::new();
    for (name, value) in source.value("headers").and_then(Value::as_object).into_iter().flatten() {
        let value = value.as_str().and_then(|value| HeaderValue::from_str(value).ok());
        match (HeaderName::from_bytes(name.as_bytes()), value) {
            (Ok(name), Some(mut value)) => {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            _ => {
                return Err(bad_credentials(format!(
                    "the header {name:?} in `credential_source` is not one"
                )));
            }
        }
    }
    match url.scheme() {
        "https" => {}
        // The servers that give such tokens are link-local (Azure's is http://169.254.169.254).
        "http" if is_near(&url) || !headers.contains_key(AUTHORIZATION) => {}
        "http" => return Err(wrong("must be https: its `authorization` is a secret")),
        _ => return Err(wrong("must be http or https")),
    }
    Ok(TokenSource::Url(url, headers))
}
