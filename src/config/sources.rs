//! Values from several places, laid over each other.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    SETTINGS, Setting, StorageBackend, StorageConfig, bad, file, folders,
    source::{Source, Value},
    table::setting,
    values::is_googles,
    variables::{OWN, check_names},
};
use crate::{Error, ErrorKind, Result};

/// The places that configure persist, the strongest first: lay them in the order command line, environment,
/// file.
///
/// ```
/// use persist::config::Sources;
/// let vars = [("PERSIST_BACKEND", "s3"), ("PERSIST_BUCKET", "states")].map(|(n, v)| (n.to_string(), v.to_string()));
/// let config = Sources::new().environment(vars)?.resolve()?;
/// assert_eq!(config.bucket.as_deref(), Some("states"));
/// # Ok::<(), persist::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Sources {
    sources: Vec<Source>,
    /// Lowest of all.
    generic: Source,
    /// The file to read when none is named.
    default_file: Option<PathBuf>,
}

impl Default for Sources {
    fn default() -> Self {
        Self::new()
    }
}

impl Sources {
    /// Nothing but defaults.
    pub fn new() -> Self {
        let generic = Source { shared: true, ..Source::default() };
        Sources { sources: Vec::new(), generic, default_file: None }
    }

    /// Lays a storage URL below what is there.
    ///
    /// # Errors
    /// `InvalidConfig` for a URL that cannot be used, without its password.
    pub fn url(mut self, url: &str, from: &str) -> Result<Self> {
        let mut source = Source::default();
        source.add(row("storage_url")?, url, from.into())?;
        self.sources.push(source);
        Ok(self)
    }

    /// [`url`](Sources::url) for the storage part of a snapshot's own URL: it is complete, so that no
    /// namespace applies unless it names one.
    ///
    /// # Errors
    /// As for [`url`](Sources::url).
    pub fn snapshot_url(mut self, url: &str) -> Result<Self> {
        const FROM: &str = "the URL of the snapshot";
        let mut source = Source::default();
        source.add(row("storage_url")?, url, FROM.into())?;
        if source.get("namespace").is_none() {
            source.add(row("namespace")?, "", FROM.into())?;
        }
        self.sources.push(source);
        Ok(self)
    }

    /// Lays variables below what is there: first persist's own, then those that other programs know too;
    /// generic ones (`STORAGE_BUCKET`) below everything. Empty ones are as if not set, and names that are not
    /// persist's are passed over.
    ///
    /// # Errors
    /// `InvalidConfig` for an unknown `PERSIST_*` variable, with the nearest right name.
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let variables: BTreeMap<String, String> =
            variables.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        check_names(&variables)?;
        let (mut own, mut foreign) = (Source::default(), Source { shared: true, ..Source::default() });
        for setting in SETTINGS {
            for name in setting.variables.iter().chain(setting.generic) {
                let Some(text) = variables.get(*name) else { continue };
                let source = if setting.generic.contains(name) {
                    &mut self.generic
                } else if name.starts_with(OWN) {
                    &mut own
                } else {
                    &mut foreign
                };
                source.add(setting, text, format!("variable {name}"))?;
            }
        }
        self.sources.extend([own, foreign]);
        self.default_file = folders::config_file(&|name| variables.get(name).map(PathBuf::from));
        Ok(self)
    }

    /// Lays a file below what is there: `.toml`, or `.yaml` with the feature `yaml`. Its relative paths begin
    /// in its folder.
    ///
    /// # Errors
    /// `InvalidConfig` for a file that cannot be read or parsed, and for unknown keys, with the nearest right
    /// name.
    pub fn file(mut self, path: &Path) -> Result<Self> {
        let mut source = Source::default();
        let (settings, folder) = file::read(path)?;
        for (setting, text) in settings.into_iter().filter(|(_, text)| !text.is_empty()) {
            source.add(setting, &text, format!("key {} of {}", setting.name, path.display()))?;
        }
        source.start_paths_at(folder)?;
        self.sources.push(source);
        Ok(self)
    }

    /// Lays the configuration file below what is there: `named`, else the one that `PERSIST_CONFIG` names,
    /// else the one in the platform's configuration directory if it is there.
    ///
    /// # Errors
    /// As for [`file`](Sources::file).
    pub fn configuration_file(self, named: Option<&Path>) -> Result<Self> {
        let variable = self.sources.iter().find_map(|source| source.get("config")).map(|value| &value.text);
        let file = match (named, variable) {
            (Some(file), _) => file.to_path_buf(),
            (None, Some(file)) => file.into(),
            // A file that is there and cannot be read is an error: it may name another place for snapshots. A
            // directory that this user may not enter (a container's `HOME`) counts as having none.
            (None, None) => match self.default_file.clone().filter(|file| folders::is_there(file)) {
                Some(file) if folders::is_hidden(&file) => {
                    tracing::warn!(file = %file.display(), "no permission to look for a configuration file");
                    return Ok(self);
                }
                Some(file) => file,
                None => return Ok(self),
            },
        };
        self.file(&file)
    }

    /// Lays all of `weaker` below what is there. So a file is read once for several URLs: a pipe cannot be
    /// read again.
    pub fn above(mut self, weaker: Sources) -> Self {
        self.sources.extend(weaker.sources);
        self.generic.values.extend(weaker.generic.values);
        self.default_file = self.default_file.or(weaker.default_file);
        self
    }

    /// The configuration.
    ///
    /// # Errors
    /// `InvalidConfig` that names the setting, where it was found, and what it takes.
    pub fn resolve(&self) -> Result<StorageConfig> {
        let winners = self.winners()?;
        let mut config = StorageConfig::default();
        for value in SETTINGS.iter().filter_map(|setting| winners.get(setting.name)) {
            value.apply(&mut config)?;
        }
        Ok(config)
    }

    /// The places, the strongest first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().chain([&self.generic])
    }

    /// For each setting the value that counts.
    pub(super) fn winners(&self) -> Result<BTreeMap<&'static str, &Value>> {
        let all = || self.all();
        // Once persist's own settings say where snapshots are, a generic name that means nothing to persist
        // is meant for somebody else. Until then it may be a slip, and snapshots must not go elsewhere than
        // they were meant to.
        let names_a_place = self.sources.iter().any(Source::names_a_place);
        let is_foreign = |source: &Source, value: &Value| {
            names_a_place && std::ptr::eq(source, &self.generic) && !value.is_usable()
        };
        let named = all().find_map(|source| source.get("backend").filter(|value| !is_foreign(source, value)));
        let backend = match named {
            Some(value) => {
                let mut config = StorageConfig::default();
                value.apply(&mut config)?;
                config.backend
            }
            None => StorageBackend::default(),
        };
        let mut winners = Winners::new();
        let mut url_seen = false;
        for (rank, source) in all().enumerate() {
            // Decided by the sources above, before this one has a say.
            let settled: Vec<&str> = winners.values().map(|(_, value)| value.bundle()).collect();
            for (target, value) in source.targets(backend)? {
                let bundle = value.bundle();
                let others = value.shared && !value.setting.is_for(backend) && !value.is_usable();
                if others || is_foreign(source, value) {
                    tracing::debug!("{} is passed over: it is not for persist", value.from);
                    continue;
                }
                // What a URL says besides is about the storage that it names.
                let elsewhere = url_seen && (value.setting.location || value.of_url);
                let replaced = elsewhere || (!bundle.is_empty() && settled.contains(&bundle));
                if !replaced {
                    winners.entry(target).or_insert((rank, value));
                }
            }
            url_seen |= source.whole_location;
        }
        check_bucket(&mut winners, backend, named)?;
        check_ownerless(all(), named)?;
        check_level(&mut winners)?;
        without_ambient_credentials(&mut winners);
        Ok(winners
            .into_iter()
            .filter(|(_, (_, value))| !value.text.is_empty())
            .map(|(name, (_, value))| (name, value))
            .collect())
    }
}

type Winners<'a> = BTreeMap<&'static str, (usize, &'a Value)>;

/// A row of the table that is known to be there.
fn row(name: &str) -> Result<&'static Setting> {
    let missing = || Error::new(ErrorKind::Internal, format!("there is no setting {name}"));
    setting(name).ok_or_else(missing)
}

/// A bucket for a backend that has none: a mistake where it was named no lower than the backend, else a
/// remnant.
fn check_bucket(winners: &mut Winners<'_>, backend: StorageBackend, named: Option<&Value>) -> Result<()> {
    if backend.has_bucket() || !backend.is_written() {
        return Ok(());
    }
    let Some((bucket_rank, bucket)) = winners.remove("bucket") else { return Ok(()) };
    let backend_rank = winners.get("backend").map_or(usize::MAX, |(rank, _)| *rank);
    match named {
        _ if bucket.shared => Ok(()),
        Some(named) if bucket_rank <= backend_rank => {
            let (bucket, named) = (bucket.shown(), named.shown());
            Err(bad(format!("{bucket} names a bucket, and {named} a backend without; remove one of them")))
        }
        Some(_) => Ok(()),
        None => {
            let how = "names a bucket, but nothing names the backend; set PERSIST_BACKEND, or use a URL such as s3://bucket";
            Err(bad(format!("{} {how}", bucket.shown())))
        }
    }
}

/// `PERSIST_GCS_BUCKET` without a word about the backend would be passed over, and the snapshots would go to
/// the local disk.
fn check_ownerless<'a>(mut sources: impl Iterator<Item = &'a Source>, named: Option<&Value>) -> Result<()> {
    let ownerless = |value: &&Value| value.setting.only_for.is_some() && !value.shared;
    match sources.find_map(|source| source.values.iter().find(ownerless)) {
        Some(value) if named.is_none() => {
            let how = "is for one backend, but nothing names the backend; set PERSIST_BACKEND, or use a URL";
            Err(bad(format!("{} {how}", value.shown())))
        }
        _ => Ok(()),
    }
}

/// A level belongs to the codec that it was written for: a codec from a stronger place leaves it behind.
fn check_level(winners: &mut Winners<'_>) -> Result<()> {
    let (Some((codec_rank, codec)), Some((level_rank, level))) =
        (winners.get("compression"), winners.get("compression_level"))
    else {
        return Ok(());
    };
    if codec_rank < level_rank {
        winners.remove("compression_level");
    } else if codec_rank == level_rank && codec.text.split_once(':').is_some_and(|(_, own)| own != level.text)
    {
        return Err(bad(format!("{} and {} disagree; remove one of them", codec.shown(), level.shown())));
    }
    Ok(())
}

/// An emulator gets no credentials that only happen to be in the environment (as in Google's own clients).
fn without_ambient_credentials(winners: &mut Winners<'_>) {
    let is_emulator =
        |address: &str| !address.to_ascii_lowercase().starts_with("https://") && !is_googles(address);
    let emulator = winners.get("gcs.endpoint_url").is_some_and(|(_, value)| is_emulator(&value.text));
    if emulator && winners.get("gcs.credentials_path").is_some_and(|(_, value)| value.shared) {
        winners.remove("gcs.credentials_path");
    }
}
