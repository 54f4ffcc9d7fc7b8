//! What `persist env` shows.

use super::{SETTINGS, Setting, Sources, StorageConfig, source::Value};
use crate::Result;

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
    /// Why it cannot be used. Only [`found`](Sources::found) gives such.
    pub problem: Option<String>,
}

impl Effective {
    fn new(setting: &'static Setting, value: Option<&Value>) -> Self {
        let from = value.map(|value| value.from.clone());
        Effective { setting, value: value.map(Value::shown_text), from, problem: None }
    }
}

impl Sources {
    /// Every setting with its effective value.
    ///
    /// # Errors
    /// As for [`resolve`](Sources::resolve).
    pub fn effective(&self) -> Result<Vec<Effective>> {
        let _ = self.resolve()?;
        let winners = self.winners()?;
        Ok(SETTINGS
            .iter()
            .map(|setting| Effective::new(setting, winners.get(setting.name).copied()))
            .collect())
    }

    /// What to tell whoever set up a bucket by a variable that other programs know too, such as
    /// `AWS_S3_BUCKET`, where nothing says in what storage snapshots are: they go to the local disk.
    pub fn unused_bucket(&self) -> Option<String> {
        let named = |name: &&str| self.all().any(|source| source.get(name).is_some());
        if ["storage_url", "backend", "local_path"].iter().any(named) {
            return None;
        }
        let backends = [("bucket", "s3 (or gcs)"), ("s3_bucket", "s3"), ("gcs_bucket", "gcs")];
        let all = || self.all().flat_map(|source| &source.values).filter(|value| value.shared);
        all().find_map(|value| {
            let (_, backend) = backends.iter().find(|(name, _)| *name == value.setting.name)?;
            Some(format!(
                "{} names a bucket, but nothing names the backend: snapshots go to local disk; set PERSIST_BACKEND={backend}, or PERSIST_BACKEND=local if \
                 that is meant",
                value.from
            ))
        })
    }

    /// Every setting with the strongest value that was found, whether or not it can be used: to look at
    /// places that make no configuration.
    pub fn found(&self) -> Vec<Effective> {
        let mut config = StorageConfig::default();
        let row = |setting: &'static Setting| {
            let set = |value: &&Value| !value.text.is_empty();
            let value = self.all().find_map(|source| source.get(setting.name).filter(set));
            let problem = value.and_then(|value| value.apply(&mut config).err());
            let problem = problem.map(|error| error.message().to_string());
            Effective { problem, ..Effective::new(setting, value) }
        };
        SETTINGS.iter().map(row).collect()
    }
}
