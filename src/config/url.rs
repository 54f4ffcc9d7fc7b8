//! Storage URLs. They are taken apart here and not by a crate for web addresses, which would resolve `..`,
//! drop tabs and read `+` as a space: a name must come out as it was written or not at all.

use std::borrow::Cow;
#[cfg(unix)]
use std::path::PathBuf;

#[cfg(unix)]
use super::folders;
use super::{Parsed, SETTINGS, Setting, StorageBackend, suggest, values};
use crate::{Error, ErrorKind, Key, Result};

/// The schemes and their backends.
const SCHEMES: &[(&str, StorageBackend)] = &[
    ("file", StorageBackend::Local),
    ("memory", StorageBackend::Memory),
    ("s3", StorageBackend::S3),
    ("gs", StorageBackend::Gcs),
    ("gcs", StorageBackend::Gcs),
    ("az", StorageBackend::Azure),
    ("azure", StorageBackend::Azure),
    ("sqlite", StorageBackend::Sqlite),
    ("postgres", StorageBackend::Postgres),
    ("postgresql", StorageBackend::Postgres),
    ("mysql", StorageBackend::Mysql),
];

/// A URL, cut but not decoded.
struct Parts<'a> {
    scheme: &'static str,
    backend: StorageBackend,
    /// What stands between `//` and the next `/`; empty without `//`.
    authority: &'a str,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Parts<'a> {
    /// `None` for what is no URL: a path or a key.
    fn of(text: &'a str) -> Parsed<Option<Self>> {
        if let Some((scheme, _)) = text.split_once("//").and_then(|(scheme, _)| known_scheme(scheme)) {
            return Err(format!("write {scheme}://, with a `:`; a folder of that name is ./{scheme}"));
        }
        let Some((scheme, rest)) = text.split_once(':') else { return Ok(None) };
        let lower = scheme.to_ascii_lowercase();
        let (scheme, backend) = match known_scheme(scheme) {
            Some(known) => known,
            // One letter is a drive of Windows, and `outer:1` a name.
            None if scheme.len() < 2 || !rest.starts_with("//") || scheme.contains('/') => return Ok(None),
            None => {
                let hint = suggest::hint(&lower, SCHEMES.iter().map(|(name, _)| *name));
                return Err(format!("no backend has the scheme `{lower}`; use file, memory, s3 or gs{hint}"));
            }
        };
        if rest.contains('#') {
            return Err(
                "a `#` would start a fragment, which storage URLs do not have; write it as %23".into()
            );
        }
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (rest, None),
        };
        let (authority, path) = match place.strip_prefix("//") {
            Some(place) => place.split_at(place.find('/').unwrap_or(place.len())),
            None if backend.has_bucket() => return Err(format!("write {scheme}://BUCKET/prefix, with `//`")),
            None => ("", place),
        };
        Ok(Some(Parts { scheme, backend, authority, path, query }))
    }

    /// The bucket that the URL of S3 or GCS names.
    fn bucket(&self) -> Parsed<&'a str> {
        let scheme = self.scheme;
        match self.authority {
            "" => Err(format!("it names no bucket; write {scheme}://BUCKET/prefix")),
            name if is_bucket(name) => Ok(name),
            name if self.has_user(&decoded(name)?) => {
                Err("it contains credentials; give them by variables, `persist env` lists them".into())
            }
            name if decoded(name)?.contains(':') => {
                Err("a bucket has no port; another server is the parameter `endpoint_url`".into())
            }
            name => Err(format!("bucket {name:?}: buckets have letters, digits and `-_.` in their names")),
        }
    }

    /// Whether a user stands before the bucket. Those who wrote a password as it is may have put a `/` or a
    /// `?` there, which ends the authority.
    fn has_user(&self, authority: &str) -> bool {
        let at_behind = self.path.contains('@') || self.query.is_some_and(|query| query.contains('@'));
        match authority.split_once(':') {
            _ if authority.contains('@') => true,
            Some((_, port)) => at_behind && !port.bytes().all(|byte| byte.is_ascii_digit()),
            None => false,
        }
    }

    /// Checks that there is no host in a `file` URL.
    fn no_host(&self) -> Parsed<()> {
        match self.authority {
            "" | "localhost" => Ok(()),
            _ => Err("a file URL has three slashes: file:///path".into()),
        }
    }
}

/// A scheme and its backend, however it is written.
fn known_scheme(scheme: &str) -> Option<(&'static str, StorageBackend)> {
    SCHEMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(scheme)).copied()
}

fn is_bucket(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// What a URL or a path says, as values of settings. The error is the end of a sentence and repeats no
/// password.
pub(super) fn parse(text: &str) -> Parsed<Vec<(&'static Setting, String)>> {
    if values::is_json(text) {
        return Err(values::CONTENT.into());
    }
    if text.chars().any(char::is_control) {
        return Err("it contains a control character, perhaps a line break".into());
    }
    let mut values = Vec::new();
    let mut set = |name: &str, value: Cow<str>| {
        values.extend(super::table::setting(name).map(|setting| (setting, value.into_owned())));
    };
    let Some(url) = Parts::of(text)? else {
        if text.is_empty() {
            return Err("it is empty; give a URL or a path".into());
        }
        if let Some((scheme, _)) = known_scheme(text) {
            return Err(format!("a URL begins with {scheme}://; a folder of that name is ./{text}"));
        }
        set("backend", "local".into());
        set("local_path", text.into());
        return Ok(values);
    };
    set("backend", url.backend.as_str().into());
    match url.backend {
        StorageBackend::S3 | StorageBackend::Gcs => {
            set("bucket", url.bucket()?.into());
            let prefix = decoded(url.path.strip_prefix('/').unwrap_or(url.path))?;
            let prefix = prefix.strip_suffix('/').unwrap_or(&prefix);
            if !prefix.is_empty() {
                let key =
                    Key::parse(prefix).map_err(|rule| format!("its path cannot be a prefix: {rule}"))?;
                set("prefix", key.as_str().into());
            }
        }
        StorageBackend::Local => {
            url.no_host()?;
            match url.path {
                "" => return Err("it names no folder; write file:///path".into()),
                path => set("local_path", decoded(path)?.into()),
            }
        }
        StorageBackend::Memory if !url.authority.is_empty() || !matches!(url.path, "" | "/") => {
            return Err("memory has no name or path; write memory://".into());
        }
        StorageBackend::Memory => {}
        // Not written yet: `open` says so. Nothing of the URL is kept, since it may hold a password.
        _ => return Ok(values),
    }
    parameters(&url, &mut values)?;
    Ok(values)
}

/// Adds what stands behind the `?`. A parameter without a value is one that is not set.
fn parameters(url: &Parts<'_>, values: &mut Vec<(&'static Setting, String)>) -> Parsed<()> {
    let mut seen = Vec::new();
    for pair in url.query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(format!("{} has no value; write NAME=VALUE", named(&decoded(pair)?)));
        };
        let name = decoded(name)?;
        let setting = parameter(&name, url.backend)?;
        if seen.contains(&setting.name) {
            return Err(format!("the parameter `{name}` is there twice"));
        }
        seen.push(setting.name);
        if !value.is_empty() {
            values.push((setting, decoded(value)?));
        }
    }
    Ok(())
}

/// The setting that a parameter of this backend's URLs sets.
fn parameter(name: &str, backend: StorageBackend) -> Parsed<&'static Setting> {
    let mut known =
        SETTINGS.iter().filter(|setting| setting.is_for(backend) && setting.parameter().is_some());
    if let Some(setting) = known.clone().find(|setting| setting.parameter() == Some(name)) {
        return Ok(setting);
    }
    let group = backend.as_str();
    if SETTINGS.iter().any(|setting| setting.secret && setting.name.split_once('.') == Some((group, name))) {
        return Err(format!(
            "the parameter `{name}` is a secret; URLs end up in logs, use its variable instead"
        ));
    }
    let hint = suggest::hint(name, known.by_ref().filter_map(Setting::parameter));
    Err(if is_bucket(name) {
        format!("{group} has no parameter `{name}`{hint}")
    } else {
        format!("{group} has no such parameter; write `&` in values as %26")
    })
}

/// A parameter as messages name it: what has not the form of a name is perhaps the rest of a password.
fn named(name: &str) -> String {
    if is_bucket(name) { format!("the parameter `{name}`") } else { "a parameter".into() }
}

/// Percent-encoding undone. A `+` stays one: it is common in tokens, and a space can be written as it is.
fn decoded(text: &str) -> Parsed<String> {
    let text = Key::decode_segment(text).map_err(|_| {
        "it has a `%` that is not followed by two hexadecimal digits of UTF-8; write a percent sign as %25"
    })?;
    if text.chars().any(char::is_control) { Err("it contains a control character".into()) } else { Ok(text) }
}

/// The path of a URL that [`decoded`] makes this of. Only what would mean something else is percent-encoded.
pub(super) fn escaped(path: &str) -> String {
    path.replace('%', "%25").replace('?', "%3F").replace('#', "%23")
}

/// A value for messages and `persist env`. Where it has the form of a URL, even in a place where none
/// belongs, users and passwords are left out, and of databases everything.
pub(super) fn without_secrets(text: &str) -> String {
    if holds_credentials(text) {
        return match text.split_once('?') {
            Some((place, _)) if !holds_credentials(place) => format!("{}?…", without_secrets(place)),
            _ => "{…}".into(),
        };
    }
    let database = text.split_once(':').and_then(|(scheme, _)| known_scheme(scheme));
    if let Some((scheme, _)) = database.filter(|(_, backend)| !backend.is_written()) {
        return format!("{scheme}:…");
    }
    let Some((scheme, rest)) = text.split_once("://") else { return text.into() };
    let (place, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
    let host = place.split('/').next().unwrap_or_default();
    // Behind a bucket a path begins, and ids of users have an `@` in them. Behind anything else what looks
    // like a path may be the rest of a password.
    if is_bucket(host) || (host.is_empty() && scheme.eq_ignore_ascii_case("file")) {
        return match last_at(query) {
            Some(_) => format!("{scheme}://{place}?…"),
            None => text.into(),
        };
    }
    last_at(rest).map_or(text.into(), |at| format!("{scheme}://…{}", &rest[at..]))
}

/// Whether it is the content of a file with a key, or a URL with one as a parameter.
fn holds_credentials(text: &str) -> bool {
    let decoded = Key::decode_segment(text);
    let text = decoded.as_deref().unwrap_or(text);
    values::is_credentials(text) || text.split('=').skip(1).any(values::is_credentials)
}

/// The last `@`, as it is or percent-encoded.
fn last_at(text: &str) -> Option<usize> {
    text.rfind('@').max(text.rfind("%40"))
}

/// Cuts the URL of a snapshot into the URL of its storage and its key: `gs://bucket/a/b.gz?project=p` into
/// `gs://bucket?project=p` and `a/b.gz`; of a file, the folder that it lies in and its name, or what stands
/// before and behind `//`. `None` for text that is no URL, hence a plain key.
///
/// # Errors
/// `InvalidInput` for a URL that names no snapshot, or one that is not a key; `Unsupported` for a backend
/// that is planned.
pub fn split_key(text: &str) -> Result<Option<(String, Key)>> {
    let Some((storage, name)) = split_prefix(text)? else { return Ok(None) };
    if name.is_empty() {
        return Err(bad_url("it names a storage but no snapshot in it; add the key to its path"));
    }
    Ok(Some((storage, Key::new(name)?)))
}

/// Cuts a URL into that of its storage and the text with which names in it start: `gs://bucket/a/b` into
/// `gs://bucket` and `a/b`. `None` for text that is no URL.
///
/// # Errors
/// `InvalidInput` for what is not the URL of a storage; `Unsupported` for a backend that is planned.
pub fn split_prefix(text: &str) -> Result<Option<(String, String)>> {
    if !is_url(text) {
        return Ok(None);
    }
    let Some(url) = Parts::of(text).map_err(|reason| bad_url(&reason))? else { return Ok(None) };
    if url.backend.has_bucket() {
        url.bucket().map_err(|reason| bad_url(&reason))?;
    } else if !url.backend.is_written() {
        // What stands behind it may be a part of a password, and is no key.
        return Err(url.backend.planned());
    }
    let query = url.query.map(|query| format!("?{query}")).unwrap_or_default();
    let (folder, name) = match url.backend {
        StorageBackend::Local => {
            url.no_host().map_err(|reason| bad_url(&reason))?;
            folder_and_name(&url).map_err(|reason| bad_url(&reason))?
        }
        _ => ("", url.path.strip_prefix('/').unwrap_or(url.path)),
    };
    let name = decoded(name).map_err(|reason| bad_url(&reason))?;
    let storage = format!("{}://{}{folder}{query}", url.scheme, url.authority);
    parse(&storage).map_err(|reason| bad_url(&reason))?;
    Ok(Some((storage, name)))
}

/// Whether it is meant as a URL. No key has `//` in it. Many have a `:`, but hardly one a scheme before `:/`:
/// with one slash for two, `s3:/bucket/k` would be a copy on the local disk that somebody takes for a backup.
fn is_url(text: &str) -> bool {
    text.contains("://") || text.split_once(":/").is_some_and(|(scheme, _)| known_scheme(scheme).is_some())
}

/// Cuts the path of a file at the last `//`, which no key has in it, else at the last `/`.
fn folder_and_name<'a>(url: &Parts<'a>) -> Parsed<(&'a str, &'a str)> {
    if let Some(at) = url.path.rfind("//") {
        return Ok((&url.path[..at.max(1)], &url.path[at + 2..]));
    }
    let cut = url.path.rfind('/').map_or(0, |slash| slash + 1);
    check_folder(url, cut)?;
    Ok(url.path.split_at(cut))
}

/// Refuses a folder that is not there and whose name no storage would give to one: it is rather a part of the
/// key, and what is saved there could not be found by it.
#[cfg(unix)]
fn check_folder(url: &Parts<'_>, end: usize) -> Parsed<()> {
    let (mut folder, mut start) = (PathBuf::from("/"), 0);
    for segment in url.path[..end].split_inclusive('/') {
        let name = decoded(segment.trim_end_matches('/'))?;
        folder.push(&name);
        let its_own =
            matches!(name.as_str(), "" | "." | "..") || name.split('/').all(crate::adapters::local::is_plain);
        if !its_own && !folders::is_there(&folder) {
            let (storage, key) = url.path.split_at(start);
            return Err(format!(
                "there is no folder {name:?}, and as a part of keys it has another name on disk; write `//` where the key begins: file://{storage}/{key}"
            ));
        }
        start += segment.len();
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_folder(_: &Parts<'_>, _: usize) -> Parsed<()> {
    Ok(())
}

fn bad_url(reason: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("the URL of the snapshot: {reason}"))
}
