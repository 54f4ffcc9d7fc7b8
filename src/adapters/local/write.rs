//! A save, step by step: temporary file, content, time, fsync, rename, fsync of the directory. All of it
//! blocks; it runs on tokio's blocking threads.

use std::{
    fs::File,
    io::Write,
    sync::{Arc, atomic::AtomicBool},
};

use bytes::Bytes;
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags},
    io::Errno,
};

use super::{
    dir::{Made, Root, sync},
    entries::{kind, stat},
    fail::{foreign, io_error},
    hollow, media,
    name::Location,
    own,
    sidecar::{self, Beside, Sidecar},
    stamp::{Stamp, next_time, now, set_later, set_time},
    strange, sweep,
};
use crate::{
    DeleteOptions, Error, ErrorKind, Key, ObjectMeta, PutMode, PutOptions, Result, cleanup::check,
    options::TAKEN,
};

/// How often an operation starts anew because others removed its directory at the same moment.
const PATIENCE: usize = 100;
/// How long before it is visible a version may have got its time, in nanoseconds. Far more than a save takes,
/// and far less than half of the shortest fence window of sessions, whose prunes rely on it.
const MOST_LATE: i64 = 5_000_000_000;
/// How often a version gets a new time before the lock is held, and under it.
const ATTEMPTS: usize = 2;
/// As [`MOST_LATE`], for a disk on which all of these times came too late. Still less than half of that
/// window.
const MOST_LATE_SLOW_DISK: i64 = 20_000_000_000;

/// An object under way: a temporary file, which goes away with this value unless it was committed, and so do
/// directories that were made for it.
#[derive(Debug)]
pub(super) struct Staged {
    root: Arc<Root>,
    place: Arc<Location>,
    directory: File,
    /// This adapter has not written to the directory before.
    new_here: bool,
    name: String,
    file: File,
    /// The first bytes, which show the media type.
    magic: Vec<u8>,
    committed: bool,
}

/// What the temporary file is about to be.
struct Pending {
    /// The clock's time when it got its own.
    asked: i64,
    stamp: Stamp,
    sidecar: Option<Sidecar>,
    /// The file system keeps times to the nanosecond, so that no other version has this one.
    exact: bool,
}

impl Pending {
    /// Whether its time is of long ago.
    fn late(&self) -> bool {
        now() - self.asked > MOST_LATE
    }
}

impl Staged {
    /// An empty temporary file in the directory where the object will lie.
    pub(super) fn new(root: Arc<Root>, key: &Key, place: Arc<Location>) -> Result<Self> {
        strange::check_before_save(&root, key, &place)?;
        let name = own::temporary();
        match Self::make(&root, key, &place, &name) {
            Ok((directory, new_here, file)) => {
                // Says to those who sweep that this process lives; where there are no locks, the file's age
                // must do.
                let _ = file.try_lock();
                let magic = Vec::new();
                Ok(Staged { root, place, directory, new_here, name, file, magic, committed: false })
            }
            Err(error) => {
                root.prune(&place.directories);
                Err(error)
            }
        }
    }

    fn make(root: &Root, key: &Key, place: &Location, name: &str) -> Result<(File, bool, File)> {
        for _ in 0..PATIENCE {
            let Made::Done((directory, new_here)) = root.make(key, &place.directories)? else { continue };
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(&directory, name, flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => return Ok((directory, new_here, file.into())),
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

    /// Makes it durable and, if the mode allows, visible under the key. Nothing happens any more once
    /// `given_up` is set.
    pub(super) fn commit(
        mut self,
        key: &Key,
        options: &PutOptions,
        given_up: &AtomicBool,
    ) -> Result<ObjectMeta> {
        let asked = next_time();
        let stamp = set_time(&self.file, asked).map_err(|error| io_error("writing", error))?;
        let sidecar = Sidecar::of(&self.place.file, stamp, options, media::shown(&self.magic));
        let mut version = Pending { asked, stamp, sidecar, exact: stamp.mtime == asked };
        if let Err(refused) = self.publish(&mut version, &options.mode, given_up) {
            // The version that was faster may be the caller's own, not synced yet. Sync before telling of it.
            if matches!(refused.kind(), ErrorKind::AlreadyExists | ErrorKind::Conflict) {
                sync(&self.directory).map_err(|error| unsynced("another writer was faster", error))?;
            }
            return Err(refused);
        }
        self.committed = true;
        sync(&self.directory).map_err(|error| unsynced("the snapshot was stored", error))?;
        if self.new_here {
            sweep::directory(&self.root, &self.directory, &mut sweep::budget());
        }
        let Pending { stamp, sidecar, .. } = version;
        let mut meta = ObjectMeta::new(key.clone(), stamp.size, stamp.version(), stamp.modified());
        sidecar::describe(&mut meta, sidecar, media::shown(&self.magic));
        Ok(meta)
    }

    /// Makes the file and its sidecar durable, side by side: a journal commits what is asked for at once in
    /// one go. Their names are made durable with the directory, after the renaming; the fsync of a new file
    /// comes before that, and journals keep the order.
    fn sync(&self, stamp: Stamp, sidecar: Option<&Sidecar>) -> Result<Option<Beside<'_>>> {
        media::note(&self.file, &self.place.file, stamp.mtime, &self.magic);
        #[cfg(test)]
        tests::file_synced();
        let failed = |error| io_error("writing", error);
        let Some(sidecar) = sidecar else {
            sync_file(&self.file).map_err(failed)?;
            return Ok(None);
        };
        let beside = sidecar.write(&self.directory)?;
        let synced = std::thread::scope(|scope| {
            let other = std::thread::Builder::new().spawn_scoped(scope, || sync_file(&beside.file));
            sync_file(&self.file)?;
            match other.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(synced)) => synced,
                // No thread to be had, or it ended early.
                _ => sync_file(&beside.file),
            }
        });
        synced.map_err(failed)?;
        Ok(Some(beside))
    }

    /// The one step by which readers see the new version in place of the old one. The lock makes "look and
    /// rename" one step for all writers, those of other processes included.
    fn publish(&self, version: &mut Pending, mode: &PutMode, given_up: &AtomicBool) -> Result<()> {
        let file = self.place.file.as_str();
        check(given_up)?;
        // A sidecar whose name may be that of the current version's has to wait.
        let mut early = self.sync(version.stamp, version.sidecar.as_ref().filter(|_| version.exact))?;
        let mut times = 0;
        let (_lock, current) = loop {
            // Without the lock: those who wait for it on a busy disk must not wait for this sync, too.
            if version.late() && times < ATTEMPTS {
                check(given_up)?;
                self.date(version)?;
                drop(early.take());
                early = self.sync(version.stamp, version.sidecar.as_ref().filter(|_| version.exact))?;
            }
            let lock = self.root.lock(&self.directory, self.place.names(), given_up)?;
            let current = current(&self.root, &self.directory, file)?;
            mode.check(current.map(Stamp::version).as_ref())?;
            times += 1;
            if !version.late() || times >= ATTEMPTS {
                break (lock, current);
            }
        };
        let beside = self.settle(version, current, early, given_up)?;
        check(given_up)?;
        let rename = || {
            #[cfg(test)]
            tests::about_to_rename();
            let renamed = match mode {
                // Programs that know nothing of the lock do not lose their file either.
                PutMode::Create => rename_to_free(&self.directory, &self.name, file),
                _ => rustix::fs::renameat(&self.directory, self.name.as_str(), &self.directory, file),
            };
            #[cfg(test)]
            let renamed = tests::answer(renamed);
            renamed
        };
        let mut renamed = rename();
        if matches!(renamed, Err(Errno::EXIST | Errno::ISDIR | Errno::NOTEMPTY))
            && !self.is_at(file, version.stamp)
        {
            // A save below this name may have made a directory of it, without the lock. An empty one is
            // removed; one with content is the error.
            mode.check(self::current(&self.root, &self.directory, file)?.map(Stamp::version).as_ref())?;
            renamed = rename();
        }
        match renamed {
            Ok(()) => {}
            // A client of NFS whose answer was lost asks again, and then is told that there is nothing to
            // rename, or that the name is taken.
            Err(_) if self.is_at(file, version.stamp) => {
                let _ = rustix::fs::unlinkat(&self.directory, self.name.as_str(), AtFlags::empty());
            }
            Err(Errno::EXIST) => return Err(taken()),
            Err(error) => return Err(io_error("renaming", error)),
        }
        beside.into_iter().for_each(Beside::keep);
        if let Some(old) = current.filter(|old| old.mtime != version.stamp.mtime) {
            Sidecar::remove(&self.directory, file, old.mtime);
        }
        Ok(())
    }

    /// Whether this very file has the name already.
    fn is_at(&self, file: &str, stamp: Stamp) -> bool {
        matches!(stat(&self.directory, file), Ok(Some(found)) if Stamp::from(&found) == stamp)
    }

    /// The last steps before the rename, under the lock. No listing looks meanwhile, so what is visible now
    /// is as new as its time says, also where this process waited for the lock or was stopped: what is older
    /// than a fence window has been visible for that long.
    fn settle<'a>(
        &'a self,
        version: &mut Pending,
        current: Option<Stamp>,
        early: Option<Beside<'a>>,
        given_up: &AtomicBool,
    ) -> Result<Option<Beside<'a>>> {
        let (mut beside, mut settled) = (early, version.exact);
        for _ in 0..ATTEMPTS {
            if settled && !version.late() {
                return Ok(beside);
            }
            check(given_up)?;
            if version.late() {
                self.date(version)?;
            }
            if !version.exact {
                self.set_apart(version, current)?;
            }
            if let Some(sidecar) = &mut version.sidecar {
                sidecar.mtime = version.stamp.mtime;
            }
            // Before the next one is written: the two may have one name.
            drop(beside.take());
            beside = self.sync(version.stamp, version.sidecar.as_ref())?;
            settled = true;
        }
        // Such a disk is slow and not stuck: a save on it is better late than refused.
        if now() - version.asked <= MOST_LATE_SLOW_DISK {
            return Ok(beside);
        }
        let message = "each sync of the file takes longer than 20 seconds, so that its time would not be that of its appearance; try again";
        Err(Error::new(ErrorKind::Timeout, message).with_retryable(true))
    }

    /// Gives it the time of now.
    fn date(&self, version: &mut Pending) -> Result<()> {
        version.asked = next_time();
        version.stamp = set_time(&self.file, version.asked).map_err(|error| io_error("writing", error))?;
        version.exact = version.stamp.mtime == version.asked;
        if let Some(sidecar) = &mut version.sidecar {
            sidecar.mtime = version.stamp.mtime;
        }
        Ok(())
    }

    /// Where the file system keeps times coarsely, two versions in a row could have the same: this one gets a
    /// later one than the current.
    fn set_apart(&self, version: &mut Pending, current: Option<Stamp>) -> Result<()> {
        if let Some(current) = current.filter(|current| current.mtime >= version.stamp.mtime) {
            let later = set_later(&self.file, current.mtime).map_err(|error| io_error("writing", error))?;
            version.stamp = later.ok_or_else(|| {
                let message = "the file system keeps no later time than that of the snapshot's file; correct that (`touch`) and save again";
                Error::new(ErrorKind::Io, message)
            })?;
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.committed {
            let _ = rustix::fs::unlinkat(&self.directory, self.name.as_str(), AtFlags::empty());
            self.root.prune(&self.place.directories);
        }
    }
}

/// Makes a file's content durable. Nothing else does, so that tests see of which files it was done.
fn sync_file(file: &File) -> std::io::Result<()> {
    file.sync_all()?;
    #[cfg(test)]
    tests::publish::note(file);
    Ok(())
}

fn taken() -> Error {
    Error::new(ErrorKind::AlreadyExists, TAKEN)
}

/// The error of the last step, whatever its reason: every other kind says that nothing was changed.
fn unsynced(done: &str, error: std::io::Error) -> Error {
    let message = format!(
        "{done}, but the directory could not be synced, so that a power cut may undo it; look for the cause and do it again"
    );
    Error::new(ErrorKind::Io, message).with_source(error)
}

fn vanishing() -> Error {
    Error::new(ErrorKind::Io, "other processes keep removing the directory; try again")
}

/// Renames, unless the name is taken.
fn rename_to_free(directory: &File, from: &str, to: &str) -> rustix::io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    match rustix::fs::renameat_with(directory, from, directory, to, rustix::fs::RenameFlags::NOREPLACE) {
        // A file system or kernel that does not know the flag. Two names for one number on Linux, and not on
        // macOS.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        Err(error) if error == Errno::NOTSUP => {}
        done => return done,
    }
    rustix::fs::linkat(directory, from, directory, to, AtFlags::empty())?;
    // The version is there. A second name that stays is swept up later.
    let _ = rustix::fs::unlinkat(directory, from, AtFlags::empty());
    Ok(())
}

/// The version under a name. A directory there is removed if nothing but directories and old leftovers is in
/// it, and in the way if not.
fn current(root: &Root, directory: &File, file: &str) -> Result<Option<Stamp>> {
    let Some(found) = stat(directory, file)? else { return Ok(None) };
    match kind(&found) {
        FileType::RegularFile => Ok(Some(Stamp::from(&found))),
        FileType::Directory => match hollow::remove(root, directory, file) {
            Ok(()) | Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                let message = if hollow::holds_own_files_only(directory, file) {
                    format!(
                        "in the directory {file:?} is a file of a save that is under way or was killed; what was killed is removed when it is an hour \
                     old, or a day (metadata)"
                    )
                } else {
                    format!(
                        "there is a directory {file:?}, with snapshots below it, and on a file system no name is a file and a directory; choose another key"
                    )
                };
                Err(Error::new(ErrorKind::InvalidInput, message))
            }
            Err(error) => Err(io_error("replacing an empty directory", error)),
        },
        _ => Err(foreign(&format!("{file:?}"))),
    }
}

/// Removes an object, durably, and the directories that are empty then.
pub(super) fn delete(root: &Root, key: &Key, options: &DeleteOptions, given_up: &AtomicBool) -> Result<()> {
    let place = Location::of(key);
    match remove(root, &place, options, given_up)? {
        Removed::Done => root.prune(&place.directories),
        Removed::Folder => {}
        Removed::Missing => {
            strange::check_file(root, key)?;
            root.prune(&place.directories);
        }
    }
    Ok(())
}

/// What was there to remove.
enum Removed {
    Done,
    /// No object, but a directory.
    Folder,
    Missing,
}

fn remove(root: &Root, place: &Location, options: &DeleteOptions, given_up: &AtomicBool) -> Result<Removed> {
    let Some(directory) = root.find(place.names())? else { return Ok(Removed::Missing) };
    let removed = {
        let _lock = root.lock(&directory, place.names(), given_up)?;
        // Who gave it up may have saved since.
        check(given_up)?;
        match stat(&directory, &place.file)? {
            // Removed already, perhaps by an attempt of the caller whose sync failed.
            None => Removed::Missing,
            Some(found) => match kind(&found) {
                FileType::RegularFile => {
                    unlink(root, &directory, place, Stamp::from(&found), options)?;
                    Removed::Done
                }
                FileType::Directory => return Ok(Removed::Folder),
                _ => return Err(foreign(&format!("{:?}", place.file))),
            },
        }
    };
    sync(&directory).map_err(|error| unsynced("the snapshot was removed", error))?;
    Ok(removed)
}

/// Takes the name of this version away, under the lock.
fn unlink(
    root: &Root,
    directory: &File,
    place: &Location,
    stamp: Stamp,
    options: &DeleteOptions,
) -> Result<()> {
    options.check(&stamp.version())?;
    match rustix::fs::unlinkat(directory, place.file.as_str(), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => {
            let path = root.below(place.names()).join(&place.file);
            return Err(io_error(&format!("removing {}", path.display()), error));
        }
    }
    Sidecar::remove(directory, &place.file, stamp.mtime);
    Ok(())
}

#[cfg(test)]
#[path = "write_tests.rs"]
pub(super) mod tests;
