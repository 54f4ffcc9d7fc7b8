//! What a caller may ask of each operation of the contract.

use std::{collections::BTreeMap, ops::Range};

use crate::{Capabilities, Error, ErrorKind, ObjectMeta, Result, Tier, Version};

/// The media type of bytes of which nothing more is known.
pub(crate) const OCTETS: &str = "application/octet-stream";

/// What adapters say where a key has no snapshot.
pub(crate) const NONE: &str = "there is no snapshot";
/// What they say to a create on a taken key.
pub(crate) const TAKEN: &str = "a snapshot is already there";
/// What they say to whoever reads a version that is no longer the current one.
pub(crate) const REPLACED: &str = "the snapshot was replaced; load it again";
/// What they say to whoever would remove such a version.
pub(crate) const REPLACED_BEFORE_REMOVAL: &str =
    "another writer replaced the snapshot; look at it before you remove it";

/// What adapters of services say to a replace whose version is no longer the current one, or is gone.
#[cfg(any(feature = "gcs", feature = "s3"))]
pub(crate) const LOST: &str = "another writer replaced or removed the snapshot; load it and try again";

/// When a `put` may take effect. An adapter that cannot ask [`check`](Self::check), because the service
/// decides, answers a mode that it does not know with `Unsupported`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PutMode {
    /// Always: the last writer wins.
    #[default]
    Overwrite,
    /// Only if the key is free; else `AlreadyExists`.
    Create,
    /// Only if this is still the key's version; else `Conflict`, also when the key is gone.
    Replace(Version),
}

impl PutMode {
    /// Whether a put may take the place of `current`, the version that the key has now. The check and the
    /// write must be one step for all writers.
    ///
    /// # Errors
    /// `AlreadyExists` and `Conflict`, as the modes say.
    pub fn check(&self, current: Option<&Version>) -> Result<()> {
        let (kind, message) = match (self, current) {
            (PutMode::Overwrite, _) | (PutMode::Create, None) => return Ok(()),
            (PutMode::Replace(expected), Some(version)) if expected == version => return Ok(()),
            (PutMode::Create, Some(_)) => (ErrorKind::AlreadyExists, TAKEN),
            (PutMode::Replace(_), Some(_)) => {
                (ErrorKind::Conflict, "another writer replaced the snapshot; load it and try again")
            }
            (PutMode::Replace(_), None) => {
                (ErrorKind::Conflict, "the snapshot was removed; create it instead")
            }
        };
        Err(Error::new(kind, message))
    }
}

/// Options of [`put`](crate::SnapshotAdapter::put).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
#[must_use]
pub struct PutOptions {
    /// When it may take effect.
    pub mode: PutMode,
    /// The media type; `application/octet-stream` where a service wants one and none is given.
    pub content_type: Option<String>,
    /// Key-value pairs to keep with the object. Names: 1 to 64 of `a-z`, `0-9` and `-`; values: printable
    /// ASCII; 2,008 bytes in all (S3's limit, without what the adapter adds), see [`check`](Self::check).
    pub metadata: BTreeMap<String, String>,
    /// Tags for the service's own rules, at most 10; `Unsupported` on backends without
    /// [`Capabilities::tags`](crate::Capabilities::tags).
    pub tags: BTreeMap<String, String>,
    /// The storage tier; `Unsupported` on backends without
    /// [`Capabilities::tiers`](crate::Capabilities::tiers).
    pub tier: Option<Tier>,
}

impl PutOptions {
    /// Overwrite, nothing else.
    pub fn new() -> Self {
        Self::default()
    }

    /// When it may take effect.
    pub fn mode(mut self, mode: PutMode) -> Self {
        self.mode = mode;
        self
    }

    /// Only if the key is free.
    pub fn create(self) -> Self {
        self.mode(PutMode::Create)
    }

    /// Only if `version` is still current.
    pub fn replace(self, version: Version) -> Self {
        self.mode(PutMode::Replace(version))
    }

    /// The media type.
    pub fn content_type(mut self, media_type: impl Into<String>) -> Self {
        self.content_type = Some(media_type.into());
        self
    }

    /// Adds a key-value pair.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    /// Adds a tag.
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// The storage tier.
    pub fn tier(mut self, tier: Tier) -> Self {
        self.tier = Some(tier);
        self
    }

    /// The media type, for a service that wants one.
    #[cfg(feature = "gcs")]
    pub(crate) fn media_type(&self) -> &str {
        self.content_type.as_deref().unwrap_or(OCTETS)
    }

    /// What these options ask for and an adapter that `can` do this lacks: its name, and what to do without.
    pub(crate) fn lacking(&self, can: &Capabilities) -> Option<(&'static str, &'static str)> {
        // All fields by name: a new one must not be forgotten here.
        let PutOptions { mode, content_type: _, metadata: _, tags, tier } = self;
        match mode {
            PutMode::Create if !can.create => Some(("conditional creation", "save without it")),
            PutMode::Replace(_) if !can.replace => Some(("conditional replacement", "save without it")),
            _ if !tags.is_empty() && !can.tags => Some(("tags", "leave them out")),
            _ if tier.is_some() && !can.tiers => Some(("storage tiers", "leave the tier out")),
            _ => None,
        }
    }

    /// Refuses what an adapter that `can` do this cannot do, also with options that are younger than the
    /// adapter, and what breaks the limits that hold on every backend: of metadata, tags and the content
    /// type. Adapters call it first thing in `put`.
    ///
    /// # Errors
    /// `Unsupported` that names what the storage lacks, `InvalidInput` that names the pair and the limit.
    pub fn check(&self, can: &Capabilities) -> Result<()> {
        if let Some((what, fix)) = self.lacking(can) {
            return Err(Error::new(ErrorKind::Unsupported, format!("this storage has no {what}; {fix}")));
        }
        let PutOptions { mode: _, content_type, metadata, tags, tier: _ } = self;
        check_metadata(metadata)?;
        check_tags(tags)?;
        content_type.as_deref().map_or(Ok(()), check_content_type)
    }
}

fn bad(what: String) -> Error {
    Error::new(ErrorKind::InvalidInput, what)
}

/// Bytes of all names and values: 2 KB are S3's limit
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>), and persist's own mark of a
/// put takes 40 of them.
const MOST_METADATA: usize = 2008;
const LONGEST_METADATA_NAME: usize = 64;

fn is_metadata_name(name: &str) -> bool {
    (1..=LONGEST_METADATA_NAME).contains(&name.len())
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<()> {
    let mut total = 0;
    for (name, value) in metadata {
        if !is_metadata_name(name) {
            let nearest = name.to_ascii_lowercase().replace('_', "-");
            let hint =
                if is_metadata_name(&nearest) { format!(", as in {nearest:?}") } else { String::new() };
            return Err(bad(format!(
                "metadata name {name:?}: use 1 to {LONGEST_METADATA_NAME} characters of a-z, 0-9 and `-`{hint}"
            )));
        }
        if !value.bytes().all(|b| matches!(b, b' '..=b'~')) || value.trim() != value {
            return Err(bad(format!(
                "metadata {name:?}: its value must be printable ASCII without spaces at the ends"
            )));
        }
        total += name.len() + value.len();
    }
    if total > MOST_METADATA {
        return Err(bad(format!(
            "metadata: {total} bytes in all, the limit is {MOST_METADATA}; put it into the state instead"
        )));
    }
    Ok(())
}

/// Tags of an object, and characters of their names and values, as S3 has them:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html>.
const MOST_TAGS: usize = 10;
const LONGEST_TAG_NAME: usize = 128;
const LONGEST_TAG_VALUE: usize = 256;

fn check_tags(tags: &BTreeMap<String, String>) -> Result<()> {
    if tags.len() > MOST_TAGS {
        return Err(bad(format!("tags: {} of them, the limit is {MOST_TAGS}", tags.len())));
    }
    let odd = |text: &str| text.chars().any(|c| !(c.is_alphanumeric() || " +-=._:/@".contains(c)));
    for (name, value) in tags {
        if name.is_empty()
            || name.chars().count() > LONGEST_TAG_NAME
            || value.chars().count() > LONGEST_TAG_VALUE
            || odd(name)
            || odd(value)
        {
            return Err(bad(format!(
                "tag {name:?}: names have 1 to {LONGEST_TAG_NAME} and values up to {LONGEST_TAG_VALUE} letters, digits, spaces and `+-=._:/@`"
            )));
        }
    }
    Ok(())
}

/// Of each part of a media type RFC 6838 allows 127 characters, with a `/` between.
const LONGEST_CONTENT_TYPE: usize = 255;

fn check_content_type(text: &str) -> Result<()> {
    if text.is_empty() || text.len() > LONGEST_CONTENT_TYPE || !text.bytes().all(|b| matches!(b, b' '..=b'~'))
    {
        return Err(bad(format!("content type {text:?}: use a media type such as application/json")));
    }
    Ok(())
}

/// A part of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ByteRange {
    /// `length` bytes from `start`; fewer where the object ends before.
    Bounded {
        /// The first byte.
        start: u64,
        /// How many bytes, at least 1.
        length: u64,
    },
    /// Everything from this byte on.
    From(u64),
    /// The last bytes, or all where the object is shorter.
    Last(u64),
}

impl ByteRange {
    /// Which bytes of an object of `size` bytes it means.
    ///
    /// # Errors
    /// `InvalidInput` for an empty range and for one that starts at or behind the end (HTTP 416).
    pub fn resolve(self, size: u64) -> Result<Range<u64>> {
        let bad = |what: String| Err(Error::new(ErrorKind::InvalidInput, what));
        let (start, end) = match self {
            ByteRange::Bounded { length: 0, .. } | ByteRange::Last(0) => {
                return bad("an empty range cannot be read; ask for at least one byte".into());
            }
            ByteRange::Bounded { start, length } => (start, start.saturating_add(length).min(size)),
            ByteRange::From(start) => (start, size),
            ByteRange::Last(length) => (size.saturating_sub(length), size),
        };
        if start >= size {
            return bad(format!("the range starts at byte {start}, the object has {size} bytes"));
        }
        Ok(start..end)
    }

    /// The value of an HTTP `Range` header (RFC 9110 section 14.1.2). Servers count in signed 64-bit numbers,
    /// and take a larger one for no range at all: no object is as long as that.
    pub fn to_header(self) -> String {
        const MOST: u64 = i64::MAX as u64 - 1;
        match self {
            ByteRange::Bounded { start, length } => {
                let last = start.saturating_add(length).saturating_sub(1);
                format!("bytes={}-{}", start.min(MOST), last.min(MOST))
            }
            ByteRange::From(start) => format!("bytes={}-", start.min(MOST)),
            ByteRange::Last(length) => format!("bytes=-{}", length.min(MOST)),
        }
    }
}

/// Options of [`get`](crate::SnapshotAdapter::get).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
#[must_use]
pub struct GetOptions {
    /// Only these bytes.
    pub range: Option<ByteRange>,
    /// Only this version; else `Conflict`.
    pub if_version: Option<Version>,
    /// Only if the version is another one; else `NotModified`.
    pub if_not_version: Option<Version>,
}

impl GetOptions {
    /// The whole object, whatever its version.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only these bytes.
    pub fn range(mut self, range: ByteRange) -> Self {
        self.range = Some(range);
        self
    }

    /// Only this version.
    pub fn if_version(mut self, version: Version) -> Self {
        self.if_version = Some(version);
        self
    }

    /// Only another version.
    pub fn if_not_version(mut self, version: Version) -> Self {
        self.if_not_version = Some(version);
        self
    }

    /// Which bytes of the current object are asked for.
    ///
    /// # Errors
    /// `Conflict` and `NotModified` if its version is not one that is asked for, `InvalidInput` for a range
    /// that is not in it.
    pub fn resolve(&self, current: &ObjectMeta) -> Result<Range<u64>> {
        if self.if_version.as_ref().is_some_and(|expected| *expected != current.version) {
            return Err(Error::new(ErrorKind::Conflict, REPLACED));
        }
        if self.if_not_version.as_ref() == Some(&current.version) {
            return Err(Error::new(ErrorKind::NotModified, "the snapshot is unchanged"));
        }
        self.range.map_or(Ok(0..current.size), |range| range.resolve(current.size))
    }
}

/// Options of [`delete`](crate::SnapshotAdapter::delete).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
#[must_use]
pub struct DeleteOptions {
    /// Only this version; else `Conflict`. `Unsupported` on backends without
    /// [`Capabilities::conditional_delete`](crate::Capabilities::conditional_delete).
    pub if_version: Option<Version>,
}

impl DeleteOptions {
    /// Whatever is there.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only this version.
    pub fn if_version(mut self, version: Version) -> Self {
        self.if_version = Some(version);
        self
    }

    /// Whether `current`, the version that the key has now, may be removed. The check and the removal must be
    /// one step for all writers.
    ///
    /// # Errors
    /// `Conflict` if it is another version than the one that is asked for.
    pub fn check(&self, current: &Version) -> Result<()> {
        match &self.if_version {
            Some(expected) if expected != current => {
                Err(Error::new(ErrorKind::Conflict, REPLACED_BEFORE_REMOVAL))
            }
            _ => Ok(()),
        }
    }
}

/// Options of [`list`](crate::SnapshotAdapter::list).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
#[must_use]
pub struct ListOptions {
    /// Only keys that start with this text, which need not end at a `/`. Empty: all.
    pub prefix: String,
    /// Only names that come after this text in byte order.
    pub start_after: Option<String>,
    /// At most so many rows.
    pub limit: Option<usize>,
    /// Roll up what lies behind the next `/` after `prefix` into one
    /// [`ListEntry::Prefix`](crate::ListEntry::Prefix).
    pub delimiter: bool,
}

impl ListOptions {
    /// Everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only keys that start with `prefix`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Only names behind `name`.
    pub fn start_after(mut self, name: impl Into<String>) -> Self {
        self.start_after = Some(name.into());
        self
    }

    /// At most `limit` rows.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// One level only, as in a folder view.
    pub fn delimiter(mut self) -> Self {
        self.delimiter = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an adapter says that it cannot do is refused before it sees it.
    #[test]
    fn a_put_may_ask_for_what_the_adapter_can_do() {
        let all = Capabilities::default().with_tags().with_tiers();
        let mut no_create = all.clone();
        no_create.create = false;
        let mut no_replace = all.clone();
        no_replace.replace = false;
        let cases = [
            (PutOptions::new().create(), no_create, "no conditional creation"),
            (PutOptions::new().replace(Version::new("1")), no_replace, "no conditional replacement"),
            (PutOptions::new().tag("team", "a"), Capabilities::default(), "no tags"),
            (PutOptions::new().tier(Tier::Cold), Capabilities::default(), "no storage tiers"),
        ];
        for (options, can, says) in cases {
            options.check(&all).unwrap();
            let error = options.check(&can).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
