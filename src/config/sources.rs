//! Values from several places, laid over each other.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    SETTINGS, Setting, StorageBackend, StorageConfig, bad, file, folders,
    source::{Source, Value},
    suggest,
    table::setting,
};
use crate::Result;

/// The places that configure persist, the strongest first: lay them in the order command line, environment, file.
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
        source.add(known("storage_url")?, url, from.into())?;
        self.sources.push(source);
        Ok(self)
    }

    /// The same for the storage part of a snapshot's own URL: it is complete, so that no namespace applies unless it names one.
    ///
    /// # Errors
    /// As for [`url`](Sources::url).
    pub fn snapshot_url(mut self, url: &str) -> Result<Self> {
        const FROM: &str = "the URL of the snapshot";
        let mut source = Source::default();
        source.add(known("storage_url")?, url, FROM.into())?;
        if source.get("namespace").is_none() {
            source.add(known("namespace")?, "", FROM.into())?;
        }
        self.sources.push(source);
        Ok(self)
    }

    /// Lays variables below what is there: first persist's own, then those that other programs know too; generic ones
    /// (`STORAGE_BUCKET`) below everything. Empty ones are as if not set, and names that are not persist's are passed over.
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
                let source = match () {
                    () if setting.generic.contains(name) => &mut self.generic,
                    () if name.starts_with(OWN) => &mut own,
                    () => &mut foreign,
                };
                source.add(setting, text, format!("variable {name}"))?;
            }
        }
        self.sources.extend([own, foreign]);
        self.default_file = folders::config_file(&|name| variables.get(name).map(PathBuf::from));
        Ok(self)
    }

    /// Lays a file below what is there: `.toml`, or `.yaml` with the feature `yaml`. Its relative paths begin in its folder.
    ///
    /// # Errors
    /// `InvalidConfig` for a file that cannot be read or parsed, and for unknown keys, with the nearest right name.
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

    /// Lays the configuration file below what is there: `named`, else the one that `PERSIST_CONFIG` names, else the one in the platform's
    /// configuration directory if it is there.
    ///
    /// # Errors
    /// As for [`file`](Sources::file).
    pub fn configuration_file(self, named: Option<&Path>) -> Result<Self> {
        let variable = self.sources.iter().find_map(|source| source.get("config")).map(|value| &value.text);
        let file = match (named, variable) {
            (Some(file), _) => file.to_path_buf(),
            (None, Some(file)) => file.into(),
            // One that is there and cannot be read is an error: it may name another place for snapshots. But where this user may not look, as in the home of
            // another one that a container's `HOME` names, there is none of this user's.
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

    /// Lays all of `weaker` below what is there. So a file is read once for several URLs: a pipe cannot be read again.
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
        let placed = self.sources.iter().any(Source::names_a_place);
        let strays =
            |source: &Source, value: &Value| placed && std::ptr::eq(source, &self.generic) && !value.fits();
        let named = all().find_map(|source| source.get("backend").filter(|value| !strays(source, value)));
        let backend = match named {
            Some(value) => {
                let mut config = StorageConfig::default();
                value.apply(&mut config)?;
                config.backend
            }
            None => StorageBackend::default(),
        };
        let mut winners = Winners::new();
        let mut located = false;
        for (rank, source) in all().enumerate() {
            // Decided by the sources above, before this one has a say.
            let settled: Vec<&str> = winners.values().map(|(_, value)| value.bundle()).collect();
            for (target, value) in source.targets(backend)? {
                let bundle = value.bundle();
                let others = value.shared && !value.setting.is_for(backend) && !value.fits();
                if others || strays(source, value) {
                    tracing::debug!("{} is passed over: it is not for persist", value.from);
                    continue;
                }
                // What a URL says besides is about the storage that it names.
                let elsewhere = located && (value.setting.location || value.of_url);
                let replaced = elsewhere || (!bundle.is_empty() && settled.contains(&bundle));
                if !replaced {
                    winners.entry(target).or_insert((rank, value));
                }
            }
            located |= source.whole_location;
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

/// What the names of all variables of persist begin with.
const OWN: &str = "PERSIST_";

type Winners<'a> = BTreeMap<&'static str, (usize, &'a Value)>;

/// A row of the table that is known to be there.
fn known(name: &str) -> Result<&'static Setting> {
    setting(name).ok_or_else(|| bad(format!("there is no setting {name}")))
}

/// Refuses variables that look like persist's and are not.
fn check_names(variables: &BTreeMap<String, String>) -> Result<()> {
    let known = || SETTINGS.iter().flat_map(|setting| setting.variables.iter().copied());
    // Of the project's own tests and benchmarks.
    let others = |name: &str| name.starts_with("PERSIST_BENCH_") || name.starts_with("PERSIST_TEST_");
    let unknown = |(name, value): &(&String, &String)| {
        name.starts_with(OWN)
            && !others(name)
            && !is_service_link(name, value)
            && !known().any(|known| known == name.as_str())
    };
    match variables.iter().find(unknown) {
        Some((name, _)) => {
            let hint = suggest::hint(name, known());
            Err(bad(format!("there is no variable {name}{hint} (`persist env` lists all)")))
        }
        None => Ok(()),
    }
}

/// Whether it is one of the variables that Kubernetes gives to every pod about each service of its namespace. A service
/// whose name begins with `persist` must not stop agents that know nothing of it.
/// <https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables>
fn is_service_link(name: &str, value: &str) -> bool {
    let of_port = |rest: &str| {
        let mut parts = rest.split('_');
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        parts.next().is_some_and(is_number)
            && matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"))
            && matches!(parts.next(), None | Some("ADDR" | "PORT" | "PROTO"))
            && parts.next().is_none()
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        // Else it may be meant for persist.
        || name.ends_with("_PORT") && value.contains("://")
        || name.rsplit_once("_PORT_").is_some_and(|(_, rest)| of_port(rest))
}

/// A bucket for a backend that has none: a mistake where it was named no lower than the backend, else a remnant.
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

/// `PERSIST_GCS_BUCKET` without a word about the backend would be passed over, and the snapshots would go to the local disk.
fn check_ownerless<'a>(mut sources: impl Iterator<Item = &'a Source>, named: Option<&Value>) -> Result<()> {
    let ownerless = |value: &&Value| value.setting.only_for().is_some() && !value.shared;
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
    let emulator = winners
        .get("gcs.endpoint_url")
        .is_some_and(|(_, value)| !value.text.to_ascii_lowercase().starts_with("https://"));
    if emulator && winners.get("gcs.credentials_path").is_some_and(|(_, value)| value.shared) {
        winners.remove("gcs.credentials_path");
    }
}
