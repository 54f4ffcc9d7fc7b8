//! A save, step by step: temporary file, content, time, fsync, rename, fsync of the directory. All of it blocks; it runs on tokio's blocking threads.

use std::{
    fs::{File, FileTimes},
    io::Write,
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags},
    io::Errno,
};

use super::{
    dir::{Root, Step, kind, stat},
    fail::{foreign, io_error},
    name::{Place, RESERVED},
    sidecar::{self, Sidecar},
    stamp::{Stamp, next_time},
    sweep,
};
use crate::{DeleteOptions, Error, ErrorKind, Key, ObjectMeta, PutMode, PutOptions, Result};

/// How often an operation starts anew because others removed its directory at the same moment.
const PATIENCE: usize = 100;

/// An object under way: a temporary file, which goes away with this value unless it was committed.
#[derive(Debug)]
pub(super) struct Staged {
    directory: File,
    /// This adapter has not written to the directory before.
    new_here: bool,
    name: String,
    file: File,
    /// The first bytes, which show the media type.
    magic: Vec<u8>,
    committed: bool,
}

impl Staged {
    /// An empty temporary file in the directory where the object will lie.
    pub(super) fn new(root: &Root, key: &Key, place: &Place) -> Result<Self> {
        let name = format!("{RESERVED}tmp-{}", ulid::Ulid::generate());
        for _ in 0..PATIENCE {
            let Step::Done((directory, new_here)) = root.make(key, &place.directories)? else { continue };
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(&directory, name.as_str(), flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => {
                    let staged = Staged {
                        directory,
                        new_here,
                        name,
                        file: file.into(),
                        magic: Vec::new(),
                        committed: false,
                    };
                    // Says to those who sweep that this process lives; where there are no locks, the file's age must do.
                    let _ = staged.file.try_lock();
                    return Ok(staged);
                }
                Err(Errno::NOENT) => {}
                Err(error) => {
                    let path = root.below(place.names());
                    return Err(io_error(&format!("making a file in {}", path.display()), error));
                }
            }
        }
        Err(vanishing())
    }

    pub(super) fn write(&mut self, chunks: &[Bytes]) -> Result<()> {
        for chunk in chunks {
            let missing = 4usize.saturating_sub(self.magic.len());
            self.magic.extend_from_slice(&chunk[..chunk.len().min(missing)]);
            self.file.write_all(chunk).map_err(|error| io_error("writing", error))?;
        }
        Ok(())
    }

    /// Makes it durable and, if the mode allows, visible under the key. Nothing happens any more once `dropped` is set.
    pub(super) fn commit(
        mut self,
        root: &Root,
        key: &Key,
        place: &Place,
        options: &PutOptions,
        dropped: &AtomicBool,
    ) -> Result<ObjectMeta> {
        let file = place.file.as_str();
        let failed = |error| io_error("writing", error);
        self.file.set_times(FileTimes::new().set_modified(next_time())).map_err(failed)?;
        let stamp = Stamp::from(&self.file.metadata().map_err(failed)?);
        let sidecar = Sidecar::of(file, stamp.mtime, options, &self.magic);
        // Its file stays open, hence locked, until the version is there.
        let done =
            self.sync(sidecar.as_ref()).and_then(|_beside| self.rename(root, place, &options.mode, dropped));
        if let Err(error) = done {
            if sidecar.is_some() {
                Sidecar::remove(&self.directory, file, stamp.mtime);
            }
            return Err(error);
        }
        self.committed = true;
        self.directory.sync_all().map_err(|error| io_error("syncing the directory", error))?;
        if self.new_here {
            sweep::directory(root, &self.directory, &mut sweep::budget());
        }
        let mut meta = ObjectMeta::new(key.clone(), stamp.size, stamp.version(), stamp.modified());
        sidecar::describe(&mut meta, sidecar, &self.magic);
        Ok(meta)
    }

    /// Makes the file and its sidecar durable, side by side: a journal commits what is asked for at once in one go. Their names are made durable
    /// with the directory, after the renaming; the fsync of a new file comes before that, and journals keep the order.
    fn sync(&self, sidecar: Option<&Sidecar>) -> Result<Option<File>> {
        let failed = |error| io_error("writing", error);
        let Some(sidecar) = sidecar else {
            self.file.sync_all().map_err(failed)?;
            return Ok(None);
        };
        let beside = sidecar.write(&self.directory)?;
        let synced = std::thread::scope(|scope| {
            let other = std::thread::Builder::new().spawn_scoped(scope, || beside.sync_all());
            self.file.sync_all()?;
            match other.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(synced)) => synced,
                // No thread to be had, or it ended early.
                _ => beside.sync_all(),
            }
        });
        synced.map_err(failed)?;
        Ok(Some(beside))
    }

    /// The one step by which readers see the new version in place of the old one. The lock makes "look and rename" one step for all
    /// writers, those of other processes included.
    fn rename(&self, root: &Root, place: &Place, mode: &PutMode, dropped: &AtomicBool) -> Result<()> {
        let file = place.file.as_str();
        let _lock = root.lock(&self.directory, place.names())?;
        let current = current(&self.directory, file)?;
        match (mode, current) {
            (PutMode::Create, Some(_)) => return Err(taken()),
            (PutMode::Replace(_), None) => {
                return Err(Error::new(ErrorKind::Conflict, "the snapshot was removed; create it instead"));
            }
            (PutMode::Replace(expected), Some(stamp)) if *expected != stamp.version() => {
                let message = "another writer replaced the snapshot; load it and try again";
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            _ => {}
        }
        if dropped.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Internal, "the save was given up"));
        }
        let renamed = match mode {
            // Programs that know nothing of the lock do not lose their file either.
            PutMode::Create => rename_to_free(&self.directory, &self.name, file),
            _ => rustix::fs::renameat(&self.directory, self.name.as_str(), &self.directory, file),
        };
        match renamed {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(taken()),
            Err(error) => return Err(io_error("renaming", error)),
        }
        if let Some(old) = current {
            Sidecar::remove(&self.directory, file, old.mtime);
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.committed {
            let _ = rustix::fs::unlinkat(&self.directory, self.name.as_str(), AtFlags::empty());
        }
    }
}

fn taken() -> Error {
    Error::new(ErrorKind::AlreadyExists, "a snapshot is already there")
}

fn vanishing() -> Error {
    Error::new(ErrorKind::Io, "other processes keep removing the directory; try again")
}

/// Renames, unless the name is taken.
fn rename_to_free(directory: &File, from: &str, to: &str) -> rustix::io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    match rustix::fs::renameat_with(directory, from, directory, to, rustix::fs::RenameFlags::NOREPLACE) {
        // A file system or kernel that does not know the flag.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        done => return done,
    }
    rustix::fs::linkat(directory, from, directory, to, AtFlags::empty())?;
    rustix::fs::unlinkat(directory, from, AtFlags::empty())
}

/// The version under a name. A directory there is removed if it is empty, and in the way if not.
fn current(directory: &File, file: &str) -> Result<Option<Stamp>> {
    let Some(found) = stat(directory, file)? else { return Ok(None) };
    match kind(&found) {
        FileType::RegularFile => Ok(Some(Stamp::from(&found))),
        FileType::Directory => match rustix::fs::unlinkat(directory, file, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                let message = format!(
                    "there is a directory {file:?}, with snapshots below it, and on a file system no name is a file and a directory; choose another key"
                );
                Err(Error::new(ErrorKind::InvalidInput, message))
            }
            Err(error) => Err(io_error("replacing an empty directory", error)),
        },
        _ => Err(foreign(&format!("{file:?}"))),
    }
}

/// Removes an object, durably, and the directories that are empty then.
pub(super) fn delete(root: &Root, place: &Place, options: &DeleteOptions) -> Result<()> {
    let Some(directory) = root.find(place.names())? else { return Ok(()) };
    {
        let _lock = root.lock(&directory, place.names())?;
        let Some(found) = stat(&directory, &place.file)? else { return Ok(()) };
        match kind(&found) {
            FileType::RegularFile => {}
            FileType::Directory => return Ok(()),
            _ => return Err(foreign(&format!("{:?}", place.file))),
        }
        let stamp = Stamp::from(&found);
        if options.if_version.as_ref().is_some_and(|expected| *expected != stamp.version()) {
            return Err(Error::new(ErrorKind::Conflict, "another writer replaced the snapshot"));
        }
        match rustix::fs::unlinkat(&directory, place.file.as_str(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => {
                let path = root.below(place.names()).join(&place.file);
                return Err(io_error(&format!("removing {}", path.display()), error));
            }
        }
        Sidecar::remove(&directory, &place.file, stamp.mtime);
    }
    directory.sync_all().map_err(|error| io_error("syncing the directory", error))?;
    root.prune(&place.directories);
    Ok(())
}
