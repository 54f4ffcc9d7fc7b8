//! Directories in which there is no snapshot: what killed processes, and others, left of keys that are no
//! more.

use std::fs::File;

use rustix::{
    fs::{AtFlags, FileType},
    io::Errno,
};

use super::{
    dir::Root,
    entries::{entries, open_dir},
    own::is_own,
    sweep::is_leftover,
};

/// Removes a tree of directories in which there is nothing else but what a sweep would take, and nothing of
/// it if there is: `NOTEMPTY`.
pub(super) fn remove(root: &Root, at: &File, name: &str) -> rustix::io::Result<()> {
    let unlink = || rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR);
    match unlink() {
        Err(Errno::NOTEMPTY | Errno::EXIST)
            if holds(at, name, DEEPEST, &|at, name| is_own(name) && is_leftover(root, at, name)) => {}
        done => return done,
    }
    clear(root, at, name)?;
    unlink()
}

/// Removes what [`is_leftover`] says, and fails with `NOTEMPTY` at anything else, which came since [`holds`]
/// looked. Of all locks only that of the directory around this one is held.
fn clear(root: &Root, at: &File, name: &str) -> rustix::io::Result<()> {
    let below = open_dir(at, name)?;
    for (name, kind) in entries(&below).into_iter().flatten().flatten() {
        match kind {
            FileType::Directory => remove(root, &below, &name)?,
            FileType::RegularFile if is_own(&name) && is_leftover(root, &below, &name) => {
                rustix::fs::unlinkat(&below, name, AtFlags::empty())?;
            }
            _ => return Err(Errno::NOTEMPTY),
        }
    }
    Ok(())
}

/// Whether the tree has directories and the adapter's own files only: no snapshot, nothing of other programs.
pub(super) fn holds_own_files_only(at: &File, name: &str) -> bool {
    holds(at, name, DEEPEST, &|_, name| is_own(name))
}

/// More directories than any key has, one in another.
const DEEPEST: usize = 1024;

/// Whether there are only such files in a tree of directories.
fn holds(at: &File, name: &str, deepest: usize, such: &dyn Fn(&File, &str) -> bool) -> bool {
    let Ok(below) = open_dir(at, name) else { return false };
    entries(&below).is_ok_and(|mut all| {
        all.all(|entry| match entry {
            Ok((name, FileType::Directory)) => deepest > 0 && holds(&below, &name, deepest - 1, such),
            Ok((name, FileType::RegularFile)) => such(&below, &name),
            _ => false,
        })
    })
}

#[cfg(test)]
#[path = "hollow_tests.rs"]
mod tests;
