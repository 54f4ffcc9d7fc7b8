//! Where folders of storages are, so that they can be compared: one that lies in another, however both are
//! named.

use std::{
    fs,
    path::{Component, PathBuf},
};

use persist::{
    Key, Result, StorageBackend, StorageConfig,
    sessions::{PartKind, part_kind},
};

/// A folder: whose it is, and the names that lead to it.
#[derive(Debug)]
pub(crate) struct Place {
    backend: StorageBackend,
    /// The server of a cloud, if one is configured: another one may have a bucket of the same name.
    server: Option<String>,
    names: Vec<String>,
}

impl Place {
    /// `folder` is what names of snapshots in it begin with.
    ///
    /// # Errors
    /// `InvalidConfig` where it is not configured where the storage is.
    pub(crate) fn of(config: &StorageConfig, folder: &str) -> Result<Self> {
        let server = match config.backend {
            StorageBackend::S3 => config.s3.endpoint_url.as_deref().map(server),
            StorageBackend::Gcs => Some(server(config.gcs.endpoint_url.as_deref().unwrap_or_default())),
            _ => None,
        };
        let root = StorageConfig { prefix: None, namespace: None, ..config.clone() }.location()?;
        let root = root.split_once("://").map_or(root.as_str(), |(_, root)| root);
        let mut names = match config.backend {
            StorageBackend::Local => on_disk(root),
            _ => vec![root.to_owned()],
        };
        let below = [config.prefix.as_deref(), config.namespace.as_deref(), Some(folder)];
        let below = below.iter().flatten().flat_map(|path| path.split('/'));
        names.extend(below.filter(|name| !name.is_empty()).map(str::to_owned));
        Ok(Place { backend: config.backend, server, names })
    }

    /// The names that lead from `outer` to this; none where both are one folder.
    pub(crate) fn inside(&self, outer: &Place) -> Option<&[String]> {
        // Amazon's own settings may name the server where none is configured: it may be any, and a copy that
        // is refused does no harm.
        let may_be_one = |(one, other)| one == other;
        let servers = self.server.as_ref().zip(outer.server.as_ref());
        (self.backend == outer.backend && servers.is_none_or(may_be_one)).then_some(())?;
        self.names.strip_prefix(outer.names.as_slice())
    }

    /// Whether one server is named and the other is not: they may be two.
    pub(crate) fn may_be_elsewhere(&self, other: &Place) -> bool {
        self.server.is_some() != other.server.is_some()
    }

    /// The ids (as segments) of the session that `key`, an object of this storage, is a part of, also where
    /// this storage is a folder above or inside the session's own.
    pub(crate) fn session_of<'a>(&'a self, key: &'a Key) -> Option<[&'a str; 2]> {
        // The names of buckets are no part of keys.
        let bucket = if self.backend == StorageBackend::Local { 0 } else { 1 };
        let names: Vec<&str> =
            self.names.iter().skip(bucket).map(String::as_str).chain(key.segments()).collect();
        let at = sessions_in(&names)?;
        Some([names[at + 1], names[at + 2]])
    }

    /// Which part of a session `key`, an object of this, is.
    pub(crate) fn part_of(&self, key: &Key) -> Option<Part> {
        let below: Vec<&str> = key.segments().collect();
        let all: Vec<&str> = self.names.iter().map(String::as_str).chain(below.iter().copied()).collect();
        let own = sessions_in(&all).filter(|_| self.session_of(key).is_some())? + 3;
        let folder = &below[..below.len().saturating_sub(all.len() - own)];
        let folder = folder.iter().map(|name| format!("{name}/")).collect();
        Some(Part { folder, kind: part_kind(&all[own..])?, name: all[own..].join("/") })
    }

    /// The storage of the session that `key` is a part of; `None` for other objects.
    pub(crate) fn storage_of(&self, key: &Key) -> Option<Owner> {
        let below: Vec<&str> = key.segments().collect();
        if let Some(at) = sessions_in(&below) {
            return Some(Owner::Below(below[..at].join("/")));
        }
        let all: Vec<&str> = self.names.iter().map(String::as_str).chain(below).collect();
        let at = sessions_in(&all).filter(|_| self.session_of(key).is_some())?;
        Some(Owner::Above(self.names.len().saturating_sub(at)))
    }
}

/// An object of a session.
pub(crate) struct Part {
    /// What keys of all of the session begin with; nothing where the storage is a folder in the session.
    pub(crate) folder: String,
    pub(crate) kind: PartKind,
    /// What its key has behind the session's own folder.
    pub(crate) name: String,
}

impl Part {
    /// Whether nothing ever replaces it.
    pub(crate) fn is_written_once(&self) -> bool {
        matches!(self.kind, PartKind::Commit | PartKind::Body | PartKind::Fork)
    }
}

/// Where the storage of a session is, seen from another one.
pub(crate) enum Owner {
    /// It is this, or a folder in it, as keys have it.
    Below(String),
    /// This is a folder in it, so many folders down.
    Above(usize),
}

/// The URL of what is so many folders above a storage, without parameters.
///
/// # Errors
/// `InvalidConfig` where it is not configured where the storage is.
pub(crate) fn ancestor_url(config: &StorageConfig, folders: usize) -> Result<String> {
    let mut there = StorageConfig { prefix: None, namespace: None, ..config.clone() };
    if config.backend == StorageBackend::Local {
        // As they are on disk, where names are encoded and links are followed.
        let url = config.location()?;
        let folder = PathBuf::from(decoded(url.strip_prefix("file://").unwrap_or(&url)));
        let folder = fs::canonicalize(&folder).unwrap_or(folder);
        there.local_base_path = Some(folder.ancestors().nth(folders).unwrap_or(&folder).to_owned());
    } else {
        let below = [config.prefix.as_deref(), config.namespace.as_deref()];
        let below = below.iter().flatten().flat_map(|path| path.split('/'));
        let mut below: Vec<&str> = below.filter(|name| !name.is_empty()).collect();
        below.truncate(below.len().saturating_sub(folders));
        there.prefix = (!below.is_empty()).then(|| below.join("/"));
    }
    there.location()
}

/// The position of the folder `sessions` among the names that lead to an object of a session: a folder called
/// `sessions` may be a user's own.
fn sessions_in(names: &[&str]) -> Option<usize> {
    (1..=3).find_map(|own| {
        let (above, own) = names.split_at(names.len().checked_sub(own)?);
        match above {
            [root @ .., "sessions", _, _] if part_kind(own).is_some() => Some(root.len()),
            _ => None,
        }
    })
}

/// A server as it can be compared with another.
fn server(url: &str) -> String {
    let url = url.to_ascii_lowercase();
    let name = url.split_once("://").map_or(url.as_str(), |(_, name)| name);
    // Emulators of Google's are named with and without it.
    name.trim_end_matches('/').trim_end_matches("/storage/v1").to_owned()
}

/// The names of the folders of a root, as keys have them: links are followed as far as something is there.
fn on_disk(root: &str) -> Vec<String> {
    let path = PathBuf::from(decoded(root));
    let followed = path.ancestors().find_map(|there| {
        let rest = path.strip_prefix(there).ok()?;
        Some(fs::canonicalize(there).ok()?.join(rest))
    });
    let path = followed.unwrap_or(path);
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(decoded(&name.to_string_lossy())),
        _ => None,
    });
    names.collect()
}

/// Percent-encoding undone, of a URL as of a name on disk.
fn decoded(text: &str) -> String {
    Key::decode_segment(text).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What leads from one to the other.
    fn between(outer: (&str, &str), inner: (&str, &str)) -> Option<String> {
        let place = |(url, folder)| Place::of(&StorageConfig::from_url(url).unwrap(), folder).unwrap();
        place(inner).inside(&place(outer)).map(|names| names.join("/"))
    }

    #[test]
    fn a_bucket_belongs_to_a_server() {
        let there = Some("b".to_owned());
        for scheme in ["s3", "gs"] {
            let bucket = format!("{scheme}://states");
            let at = |port: u32| format!("{bucket}/p?endpoint_url=http://127.0.0.1:{port}");
            assert_eq!(between((&at(1), "a/"), (&at(1), "a/b/")), there);
            assert_eq!(between((&at(1), "a/"), (&at(2), "a/b/")), None, "from one server to another");
            let named = |url: &str| format!("{bucket}/p?endpoint_url={url}");
            assert_eq!(
                between((&named("http://Minio:9000"), "a/"), (&named("https://minio:9000/"), "a/b/")),
                there
            );
            assert_eq!(between((&format!("{bucket}/p/"), "a/"), (&bucket, "p/a/b/")), there);
            assert_eq!(between((&bucket, ""), (&format!("{bucket}/b"), "")), there);
            assert_eq!(between((&bucket, "a/"), (&bucket, "a-b/")), None);
            assert_eq!(between((&bucket, "a/"), (&format!("{scheme}://states-2"), "a/b/")), None);
            assert_eq!(between((&bucket, "a/b/"), (&bucket, "a/")), None, "the other way round");
        }
        assert_eq!(between(("s3://states", ""), ("gs://states", "")), None);
        // Whom `AWS_ENDPOINT_URL` names nobody asks here.
        let (named, unnamed) = ("s3://states?endpoint_url=http://127.0.0.1:1", "s3://states");
        for (outer, inner) in [(named, unnamed), (unnamed, named)] {
            assert_eq!(between((outer, "a/"), (inner, "a/b/")), there);
        }
    }

    #[test]
    fn an_object_of_a_session_is_one_from_wherever_it_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let disk = |below: &str| format!("file://{}/{below}", folder.path().display());
        let of = |url: &str, key: &str| {
            let place = Place::of(&StorageConfig::from_url(url).unwrap(), "").unwrap();
            place.session_of(&Key::new(key).unwrap()).map(|ids| ids.join("/"))
        };
        let session = Some("a/s".to_owned());
        for (url, key) in [
            ("s3://b", "sessions/a/s/line"),
            ("s3://sessions", "sessions/a/s/line"),
            ("s3://b/sessions", "sessions/a/s/line"),
            ("s3://b", "prod/sessions/a/s/c/999999999/998-1"),
            ("gs://b/prod/sessions", "a/s/b/1-01ARZ3NDEKTSV4RRFFQ69G5FAV"),
            ("s3://b?namespace=n/sessions/a/s", "t/tag"),
            (&disk("sessions/a"), "s/f/01ARZ3NDEKTSV4RRFFQ69G5FAV"),
            (&disk("sessions/a/s/c/999999999"), "998-1"),
        ] {
            assert_eq!(of(url, key), session, "{url} {key}");
        }
        for (url, key, storage) in [
            ("s3://sessions", "sessions/a/s/line", ""),
            ("s3://b/sessions", "p/q/sessions/a/s/line", "p/q"),
            ("s3://b/sessions", "a/s/line", "s3://b"),
            ("s3://b/p%3F?namespace=n:1/sessions", "a/s/line", "s3://b/p%3F/n:1"),
            ("s3://b/p/sessions?namespace=a/s", "line", "s3://b/p"),
            ("gs://b/prod/sessions/a", "s/b/1-01ARZ3NDEKTSV4RRFFQ69G5FAV", "gs://b/prod"),
            (&disk("p?namespace=sessions/a:b"), "s/line", &disk("p")),
            (&disk("p?namespace=u:1/sessions"), "a/s/line", &disk("p/u%253A1")),
        ] {
            let config = StorageConfig::from_url(url).unwrap();
            let found = match Place::of(&config, "").unwrap().storage_of(&Key::new(key).unwrap()) {
                Some(Owner::Above(folders)) => ancestor_url(&config, folders).unwrap(),
                Some(Owner::Below(root)) => root,
                None => panic!("{url} {key}"),
            };
            assert_eq!(found, storage, "{url} {key}");
        }
        for (url, key) in [
            ("s3://sessions", "a/s/line"),
            ("s3://b", "prod/sessions/a/s/notes"),
            ("s3://b/sessions/a/s", "x/y/line"),
            // A user's own.
            ("s3://b", "prod/sessions/a/s/b/x"),
            ("s3://b", "prod/sessions/a/s/b/1-x"),
            ("s3://b", "prod/sessions/a/s/b/01-01ARZ3NDEKTSV4RRFFQ69G5FAV"),
            ("s3://b", "prod/sessions/a/s/c/a/b"),
            ("s3://b", "prod/sessions/a/s/c/1/x-1"),
            ("s3://b", "prod/sessions/a/s/c/x/1-1"),
            ("s3://b", "prod/sessions/a/s/c/1-1"),
            ("s3://b", "prod/sessions/a/s/f/x"),
            ("s3://b", "prod/sessions/a/s/line/x"),
            ("memory://", "sessions/a/c/1/2"),
            (&disk("sessions/a/s/c/999999999"), "x/y"),
        ] {
            assert_eq!(of(url, key), None, "{url} {key}");
        }
    }

    #[test]
    fn a_part_of_a_session_knows_its_folder_and_its_kind() {
        let id = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        for (url, key, told) in [
            ("s3://b", "sessions/a/s/line", Some(("sessions/a/s/", PartKind::Line))),
            ("s3://b", "prod/sessions/a/s/c/999999999/998-1", Some(("prod/sessions/a/s/", PartKind::Commit))),
            ("s3://b/sessions/a", &format!("s/f/{id}"), Some(("s/", PartKind::Fork))),
            ("s3://b/sessions/a/s", &format!("b/1-{id}"), Some(("", PartKind::Body))),
            ("s3://b/sessions/a/s/t", "tag", Some(("", PartKind::Tag))),
            ("s3://b/sessions/a/s/c", "999999999/998-1", Some(("", PartKind::Commit))),
            ("s3://sessions", "a/s/line", None),
            ("s3://b", "sessions/a/s/notes", None),
        ] {
            let place = Place::of(&StorageConfig::from_url(url).unwrap(), "").unwrap();
            let part = place.part_of(&Key::new(key).unwrap());
            let part = part.as_ref().map(|part| (part.folder.as_str(), part.kind));
            assert_eq!(part, told, "{url} {key}");
        }
    }

    #[test]
    fn a_folder_on_disk_has_many_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| format!("file://{}{name}", folder.path().display());
        assert_eq!(between((&at(""), "u:1/"), (&at("/u%253A1"), "b/")), Some("b".into()));
        assert_eq!(between((&at("/"), ""), (&at(""), "")), Some(String::new()));
        assert_eq!(between((&at("?namespace=n"), "a/"), (&at("/n/a/b/c"), "")), Some("b/c".into()));
        assert_eq!(between((&at("/a%20b"), ""), (&at("/a b"), "c/")), Some("c".into()));
        assert_eq!(between((&at("/a"), ""), (&at("/ab"), "")), None);
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(folder.path(), folder.path().join("link")).unwrap();
            assert_eq!(
                between((&at(""), "x/"), (&at("/link/x/not-there"), "y/")),
                Some("not-there/y".into())
            );
        }
    }
}
