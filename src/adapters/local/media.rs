//! The media type that a file's first bytes show, and a second place for it: an extended attribute, by which
//! a compressed file whose first bytes were lost is not taken for a state as it is.
//!
//! It may be lost: a copy often leaves it behind, and not every file system has such attributes.

use std::fs::File;

use crate::options::OCTETS;

const GZIP: &str = "application/gzip";
const ZSTD: &str = "application/zstd";

/// The media type that a file without a sidecar has: what its first bytes show.
pub(super) fn shown(magic: &[u8]) -> &'static str {
    match magic {
        [0x1f, 0x8b, ..] => GZIP,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ZSTD,
        _ => OCTETS,
    }
}

/// The same for the file of a version, also where its first bytes do not show it any more.
pub(super) fn of(file: &File, name: &str, mtime: i64, magic: &[u8]) -> &'static str {
    match shown(magic) {
        OCTETS if !is_named(name) => noted(file, mtime).unwrap_or(OCTETS),
        shown => shown,
    }
}

/// Notes it for the version of this time. That it cannot be noted is no error.
pub(super) fn note(file: &File, name: &str, mtime: i64, magic: &[u8]) {
    let shown = shown(magic);
    if shown != OCTETS && !is_named(name) {
        attribute::set(file, &format!("{mtime:x} {shown}"));
    }
}

/// Whether the name says as well that the file is compressed.
fn is_named(name: &str) -> bool {
    name.ends_with(".gz") || name.ends_with(".zst")
}

/// What was noted for the version of this time. Another program may have written into the file since.
fn noted(file: &File, mtime: i64) -> Option<&'static str> {
    let mut buffer = [0; 64];
    let (given, noted) = attribute::get(file, &mut buffer)?.split_once(' ')?;
    let given = i64::from_str_radix(given, 16).ok()?;
    [GZIP, ZSTD].into_iter().find(|known| given == mtime && *known == noted)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod attribute {
    use std::fs::File;

    use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};

    const NAME: &str = "user.persist.type";

    pub(super) fn set(file: &File, text: &str) {
        let _ = fsetxattr(file, NAME, text.as_bytes(), XattrFlags::empty());
    }

    pub(super) fn get<'a>(file: &File, buffer: &'a mut [u8; 64]) -> Option<&'a str> {
        let len = fgetxattr(file, NAME, &mut buffer[..]).ok()?;
        std::str::from_utf8(buffer.get(..len)?).ok()
    }
}

/// Some systems have none; macOS keeps them in files beside where a volume has none.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod attribute {
    use std::fs::File;

    pub(super) fn set(_: &File, _: &str) {}

    pub(super) fn get<'a>(_: &File, _: &'a mut [u8; 64]) -> Option<&'a str> {
        None
    }
}

#[cfg(test)]
#[path = "media_tests.rs"]
mod tests;
