//! What the user says about an object beyond its bytes, in a small file beside it.
//!
//! There is one only where it has something to say: most snapshots have no sidecar. It is bound to one
//! version by the time in its name and synced before that version is visible; a reader who finds none looks
//! whether the version is still the current one, and whether its time was cut when it was copied.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Write},
};

use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::{
    fail::io_error,
    own,
    stamp::{Stamp, agree},
};
use crate::{Error, ErrorKind, ObjectMeta, PutOptions, Result};

/// The longest sidecar: some times what metadata and tags may have.
const MOST: u64 = 256 * 1024;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sidecar {
    /// The file that it belongs to.
    pub(super) file: String,
    pub(super) mtime: i64,
    /// How long that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
}

impl Sidecar {
    /// What must be kept of `options` for the file whose first bytes show the type `shown`, if there is
    /// anything.
    pub(super) fn of(file: &str, stamp: Stamp, options: &PutOptions, shown: &str) -> Option<Self> {
        let content_type = options.content_type.clone().filter(|given| given != shown);
        let plain = content_type.is_none() && options.metadata.is_empty() && options.tags.is_empty();
        (!plain).then(|| Sidecar {
            file: file.into(),
            mtime: stamp.mtime,
            size: Some(stamp.size),
            content_type,
            metadata: options.metadata.clone(),
            tags: options.tags.clone(),
        })
    }

    /// The sidecar of the version `stamp` of `file`, if there is one by the name of that. `Corrupt` where it
    /// says that the file was longer or shorter.
    pub(super) fn read(directory: &File, file: &str, stamp: Stamp) -> Result<Option<Self>> {
        match Self::read_named(directory, &own::sidecar(file, stamp.mtime))? {
            Some(found) if found.file == file && found.mtime == stamp.mtime => match found.size {
                // Whatever changed it has put its time back: a partial restore, a repair of the file system.
                Some(size) if size != stamp.size => {
                    let message = format!("the file has {} bytes and was saved with {size}", stamp.size);
                    Err(Error::new(ErrorKind::Corrupt, message).with_advice("restore a copy"))
                }
                _ => Ok(Some(found)),
            },
            Some(_) => Err(damaged("it belongs to another file")),
            None => Ok(None),
        }
    }

    /// Whether it can be that of the version `stamp` of `file`, whose time may have been cut.
    pub(super) fn may_be_of(&self, file: &str, stamp: Stamp) -> bool {
        self.file == file && agree(stamp.mtime, self.mtime) && self.size.is_none_or(|size| size == stamp.size)
    }

    pub(super) fn says_the_same_as(&self, other: &Self) -> bool {
        (&self.content_type, &self.metadata, &self.tags)
            == (&other.content_type, &other.metadata, &other.tags)
    }

    pub(super) fn read_named(directory: &File, name: &str) -> Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let found = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
            Ok(found) => File::from(found),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(io_error("reading metadata", error)),
        };
        let mut json = Vec::new();
        found.take(MOST).read_to_end(&mut json).map_err(|error| io_error("reading metadata", error))?;
        serde_json::from_slice(&json).map(Some).map_err(|error| damaged("").with_source(error))
    }

    /// Writes it. What an earlier, killed process left under the name is replaced.
    pub(super) fn write<'a>(&self, directory: &'a File) -> Result<Beside<'a>> {
        let failed = |error: std::io::Error| io_error("writing metadata", error);
        let json = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = own::sidecar(&self.file, self.mtime);
        let file = rustix::fs::openat(directory, name.as_str(), flags, Mode::RUSR | Mode::WUSR);
        let file = File::from(file.map_err(|error| failed(error.into()))?);
        let mut beside = Beside { directory, name, file, kept: false };
        // Says to those who sweep that its version is about to come; where there are no locks, the file's age
        // must do.
        let _ = beside.file.try_lock();
        beside.file.write_all(&json).map_err(failed)?;
        Ok(beside)
    }

    /// Removes the sidecar of one version, if it has one. One that stays behind is harmless and is swept up
    /// later.
    pub(super) fn remove(directory: &File, file: &str, mtime: i64) {
        let _ = rustix::fs::unlinkat(directory, own::sidecar(file, mtime), AtFlags::empty());
    }
}

/// A sidecar whose version is about to come: it stays open, hence locked, and goes away with this value
/// unless it is kept.
pub(super) struct Beside<'a> {
    directory: &'a File,
    name: String,
    pub(super) file: File,
    kept: bool,
}

impl Beside<'_> {
    /// Its version is there.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        if !self.kept {
            let _ = rustix::fs::unlinkat(self.directory, self.name.as_str(), AtFlags::empty());
        }
    }
}

pub(super) fn damaged(why: &str) -> Error {
    let message = format!(
        "the file beside the snapshot that holds its metadata is damaged{}{why}",
        if why.is_empty() { "" } else { ": " }
    );
    Error::new(ErrorKind::Corrupt, message)
}

/// Fills in what is known of the object beyond its stamp. `shown` is what its first bytes show.
pub(super) fn describe(meta: &mut ObjectMeta, sidecar: Option<Sidecar>, shown: &str) {
    let sidecar = sidecar.unwrap_or_default();
    meta.content_type = Some(sidecar.content_type.unwrap_or_else(|| shown.into()));
    meta.metadata = sidecar.metadata;
    meta.tags = sidecar.tags;
}
