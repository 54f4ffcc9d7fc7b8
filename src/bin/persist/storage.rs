//! Which storage is meant: by command line, environment and file, or by a key that is a whole URL.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use anyhow::Result;
use persist::{
    Error, ErrorKind, Key, SnapshotAdapter, StorageBackend, StorageConfig,
    config::{Effective, Sources, split_key, split_prefix, variables},
};
use tokio::sync::OnceCell;

use crate::place::{self, Place};

/// A folder of a storage: all snapshots in it are meant.
pub(crate) struct Folder {
    pub(crate) store: Arc<dyn SnapshotAdapter>,
    /// What their names begin with, a text with a `/` at the end, or nothing for all.
    pub(crate) prefix: String,
    pub(crate) place: Place,
    /// Where the storage is.
    pub(crate) root: Place,
}

/// The configuration of this call, opened when it is needed, once.
pub(crate) struct Storage {
    url: Option<String>,
    config: Option<PathBuf>,
    /// Environment and file: a file that is a pipe can be read once.
    surroundings: OnceLock<Sources>,
    /// Whether that was tried, and failed.
    unusable_file: OnceLock<()>,
    opened: OnceCell<Arc<dyn SnapshotAdapter>>,
    backend: OnceLock<&'static str>,
}

impl Storage {
    pub(crate) fn new(url: Option<String>, config: Option<PathBuf>) -> Self {
        Storage {
            url,
            config,
            surroundings: OnceLock::new(),
            unusable_file: OnceLock::new(),
            opened: OnceCell::new(),
            backend: OnceLock::new(),
        }
    }

    /// All that is configured, the strongest first; a snapshot's own URL stands in place of `--storage`.
    fn sources_for(&self, snapshot: Option<&str>) -> persist::Result<Sources> {
        let sources = match (snapshot, &self.url) {
            (Some(url), _) => Sources::new().snapshot_url(url).map_err(of_argument)?,
            (None, Some(url)) => Sources::new().url(url, "--storage")?,
            (None, None) => Sources::new(),
        };
        Ok(sources.above(self.surroundings()?))
    }

    fn surroundings(&self) -> persist::Result<Sources> {
        if let Some(read) = self.surroundings.get() {
            return Ok(read.clone());
        }
        let environment = Sources::new().environment(variables()?)?;
        let read = environment.configuration_file(self.config.as_deref()).inspect_err(|_| {
            self.unusable_file.get_or_init(|| ());
        })?;
        Ok(self.surroundings.get_or_init(|| read).clone())
    }

    pub(crate) fn sources(&self) -> persist::Result<Sources> {
        self.sources_for(None)
    }

    /// What is set where something is wrong: a place that cannot be used does not hide the others.
    pub(crate) fn found(&self) -> Vec<Effective> {
        let lay = |sources: Sources, next: persist::Result<Sources>| next.unwrap_or(sources);
        let mut sources = Sources::new();
        if let Some(url) = &self.url {
            sources = lay(sources.clone(), sources.url(url, "--storage"));
        }
        if let Some(read) = self.surroundings.get() {
            return sources.above(read.clone()).found();
        }
        let mut unusable = Vec::new();
        let mut usable = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            let Ok(value) = value.into_string() else {
                unusable.push((name, "its value is not UTF-8".to_string()));
                continue;
            };
            match Sources::new().environment([(name.clone(), value.clone())]) {
                Ok(_) => usable.push((name, value)),
                Err(error) => unusable.push((name, error.message().to_string())),
            }
        }
        sources = lay(sources.clone(), sources.environment(usable));
        if self.unusable_file.get().is_none() {
            sources = lay(sources.clone(), sources.configuration_file(self.config.as_deref()));
        }
        let mut rows = sources.found();
        for (name, problem) in unusable {
            let row = rows.iter_mut().find(|row| row.setting.variables.contains(&name.as_str()));
            if let Some(row) = row {
                (row.value, row.from, row.problem) = (None, Some(format!("variable {name}")), Some(problem));
            }
        }
        rows
    }

    /// The configured storage.
    pub(crate) async fn open(&self) -> Result<Arc<dyn SnapshotAdapter>> {
        let open = || async {
            let sources = self.sources()?;
            let config = sources.resolve()?;
            if let Some(reason) = sources.unused_bucket() {
                tracing::warn!("{reason}");
            }
            self.open_as(&config).await
        };
        Ok(self.opened.get_or_try_init(open).await?.clone())
    }

    async fn open_url(&self, url: &str) -> Result<Arc<dyn SnapshotAdapter>> {
        self.open_as(&self.sources_for(Some(url))?.resolve()?).await
    }

    /// The snapshot that `text` names, a key or a URL, and where it is.
    pub(crate) async fn locate(&self, text: &str) -> Result<(Arc<dyn SnapshotAdapter>, Key)> {
        match split_key(text)? {
            Some((url, key)) => Ok((self.open_url(&url).await?, key)),
            None => {
                let key = key(text)?; // before the storage is opened: a wrong key is cheap to find
                Ok((self.open().await?, key))
            }
        }
    }

    /// The same, without opening the storage.
    pub(crate) fn describe(&self, text: &str) -> Result<(StorageConfig, Key)> {
        match split_key(text)? {
            Some((url, key)) => Ok((self.sources_for(Some(&url))?.resolve()?, key)),
            None => Ok((self.sources()?.resolve()?, key(text)?)),
        }
    }

    /// Where the storage is that [`locate`](Self::locate) opens.
    pub(crate) fn root(&self, text: &str) -> Result<Place> {
        Ok(Place::of(&self.describe(text)?.0, "")?)
    }

    /// Where the storage is that [`open`](Self::open) opens.
    pub(crate) fn place(&self) -> Result<Place> {
        Ok(Place::of(&self.sources()?.resolve()?, "")?)
    }

    /// The URL of what is so many folders above the storage, as `--storage` takes it when no namespace is
    /// set.
    pub(crate) fn ancestor_url(&self, folders: usize) -> Result<String> {
        let sources = self.sources()?;
        let url = place::ancestor_url(&sources.resolve()?, folders)?;
        // What the storage's own URL says besides, a server for example, another one must say again.
        let is_own = |row: &Effective| row.setting.name == "storage_url";
        let own = sources.effective()?.into_iter().find(is_own).and_then(|row| row.value);
        let own = self.url.clone().or(own);
        let said = own.as_deref().filter(|url| is_url(url)).and_then(|url| url.split_once('?'));
        let parameters = said.map_or("", |(_, parameters)| parameters).split('&');
        let parameters: Vec<&str> =
            parameters.filter(|one| !one.is_empty() && !one.starts_with("namespace=")).collect();
        let mark = if parameters.is_empty() { "" } else { "?" };
        Ok(format!("{url}{mark}{}", parameters.join("&")))
    }

    /// Where the names that start with `text`, or with the path of a URL, are.
    pub(crate) async fn locate_prefix(&self, text: String) -> Result<(Arc<dyn SnapshotAdapter>, String)> {
        match split_prefix(&text)? {
            Some((url, prefix)) => Ok((self.open_url(&url).await?, beginning(prefix)?)),
            None => {
                let text = beginning(text)?;
                Ok((self.open().await?, text))
            }
        }
    }

    /// The folder that `text` names, with or without a `/` at the end.
    pub(crate) async fn folder(&self, text: &str) -> Result<Folder> {
        if matches!(text, "." | "./" | "/") {
            let message =
                format!("{text:?} names no folder of the storage; `persist ls --folders` lists them");
            return Err(Error::new(ErrorKind::InvalidInput, message).into());
        }
        let text = if is_url(text) { closed(text) } else { text.to_owned() };
        let url = split_prefix(&text)?.map(|(url, _)| url);
        let config = self.sources_for(url.as_deref())?.resolve()?;
        let (store, prefix) = self.locate_prefix(text).await?;
        let prefix = match prefix.trim_end_matches('/') {
            "" => String::new(),
            // Nothing can lie below `.`: not to be told from a folder that is empty.
            prefix => format!("{}/", Key::new(prefix)?),
        };
        let (place, root) = (Place::of(&config, &prefix)?, Place::of(&config, "")?);
        Ok(Folder { store, prefix, place, root })
    }

    /// Refuses `--storage` where every one of `names` is a URL: nothing would use it, nor its parameters.
    pub(crate) fn check_no_storage_beside_urls(&self, names: &[&str]) -> persist::Result<()> {
        if self.url.is_none() || names.is_empty() || !names.iter().all(|name| is_url(name)) {
            return Ok(());
        }
        let message = "--storage names a storage, and so does the URL of the snapshot; leave one of them out";
        Err(Error::new(ErrorKind::InvalidInput, message))
    }

    /// The kind of the first storage that was opened.
    pub(crate) fn backend(&self) -> Option<&'static str> {
        self.backend.get().copied()
    }

    async fn open_as(&self, config: &StorageConfig) -> Result<Arc<dyn SnapshotAdapter>> {
        self.backend.get_or_init(|| config.backend.as_str());
        open(config).await
    }
}

/// What is wrong with the URL of a snapshot is wrong with an argument, and no setting.
fn of_argument(error: Error) -> Error {
    Error::new(ErrorKind::InvalidInput, error.message())
}

/// Whether it is a URL; what is wrong with one is told where it is used.
fn is_url(text: &str) -> bool {
    matches!(split_prefix(text), Ok(Some(_)))
}

/// A URL with a `/` at the end of its path: its last name is that of a folder.
fn closed(url: &str) -> String {
    let (path, query) = url.split_at(url.find('?').unwrap_or(url.len()));
    let slash = if path.ends_with('/') { "" } else { "/" };
    format!("{path}{slash}{query}")
}

/// The key that `text` is.
fn key(text: &str) -> persist::Result<Key> {
    if text.starts_with('/') { Err(path(text)) } else { Key::new(text) }
}

/// The text that keys begin with. One that none can begin with would find nothing, as if nothing were there.
pub(crate) fn beginning(text: String) -> persist::Result<String> {
    if text.starts_with('/') {
        return Err(path(&text));
    }
    // Some key goes on behind it, or it is one.
    if text.is_empty() || Key::new(format!("{text}x")).is_ok() || Key::new(&text).is_ok() {
        return Ok(text);
    }
    let odd = text.contains("//") || text.split('/').any(|segment| matches!(segment, "." | ".."));
    let why = if odd { "there is no `//` in it and no segment `.` or `..`" } else { "see `persist help ls`" };
    Err(Error::new(ErrorKind::InvalidInput, format!("no key starts with {text:?}: {why}")))
}

fn path(text: &str) -> Error {
    let message =
        format!("{text:?} is no key, because it starts with `/`; for this disk's own write file://{text}");
    Error::new(ErrorKind::InvalidInput, message)
}

/// The ids of a session of this storage, as segments, whose folder the key is in. What has not quite the name
/// of one of its objects belongs to it, too.
fn folder_of_session(key: &Key) -> Option<[&str; 2]> {
    let mut segments = key.segments();
    (segments.next() == Some("sessions")).then_some(())?;
    let ids = [segments.next()?, segments.next()?];
    matches!(segments.next(), Some("c" | "b" | "t" | "f" | "line")).then_some(ids)
}

/// Refuses what would take a session apart, one of this storage, which is at `root`, or of another that
/// shares its folders; `instead` is what to do.
pub(crate) fn not_of_session(root: &Place, key: &Key, instead: &str) -> persist::Result<()> {
    refuse(root.session_of(key), key, instead)
}

/// The same, and what would put a stray among the objects of a session.
pub(crate) fn not_into_session(root: &Place, key: &Key, instead: &str) -> persist::Result<()> {
    refuse(folder_of_session(key).or_else(|| root.session_of(key)), key, instead)
}

fn refuse(ids: Option<[&str; 2]>, key: &Key, instead: &str) -> persist::Result<()> {
    let Some(ids) = ids else { return Ok(()) };
    let message = format!("it is part of the session {}; {instead}", session_name(ids));
    Err(Error::new(ErrorKind::InvalidInput, message).with_key(key))
}

/// The ids of a session, from its segments.
pub(crate) fn session_name(ids: [&str; 2]) -> String {
    ids.map(|segment| Key::decode_segment(segment).unwrap_or_else(|_| segment.to_owned())).join("/")
}

async fn open(config: &StorageConfig) -> Result<Arc<dyn SnapshotAdapter>> {
    if config.backend == StorageBackend::Memory {
        tracing::warn!("memory:// is gone when this command ends; name another storage to keep snapshots");
    }
    if *config == StorageConfig::default() && Path::new("persist.toml").exists() {
        tracing::warn!(
            "./persist.toml is not read unless it is named: use --config persist.toml or PERSIST_CONFIG"
        );
    }
    Ok(config.open().await?)
}
