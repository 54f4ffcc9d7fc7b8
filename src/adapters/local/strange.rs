//! Names that other programs gave and persist would write otherwise: `a:b` lies in `a%3Ab`. They are no keys'
//! files, and are not taken for nothing either: who migrates a folder would miss them without a word.

use rustix::fs::FileType;

use super::{
    dir::Root,
    entries::{kind, stat},
    name::{Location, RESERVED, is_plain, segment_of},
};
use crate::{Error, ErrorKind, Key, Result};

/// Whether a file at `name`, as it is, is no key's: not of this key, which lies elsewhere, nor of another
/// one, nor the adapter's own.
pub(super) fn is_strange(name: &str) -> bool {
    let mut above = Vec::new();
    for piece in name.split('/') {
        if piece.starts_with(RESERVED) {
            return false;
        }
        if piece.ends_with('%') {
            above.push(piece.to_owned());
        } else if segment_of(&above, piece.to_owned()).is_none() {
            return true;
        } else {
            above.clear();
        }
    }
    !above.is_empty()
}

/// Fails if a file of another program has the name of `key`, where that is not the key's own.
pub(super) fn check_file(root: &Root, key: &Key) -> Result<()> {
    check(root, key, FileType::RegularFile)
}

/// As [`check_file`], for a directory.
pub(super) fn check_folder(root: &Root, key: &Key) -> Result<()> {
    check(root, key, FileType::Directory)
}

/// As [`check_file`], before a save: a key that has its own file already goes on.
pub(super) fn check_before_save(root: &Root, key: &Key, place: &Location) -> Result<()> {
    let Err(strange) = check_file(root, key) else { return Ok(()) };
    match look(root, place.names(), &place.file) {
        Some(FileType::RegularFile) => Ok(()),
        _ => Err(strange),
    }
}

fn check(root: &Root, key: &Key, wanted: FileType) -> Result<()> {
    let name = key.as_str();
    if name.split('/').all(is_plain) || !is_strange(name) {
        return Ok(());
    }
    let (above, last) = name.rsplit_once('/').unwrap_or(("", name));
    if look(root, above.split('/').filter(|piece| !piece.is_empty()), last) != Some(wanted) {
        return Ok(());
    }
    let what = if wanted == FileType::Directory { "folder" } else { "file" };
    let own = super::folder_of(key);
    let message = format!(
        "the {what} {name:?} was made by another program, and persist keeps it as {own:?}: rename it to that"
    );
    Err(Error::new(ErrorKind::InvalidInput, message))
}

/// What lies there. An error is none of who asks for something else.
fn look<'a>(root: &Root, above: impl Iterator<Item = &'a str>, last: &str) -> Option<FileType> {
    let directory = root.find(above).ok()??;
    stat(&directory, last).ok()?.map(|found| kind(&found))
}
