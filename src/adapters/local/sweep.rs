//! Removes what killed processes left behind: temporary files, and sidecars of versions that are gone.
//!
//! Sweeping is bounded, happens on the side, and takes nothing that is somebody else's or that a living process may still need: only names just as the adapter gives them, files that are an hour old, and
//! only if nobody holds their lock: a writer that slept for long, or whose disk is that slow, has a temporary file and a sidecar that are not in use yet.

use std::{
    fs::File,
    os::unix::fs::MetadataExt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use super::{
    dir::{Root, entries, open_dir, stat},
    sidecar::{Sidecar, is_sidecar},
    stamp::Stamp,
    write::is_temporary,
};

/// How old something must be to be swept up.
const AGE: Duration = Duration::from_secs(3600);

/// How many directory entries one sweep reads, some 50 ms of work. In a larger directory, leftovers behind them stay.
pub(super) fn budget() -> usize {
    65_536
}

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

/// Sweeps one directory; gives the directories in it. What cannot be read or removed now is left for another time.
pub(super) fn directory(root: &Root, at: &File, left: &mut usize) -> Vec<String> {
    let mut directories = Vec::new();
    let Ok(entries) = entries(at) else { return directories };
    for (name, kind) in entries.flatten() {
        if *left == 0 {
            tracing::debug!(root = %root.path.display(), "stopped looking for leftovers: the storage has more files than one sweep reads");
            break;
        }
        *left -= 1;
        if kind == FileType::Directory {
            directories.push(name);
        } else if (is_temporary(&name) || is_sidecar(&name))
            && is_leftover(at, &name)
            && rustix::fs::unlinkat(at, name.as_str(), AtFlags::empty()).is_ok()
        {
            tracing::debug!(root = %root.path.display(), name, "removed a leftover of a process that was killed");
        }
    }
    directories
}

fn is_leftover(at: &File, name: &str) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(at, name, flags, Mode::empty()).map(File::from) else { return false };
    let Ok(found) = file.metadata() else { return false };
    let written = UNIX_EPOCH + Duration::from_secs(found.mtime().max(0) as u64);
    if SystemTime::now().duration_since(written).unwrap_or_default() < AGE {
        return false;
    }
    if file.try_lock().is_err() {
        return false;
    }
    if !is_sidecar(name) {
        return true;
    }
    match Sidecar::read_named(at, name) {
        Ok(Some(sidecar)) => match stat(at, &sidecar.file) {
            Ok(owner) => owner.is_none_or(|owner| Stamp::from(&owner).mtime != sidecar.mtime),
            Err(_) => false,
        },
        // Torn: its version never became visible.
        Err(error) => error.kind() == crate::ErrorKind::Corrupt,
        Ok(None) => false,
    }
}
