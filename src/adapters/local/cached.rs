//! Reads that need not wait: a small object that is in the kernel's caches is read at once, without a thread.
//! The way to a thread and back takes longer than such a read, and a session's state is made of a dozen of
//! them. So it is from the second read on: the first one of a version looks on the disk whether there is a
//! sidecar.
//!
//! Whatever is not there at once, or is unusual in any way, is left to `read`, which waits and explains.

use std::{fs::File, io::IoSliceMut};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags},
    io::{Errno, ReadWriteFlags},
};

use super::{
    dir::Root,
    entries::kind,
    media,
    name::{Location, is_plain},
    own,
    read::missing,
    sidecar::{self, Sidecar},
    stamp::{Stamp, step},
};
use crate::{Body, GetOptions, Key, Object, ObjectMeta, Result};

/// The most that is copied on the caller's thread: some ten microseconds.
const MOST: u64 = 64 * 1024;

/// The object, or why there is none, if that is known without waiting.
pub(super) fn get(root: &Root, key: &Key, place: &Location, options: &GetOptions) -> Option<Result<Object>> {
    if !root.reads_cached() {
        return None;
    }
    match look(root, key, place, options) {
        Ok(object) => object.map(Ok),
        // Where the key has another name on disk, there may be a file that has the key's.
        Err(Errno::NOENT) => key.segments().all(is_plain).then(|| Err(missing())),
        // An old kernel, a sandbox that forbids the call, or a file system without it.
        Err(Errno::NOSYS | Errno::PERM | Errno::INVAL | Errno::OPNOTSUPP) => {
            root.never_read_cached();
            None
        }
        Err(_) => None,
    }
}

fn look(
    root: &Root,
    key: &Key,
    place: &Location,
    options: &GetOptions,
) -> rustix::io::Result<Option<Object>> {
    let cached = ResolveFlags::CACHED | ResolveFlags::NO_MAGICLINKS;
    let top = rustix::fs::openat2(
        CWD,
        &root.path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        cached,
    )?;
    let open = |path: &str| {
        // Without NONBLOCK, a pipe under that name would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let below = cached | ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        rustix::fs::openat2(&top, path, flags, Mode::empty(), below).map(File::from)
    };
    let mut path = String::new();
    place.directories.iter().for_each(|(name, _)| path.extend([name, "/"]));
    let folder = path.len();
    path.push_str(&place.file);
    let file = open(&path)?;
    let found = rustix::fs::fstat(&file)?;
    let stamp = Stamp::from(&found);
    if !kind(&found).is_file() {
        return Ok(None);
    }
    match open(&format!("{}{}", &path[..folder], own::sidecar(&place.file, stamp.mtime))) {
        // Unless the file's time was cut when it was copied.
        Err(Errno::NOENT) if step(stamp.mtime) == 1 => {}
        _ => return Ok(None),
    }
    // There is no sidecar; but perhaps it was removed together with the version that was opened.
    let now = rustix::fs::statat(&top, path.as_str(), AtFlags::SYMLINK_NOFOLLOW)?;
    if Stamp::from(&now) != stamp {
        return Ok(None);
    }
    let mut meta = ObjectMeta::new(key.clone(), stamp.size, stamp.version(), stamp.modified());
    let Ok(range) = options.resolve(&meta) else { return Ok(None) };
    if range.end - range.start > MOST {
        return Ok(None);
    }
    let mut bytes = vec![0; (range.end - range.start) as usize];
    let mut magic = [0; 4];
    let mut magic = &mut magic[..stamp.size.min(4) as usize];
    if !read(&file, &mut bytes, range.start)? {
        return Ok(None);
    }
    if range.start == 0 && bytes.len() >= magic.len() {
        magic = &mut bytes[..magic.len()];
    } else if !read(&file, magic, 0)? {
        return Ok(None);
    }
    let shown = media::of(&file, &place.file, stamp.mtime, magic);
    sidecar::describe(&mut meta, None::<Sidecar>, shown);
    // Adapters replace files and never write into one; others may.
    if Stamp::from(&rustix::fs::fstat(&file)?) == stamp {
        Ok(Some(Object { meta, range, body: Body::from(bytes) }))
    } else {
        Ok(None)
    }
}

/// Fills `buffer`, if all of it is in the page cache.
fn read(file: &File, buffer: &mut [u8], offset: u64) -> rustix::io::Result<bool> {
    if buffer.is_empty() {
        return Ok(true);
    }
    let len = buffer.len();
    match rustix::io::preadv2(file, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT) {
        Ok(read) => Ok(read == len),
        Err(Errno::AGAIN) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[path = "cached_tests.rs"]
mod tests;
