//! The configuration file.

use std::path::Path;

use serde_json::Value;

use super::{SETTINGS, Setting, bad, suggest};
use crate::Result;

/// The settings in a file, as text.
pub(super) fn read(path: &Path) -> Result<Vec<(&'static Setting, String)>> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        bad(format!("the configuration file {shown} cannot be read: {error}")).with_source(error)
    })?;
    let root = match path.extension().and_then(|extension| extension.to_str()) {
        Some("yaml" | "yml") => yaml(&text).map_err(|reason| bad(format!("{shown}: {reason}")))?,
        _ => toml(&text).map_err(|reason| bad(format!("{shown}: {reason}")))?,
    };
    settings(&root).map_err(|reason| bad(format!("{shown}: {reason}")))
}

/// Parses TOML into settings; errors are the end of a sentence. Open to fuzzing.
pub fn parse_toml(text: &str) -> std::result::Result<usize, String> {
    Ok(settings(&toml(text)?)?.len())
}

fn toml(text: &str) -> std::result::Result<Value, String> {
    // The parser's message shows the line at fault, which may hold a secret: only its place and reason are passed on.
    toml::from_str::<Value>(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        format!("it is not TOML: line {line}: {}", error.message().lines().next().unwrap_or_default())
    })
}

#[cfg(feature = "yaml")]
fn yaml(text: &str) -> std::result::Result<Value, String> {
    serde_saphyr::from_str::<Value>(text).map_err(|_| "it is not YAML".to_string())
}

#[cfg(not(feature = "yaml"))]
fn yaml(_: &str) -> std::result::Result<Value, String> {
    Err("this build reads TOML only; write persist.toml, or enable the feature `yaml`".into())
}

/// `[storage]` with plain keys, and the tables `s3`, `gcs` and `retry` in it.
fn settings(root: &Value) -> std::result::Result<Vec<(&'static Setting, String)>, String> {
    let tables = root.as_object().ok_or("it must have the table [storage]")?;
    if let Some(name) = tables.keys().find(|name| *name != "storage") {
        let hint = suggest::hint(name, ["storage"]);
        return Err(format!("there is no table or key `{name}`{hint}; everything stands in [storage]"));
    }
    let mut found = Vec::new();
    let storage =
        tables.get("storage").and_then(Value::as_object).ok_or("it must have the table [storage]")?;
    for (name, value) in storage {
        match value {
            Value::Object(table) if ["s3", "gcs", "retry"].contains(&name.as_str()) => {
                for (inner, value) in table {
                    found.push(pair(&format!("{name}.{inner}"), value)?);
                }
            }
            _ => found.push(pair(name, value)?),
        }
    }
    Ok(found)
}

fn pair(name: &str, value: &Value) -> std::result::Result<(&'static Setting, String), String> {
    let known = SETTINGS.iter().filter(|setting| setting.name != "config");
    let Some(setting) = known.clone().find(|setting| setting.name == name) else {
        let hint = suggest::hint(name, known.map(|setting| setting.name));
        return Err(format!("there is no key `{name}` in [storage]{hint}"));
    };
    match value {
        Value::String(text) => Ok((setting, text.clone())),
        Value::Number(number) => Ok((setting, number.to_string())),
        Value::Bool(flag) => Ok((setting, flag.to_string())),
        _ => Err(format!("the key `{name}` takes a text, a number or true/false")),
    }
}
