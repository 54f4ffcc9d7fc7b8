//! Values from several places, laid over each other.

use std::{collections::BTreeMap, path::Path};

use super::{
    SETTINGS, Setting, StorageBackend, StorageConfig, file, suggest,
    table::setting,
    url::{self, Location},
};
use crate::{Error, ErrorKind, Result};

/// A value and where it was found.
#[derive(Debug, Clone)]
struct Value {
    text: String,
    /// As a message names it: `variable PERSIST_BUCKET`, `URL parameter region`, `key bucket of persist.toml`.
    from: String,
}

/// What one place says.
#[derive(Debug, Clone, Default)]
struct Layer {
    values: BTreeMap<&'static str, Value>,
    /// A URL names the whole location, so the layers below have no say in it.
    whole_location: bool,
}

/// The places that configure persist, the strongest first: lay them in the order command line, environment, file.
///
/// ```
/// use persist::config::Layers;
/// let vars = [("PERSIST_BACKEND", "s3"), ("PERSIST_BUCKET", "states")].map(|(n, v)| (n.to_string(), v.to_string()));
/// let config = Layers::new().environment(vars)?.resolve()?;
/// assert_eq!(config.bucket.as_deref(), Some("states"));
/// # Ok::<(), persist::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Layers {
    layers: Vec<Layer>,
    /// Lowest of all.
    generic: Layer,
}

/// The value of a setting, as `persist env` shows it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Effective {
    /// The setting.
    pub setting: &'static Setting,
    /// Its value, or `None` for the default. A secret's is `(set, hidden)`.
    pub value: Option<String>,
    /// Where it was found.
    pub from: Option<String>,
}

impl Layers {
    /// Nothing but defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lays a storage URL below what is there.
    ///
    /// # Errors
    /// `InvalidConfig` for a URL that cannot be used, without its password.
    pub fn url(mut self, url: &str, from: &str) -> Result<Self> {
        let mut layer = Layer::default();
        layer.set("storage_url", url, from.into());
        layer.expand_url()?;
        self.layers.push(layer);
        Ok(self)
    }

    /// Lays variables below what is there; generic ones (`STORAGE_BUCKET`) below everything. Names that are not persist's are passed over.
    ///
    /// # Errors
    /// `InvalidConfig` for an unknown `PERSIST_*` variable, with the nearest right name, and for contradictions.
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let variables: BTreeMap<String, String> =
            variables.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let known = || SETTINGS.iter().flat_map(|setting| setting.variables.iter().copied());
        let ours = |name: &&String| {
            name.starts_with("PERSIST_")
                && !name.starts_with("PERSIST_TEST_")
                && !name.starts_with("PERSIST_BENCH_")
        };
        if let Some(name) =
            variables.keys().filter(ours).find(|name| !known().any(|known| known == name.as_str()))
        {
            let hint = suggest::hint(name, known());
            return Err(bad(format!("there is no variable {name}{hint} (`persist env` lists all)")));
        }
        let mut layer = Layer::default();
        for setting in SETTINGS {
            let found =
                |names: &[&'static str]| names.iter().find_map(|name| Some((*name, variables.get(*name)?)));
            if let Some((name, value)) = found(setting.variables) {
                layer.set(setting.name, value, format!("variable {name}"));
            }
            if let Some((name, value)) = found(setting.generic) {
                self.generic.set(setting.name, value, format!("variable {name}"));
            }
        }
        layer.expand_url()?;
        self.layers.push(layer);
        Ok(self)
    }

    /// Lays a file below what is there: `.toml`, or `.yaml` with the feature `yaml`.
    ///
    /// # Errors
    /// `InvalidConfig` for a file that cannot be read or parsed, and for unknown keys, with the nearest right name.
    pub fn file(mut self, path: &Path) -> Result<Self> {
        let mut layer = Layer::default();
        for (setting, text) in file::read(path)? {
            layer.set(setting.name, &text, format!("key {} of {}", setting.name, path.display()));
        }
        layer.expand_url()?;
        self.layers.push(layer);
        Ok(self)
    }

    /// The file that the layers so far name (`PERSIST_CONFIG`).
    pub fn config_file(&self) -> Option<&Path> {
        self.layers
            .iter()
            .find_map(|layer| layer.values.get("config"))
            .map(|value| Path::new(value.text.as_str()))
    }

    /// The configuration.
    ///
    /// # Errors
    /// `InvalidConfig` that names the setting, where it was found, and what it takes.
    pub fn resolve(&self) -> Result<StorageConfig> {
        let winners = self.winners()?;
        let mut config = StorageConfig::default();
        for (setting, value) in
            SETTINGS.iter().filter_map(|setting| Some((setting, winners.get(setting.name)?)))
        {
            (setting.apply)(&mut config, &value.text).map_err(|reason| {
                let shown = if setting.secret { String::new() } else { format!(" ({:?})", value.text) };
                bad(format!("{}{shown}: {reason}", value.from))
            })?;
        }
        Ok(config)
    }

    /// Every setting with its effective value.
    ///
    /// # Errors
    /// As for [`resolve`](Layers::resolve).
    pub fn effective(&self) -> Result<Vec<Effective>> {
        self.resolve()?;
        let winners = self.winners()?;
        let row = |setting: &'static Setting| {
            let value = winners.get(setting.name);
            let shown = |value: &&Value| match setting.name {
                _ if setting.secret => "(set, hidden)".into(),
                "storage_url" => url::without_secrets(&value.text),
                _ => value.text.clone(),
            };
            Effective {
                setting,
                value: value.as_ref().map(shown),
                from: value.map(|value| value.from.clone()),
            }
        };
        Ok(SETTINGS.iter().map(row).collect())
    }

    /// For each setting the value that counts.
    fn winners(&self) -> Result<BTreeMap<&'static str, Value>> {
        let all = || self.layers.iter().chain([&self.generic]);
        let named = all().find_map(|layer| layer.values.get("backend"));
        let backend = match named {
            Some(value) => value
                .text
                .parse()
                .map_err(|error: Error| bad(format!("{}: {}", value.from, error.message())))?,
            None => StorageBackend::default(),
        };
        let (mut winners, mut located) = (BTreeMap::new(), false);
        for layer in all() {
            for (name, value) in &layer.values {
                let is_location = setting(name).is_some_and(|setting| setting.location);
                // `s3_bucket` is the bucket when the backend is S3, and says nothing otherwise.
                let target = match (*name, backend) {
                    ("s3_bucket", StorageBackend::S3) | ("gcs_bucket", StorageBackend::Gcs) => "bucket",
                    ("gcs_prefix", StorageBackend::Gcs) => "prefix",
                    ("bucket" | "prefix", _) if layer.more_specific(name, backend) => continue,
                    ("s3_bucket" | "gcs_bucket" | "gcs_prefix", _) => {
                        if named.is_none() && value.from.contains("PERSIST_") {
                            let how =
                                "is set, but no backend is named; set PERSIST_BACKEND or PERSIST_STORAGE_URL";
                            return Err(bad(format!("{} {how}", value.from)));
                        }
                        continue;
                    }
                    _ => *name,
                };
                if !(is_location && located) {
                    winners.entry(target).or_insert_with(|| value.clone());
                }
            }
            located |= layer.whole_location;
        }
        Ok(winners)
    }
}

impl Layer {
    fn set(&mut self, name: &'static str, text: &str, from: String) {
        self.values.insert(name, Value { text: text.into(), from });
    }

    /// Whether the layer has the backend's own setting for what `name` sets for all.
    fn more_specific(&self, name: &str, backend: StorageBackend) -> bool {
        let own = match (name, backend) {
            ("bucket", StorageBackend::S3) => "s3_bucket",
            ("bucket", StorageBackend::Gcs) => "gcs_bucket",
            ("prefix", StorageBackend::Gcs) => "gcs_prefix",
            _ => return false,
        };
        self.values.contains_key(own)
    }

    /// Puts what the layer's URL says beside its other values; both may say the same, but not different things.
    fn expand_url(&mut self) -> Result<()> {
        let Some(url) = self.values.get("storage_url").cloned() else { return Ok(()) };
        let Location { values } =
            url::parse(&url.text).map_err(|reason| bad(format!("{}: {reason}", url.from)))?;
        for (name, text) in values {
            match self.values.get(name) {
                Some(other) if other.text != text => {
                    let (from, other) = (&url.from, &other.from);
                    return Err(bad(format!(
                        "{from} and {other} disagree about `{name}`; remove one of them"
                    )));
                }
                _ => self.set(name, &text, url.from.clone()),
            }
        }
        self.whole_location = true;
        Ok(())
    }
}

pub(super) fn bad(message: String) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
