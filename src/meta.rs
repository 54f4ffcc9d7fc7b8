//! What is known about a stored object.

use std::{collections::BTreeMap, fmt, ops::Range, sync::Arc, time::SystemTime};

use serde::{Deserialize, Serialize};

use crate::{Body, Error, ErrorKind, Key, Result};

/// An opaque mark of one version of an object: an ETag, a generation, whatever the backend has.
///
/// Different content of a key always has different versions. Whether writing the same bytes again makes a new
/// version is up to the backend: it does on local disk, in memory and on GCS, but not on S3, whose ETag comes
/// from the content. A version says nothing about order and nothing across keys or backends.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(Arc<str>);

impl Version {
    /// The version that a backend calls `mark`.
    pub fn new(mark: impl AsRef<str>) -> Self {
        Version(mark.as_ref().into())
    }

    /// The backend's own mark.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({})", self.0)
    }
}

/// How fast and how costly an object is to read. Each service has its own names for these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Tier {
    /// Read at any time at no extra cost.
    Hot,
    /// Read about once a month (S3 `STANDARD_IA`, GCS `NEARLINE`).
    Cool,
    /// Read about once a quarter (S3 `GLACIER_IR`, GCS `COLDLINE`).
    Cold,
    /// Read about once a year, perhaps after hours of waiting (S3 `DEEP_ARCHIVE`, GCS `ARCHIVE`).
    Archive,
}

impl Tier {
    /// Its name: `hot`, `cool`, `cold` or `archive`.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Hot => "hot",
            Tier::Cool => "cool",
            Tier::Cold => "cold",
            Tier::Archive => "archive",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Tier {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let all = [Tier::Hot, Tier::Cool, Tier::Cold, Tier::Archive];
        all.into_iter().find(|tier| tier.as_str() == name).ok_or_else(|| {
            let message = format!("no tier {name:?}; use hot, cool, cold or archive");
            Error::new(ErrorKind::InvalidInput, message)
        })
    }
}

/// What a backend knows about an object.
///
/// [`put`](crate::SnapshotAdapter::put), [`get`](crate::SnapshotAdapter::get) and
/// [`head`](crate::SnapshotAdapter::head) fill every field that the backend keeps;
/// [`list`](crate::SnapshotAdapter::list) fills `key`, `size`, `version` and `modified`, the rest where the
/// service lists it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ObjectMeta {
    /// The object's name.
    pub key: Key,
    /// Bytes stored, hence after compression.
    pub size: u64,
    /// The version of this content.
    pub version: Version,
    /// When this version was written and became visible, by the backend's clock.
    pub modified: SystemTime,
    /// The media type given at `put`.
    pub content_type: Option<String>,
    /// The caller's own key-value pairs.
    pub metadata: BTreeMap<String, String>,
    /// The caller's tags, on backends with [`Capabilities::tags`](crate::Capabilities::tags).
    pub tags: BTreeMap<String, String>,
    /// The storage tier, on backends with [`Capabilities::tiers`](crate::Capabilities::tiers).
    pub tier: Option<Tier>,
    /// How the service encrypts the object, in its words: `AES256`, `aws:kms KEY`, a KMS key's name.
    pub encryption: Option<String>,
}

impl ObjectMeta {
    /// The four facts that every backend has; the rest is empty.
    pub fn new(key: Key, size: u64, version: Version, modified: SystemTime) -> Self {
        ObjectMeta {
            key,
            size,
            version,
            modified,
            content_type: None,
            metadata: BTreeMap::new(),
            tags: BTreeMap::new(),
            tier: None,
            encryption: None,
        }
    }
}

/// What [`get`](crate::SnapshotAdapter::get) gives.
#[derive(Debug)]
#[non_exhaustive]
pub struct Object {
    /// The whole object's metadata, also when only a range was asked for.
    pub meta: ObjectMeta,
    /// Which bytes of the object `body` holds.
    pub range: Range<u64>,
    /// The bytes.
    pub body: Body,
}

impl Object {
    /// `body` holds the bytes `range` of the object that `meta` describes.
    pub fn new(meta: ObjectMeta, range: Range<u64>, body: Body) -> Self {
        Object { meta, range, body }
    }
}

/// One row of a listing.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ListEntry {
    /// An object.
    Object(ObjectMeta),
    /// With [`ListOptions::delimiter`](crate::ListOptions::delimiter): all keys that start with this text,
    /// which ends with `/`.
    Prefix(String),
}

impl ListEntry {
    /// The key, or the common prefix: what listings are ordered by.
    pub fn name(&self) -> &str {
        match self {
            ListEntry::Object(meta) => meta.key.as_str(),
            ListEntry::Prefix(prefix) => prefix,
        }
    }

    /// The object, if it is one.
    pub fn into_object(self) -> Option<ObjectMeta> {
        match self {
            ListEntry::Object(meta) => Some(meta),
            ListEntry::Prefix(_) => None,
        }
    }
}

/// Whether this content type is that of pages for people.
#[cfg(any(feature = "gcs", feature = "s3"))]
pub(crate) fn is_page(content_type: &str) -> bool {
    content_type.trim_start().to_ascii_lowercase().starts_with("text/html")
}
