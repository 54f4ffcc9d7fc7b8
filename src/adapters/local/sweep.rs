//! Removes what killed processes left behind: temporary files, and sidecars of versions that are gone.
//!
//! Sweeping is bounded, happens on the side, and takes nothing that is somebody else's or that a living
//! process may still need: only names just as the adapter gives them, files that are an hour old (metadata: a
//! day), and only if nobody holds their lock: a writer that slept for long, or whose disk is that slow, has a
//! temporary file and a sidecar that are not in use yet.

use std::{
    collections::BTreeSet,
    fs::{File, TryLockError},
    time::{Duration, SystemTime},
};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use super::{
    dir::Root,
    entries::{entries, open_dir, stat},
    own::{is_own, is_sidecar, is_temporary, names_of, time_of},
    sidecar::Sidecar,
    stamp::{Stamp, agree, changed},
};

/// How old a temporary file must be to be swept up.
const AGE: Duration = Duration::from_secs(3600);
/// And metadata: copies bring it before the file that it belongs to, perhaps hours before.
const AGE_OF_METADATA: Duration = Duration::from_secs(24 * 3600);

/// How many directory entries one sweep reads, some 50 ms of work. In a larger directory, leftovers behind
/// them stay.
pub(super) fn budget() -> usize {
    65_536
}

/// What looking at a file costs of the budget.
const LOOK: usize = 16;

/// Sweeps from the root down, as far as the budget goes.
pub(super) fn tree(root: &Root) {
    let mut left = budget();
    if let Ok(Some(directory)) = root.find([]) {
        below(root, &directory, &mut left);
    }
}

fn below(root: &Root, at: &File, left: &mut usize) {
    for name in directory(root, at, left) {
        if *left == 0 {
            return;
        }
        if let Ok(next) = open_dir(at, &name) {
            below(root, &next, left);
        }
    }
}

/// Sweeps one directory; gives the directories in it. What cannot be read or removed now is left for another
/// time.
pub(super) fn directory(root: &Root, at: &File, left: &mut usize) -> Vec<String> {
    let (mut directories, mut sidecars) = (Vec::new(), BTreeSet::new());
    let Ok(entries) = entries(at) else { return directories };
    for (name, kind) in entries.flatten() {
        if *left == 0 {
            tracing::debug!(root = %root.path.display(), "stopped looking for leftovers: the storage has more files than one sweep reads");
            break;
        }
        *left -= 1;
        if kind == FileType::Directory {
            directories.push(name);
        } else if is_sidecar(&name) {
            sidecars.insert(name);
        } else if is_temporary(&name) {
            remove(root, at, &name);
        }
    }
    if !sidecars.is_empty() && *left > 0 {
        set_needed_apart(at, &mut sidecars, left);
        for name in sidecars {
            match left.checked_sub(LOOK) {
                Some(rest) => *left = rest,
                None => return directories,
            }
            remove(root, at, &name);
        }
    }
    directories
}

/// Takes from `sidecars` those of files that are there: by their names alone, since there may be as many as
/// there are snapshots.
fn set_needed_apart(at: &File, sidecars: &mut BTreeSet<String>, left: &mut usize) {
    let Ok(entries) = entries(at) else { return sidecars.clear() };
    for (file, _) in entries.flatten().filter(|(file, kind)| *kind == FileType::RegularFile && !is_own(file))
    {
        let begin = names_of(&file);
        let own = |name: &&String| name.starts_with(&begin);
        let all: Vec<String> = sidecars.range(begin.clone()..).take_while(own).cloned().collect();
        if all.is_empty() {
            continue;
        }
        let Some(rest) = left.checked_sub(LOOK) else { return sidecars.clear() };
        *left = rest;
        for name in all {
            let needed = match stat(at, &file) {
                Ok(Some(owner)) => {
                    time_of(&name).is_some_and(|given| agree(Stamp::from(&owner).mtime, given))
                }
                Ok(None) => false,
                Err(_) => true,
            };
            if needed {
                sidecars.remove(&name);
            }
        }
    }
}

fn remove(root: &Root, at: &File, name: &str) {
    if is_leftover(root, at, name) && rustix::fs::unlinkat(at, name, AtFlags::empty()).is_ok() {
        tracing::debug!(root = %root.path.display(), name, "removed a leftover of a process that was killed");
    }
}

/// Whether a file with a name of the adapter's is old, not in use and of no snapshot.
pub(super) fn is_leftover(root: &Root, at: &File, name: &str) -> bool {
    // For writing, too: where locks are those of NFS, only such a file can be locked (flock(2), "NFS
    // details").
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(at, name, flags, Mode::empty()).map(File::from) else { return false };
    let Ok(found) = file.metadata() else { return false };
    // A copy keeps the time of the last write, and cannot keep that of the last change.
    let written = changed(&found).max(Stamp::from(&found).modified());
    let age = (SystemTime::now() + root.ahead).duration_since(written).unwrap_or_default();
    let enough = if is_sidecar(name) { AGE_OF_METADATA } else { AGE };
    if age < enough || is_held(file.try_lock()) {
        return false;
    }
    if !is_sidecar(name) {
        return true;
    }
    match Sidecar::read_named(at, name) {
        Ok(Some(sidecar)) => match stat(at, &sidecar.file) {
            Ok(owner) => owner.is_none_or(|owner| !agree(Stamp::from(&owner).mtime, sidecar.mtime)),
            Err(_) => false,
        },
        // Torn: its version never became visible.
        Err(error) => error.kind() == crate::ErrorKind::Corrupt,
        Ok(None) => false,
    }
}

/// Whether another process has the lock. Where there are no locks, nobody has: the age must do.
fn is_held(attempt: Result<(), TryLockError>) -> bool {
    matches!(attempt, Err(TryLockError::WouldBlock))
}

#[cfg(test)]
#[path = "sweep_tests.rs"]
mod tests;
