//! Storage URLs.

use ::url::Url;

use super::{SETTINGS, Setting, suggest};
use crate::{Error, ErrorKind, Key, Result};

/// What a URL says, as values of settings.
pub(super) struct Location {
    pub(super) values: Vec<(&'static str, String)>,
}

/// A URL or a path. The error is the end of a sentence and repeats no password.
pub(super) fn parse(text: &str) -> std::result::Result<Location, String> {
    if !has_scheme(text) {
        return match text {
            "" => Err("it is empty; give a URL or a path".into()),
            _ if text.chars().any(char::is_control) => Err("it contains a control character".into()),
            _ => Ok(Location { values: vec![("backend", "local".into()), ("local_path", text.into())] }),
        };
    }
    let url = Url::parse(text).map_err(|error| format!("it is not a URL ({error})"))?;
    if url.fragment().is_some() {
        return Err("a `#` starts a fragment, which storage URLs do not have; write it as %23".into());
    }
    let (backend, group) = match url.scheme() {
        "file" => ("local", ""),
        "memory" => ("memory", ""),
        "s3" => ("s3", "s3"),
        "gs" | "gcs" => ("gcs", "gcs"),
        "az" | "azure" => ("azure", "azure"),
        "sqlite" => ("sqlite", "sqlite"),
        "postgres" | "postgresql" => ("postgres", "postgres"),
        "mysql" => ("mysql", "mysql"),
        scheme => {
            let hint =
                suggest::hint(scheme, ["file", "memory", "s3", "gs", "az", "sqlite", "postgres", "mysql"]);
            return Err(format!("no backend has the scheme `{scheme}`{hint}; use file, memory, s3 or gs"));
        }
    };
    let mut values = vec![("backend", backend.to_string())];
    match backend {
        "s3" | "gcs" => {
            if !url.username().is_empty() || url.password().is_some() {
                return Err(
                    "it contains credentials; give them by variables, `persist env` lists them".into()
                );
            }
            values.push(("bucket", bucket(&url)?));
            let prefix = decoded(url.path().trim_matches('/'))?;
            if !prefix.is_empty() {
                values.push(("prefix", prefix));
            }
        }
        "local" => {
            if !matches!(url.host_str(), None | Some("" | "localhost")) {
                return Err("a file URL has three slashes: file:///path".into());
            }
            values.push(("local_path", decoded(url.path())?));
        }
        // Not written yet: `open` says so. Nothing of the URL is kept, since it may hold a password.
        "azure" | "sqlite" | "postgres" | "mysql" => return Ok(Location { values }),
        _ => {
            if url.has_host() && url.host_str() != Some("") || !url.path().trim_matches('/').is_empty() {
                return Err("memory has no name or path; write memory://".into());
            }
        }
    }
    for (name, value) in url.query_pairs() {
        let setting = parameter(&name, group)?;
        if values.iter().any(|(known, _)| *known == setting.name) {
            return Err(format!("the parameter `{name}` is there twice"));
        }
        values.push((setting.name, value.into_owned()));
    }
    Ok(Location { values })
}

/// `scheme:` of at least two letters: `C:\path` is a path.
fn has_scheme(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let known =
        ["sqlite", "postgres", "postgresql", "mysql", "file", "memory", "s3", "gs", "az"].contains(&scheme);
    let word = scheme.len() > 1 && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    known || (word && rest.starts_with("//"))
}

fn bucket(url: &Url) -> std::result::Result<String, String> {
    let name = decoded(url.host_str().unwrap_or_default())?;
    if url.port().is_some() {
        return Err("a bucket has no port; another server is the parameter `endpoint_url`".into());
    }
    if name.is_empty() {
        return Err(format!("it names no bucket; write {}://BUCKET/prefix", url.scheme()));
    }
    Ok(name)
}

fn decoded(text: &str) -> std::result::Result<String, String> {
    Key::decode_segment(text).map_err(|error| error.message().to_string()).and_then(|text| {
        match text.contains('\0') {
            true => Err("it contains a NUL".into()),
            false => Ok(text),
        }
    })
}

fn parameter(name: &str, group: &str) -> std::result::Result<&'static Setting, String> {
    let fits = |setting: &&Setting| ["", "retry", group].contains(&setting.group());
    // Retries are `retry.attempts` in a URL too; a service's own settings leave the service out.
    let own = |setting: &Setting| match setting.group() {
        "retry" => Some(setting.name),
        _ => setting.parameter(),
    };
    let mut known = SETTINGS.iter().filter(fits).filter(|setting| own(setting).is_some());
    if let Some(setting) = known.clone().find(|setting| own(setting) == Some(name)) {
        return Ok(setting);
    }
    if SETTINGS.iter().any(|setting| setting.secret && setting.name.ends_with(&format!(".{name}"))) {
        return Err(format!(
            "the parameter `{name}` is a secret; URLs end up in logs, use its variable instead"
        ));
    }
    let hint = suggest::hint(name, known.by_ref().filter_map(own));
    Err(format!("it has the unknown parameter `{name}`{hint}"))
}

/// A URL without user, password and parameters' values, for messages and `persist env`.
pub(super) fn without_secrets(text: &str) -> String {
    match Url::parse(text) {
        Ok(mut url) if has_scheme(text) => {
            let hidden = url.password().is_some() || !url.username().is_empty();
            if hidden && (url.set_username("…").is_err() || url.set_password(None).is_err()) {
                return format!("{}:…", url.scheme());
            }
            url.to_string()
        }
        _ => text.into(),
    }
}

/// Cuts the URL of a snapshot into the URL of its storage and its key: `gs://bucket/a/b.gz?project=p` into `gs://bucket?project=p`
/// and `a/b.gz`; of a file, the folder that it lies in and its name. `None` for text that is no URL, hence a plain key.
///
/// # Errors
/// `InvalidInput` for a URL that names no snapshot.
pub fn split_key(text: &str) -> Result<Option<(String, Key)>> {
    if !text.contains("://") || !has_scheme(text) {
        return Ok(None);
    }
    let bad =
        |reason: String| Error::new(ErrorKind::InvalidInput, format!("the URL of the snapshot: {reason}"));
    let mut url = Url::parse(text).map_err(|error| bad(format!("it is not a URL ({error})")))?;
    let path = url.path().to_string();
    let (folder, name) = match url.scheme() {
        "file" => path.rsplit_once('/').unwrap_or(("", &path)),
        _ => ("", path.trim_start_matches('/')),
    };
    if name.is_empty() {
        return Err(bad("it names a storage but no snapshot in it; add the key to its path".into()));
    }
    let key = Key::new(decoded(name).map_err(bad)?)?;
    url.set_path(if folder.is_empty() && url.scheme() == "file" { "/" } else { folder });
    Ok(Some((url.to_string(), key)))
}
