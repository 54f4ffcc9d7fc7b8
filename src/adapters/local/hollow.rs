//! Directories in which there are only directories: what killed processes, and others, left of keys that are no more.

use std::fs::File;

use rustix::{
    fs::{AtFlags, FileType},
    io::Errno,
};

use super::dir::{entries, open_dir};
use crate::Result;

/// Removes a tree of directories in which there is nothing else, and nothing of it if there is: `NOTEMPTY`.
pub(super) fn remove(at: &File, name: &str) -> rustix::io::Result<()> {
    let unlink = || rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR);
    match unlink() {
        Err(Errno::NOTEMPTY | Errno::EXIST) if is_hollow(at, name, DEEPEST) => {}
        done => return done,
    }
    let below = open_dir(at, name)?;
    for (name, _) in entries(&below).into_iter().flatten().flatten() {
        remove(&below, &name)?;
    }
    unlink()
}

/// More directories than any key has, one in another.
const DEEPEST: usize = 1024;

fn is_hollow(at: &File, name: &str, deepest: usize) -> bool {
    let Ok(below) = open_dir(at, name) else { return false };
    let hollow = |entry: Result<(String, FileType)>| {
        entry.is_ok_and(|(name, kind)| {
            kind == FileType::Directory && deepest > 0 && is_hollow(&below, &name, deepest - 1)
        })
    };
    entries(&below).is_ok_and(|mut all| all.all(hollow))
}
