//! The configuration file.

use std::{fs::File, io::Read, path::Path};

use serde_json::{Map, Value};

use super::{Parsed, SETTINGS, Setting, bad, suggest, url, values};
use crate::{Error, Result};

/// Larger than any configuration; what is larger is another file.
const MOST_BYTES: u64 = 1024 * 1024;

/// Settings with their text, as a file has them.
type Settings = Vec<(&'static Setting, String)>;

/// The settings in a file, and the folder in which its relative paths begin. A pipe has none, and nobody
/// means that of `/dev/stdin`.
pub(super) fn read(path: &Path) -> Result<(Settings, Option<&Path>)> {
    let name = path.display().to_string();
    if values::is_content(&name) {
        return Err(bad(
            "the configuration file: it is named by what looks like the content of a file; name the file itself, and put credentials into PERSIST_GCS_CREDENTIALS_JSON",
        ));
    }
    let shown = url::without_secrets(&name);
    let unreadable = |error: std::io::Error| {
        bad(format!("the configuration file {shown} cannot be read")).with_source(error)
    };
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    let is_file = file.metadata().is_ok_and(|meta| meta.is_file());
    let folder = (is_file && !is_descriptor(path)).then(|| path.parent().unwrap_or(Path::new("")));
    file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    let wrong = |reason: String| -> Error { bad(format!("{shown}: {reason}")) };
    if text.len() as u64 > MOST_BYTES {
        return Err(wrong("it has more than 1 MiB; is it the configuration?".into()));
    }
    let settings = match path.extension().and_then(|extension| extension.to_str()) {
        Some("yaml" | "yml") => yaml(&text),
        _ => toml(&text),
    };
    Ok((settings.map_err(wrong)?, folder))
}

/// Whether this names what is open already: it may be a file, but its folder is elsewhere.
fn is_descriptor(path: &Path) -> bool {
    let is_number =
        path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
    let of_process =
        || path.starts_with("/proc") && path.parent().is_some_and(|folder| folder.ends_with("fd"));
    path == Path::new("/dev/stdin") || path.starts_with("/dev/fd") || (is_number && of_process())
}

/// How many settings this TOML has; for fuzzing.
///
/// # Errors
/// What [`StorageConfig::from_file`](super::StorageConfig::from_file) says behind the name of the file.
#[doc(hidden)]
pub fn parse_toml(text: &str) -> Parsed<usize> {
    Ok(toml(text)?.len())
}

/// The same of YAML.
///
/// # Errors
/// As of [`parse_toml`].
#[doc(hidden)]
pub fn parse_yaml(text: &str) -> Parsed<usize> {
    Ok(yaml(text)?.len())
}

fn toml(text: &str) -> Parsed<Settings> {
    // The parser's message shows the line at fault, which may hold a secret: only the number of the line is
    // passed on, and the reason, which speaks of the grammar and of keys.
    let root = toml::from_str::<Value>(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        match error.message().lines().next().unwrap_or_default() {
            reason if reason.starts_with("JSON number") => {
                format!("line {line}: the number is too large; write it in quotes if it is a text")
            }
            reason => format!("it is not TOML: line {line}: {reason}"),
        }
    })?;
    settings(root, false)
}

#[cfg(feature = "yaml")]
fn yaml(text: &str) -> Parsed<Settings> {
    // As above, but the reasons of this parser may quote values.
    let root = serde_saphyr::from_str::<Value>(text).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        format!("it is not YAML: look at line {line} and before")
    })?;
    settings(root, true)
}

#[cfg(not(feature = "yaml"))]
fn yaml(_: &str) -> Parsed<Settings> {
    Err("this build reads TOML only; write persist.toml, or enable the feature `yaml`".into())
}

/// `[storage]` with plain keys, and the tables `s3`, `gcs` and `retry` in it. In YAML a key may have no
/// value, which is as if it were not there; in TOML only `inf` and `nan` have none in `Value`.
fn settings(root: Value, may_be_null: bool) -> Parsed<Settings> {
    let mut found = Vec::new();
    for (name, value) in table("the file", root)? {
        if name != "storage" {
            let hint = suggest::hint(&name, ["storage"]);
            return Err(format!("there is no table or key `{name}`; everything stands in [storage]{hint}"));
        }
        for (name, value) in table("`storage`", value)? {
            if ["s3", "gcs", "retry"].contains(&name.as_str()) {
                for (inner, value) in table(&format!("`storage.{name}`"), value)? {
                    found.push(pair(&format!("{name}.{inner}"), value, may_be_null)?);
                }
            } else {
                found.push(pair(&name, value, may_be_null)?);
            }
        }
    }
    Ok(found)
}

fn table(what: &str, value: Value) -> Parsed<Map<String, Value>> {
    match value {
        Value::Object(table) => Ok(table),
        // A file, or in YAML a table, with nothing in it.
        Value::Null => Ok(Map::new()),
        _ => Err(format!("{what} must be a table of settings")),
    }
}

fn pair(name: &str, value: Value, may_be_null: bool) -> Parsed<(&'static Setting, String)> {
    let known = || SETTINGS.iter().filter(|setting| setting.name != "config");
    let Some(setting) = known().find(|setting| setting.name == name) else {
        let hint = suggest::hint(name, known().map(|setting| setting.name));
        return Err(format!("there is no key `{name}` in [storage]{hint}"));
    };
    match value {
        Value::String(text) => Ok((setting, text)),
        Value::Number(_) | Value::Bool(_) if setting.is_free_text() => {
            Err(format!("the key `{name}` takes a text; write it in quotes"))
        }
        Value::Number(number) => Ok((setting, number.to_string())),
        Value::Bool(flag) => Ok((setting, flag.to_string())),
        Value::Null if may_be_null => Ok((setting, String::new())),
        _ => Err(format!("the key `{name}` takes a text, a number or true/false")),
    }
}
