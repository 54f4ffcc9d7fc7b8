//! Where folders of storages are, so that they can be compared: one that lies in another, however both are named.

use std::{
    fs,
    path::{Component, PathBuf},
};

use persist::{Key, Result, StorageBackend, StorageConfig};

/// A folder: whose it is, and the names that lead to it.
#[derive(Debug)]
pub(crate) struct Place {
    /// The kind of storage and, of a cloud, the server: another one may have a bucket of the same name.
    server: String,
    names: Vec<String>,
}

impl Place {
    /// `folder` is what names of snapshots in it begin with.
    ///
    /// # Errors
    /// `InvalidConfig` where it is not configured where the storage is.
    pub(crate) fn of(config: &StorageConfig, folder: &str) -> Result<Self> {
        let endpoint = match config.backend {
            StorageBackend::S3 => config.s3.endpoint_url.as_deref(),
            StorageBackend::Gcs => config.gcs.endpoint_url.as_deref(),
            _ => None,
        };
        let endpoint = endpoint.unwrap_or_default().trim_end_matches('/');
        let server = format!("{} {endpoint}", config.backend.as_str());
        let root = StorageConfig { prefix: None, namespace: None, ..config.clone() }.location()?;
        let root = root.split_once("://").map_or(root.as_str(), |(_, root)| root);
        let mut names = match config.backend {
            StorageBackend::Local => on_disk(root),
            _ => vec![root.to_owned()],
        };
        let below = [config.prefix.as_deref(), config.namespace.as_deref(), Some(folder)];
        let below = below.iter().flatten().flat_map(|path| path.split('/'));
        names.extend(below.filter(|name| !name.is_empty()).map(str::to_owned));
        Ok(Place { server, names })
    }

    /// The names that lead from `outer` to this; none where both are one folder.
    pub(crate) fn inside(&self, outer: &Place) -> Option<&[String]> {
        (self.server == outer.server).then_some(())?;
        self.names.strip_prefix(outer.names.as_slice())
    }
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
            assert_eq!(between((&at(1), "a/"), (&format!("{bucket}/p"), "a/b/")), None);
            assert_eq!(between((&format!("{bucket}/p/"), "a/"), (&bucket, "p/a/b/")), there);
            assert_eq!(between((&bucket, ""), (&format!("{bucket}/b"), "")), there);
            assert_eq!(between((&bucket, "a/"), (&bucket, "a-b/")), None);
            assert_eq!(between((&bucket, "a/"), (&format!("{scheme}://states-2"), "a/b/")), None);
            assert_eq!(between((&bucket, "a/b/"), (&bucket, "a/")), None, "the other way round");
        }
        assert_eq!(between(("s3://states", ""), ("gs://states", "")), None);
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
