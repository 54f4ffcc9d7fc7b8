//! Directories below the root, opened one by one from the root down, without following a symbolic link: a
//! component that is swapped for a link in mid-way cannot lead out
//! (<https://man7.org/linux/man-pages/man2/openat.2.html>, "Rationale").

use std::{
    collections::HashMap,
    fmt,
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};

#[cfg(target_os = "linux")]
use super::entries::reads_cached;
use super::{
    copied::Seen,
    entries::{is_link, open_dir},
    fail::{foreign, io_error},
};
use crate::{Error, ErrorKind, Key, Result, lock::lock};

/// How many directories are remembered.
const REMEMBERED: usize = 4096;

/// The directory that holds everything.
pub(super) struct Root {
    pub(super) path: PathBuf,
    /// Directories whose own entry is known to be on disk; the root under `..`, and under no name once
    /// something was saved in it.
    durable: Mutex<HashMap<PathBuf, Identity>>,
    /// Whether small objects in the kernel's caches are read without a thread.
    cached: AtomicBool,
    /// The longest wait for a lock.
    pub(super) lock_timeout: Duration,
    /// By how much the clock of those who sweep is ahead, in tests: no program can make a file's time of
    /// change an old one.
    pub(super) ahead: Duration,
    /// Finds sidecars of files whose times were cut.
    pub(super) seen: Seen,
}

/// Not what it remembers: names of directories are ids of agents and users.
impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.path, f)
    }
}

/// Which directory it is. An inode alone is not enough: that of a removed one is soon used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    inode: u64,
    /// Where the file system says it.
    born: Option<SystemTime>,
}

impl Identity {
    fn of(directory: &File) -> Result<Self> {
        let found = directory.metadata().map_err(|error| io_error("making a directory", error))?;
        Ok(Identity { inode: found.ino(), born: found.created().ok() })
    }
}

/// Whether a directory was made, or must be made anew: another process removed it, because it was empty.
pub(super) enum Made<T> {
    Done(T),
    Vanished,
}

impl Root {
    pub(super) fn new(path: PathBuf, lock_timeout: Duration) -> Self {
        let cached = AtomicBool::new(false);
        let (ahead, seen) = (Duration::ZERO, Default::default());
        let root = Root { path, durable: Mutex::default(), cached, lock_timeout, ahead, seen };
        root.learn();
        root
    }

    /// What kind of directory the root is, if it is there.
    fn learn(&self) {
        #[cfg(target_os = "linux")]
        self.cached.store(self.open().is_ok_and(|at| reads_cached(&at)), Ordering::Relaxed);
    }

    /// The path of what lies below the root, for messages.
    pub(super) fn below(&self, path: impl IntoIterator<Item: AsRef<str>>) -> PathBuf {
        let mut whole = self.path.clone();
        path.into_iter().for_each(|name| whole.push(name.as_ref()));
        whole
    }

    fn opening(&self, error: io::Error) -> Error {
        io_error(&format!("opening {}", self.path.display()), error)
    }

    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "`cached` is for Linux"))]
    pub(super) fn reads_cached(&self) -> bool {
        self.cached.load(Ordering::Relaxed)
    }

    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "`cached` is for Linux"))]
    pub(super) fn never_read_cached(&self) {
        self.cached.store(false, Ordering::Relaxed);
    }

    /// The root itself may be reached by any path, links included: it is the user's choice.
    fn open(&self) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(&self.path, flags, Mode::empty())?.into())
    }

    /// The directory at `path`, or `None` where there is none.
    pub(super) fn find<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Result<Option<File>> {
        let mut at = match self.open() {
            Ok(root) => root,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.opening(error)),
        };
        let mut walked = Vec::new();
        for name in path {
            walked.push(name);
            at = match open_dir(&at, name) {
                Ok(directory) => directory,
                Err(Errno::NOENT) => return Ok(None),
                Err(Errno::NOTDIR | Errno::LOOP) if is_link(&at, name) => {
                    return Err(foreign(&format!("{name:?}")));
                }
                Err(Errno::NOTDIR) => return Ok(None),
                Err(error) => {
                    return Err(io_error(&format!("opening {}", self.below(walked).display()), error));
                }
            };
        }
        Ok(Some(at))
    }

    /// The directory at `path` (names as of [`Location`](super::name::Location)), made where it is missing,
    /// and durable. True with it: this adapter had not written there yet.
    pub(super) fn make(&self, key: &Key, path: &[(String, usize)]) -> Result<Made<(File, bool)>> {
        let mut at = match self.open() {
            Ok(root) => root,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create_root(&self.path)?;
                self.learn();
                self.open().map_err(|error| self.opening(error))?
            }
            Err(error) => return Err(self.opening(error)),
        };
        let found = Identity::of(&at)?;
        if !self.remembers(Path::new(".."), found) {
            sync_above(&self.path).map_err(|error| self.opening(error))?;
            self.remember(Path::new(".."), found);
        }
        let mut walked = PathBuf::new();
        let mut new = path.is_empty() && self.remember(&walked, found);
        for (name, end) in path {
            let mut made = false;
            let next = match open_dir(&at, name) {
                Err(Errno::NOENT) => match rustix::fs::mkdirat(&at, name.as_str(), Mode::RWXU) {
                    Err(error) if error != Errno::EXIST => Err(error),
                    done => {
                        made = done.is_ok();
                        open_dir(&at, name)
                    }
                },
                opened => opened,
            };
            let next = match next {
                Ok(directory) => directory,
                Err(Errno::NOENT) => return Ok(Made::Vanished),
                Err(Errno::NOTDIR | Errno::LOOP) => return Err(in_the_way(&at, name, &key.as_str()[..*end])),
                Err(error) => {
                    let path = self.path.join(walked).join(name);
                    return Err(io_error(&format!("making {}", path.display()), error));
                }
            };
            walked.push(name);
            // Another process may have made the directory a moment ago and not synced its entry yet, so this
            // asks not only who made it.
            let found = Identity::of(&next)?;
            new = made || !self.remembers(&walked, found);
            if new {
                sync(&at).map_err(|error| io_error("syncing a directory", error))?;
                self.remember(&walked, found);
            }
            at = next;
        }
        Ok(Made::Done((at, new)))
    }

    fn remembers(&self, path: &Path, found: Identity) -> bool {
        lock(&self.durable).get(path) == Some(&found)
    }

    /// True if it is new.
    fn remember(&self, path: &Path, found: Identity) -> bool {
        let mut durable = lock(&self.durable);
        if durable.len() >= REMEMBERED {
            durable.clear();
        }
        durable.insert(path.into(), found) != Some(found)
    }

    /// Removes the directories at `path` from the bottom up, as far as they are empty.
    pub(super) fn prune(&self, path: &[(String, usize)]) {
        let names: Vec<&str> = path.iter().map(|(name, _)| name.as_str()).collect();
        for depth in (0..names.len()).rev() {
            let Ok(parent) = self.find(names[..depth].iter().copied()) else { return };
            match parent.map(|parent| rustix::fs::unlinkat(&parent, names[depth], AtFlags::REMOVEDIR)) {
                // Gone already, perhaps with what is above it.
                None | Some(Ok(()) | Err(Errno::NOENT)) => {}
                // Not empty: then nor is what is above.
                Some(Err(_)) => return,
            }
            lock(&self.durable).remove(&names[..=depth].iter().collect::<PathBuf>());
        }
    }
}

/// Fails where there can be no root at `path`.
pub(super) fn check_root(path: &Path) -> Result<()> {
    // A slash at the end would follow a link.
    let path = path.components().as_path();
    let Some(there) = path.ancestors().find(|above| above.symlink_metadata().is_ok()) else { return Ok(()) };
    let why = match there.metadata() {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => "no directory; name one, or a path where one can be made",
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            "a link to what is not there; mount that or make it, or name another directory"
        }
        // What uses it says why.
        Err(_) => return Ok(()),
    };
    Err(Error::new(ErrorKind::InvalidConfig, format!("{} is {why}", there.display())))
}

/// Makes the root with all above it, for its user alone, one after the other. Each name is durable before
/// anything is made below it, whoever made it: so only the root's own may still have to be.
fn create_root(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    check_root(path)?;
    let failed = |error| io_error(&format!("making {}", path.display()), error);
    let missing: Vec<&Path> = path.ancestors().take_while(|above| !above.exists()).collect();
    for next in missing.into_iter().rev() {
        next.parent().map_or(Ok(()), sync_above).map_err(failed)?;
        match std::fs::DirBuilder::new().mode(0o700).create(next) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
    }
    Ok(())
}

/// Makes a directory's own name durable, as far as that is allowed: what is above the root may belong to
/// others, and be of another file system.
fn sync_above(directory: &Path) -> io::Result<()> {
    match File::open(directory.join("..")).and_then(|above| sync(&above)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::INVAL | Errno::ROFS)) => Ok(()),
        done => done,
    }
}

pub(super) fn sync(directory: &File) -> io::Result<()> {
    #[cfg(test)]
    tests::note(directory)?;
    directory.sync_all()
}

/// A file where a directory should be.
fn in_the_way(at: &File, name: &str, other: &str) -> Error {
    if is_link(at, name) {
        return foreign(&format!("{other:?}"));
    }
    let message = format!(
        "{other:?} is a snapshot, and on a file system nothing can lie below a file; choose another key, or remove {other:?}"
    );
    Error::new(ErrorKind::InvalidInput, message)
}

#[cfg(test)]
#[path = "dir_tests.rs"]
pub(super) mod tests;
