//! Where the credentials come from: Application Default Credentials (AIP-4110), and what the configuration
//! says before them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{
    Fetched, authorized_user::AuthorizedUser, bad_credentials, external_account::ExternalAccount,
    fields::Fields, impersonated::Impersonated, metadata, metadata::MetadataServer,
    service_account::ServiceAccount,
};
use crate::{
    GcsConfig, Result, Secret,
    config::{CONTENT, is_content},
};

/// Looks up a variable of the environment.
pub(in super::super) type Env<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

/// What was found, before anything is parsed: equal exactly if the same requests would be made with it.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Found {
    Anonymous,
    /// The content of a credentials file, and how to name it in messages.
    File(Secret, String),
    /// Where it is, if not at its usual name, and whether there should be one.
    MetadataServer(Option<String>, bool),
}

/// Finds the credentials, without parsing them.
///
/// # Errors
/// `InvalidConfig` where settings contradict each other or name a file that cannot be read: a deployment that
/// names credentials must never run with others.
pub(in super::super) async fn discover(config: &GcsConfig, emulator: bool, env: Env<'_>) -> Result<Found> {
    match (config.anonymous, &config.credentials_path, &config.credentials_json) {
        (false, Some(path), None) => return read(path, "the credentials file").await,
        (false, None, Some(json)) => {
            return Ok(Found::File(json.clone(), "the credentials in the configuration".into()));
        }
        (true, None, None) => return Ok(Found::Anonymous),
        (false, None, None) => {}
        _ => {
            return Err(bad_credentials(
                "credentials are given twice; use one of a credentials file, credentials JSON and anonymous access",
            ));
        }
    }
    if emulator {
        return Ok(Found::Anonymous);
    }
    check_universe(env("GOOGLE_CLOUD_UNIVERSE_DOMAIN").as_deref())
        .map_err(|error| bad_credentials(format!("GOOGLE_CLOUD_UNIVERSE_DOMAIN: {}", error.message())))?;
    if let Some(path) = env("GOOGLE_APPLICATION_CREDENTIALS") {
        return read(Path::new(&path), "GOOGLE_APPLICATION_CREDENTIALS").await;
    }
    match well_known(env) {
        Some(path) if tokio::fs::try_exists(&path).await.unwrap_or(false) => {
            read(&path, "gcloud's file").await
        }
        _ => Ok(Found::MetadataServer(env("GCE_METADATA_HOST"), metadata::expected(env).await)),
    }
}

async fn read(path: &Path, what: &str) -> Result<Found> {
    // The variable is read here as well, by those who configure nothing.
    if path.to_str().is_some_and(is_content) {
        return Err(bad_credentials(format!("{what}: {CONTENT}")));
    }
    let name = format!("{what} {}", path.display());
    match tokio::fs::read_to_string(path).await {
        Ok(text) => Ok(Found::File(text.into(), name)),
        Err(error) => {
            Err(bad_credentials(format!("{name} cannot be read; correct the path or remove the setting"))
                .with_source(error))
        }
    }
}

/// Where `gcloud auth application-default login` puts its file.
fn well_known(env: Env<'_>) -> Option<PathBuf> {
    let folder = match env("CLOUDSDK_CONFIG") {
        Some(folder) => PathBuf::from(folder),
        None if cfg!(windows) => Path::new(&env("APPDATA")?).join("gcloud"),
        None => Path::new(&env("HOME")?).join(".config/gcloud"),
    };
    Some(folder.join("application_default_credentials.json"))
}

/// Credentials that can fetch tokens.
#[derive(Debug)]
pub(in super::super) struct Credentials {
    source: Source,
    /// The project that the file wants to be billed.
    pub(super) quota_project: Option<String>,
    /// For token endpoints.
    http: reqwest::Client,
    /// For servers on the same machine or link, past any proxy.
    direct: reqwest::Client,
}

#[derive(Debug)]
enum Source {
    Anonymous,
    ServiceAccount(Box<ServiceAccount>),
    AuthorizedUser(AuthorizedUser),
    ExternalAccount(Box<ExternalAccount>),
    Impersonated(Impersonated, Box<Source>),
    MetadataServer(MetadataServer),
}

impl Credentials {
    /// Parses what was found. The project that `GOOGLE_CLOUD_QUOTA_PROJECT` names comes before the file's.
    ///
    /// # Errors
    /// `InvalidConfig` that names the file and the field, or the kind of credentials that is not supported.
    pub(in super::super) async fn new(
        found: Found,
        quota_project: Option<String>,
        http: reqwest::Client,
        direct: reqwest::Client,
    ) -> Result<Self> {
        let (source, of_file) = match found {
            Found::Anonymous => (Source::Anonymous, None),
            Found::MetadataServer(host, expected) => {
                (Source::MetadataServer(MetadataServer::new(host, expected)?), None)
            }
            Found::File(text, name) => parse(text.expose()).await.map_err(|error| {
                let message = format!("{name}: {}", error.message());
                bad_credentials(message)
            })?,
        };
        // Who has no identity may bill nobody.
        let anonymous = matches!(source, Source::Anonymous);
        let quota_project = quota_project.or(of_file).filter(|_| !anonymous);
        Ok(Credentials { source, quota_project, http, direct })
    }

    pub(super) fn anonymous(&self) -> bool {
        matches!(self.source, Source::Anonymous)
    }

    /// What they are, for logs.
    pub(super) fn kind(&self) -> &'static str {
        match self.source {
            Source::Anonymous => "anonymous",
            Source::ServiceAccount(_) => "service_account",
            Source::AuthorizedUser(_) => "authorized_user",
            Source::ExternalAccount(_) => "external_account",
            Source::Impersonated(..) => "impersonated_service_account",
            Source::MetadataServer(_) => "metadata_server",
        }
    }

    pub(super) async fn fetch(&self) -> Result<Fetched> {
        match &self.source {
            Source::Impersonated(account, base) => {
                let bearer = self.fetch_simple(base).await?.token;
                account.fetch(&self.http, &bearer).await
            }
            source => self.fetch_simple(source).await,
        }
    }

    async fn fetch_simple(&self, source: &Source) -> Result<Fetched> {
        match source {
            Source::ServiceAccount(account) => account.fetch(&self.http).await,
            Source::AuthorizedUser(user) => user.fetch(&self.http).await,
            Source::ExternalAccount(account) => account.fetch(&self.http, &self.direct).await,
            Source::MetadataServer(server) => server.fetch(&self.direct).await,
            Source::Anonymous | Source::Impersonated(..) => {
                Err(bad_credentials("these credentials cannot fetch a token"))
            }
        }
    }
}

/// Dispatches on `type`.
async fn parse(text: &str) -> Result<(Source, Option<String>)> {
    let json: Value = serde_json::from_str(text).map_err(|error| {
        bad_credentials(format!("not JSON (line {}, column {})", error.line(), error.column()))
    })?;
    let fields = Fields::new(&json)?;
    let quota_project = fields.optional("quota_project_id").map(Into::into);
    let source = match fields.text("type")? {
        "impersonated_service_account" => {
            check_universe(fields.optional("universe_domain"))?;
            let base = simple(fields.object("source_credentials")?, super::IAM_SCOPE).await?;
            Source::Impersonated(Impersonated::new(fields)?, Box::new(base))
        }
        _ => simple(fields, super::SCOPE).await?,
    };
    Ok((source, quota_project))
}

/// Google's cloud has others than the public one, with hosts of their own.
fn check_universe(name: Option<&str>) -> Result<()> {
    match name.filter(|name| *name != "googleapis.com") {
        None => Ok(()),
        Some(name) => {
            Err(bad_credentials(format!("the universe {name:?} is not supported, only googleapis.com")))
        }
    }
}

/// Every kind that stands on its own.
async fn simple(fields: Fields<'_>, scope: &'static str) -> Result<Source> {
    check_universe(fields.optional("universe_domain"))?;
    match fields.text("type")? {
        "service_account" => Ok(Source::ServiceAccount(Box::new(ServiceAccount::new(fields, scope).await?))),
        "authorized_user" => Ok(Source::AuthorizedUser(AuthorizedUser::new(fields)?)),
        "external_account" => Ok(Source::ExternalAccount(Box::new(ExternalAccount::new(fields, scope)?))),
        other => Err(bad_credentials(format!(
            "credentials of type {other:?} are not supported; use service_account, authorized_user, external_account or \
             impersonated_service_account"
        ))),
    }
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
