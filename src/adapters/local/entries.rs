//! What lies in an open directory, without following a symbolic link.

use std::fs::File;

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::fail::io_error;
use crate::Result;

pub(super) fn open_dir(at: &File, name: &str) -> rustix::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, name, flags, Mode::empty())?.into())
}

/// What lies under `name`, without following a link.
pub(super) fn stat(at: &File, name: &str) -> Result<Option<Stat>> {
    match rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(io_error("looking at a file", error)),
    }
}

pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The names in a directory, in no order, with what they are.
pub(super) fn entries(at: &File) -> Result<impl Iterator<Item = Result<(String, FileType)>> + '_> {
    let failed = |error| io_error("reading a directory", error);
    let entries = Dir::read_from(at).map_err(failed)?;
    Ok(entries.filter_map(move |entry| {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return Some(Err(failed(error))),
        };
        let name = entry.file_name().to_str().ok()?;
        if name == "." || name == ".." {
            return None;
        }
        let kind = match entry.file_type() {
            // Not every file system says it here.
            FileType::Unknown => match stat(at, name) {
                Ok(stat) => kind(&stat?),
                Err(error) => return Some(Err(error)),
            },
            known => known,
        };
        Some(Ok((name.to_owned(), kind)))
    }))
}
