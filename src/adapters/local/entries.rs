//! What lies in a directory that is open, and on which file system that lies.

use std::fs::File;

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::fail::io_error;
use crate::Result;

/// File systems whose files, once opened by way of the caches, are read without asking anybody; not those of
/// a network (<https://man7.org/linux/man-pages/man2/statfs.2.html>): ext4, XFS, Btrfs, F2FS, tmpfs, overlay,
/// ZFS, bcachefs.
#[cfg(target_os = "linux")]
const DISKS: [u64; 8] =
    [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994, 0x794c_7630, 0x2fc1_2fc1, 0xca45_1a4e];

/// Whether the directory lies on such a file system.
#[cfg(target_os = "linux")]
pub(super) fn reads_cached(directory: &File) -> bool {
    rustix::fs::fstatfs(directory).is_ok_and(|found| DISKS.contains(&(found.f_type as u64 & 0xffff_ffff)))
}

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

pub(super) fn is_link(at: &File, name: &str) -> bool {
    matches!(stat(at, name), Ok(Some(stat)) if kind(&stat) != FileType::RegularFile)
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
