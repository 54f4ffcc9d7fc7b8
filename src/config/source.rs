//! What one place says, and whether it contradicts itself.

use std::{collections::BTreeMap, fmt, path::Path};

use super::{Setting, StorageBackend, StorageConfig, bad, url, values};
use crate::Result;

/// A value and where it was found.
#[derive(Clone)]
pub(super) struct Value {
    pub(super) setting: &'static Setting,
    pub(super) text: String,
    /// As a message names it: `variable PERSIST_BUCKET`, `key bucket of persist.toml`.
    pub(super) from: String,
    /// Of a name that other programs know too.
    pub(super) shared: bool,
    /// Out of a URL.
    pub(super) of_url: bool,
    /// A relative path from a pipe, which has no folder to begin in: an error if it is used.
    without_folder: bool,
}

/// As messages have it: without what is secret.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

/// What one place says.
#[derive(Debug, Clone, Default)]
pub(super) struct Source {
    pub(super) values: Vec<Value>,
    /// A URL names the whole location, so the sources below have no say in it.
    pub(super) whole_location: bool,
    /// Its names may be meant for other programs: what does not fit is passed over.
    pub(super) shared: bool,
}

impl Source {
    /// Adds a value. A URL is taken apart, and what it says stands beside the rest.
    pub(super) fn add(&mut self, setting: &'static Setting, text: &str, from: String) -> Result<()> {
        if setting.name == "storage_url" {
            self.whole_location = true;
            for (inner, text) in url::parse(text).map_err(|reason| bad(format!("{from}: {reason}")))? {
                let from = match inner.parameter() {
                    Some(parameter) => format!("parameter {parameter} of {from}"),
                    None => from.clone(),
                };
                self.push(inner, text, from, true);
            }
        }
        self.push(setting, text.into(), from, false);
        Ok(())
    }

    fn push(&mut self, setting: &'static Setting, text: String, from: String, of_url: bool) {
        self.values.push(Value { setting, text, from, shared: self.shared, of_url, without_folder: false });
    }

    /// Makes relative paths begin in `folder`, not wherever a process happens to run.
    ///
    /// # Errors
    /// `InvalidConfig` for a relative path where the folder is not UTF-8. One where there is no folder is
    /// refused where it is used.
    pub(super) fn start_paths_at(&mut self, folder: Option<&Path>) -> Result<()> {
        // What is no path would look like one behind the folder.
        let relative = |value: &&mut Value| {
            value.setting.is_path && Path::new(&value.text).is_relative() && value.is_usable()
        };
        for value in self.values.iter_mut().filter(relative) {
            let Some(folder) = folder else {
                value.without_folder = true;
                continue;
            };
            let wrong = "the file's folder is not UTF-8; write the whole path";
            let folder = folder.to_str().ok_or_else(|| bad(format!("{}: {wrong}", value.shown())))?;
            value.text = Path::new(folder).join(&value.text).to_string_lossy().into_owned();
        }
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|value| value.setting.name == name)
    }

    /// Whether it says in persist's own words where snapshots are.
    pub(super) fn names_a_place(&self) -> bool {
        self.values.iter().any(|value| value.setting.location && !value.shared)
    }

    /// The value of each setting, if `backend` is used: `gcs_bucket` sets `bucket` there, for example.
    ///
    /// # Errors
    /// `InvalidConfig` for two values that say different things, naming both.
    pub(super) fn targets(&self, backend: StorageBackend) -> Result<BTreeMap<&'static str, &Value>> {
        let mut targets: BTreeMap<&'static str, &Value> = BTreeMap::new();
        // The place that a URL names is one of its own backend: the bucket of this name at another service
        // may be somebody else's.
        let backend_of_url = |value: &&Value| value.of_url && value.setting.name == "backend";
        let elsewhere =
            self.values.iter().find(backend_of_url).is_some_and(|url| url.text != backend.as_str());
        let out_of_place =
            |value: &&Value| elsewhere && value.of_url && value.setting.location && !backend_of_url(value);
        for value in self.values.iter().filter(|value| !out_of_place(value)) {
            let Some(target) = value.setting.target(backend) else { continue };
            match targets.get(target) {
                Some(other) if !same(other, value) => {
                    let (one, two) = (other.shown(), value.shown());
                    return Err(bad(format!(
                        "{one} and {two} disagree about `{target}`; remove one of them"
                    )));
                }
                _ => drop(targets.insert(target, value)),
            }
        }
        Ok(targets)
    }
}

impl Value {
    /// Where it was found, with the value unless that is secret.
    pub(super) fn shown(&self) -> String {
        if self.setting.secret {
            self.from.clone()
        } else {
            format!("{} ({:?})", self.from, self.shown_text())
        }
    }

    /// The value without what is secret.
    pub(super) fn shown_text(&self) -> String {
        match self.text.rsplit_once('@') {
            _ if self.setting.secret => "(set, hidden)".into(),
            _ if self.setting.is_path && values::is_content(&self.text) => "{…}".into(),
            // However badly the address is written, what may be a password stays out.
            Some((_, host)) if self.setting.name.ends_with("endpoint_url") => {
                let scheme =
                    self.text.split_once("://").map_or(String::new(), |(scheme, _)| format!("{scheme}://"));
                format!("{scheme}…@{host}")
            }
            _ => url::without_secrets(&self.text),
        }
    }

    /// The bundle that this value settles. `anonymous = false` names no credentials and settles none.
    pub(super) fn bundle(&self) -> &'static str {
        if self.setting.name.ends_with(".anonymous") && values::boolean(&self.text) == Ok(false) {
            ""
        } else {
            self.setting.bundle
        }
    }

    pub(super) fn apply(&self, config: &mut StorageConfig) -> Result<()> {
        if self.without_folder {
            let wrong = "a pipe has no folder in which it could begin; write the whole path";
            return Err(bad(format!("{}: {wrong}", self.shown())));
        }
        (self.setting.apply)(config, &self.text).map_err(|reason| {
            let own = self.setting.variables.first().filter(|_| self.shared);
            let way_out =
                own.map_or(String::new(), |own| format!("; if it is meant for another program, set {own}"));
            bad(format!("{}: {reason}{way_out}", self.shown()))
        })
    }

    /// Whether it can be used at all.
    pub(super) fn is_usable(&self) -> bool {
        self.apply(&mut StorageConfig::default()).is_ok()
    }
}

/// Whether both set the same, however it is written.
fn same(one: &Value, two: &Value) -> bool {
    let set = |value: &Value| {
        let mut config = StorageConfig::default();
        value.apply(&mut config).is_ok().then_some(config)
    };
    one.text == two.text || set(one).is_some_and(|config| set(two) == Some(config))
}
